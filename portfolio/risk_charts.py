"""Figures of a portfolio's risk."""

from __future__ import annotations

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Figure, Panel
from alphastrat.core.formatting import percent, signed_percent
from alphastrat.quant.types import FloatArray
from portfolio.performance_charts import instants
from portfolio.quant.value_at_risk import VarMethod, rolling_value_at_risk
from portfolio.services.risk_metrics import BACKTEST_WINDOW, TailView

ROLLING_BARS = 63


def tail_figure(tail: TailView) -> Figure:
    """Draw the returns of today's weights against what their value at risk promised."""
    times = instants(tail.returns.dates)
    window = min(BACKTEST_WINDOW, max(30, len(times) // 2))
    promised = rolling_value_at_risk(
        tail.portfolio_returns, window=window, confidence=0.95, method=VarMethod.HISTORICAL
    )
    swings = _rolling_volatility(tail.portfolio_returns)
    broken = tail.portfolio_returns < promised
    traces = [
        charts.columns(times, tail.portfolio_returns.tolist(), name="Return", role="pnl"),
        charts.line(times, promised, name="Value at risk, 95 %", role="limit"),
        charts.line(times, swings, name="Volatility", role="volume", panel=2),
    ]
    panels = (Panel("Return of a day", "percent", 2.0), Panel("Volatility", "percent", 1.0))
    return charts.figure(traces, panels=panels, summary=tail_words(tail, int(broken.sum())))


def tail_words(tail: TailView, n_broken: int | None = None) -> str:
    """Say what the figure of returns shows."""
    worst = int(np.argmin(tail.portfolio_returns))
    words = (
        f"Today's weights over {len(tail.returns.dates)} days: the worst was "
        f"{signed_percent(tail.portfolio_returns[worst])}, the volatility is "
        f"{percent(tail.volatility)} a year."
    )
    if n_broken is not None:
        words += f" {n_broken} days lost more than the value at risk made from the days before."
    return words


def _rolling_volatility(returns: FloatArray) -> FloatArray:
    found = np.full(returns.shape, np.nan)
    if len(returns) >= ROLLING_BARS:
        windows = np.lib.stride_tricks.sliding_window_view(returns, ROLLING_BARS)
        found[ROLLING_BARS - 1 :] = windows.std(axis=1, ddof=1) * 252.0**0.5
    return found
