"""What is held of an instrument, on its page."""

from __future__ import annotations

from typing import Any

import pandas as pd
from django.http import HttpRequest

from alphastrat.core.tables import Column
from alphastrat.marketdata.chart_additions import Drawn
from alphastrat.marketdata.models import Instrument
from portfolio.models import Position

COLUMNS = (
    Column("account.strategy.name", "Strategy", link="account.strategy.get_absolute_url"),
    Column("quantity", "Quantity", "price", options={"places": 4}),
    Column("average_price", "Average price", "price"),
    Column("mark_price", "Marked at", "price"),
    Column("value", "Value", "money"),
    Column("unrealised", "Unrealised P&L", "signed_money"),
    Column("entered_at", "Since", "time"),
)


class PositionAddition:
    """The positions of one's strategies in the instrument; nothing is drawn."""

    template = "portfolio/_instrument_positions.html"

    def controls(self, request: HttpRequest, instrument: Instrument) -> dict[str, Any]:
        held = Position.objects.for_user(request.user).held().filter(instrument=instrument)
        rows = held.select_related("account__strategy").order_by("account__strategy__name")
        return {"positions": rows, "columns": COLUMNS}

    def draw(
        self, request: HttpRequest, instrument: Instrument, bars: pd.DataFrame, *, n_shown: int
    ) -> Drawn:
        return Drawn()
