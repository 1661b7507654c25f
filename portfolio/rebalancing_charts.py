"""The figure of the trigger laboratory."""

from __future__ import annotations

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Figure, Panel
from alphastrat.core.formatting import percent
from portfolio.performance_charts import instants
from portfolio.services.laboratory import Laboratory

COMPARED = ("Never", "Monthly", "No-trade region, to the edge")


def laboratory_figure(laboratory: Laboratory) -> Figure:
    """Draw the growth under the own policy and three others, and when the own one traded."""
    times = instants(laboratory.returns.dates)
    shown = [laboratory.own, *(one for one in laboratory.results[1:] if one.name in COMPARED)]
    roles = ("equity", "series-2", "series-3", "series-4")
    traces = [
        charts.line(times, np.cumprod(1.0 + one.returns), name=one.name, role=role)
        for one, role in zip(shown, roles, strict=False)
    ]
    turned = charts.columns(
        times, laboratory.own.turned.tolist(), name="Turnover as set", role="volume", panel=2
    )
    panels = (Panel("Growth of 1", "ratio", 3.0), Panel("Turnover", "percent", 1.0))
    return charts.figure([*traces, turned], panels=panels, summary=laboratory_words(laboratory))


def laboratory_words(laboratory: Laboratory) -> str:
    """Say how the own policy compares."""
    own = laboratory.own
    return (
        f"As set now, {own.n_rebalances} rebalances in {len(laboratory.returns.dates)} days turn "
        f"over {percent(own.turnover, 0)} a year, cost {percent(own.cost)} and stay within "
        f"{percent(own.tracking_error)} of the targets."
    )
