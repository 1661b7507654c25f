"""What a process of the product imports, once for all that are forked from here."""

from __future__ import annotations

import django

django.setup()

from alphastrat.marketdata.management.commands import replay_bars, run_feed  # noqa: E402, F401
from monitoring.management.commands import run_monitor, send_alerts  # noqa: E402, F401
from strategies.quant import simulator, stepping  # noqa: E402, F401
