"""Figures of instruments."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
from django.utils.safestring import SafeString

from alphastrat.core import charts
from alphastrat.core.charts import Figure, Panel


def price_figure(bars: pd.DataFrame, *, symbol: str, summary: str) -> Figure:
    """Draw candles with their volume below."""
    shown = bars.iloc[-charts.MAX_BARS :]
    times: list[datetime] = list(shown.index)
    traces = [
        charts.candlesticks(shown, name=symbol),
        charts.columns(times, shown["volume"], name="Volume", role="volume", panel=2),
    ]
    panels = (Panel("Price", "price", 3.5), Panel("Volume", "count", 1.0))
    return charts.figure(traces, panels=panels, summary=summary, legend=False)


def price_preview(bars: pd.DataFrame) -> SafeString:
    """Draw the closes as the picture that comes with the page."""
    closes = bars["close"].iloc[-charts.MAX_BARS :].to_numpy()
    return charts.svg_preview({"price": closes})
