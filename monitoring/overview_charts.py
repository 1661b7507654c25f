"""The figure of the first page: live strategies together, inside their envelope."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Chart, Figure, Panel
from alphastrat.core.formatting import count, percent, signed_percent
from alphastrat.quant.types import FloatArray
from monitoring.quant.cone import BANDS, LEVELS
from monitoring.services.live_performance import LivePerformance

_PAIRS = ((0.025, 0.975, BANDS[2]), (0.1, 0.9, BANDS[1]), (0.25, 0.75, BANDS[0]))


def performance(found: LivePerformance) -> Chart:
    """Draw what live strategies earned together over what their backtests promised."""
    path, times = found.path, found.times
    low, high = _level(found, 0.025), _level(found, 0.975)
    caption = _caption(found, float(low[-1]), float(high[-1]))

    def draw() -> Figure:
        traces: list[dict[str, Any]] = []
        for below, above, share in _PAIRS:
            edges = (_level(found, below).tolist(), _level(found, above).tolist())
            traces += charts.band(times, *edges, name=f"{percent(share, 0)} of paths")
        traces.append(charts.line(times, path.expected, name="Promised", role="backtest"))
        traces.append(charts.line(times, path.live, name="Live", role="live"))
        return charts.figure(traces, panels=(Panel("Return", "percent"),), summary=caption)

    return Chart(
        key="live-performance",
        title="Live against what the backtests promised",
        caption=caption,
        svg=charts.preview({"backtest": path.expected, "live": path.live}, band=(low, high)),
        draw=draw,
        columns=("time", "live", "promised", "low_95", "high_95", "low_50", "high_50"),
        rows=lambda: zip(
            times,
            path.live,
            path.expected,
            low,
            high,
            _level(found, 0.25),
            _level(found, 0.75),
            strict=True,
        ),
    )


def _level(found: LivePerformance, level: float) -> FloatArray:
    return np.asarray(found.path.quantiles[:, LEVELS.index(level)])


def _caption(found: LivePerformance, low: float, high: float) -> str:
    live, expected = float(found.path.live[-1]), float(found.path.expected[-1])
    who = "The strategy stands" if found.n_accounts == 1 else f"{found.n_accounts} strategies stand"
    if found.n_promised > found.n_accounts:
        who = f"The largest {found.n_accounts} of {count(found.n_promised)} strategies stand"
    place = "below" if live < low else "above" if live > high else "inside"
    return (
        f"{who} at {signed_percent(live)} since {found.times[0]:%-d %b %Y}, where "
        f"{signed_percent(expected)} was expected: {place} what 95 % of promised paths allow, "
        f"{signed_percent(low)} to {signed_percent(high)}. Bands are added up as if all "
        "strategies moved together."
    )
