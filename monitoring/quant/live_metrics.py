"""The metrics that threshold rules look at: now, for all strategies at once, and bar by bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from monitoring.quant.metric_catalogue import METRICS, LiveMetric
from monitoring.quant.observations import LiveObservations

__all__ = [
    "METRICS",
    "OF_CURVES",
    "OF_VERDICTS",
    "Curves",
    "LiveMetric",
    "curve_paths",
    "curve_values",
    "metric_values",
    "periods_per_year",
]

DAY_US = 86_400_000_000
YEAR_US = 365.25 * DAY_US


OF_VERDICTS = frozenset({"envelope_percentile", "e_value", "health_score"})
_OF_TRIPS = frozenset({"win_rate", "trades_per_week", "slippage_bps"})


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Series of strategies or portfolios, newest bar in the last column.

    Attributes
    ----------
    times : ndarray of int, shape (n, T)
        Close of each bar in microseconds since 1970 UTC; 0 where there is none.
    returns, exposure, shadow : ndarray of shape (n, T)
        As in `LiveObservations`; NaN where absent.
    periods_per_year : ndarray of shape (n,)
        Bars per year.
    """

    times: IntArray
    returns: FloatArray
    exposure: FloatArray
    shadow: FloatArray
    periods_per_year: FloatArray

    @classmethod
    def of(cls, observations: LiveObservations) -> Curves:
        """Return the series of live strategies."""
        years = periods_per_year(observations.times)
        promised = observations.promise.get("periods_per_year", np.full(len(years), np.nan))
        return cls(
            observations.times,
            observations.returns,
            observations.exposure,
            observations.shadow,
            np.where(np.isnan(promised), years, promised),
        )

    @classmethod
    def of_returns(
        cls, returns: FloatArray, *, periods_per_year: float, times: IntArray | None = None
    ) -> Curves:
        """Return simulated or reference series of shape (n, T), with days made up if need be."""
        n, length = returns.shape
        if times is None:
            bars_a_day = max(round(periods_per_year / 252), 1)
            bars = np.arange(length)
            times = (bars // bars_a_day + 1) * DAY_US + bars % bars_a_day
        missing = np.full(returns.shape, np.nan)
        grid = np.broadcast_to(times, returns.shape)
        return cls(grid, returns, missing, missing, np.full(n, periods_per_year))


def periods_per_year(times: IntArray) -> FloatArray:
    """Return bars per year as the spacing of bars has it.

    Parameters
    ----------
    times : ndarray of int, shape (n, T)
        Microseconds since 1970 UTC, increasing; 0 where there is no bar.

    Returns
    -------
    ndarray of shape (n,)
        NaN for fewer than two bars.
    """
    n_bars = (times > 0).sum(axis=1)
    if times.shape[1] == 0:
        return np.full(len(times), np.nan)
    first = np.where(times > 0, times, np.iinfo(np.int64).max).min(axis=1)
    span = np.where(n_bars > 1, times[:, -1] - first, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span > 0, (n_bars - 1) * YEAR_US / span, np.nan)


def metric_values(
    observations: LiveObservations,
    key: str,
    window: int | None = None,
    *,
    verdicts: Mapping[str, FloatArray] | None = None,
    minimum: int = 1,
) -> FloatArray:
    """Return a metric of every live strategy now.

    Parameters
    ----------
    observations : LiveObservations
        What is known of n strategies.
    key : str
        A key of `METRICS`.
    window : int, optional
        Bars that count; all of them by default.
    verdicts : mapping of str to ndarray of shape (n,)
        Values of `OF_VERDICTS`.
    minimum : int
        Observations below which nothing is known: bars, round trips, fills or signals.

    Returns
    -------
    ndarray of shape (n,)
        In the unit of the metric, fractions where it prints percent; NaN where undefined.
    """
    n = observations.shape[0]
    if key in OF_VERDICTS:
        found = (verdicts or {}).get(key, np.full(n, np.nan))
        return np.where(observations.n_bars >= minimum, found, np.nan)
    if key == "days_since_bar":
        newest = observations.newest
        present = np.maximum(observations.present, newest)
        return np.where(newest > 0, (present - newest) / DAY_US, np.nan)
    if key == "signal_divergence":
        length = observations.shape[1]
        first = 0 if window is None else max(length - window, 0)
        return observations.signals.since(np.full(n, first)).share_differing(minimum=minimum)
    if key in _OF_TRIPS:
        return _of_trips(observations, key, window, minimum=minimum)
    return curve_values(Curves.of(observations), key, window, minimum=minimum)


def curve_values(
    curves: Curves, key: str, window: int | None = None, *, minimum: int = 1
) -> FloatArray:
    """Return a metric of series at their newest bar; see `metric_values`.

    Parameters
    ----------
    curves : Curves
        Series of n subjects.
    key : str
        A metric that follows from series.
    window : int, optional
        Bars that count.
    minimum : int
        Bars below which nothing is known.

    Returns
    -------
    ndarray of shape (n,)
        NaN where undefined.
    """
    span = slice(None) if window is None else slice(-window, None)
    returns = curves.returns[:, span]
    if returns.shape[1] == 0:
        return np.full(len(returns), np.nan)
    cut = Curves(
        curves.times[:, span],
        returns,
        curves.exposure[:, span],
        curves.shadow[:, span],
        curves.periods_per_year,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _NEWEST[key](cut)
    enough = (~np.isnan(returns)).sum(axis=1) >= minimum
    return np.where(enough, values, np.nan)


def _day_return(curves: Curves) -> FloatArray:
    day = curves.times // DAY_US
    today = (day == day[:, -1:]) & ~np.isnan(curves.returns)
    growth = np.where(today, 1.0 + np.nan_to_num(curves.returns), 1.0).prod(axis=1)
    return np.where(today.any(axis=1), growth - 1.0, np.nan)


def _growth(returns: FloatArray) -> FloatArray:
    return np.asarray(np.cumprod(1.0 + np.nan_to_num(returns), axis=1))


def _total_return(curves: Curves) -> FloatArray:
    return _growth(curves.returns)[:, -1] - 1.0


def _drawdown(curves: Curves) -> FloatArray:
    growth = _growth(curves.returns)
    return growth[:, -1] / np.maximum(growth.max(axis=1), 1.0) - 1.0


def _moments(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and sample deviation by row; the deviation of equal values is exactly zero."""
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    mean = np.where(known, values, 0.0).sum(axis=1) / n
    centred = np.where(known, values - mean[:, None], 0.0)
    variance = (centred**2).sum(axis=1) / np.where(n > 1, n - 1, np.nan)
    return mean, np.where(variance > 1e-24, np.sqrt(variance), np.where(n > 1, 0.0, np.nan))


def _volatility(curves: Curves) -> FloatArray:
    return _moments(curves.returns)[1] * np.sqrt(curves.periods_per_year)


def _sharpe_ratio(curves: Curves) -> FloatArray:
    mean, deviation = _moments(curves.returns)
    ratio = mean / np.where(deviation > 0, deviation, np.nan)
    return np.asarray(ratio * np.sqrt(curves.periods_per_year))


def _tracking_error(curves: Curves) -> FloatArray:
    return _moments(curves.returns - curves.shadow)[1] * np.sqrt(curves.periods_per_year)


def _correlation(curves: Curves) -> FloatArray:
    absent = np.isnan(curves.returns) | np.isnan(curves.shadow)
    live = np.where(absent, np.nan, curves.returns)
    shadow = np.where(absent, np.nan, curves.shadow)
    (mean_x, spread_x), (mean_y, spread_y) = _moments(live), _moments(shadow)
    product = (live - mean_x[:, None]) * (shadow - mean_y[:, None])
    n = (~absent).sum(axis=1)
    covariance = np.where(absent, 0.0, product).sum(axis=1) / np.where(n > 1, n - 1, np.nan)
    scale = spread_x * spread_y
    return np.clip(covariance / np.where(scale > 0, scale, np.nan), -1.0, 1.0)


_NEWEST: dict[str, Callable[[Curves], FloatArray]] = {
    "day_return": _day_return,
    "total_return": _total_return,
    "drawdown": _drawdown,
    "volatility": _volatility,
    "sharpe_ratio": _sharpe_ratio,
    "tracking_error": _tracking_error,
    "correlation_with_shadow": _correlation,
    "exposure": lambda curves: curves.exposure[:, -1],
}
OF_CURVES = frozenset(_NEWEST)


def curve_paths(curves: Curves, key: str, window: int | None = None) -> FloatArray:
    """Return a metric of series at every bar, as it would have been known then.

    Parameters
    ----------
    curves : Curves
        Series of n subjects over T bars.
    key : str
        A metric that follows from series.
    window : int, optional
        Bars that count; all before by default.

    Returns
    -------
    ndarray of shape (n, T)
        NaN where undefined. The last column equals `curve_values`.

    Raises
    ------
    ValueError
        If the metric does not follow from series.
    """
    if key not in OF_CURVES:
        raise ValueError(f"{key!r} does not follow from series")
    n, length = curves.returns.shape
    if length == 0:
        return np.empty((n, 0))
    size = length if window is None else min(window, length)
    if key in _PATHS and window is None:
        return _PATHS[key](curves)
    if key == "exposure":
        return curves.exposure
    return _rolled(curves, key, size)


def _rolled(curves: Curves, key: str, size: int) -> FloatArray:
    """Evaluate the window that ends at each bar, as rows of one tall table, in slices."""
    n, length = curves.returns.shape
    parts = [_windows(part, size) for part in (curves.times, curves.returns, curves.shadow)]
    result = np.full((n, length), np.nan)
    step = max(1, 4_000_000 // (n * size))
    for first in range(0, length, step):
        times, returns, shadow = (part[:, first : first + step] for part in parts)
        width = returns.shape[1]
        cut = Curves(
            times.reshape(-1, size),
            returns.reshape(-1, size),
            np.empty((n * width, size)),
            shadow.reshape(-1, size),
            np.repeat(curves.periods_per_year, width),
        )
        known = (~np.isnan(cut.returns)).any(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(known, _NEWEST[key](cut), np.nan)
        result[:, first : first + step] = values.reshape(n, width)
    return result


def _windows(values: Any, size: int) -> Any:
    """Return the `size` newest values at every column, padded in front; shape (n, T, size)."""
    empty = 0 if values.dtype.kind == "i" else np.nan
    padded = np.pad(values, ((0, 0), (size - 1, 0)), constant_values=empty)
    return np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)


def _day_return_path(curves: Curves) -> FloatArray:
    growth = np.log1p(np.nan_to_num(curves.returns)).cumsum(axis=1)
    day = curves.times // DAY_US
    starts = np.ones(day.shape, np.bool_)
    starts[:, 1:] = day[:, 1:] != day[:, :-1]
    columns = np.arange(day.shape[1])
    first = np.maximum.accumulate(np.where(starts, columns, 0), axis=1)
    before = np.where(first > 0, np.take_along_axis(growth, np.maximum(first - 1, 0), axis=1), 0.0)
    return np.where(np.isnan(curves.returns), np.nan, np.expm1(growth - before))


def _total_return_path(curves: Curves) -> FloatArray:
    return np.where(np.isnan(curves.returns), np.nan, _growth(curves.returns) - 1.0)


def _drawdown_path(curves: Curves) -> FloatArray:
    growth = _growth(curves.returns)
    peak = np.maximum(np.maximum.accumulate(growth, axis=1), 1.0)
    return np.where(np.isnan(curves.returns), np.nan, growth / peak - 1.0)


_PATHS: dict[str, Callable[[Curves], FloatArray]] = {
    "day_return": _day_return_path,
    "total_return": _total_return_path,
    "drawdown": _drawdown_path,
}


def _of_trips(
    observations: LiveObservations, key: str, window: int | None, *, minimum: int
) -> FloatArray:
    n, length = observations.shape
    first = 0 if window is None else max(length - window, 0)
    trips = observations.trips
    if key == "slippage_bps":
        gaps = observations.fill_gaps_bps
        inside = gaps.column >= first
        return _means(gaps.row[inside], gaps.value[inside], n, minimum=minimum)
    if key == "win_rate":
        inside = trips.exited >= first
        wins = (trips.returns[inside] > 0).astype(np.float64)
        return _means(trips.row[inside], wins, n, minimum=minimum)
    inside = trips.entered >= first
    entered = np.bincount(trips.row[inside], minlength=n)
    times = observations.times[:, first:]
    n_bars = (times > 0).sum(axis=1)
    # A bar covers the time since the one before; the first one counts for an average bar.
    weeks = n_bars / periods_per_year(observations.times) * (365.25 / 7)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = entered / weeks
    return np.where(n_bars >= max(minimum, 1), rate, np.nan)


def _means(row: IntArray, values: FloatArray, n: int, *, minimum: int) -> FloatArray:
    count = np.bincount(row, minlength=n)
    total = np.bincount(row, weights=values, minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count >= max(minimum, 1), total / count, np.nan)
