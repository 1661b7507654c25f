"""Figures of instruments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from django.utils.safestring import SafeString

from alphastrat.core import charts
from alphastrat.core.charts import Figure, Panel
from alphastrat.marketdata.chart_additions import N_OWN_PANELS, Drawn

_PANELS = (Panel("Price", "price", 3.5), Panel("Volume", "count", 1.0))
SATURDAY = 5


def price_figure(
    bars: pd.DataFrame, *, symbol: str, summary: str, added: Sequence[Drawn] = ()
) -> Figure:
    """Draw candles with their volume below, and what was added by others."""
    shown = bars.iloc[-charts.MAX_BARS :]
    times: list[datetime] = list(shown.index)
    traces = [
        charts.candlesticks(shown, name=symbol),
        charts.columns(times, shown["volume"].tolist(), name="Volume", role="volume", panel=2),
    ]
    for trace in traces:
        trace["showlegend"] = False
    traces += [trace for one in added for trace in one.traces]
    drawn = charts.figure(
        traces,
        panels=[*_PANELS, *(panel for one in added for panel in one.panels)],
        summary=summary,
        legend=len(traces) > N_OWN_PANELS,
        shapes=[shape for one in added for shape in one.shapes],
    )
    drawn["layout"]["xaxis"]["rangebreaks"] = closed_days(pd.DatetimeIndex(shown.index))
    return drawn


def closed_days(index: pd.DatetimeIndex) -> list[dict[str, Any]]:
    """Return the days without a bar that a time axis leaves out: weekends and holidays.

    Markets that never close have none; an axis of weeks or months has no days to leave out.
    """
    days = index.normalize().tz_localize(None).unique()
    if len(days) < 2 or pd.Series(days).diff().median() > pd.Timedelta(days=1):
        return []
    absent = pd.date_range(days[0], days[-1]).difference(days)
    if len(absent) == 0:
        return []
    breaks: list[dict[str, Any]] = []
    if (absent.day_of_week >= SATURDAY).sum() and not (days.day_of_week >= SATURDAY).any():
        breaks.append({"bounds": ["sat", "mon"]})
        absent = absent[absent.day_of_week < SATURDAY]
    if len(absent):
        breaks.append({"values": [f"{day:%Y-%m-%d}" for day in absent]})
    return breaks


def price_preview(bars: pd.DataFrame) -> SafeString:
    """Draw the closes as the picture that comes with the page."""
    closes = bars["close"].iloc[-charts.MAX_BARS :].tolist()
    return charts.svg_preview({"price": closes})
