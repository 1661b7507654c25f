"""The bars that live operation looks at, as a panel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alphastrat.marketdata.frames import load_arrays
from alphastrat.marketdata.live_market import live_series
from alphastrat.quant.types import Timeframe
from strategies.quant.panel import Panel


def load_live_panel(
    symbols: Sequence[str],
    timeframe: Timeframe | str,
    *,
    known_at: datetime | None = None,
    start: datetime | None = None,
) -> Panel | None:
    """Read the bars of the series that the feed extends; None where there are none at all.

    Symbols without a series are left out.
    """
    held = live_series(symbols, timeframe)
    series = [held[symbol] for symbol in symbols if symbol in held]
    if not series:
        return None
    found = load_arrays(series, start=start, known_at=known_at)
    columns = (found.open, found.high, found.low, found.close, found.volume)
    return Panel(found.index, found.symbols, *columns)
