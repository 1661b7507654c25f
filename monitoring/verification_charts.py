"""The figures of verification: envelope, evidence, fills against the shadow, and gaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Chart, Figure, Panel
from alphastrat.core.formatting import basis_points, percent, ratio, signed_percent
from alphastrat.quant.rolling import half_year, rolling_sharpe
from alphastrat.quant.statistics import sharpe_standard_error
from alphastrat.quant.types import FloatArray
from monitoring.quant import budget, status
from monitoring.quant.cone import BANDS, LEVELS
from monitoring.quant.control_charts import LIMIT, SLACK, cusum
from monitoring.quant.live_metrics import Curves
from monitoring.services.gap_ledger import ExplainedGap
from monitoring.services.performance_validator import Examined

# Deviations either side of the mean that hold nine tenths of a normal law.
NINE_TENTHS = 1.6449
DETECTOR_NAMES = ("Mean return", "Win rate", "Round trips", "Fills", "Missed and extra")


def envelope(found: Examined) -> Chart:
    """Draw the live account inside what its backtest allows for."""
    times, position = list(found.times), found.assessment.paths.position[0][found.kept]
    growth = np.exp(found.assessment.paths.growth[0][found.kept])
    rows = _cone_rows(found, position)
    share = found.assessment.percentile[0]
    place = "" if math.isnan(share) else f", at percentile {100 * share:.0f} of the envelope"
    caption = (
        f"The live account stands at {signed_percent(growth[-1] - 1)} since the evidence began"
        f"{place}. The bands hold 50, 80 and 95 % of healthy paths at each bar."
        if len(times)
        else "The first bar of live trading will be drawn here."
    )

    def draw() -> Figure:
        traces: list[dict[str, Any]] = []
        for low, high, name in _bands(rows):
            traces += charts.band(times, low.tolist(), high.tolist(), name=name)
        traces.append(charts.line(times, rows["centre"], name="Expected", role="backtest"))
        traces.append(charts.line(times, growth, name="Live", role="live"))
        return charts.figure(traces, panels=(Panel("Growth from 1", "ratio"),), summary=caption)

    return Chart(
        ranges=False,
        key="envelope",
        title="Live against its envelope",
        caption=caption,
        svg=charts.preview({"backtest": rows["centre"], "live": growth}),
        draw=draw,
        columns=("time", "live", "expected", "low_95", "high_95", "low_50", "high_50"),
        rows=lambda: zip(
            times,
            growth,
            rows["centre"],
            rows[0.025],
            rows[0.975],
            rows[0.25],
            rows[0.75],
            strict=True,
        ),
        is_empty=not len(times),
    )


def evidence(found: Examined) -> Chart:
    """Draw the evidence of all checks together, and of each detector against its level."""
    times = list(found.times)
    combined = np.exp(np.clip(found.assessment.log_e[0][found.kept], -14.0, 14.0))
    shares = _shares(found)
    value = float(combined[-1]) if len(times) else 1.0
    caption = (
        f"Evidence of {value:.3g} against the promise; {status.DEGRADED_E:.0f} is enough for "
        f"degraded and {status.FAILED_E:,.0f} for failed, however often one looks."
    )

    def draw() -> Figure:
        traces = [charts.line(times, combined, name="All together", role="live")]
        roles = [f"series-{k + 2}" for k in range(len(shares))]
        for role, (name, values) in zip(roles, shares.items(), strict=True):
            traces.append(charts.line(times, values, name=name, role=role, panel=2))
        shapes = [
            charts.limit_line(status.DEGRADED_E, text="Degraded"),
            charts.limit_line(1.0, panel=2, text="Watch"),
        ]
        panels = (
            Panel("E, logarithmic", "ratio", 1.0, log=True),
            Panel("R over its level", "ratio"),
        )
        return charts.figure(traces, panels=panels, summary=caption, shapes=shapes)

    return Chart(
        ranges=False,
        key="evidence",
        title="Evidence against the promise",
        caption=caption,
        svg=charts.preview({"live": np.log10(combined)}),
        draw=draw,
        columns=("time", "e_value", *(name for name in shares)),
        rows=lambda: zip(times, combined, *shares.values(), strict=True),
        is_empty=not len(times),
    )


def fills(found: Examined) -> Chart:
    """Draw the mean difference between live and shadow fills with its confidence sequence."""
    gaps = found.assessment.gaps
    kept = found.kept & ~np.isnan(gaps.mean[0])
    times = list(found.all_times[kept])
    mean, low, high = (part[0][kept] * 1e4 for part in (gaps.mean, gaps.lower, gaps.upper))
    bound = float(found.assessment.gap_tolerance[0]) * 1e4
    caption = (
        f"Live less shadow {mean[-1]:.1f} bp per fill; the interval holds with 95 % at every "
        f"moment. Inside ±{bound:.0f} bp the two count as the same."
        if len(times)
        else "Fills of the account and of its shadow will be compared here."
    )

    def draw() -> Figure:
        traces = charts.band(times, low.tolist(), high.tolist(), name="95 %, at any time")
        traces.append(charts.line(times, mean, name="Live less shadow", role="live"))
        shapes = [charts.limit_line(value) for value in (-bound, bound) if not math.isnan(bound)]
        return charts.figure(
            traces, panels=(Panel("bp per fill", "ratio"),), summary=caption, shapes=shapes
        )

    return Chart(
        ranges=False,
        key="fills",
        title="Fills against the shadow",
        caption=caption,
        svg=charts.preview({"live": mean}),
        draw=draw,
        columns=("time", "mean_bps", "low_bps", "high_bps"),
        rows=lambda: zip(times, mean, low, high, strict=True),
        is_empty=not len(times),
    )


def drift(found: Examined) -> Chart:
    """Draw the classical CUSUM of returns, which people know, and its limit."""
    promise = found.observations.promise
    returns = found.observations.returns
    with np.errstate(divide="ignore", invalid="ignore"):
        standardised = (returns - promise["mean"][0]) / promise["deviation"][0]
    upper, lower = (part[0][found.kept] for part in cusum(standardised, slack=SLACK))
    times = list(found.times)
    caption = (
        f"Two-sided CUSUM with allowance {SLACK} and limit {LIMIT}: one false signal in 370 bars "
        "on average, so it is shown and not counted."
    )

    def draw() -> Figure:
        traces = [
            charts.line(times, upper, name="Better than promised", role="profit"),
            charts.line(times, -lower, name="Worse than promised", role="loss"),
        ]
        shapes = [charts.limit_line(value) for value in (LIMIT, -LIMIT)]
        return charts.figure(
            traces, panels=(Panel("Deviations", "ratio"),), summary=caption, shapes=shapes
        )

    is_empty = not len(times) or bool(np.isnan(promise["deviation"][0]))
    return Chart(
        ranges=False,
        key="drift",
        title="CUSUM of returns",
        caption=caption if not is_empty else "There is no promise to compare with yet.",
        svg=charts.preview({"profit": upper, "loss": -lower}),
        draw=draw,
        columns=("time", "upper", "lower"),
        rows=lambda: zip(times, upper, lower, strict=True),
        is_empty=is_empty,
    )


def live_sharpe(found: Examined) -> Chart:
    """Draw the Sharpe ratio of the last half year of live trading beside what was promised.

    The band is where nine of ten windows lie that keep the promise, if bars are independent.
    """
    seen = found.observations
    known = ~np.isnan(seen.returns[0])
    times = list(found.all_times[known])
    year = float(np.nan_to_num(Curves.of(seen).periods_per_year[0], nan=252.0))
    n_bars, promised = half_year(year), float(seen.promise["sharpe"][0])
    values = rolling_sharpe(seen.returns[0][known], periods_per_year=year, window=n_bars)
    scale = math.sqrt(year)
    width = NINE_TENTHS * sharpe_standard_error(promised, n_bars)
    low, high = (promised - width) * scale, (promised + width) * scale
    caption = _sharpe_words(values, n_bars, promised * scale, low, high)

    def draw() -> Figure:
        traces: list[dict[str, Any]] = []
        shapes = []
        if not math.isnan(promised):
            edges = ([edge] * len(times) for edge in (low, high))
            traces += charts.band(times, *edges, name="90 % of windows that keep the promise")
            shapes = [charts.limit_line(promised * scale, text="Promised")]
        traces.append(charts.line(times, values, name=f"Live, {n_bars} bars", role="live"))
        return charts.figure(
            traces, panels=(Panel("Sharpe ratio", "ratio"),), summary=caption, shapes=shapes
        )

    return Chart(
        ranges=False,
        key="live-sharpe",
        title="Rolling Sharpe ratio, live",
        caption=caption,
        svg=charts.preview({"live": values}),
        draw=draw,
        columns=("time", "sharpe_ratio", "promised", "low_90", "high_90"),
        rows=lambda: (
            (*one, promised * scale, low, high) for one in zip(times, values, strict=True)
        ),
        is_empty=not np.isfinite(values).any(),
    )


def _sharpe_words(values: FloatArray, n_bars: int, promised: float, low: float, high: float) -> str:
    known = values[np.isfinite(values)]
    if len(values) < n_bars:
        return f"Insufficient data: {len(values)} of the {n_bars} live bars that one window holds."
    if not len(known):
        return f"Nothing moved in any window of {n_bars} bars."
    words = (
        f"Over the newest {n_bars} bars the Sharpe ratio is {ratio(values[-1])}; over all live "
        f"bars it ran from {ratio(known.min())} to {ratio(known.max())}."
    )
    if math.isnan(promised):
        return f"{words} There is no promise to compare with yet."
    return (
        f"{words} Promised is {ratio(promised)}: if that is kept, and bars are independent, nine "
        f"of ten windows lie between {ratio(low)} and {ratio(high)}."
    )


def overlay(gap: ExplainedGap) -> Chart:
    """Draw the live account over its shadow, and the difference below."""
    times, difference = list(gap.times), _cleared((gap.live - gap.shadow) * 1e4)
    caption = (
        f"Live {signed_percent(gap.live[-1] - 1)}, the same version on the same bars "
        f"{signed_percent(gap.shadow[-1] - 1)}: a gap of {basis_points(gap.ledger.gap_bps)}."
    )

    def draw() -> Figure:
        traces = [
            charts.line(times, gap.shadow, name="Shadow", role="backtest"),
            charts.line(times, gap.live, name="Live", role="live"),
            charts.line(
                times, difference, name="Live less shadow", role="series-2", panel=2, fill=True
            ),
        ]
        panels = (Panel("Growth from 1", "ratio", 3.0), Panel("bp", "ratio", 1.0))
        return charts.figure(traces, panels=panels, summary=caption)

    return Chart(
        ranges=False,
        key="overlay",
        title="Live over its shadow",
        caption=caption,
        svg=charts.preview({"backtest": gap.shadow, "live": gap.live}),
        draw=draw,
        columns=("time", "live", "shadow", "difference_bps"),
        rows=lambda: zip(times, gap.live, gap.shadow, difference, strict=True),
    )


def waterfall(gap: ExplainedGap) -> Chart:
    """Draw how the causes add up to the gap between the shadow's return and the live one."""
    labels = [*(one["label"] for one in gap.causes), "Gap"]
    values = [*(one["bps"] for one in gap.causes), gap.ledger.gap_bps]
    unexplained = basis_points(abs(gap.causes[-1]["bps"]))
    caption = f"{gap.largest_cause}; {unexplained} stay unexplained."

    def draw() -> Figure:
        trace = charts.waterfall(
            labels, _cleared(np.array(values)).tolist(), name="bp", totals=("Gap",)
        )
        return charts.figure(
            [trace], panels=(Panel("bp", "ratio"),), summary=caption, time_axis=False, legend=False
        )

    return Chart(
        ranges=False,
        key="waterfall",
        title="From shadow to live",
        caption=caption,
        svg=charts.preview({"pnl": np.cumsum(values[:-1])}),
        draw=draw,
        columns=("cause", "bps"),
        rows=lambda: zip(labels, values, strict=True),
    )


