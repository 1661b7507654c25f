"""Figures of a portfolio's profit and loss."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np

from alphastrat.core import charts, previews
from alphastrat.core.charts import Figure, Panel
from alphastrat.core.formatting import day, signed_money, signed_percent
from portfolio.services.portfolio_performance import Performance


def equity_words(performance: Performance) -> str:
    """Say what the equity figure shows."""
    if len(performance.days) < 2:
        return "The curve begins with the second session."
    total = float(np.prod(1.0 + performance.returns) - 1.0)
    worst = int(np.argmin(performance.drawdowns))
    words = (
        f"{signed_percent(total)} since {day(performance.days[0])}, capital that came or left "
        "not counted."
    )
    if performance.drawdowns[worst] < 0:
        words += (
            f" The deepest point was {signed_percent(performance.drawdowns[worst])} below the "
            f"peak, on {day(performance.days[worst])}."
        )
    return words


def equity_preview(performance: Performance) -> Any:
    """Draw the curve for the first response."""
    return previews.svg_preview({"equity": [float(one) for one in performance.equity]})


def equity_figure(performance: Performance) -> Figure:
    """Draw equity, drawdown and the profit and loss of each session below each other."""
    times = instants(performance.days)
    pnl = [float(one.pnl) for one in performance.history.days]
    equity = [float(one) for one in performance.equity]
    traces = [
        charts.line(times, equity, name="Equity", role="equity"),
        charts.line(
            times, performance.drawdowns, name="Below peak", role="drawdown", panel=2, fill=True
        ),
        charts.columns(times, pnl, name="Session", role="pnl", panel=3),
    ]
    panels = (
        Panel("Equity", "money", 3.0),
        Panel("Below peak", "percent", 1.0),
        Panel("Session", "money", 1.0),
    )
    return charts.figure(traces, panels=panels, summary=equity_words(performance))


def attribution_figure(names: Sequence[str], values: Sequence[float], total: float) -> Figure:
    """Draw how the strategies' results add up to the portfolio's."""
    labels = [*names, "Portfolio"]
    trace = charts.waterfall(labels, [*values, total], name="Result", totals=["Portfolio"])
    summary = f"The strategies add up to {signed_money(total)}."
    return charts.figure(
        [trace], panels=(Panel("Result", "money"),), summary=summary, time_axis=False
    )


def instants(days: Sequence[date]) -> list[datetime]:
    """Return the days as times, as figures take them."""
    return [datetime.combine(one, time(), UTC) for one in days]
