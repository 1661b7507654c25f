"""Figures of a portfolio's profit and loss."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np

from alphastrat.core import charts, previews
from alphastrat.core.charts import Figure, Panel
from alphastrat.core.formatting import day, signed_money, signed_percent
from portfolio.services.portfolio_performance import Performance, Period


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
    if performance.benchmark is not None:
        made = performance.benchmark_return(Period.ALL)
        words += f" The same sessions made {signed_percent(made)} of {performance.benchmark.label}."
    return words


def compared(performance: Performance, period: Period) -> str:
    """Say what the benchmark made in a period; nothing where that is not known."""
    made = performance.benchmark_return(period)
    if made is None or performance.benchmark is None:
        return ""
    return f"{signed_percent(made)} of {performance.benchmark.label}"


def equity_preview(performance: Performance) -> Any:
    """Draw the curve for the first response."""
    curves = {"equity": [float(one) for one in performance.equity]}
    if performance.in_benchmark is not None:
        curves["benchmark"] = performance.in_benchmark.tolist()
    return previews.svg_preview(curves)


def equity_figure(performance: Performance) -> Figure:
    """Draw equity, cumulative result, drawdown and the result of each session below each other."""
    times = instants(performance.days)
    pnl = np.array([float(one.pnl) for one in performance.history.days])
    equity = [float(one) for one in performance.equity]
    traces = [
        charts.line(times, equity, name="Equity", role="equity"),
        charts.line(times, pnl.cumsum(), name="P&L so far", role="series-2", panel=2),
        charts.line(
            times, performance.drawdowns, name="Below peak", role="drawdown", panel=3, fill=True
        ),
        charts.columns(times, pnl.tolist(), name="Session", role="pnl", panel=4),
    ]
    if performance.benchmark is not None and performance.in_benchmark is not None:
        name = f"Same capital in {performance.benchmark.label}"
        traces.append(charts.line(times, performance.in_benchmark, name=name, role="benchmark"))
    panels = (
        Panel("Equity", "money", 3.0),
        Panel("P&L so far", "money", 1.5),
        Panel("Below peak", "percent", 1.0),
        Panel("Session", "money", 1.0),
    )
    return charts.figure(traces, panels=panels, summary=equity_words(performance))


def attribution_figure(names: Sequence[str], values: Sequence[float], *, kind: str) -> Figure:
    """Draw how the results of strategies or instruments add up to the portfolio's."""
    labels, steps = [*names, "Portfolio"], [*values, sum(values)]
    trace = charts.waterfall(labels, steps, name="Result", totals=["Portfolio"])
    summary = attribution_words(names, values, kind=kind)
    return charts.figure(
        [trace], panels=(Panel("Result", "money"),), summary=summary, time_axis=False
    )


def attribution_words(names: Sequence[str], values: Sequence[float], *, kind: str) -> str:
    """Say what the waterfall shows; `kind` is "strategies" or "instruments"."""
    if not values:
        return f"No {kind} have brought anything yet."
    best, worst = int(np.argmax(values)), int(np.argmin(values))
    words = f"The {kind} add up to {signed_money(sum(values))}; {names[best]} brought most"
    if best == worst:
        return f"{words}."
    most, least = signed_money(values[best]), signed_money(values[worst])
    return f"{words} ({most}), {names[worst]} least ({least})."


def instants(days: Sequence[date]) -> list[datetime]:
    """Return the days as times, as figures take them."""
    return [datetime.combine(one, time(), UTC) for one in days]