EXAMINED = {"envelope": envelope, "evidence": evidence, "fills": fills, "drift": drift}
# Those of the verification's own page, and those of the strategy's.
OF_EXAMINED = {**EXAMINED, "live-sharpe": live_sharpe}
EXPLAINED = {"overlay": overlay, "waterfall": waterfall}


def _cleared(bps: FloatArray) -> FloatArray:
    """Return basis points without what is only rounding, which an axis would blow up."""
    return np.round(bps, 2) + 0.0


def _cone_rows(found: Examined, position: Any) -> dict[Any, FloatArray]:
    envelopes = found.observations.envelopes
    n_horizon = int(envelopes.horizon[0])
    if not n_horizon:
        nothing = np.full(len(position), np.nan)
        return {"centre": nothing, **dict.fromkeys(LEVELS, nothing)}
    at = np.clip(position, 0, n_horizon - 1)
    known = position >= 0
    rows: dict[Any, FloatArray] = {
        "centre": np.where(known, np.exp(envelopes.centre[0][at]), np.nan)
    }
    for k, level in enumerate(LEVELS):
        rows[level] = np.where(known, np.exp(envelopes.quantiles[0][at, k]), np.nan)
    return rows


def _bands(rows: dict[Any, FloatArray]) -> list[tuple[FloatArray, FloatArray, str]]:
    pairs = ((0.025, 0.975, BANDS[2]), (0.1, 0.9, BANDS[1]), (0.25, 0.75, BANDS[0]))
    return [(rows[low], rows[high], f"{percent(share, 0)} of paths") for low, high, share in pairs]


def _shares(found: Examined) -> dict[str, FloatArray]:
    """Return each detector's R over its level for "watch", for those that have observations."""
    shares = {}
    for k, name in enumerate(DETECTOR_NAMES[: len(budget.DETECTORS)]):
        part = found.assessment.evidence[k]
        level = found.assessment.log_levels[0, k]
        if math.isnan(level) or not part.n_observations[0].any():
            continue
        over = part.log_r[0][found.kept] - level
        shares[name] = np.exp(np.clip(over, -14.0, 3.0))
    return shares
