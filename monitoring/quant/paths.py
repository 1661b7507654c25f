"""Growth, drawdown and place in the year of live accounts; how live follows its shadow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.compiled import compiled


@dataclass(frozen=True, slots=True, eq=False)
class LivePaths:
    """Live accounts bar by bar, each of shape (n_strategies, n_bars).

    Attributes
    ----------
    position : ndarray of int
        Bar of the horizon, from 0; -1 before the first bar that counts.
    growth : ndarray
        Log return since the horizon began.
    drawdown : ndarray
        From the peak since the horizon began, fractions <= 0.
    whole_drawdown : ndarray
        From the highest equity ever, fractions <= 0.
    """

    position: IntArray
    growth: FloatArray
    drawdown: FloatArray
    whole_drawdown: FloatArray


def live_paths(returns: FloatArray, *, horizon: IntArray, first: IntArray) -> LivePaths:
    """Return the paths of live accounts, restarted whenever their horizon has passed.

    Parameters
    ----------
    returns : ndarray of shape (n_strategies, n_bars)
        Live returns per bar, NaN where absent.
    horizon : ndarray of int, shape (n_strategies,)
        Bars of a horizon, usually a year.
    first : ndarray of int, shape (n_strategies,)
        Column from which bars count.

    Returns
    -------
    LivePaths
        Carried forward over absent bars.
    """
    values = np.ascontiguousarray(returns, np.float64)
    position = np.full(values.shape, -1, np.int64)
    paths = np.zeros((3, *values.shape))
    _paths(values, np.asarray(horizon, np.int64), np.asarray(first, np.int64), position, paths)
    return LivePaths(position, paths[0], paths[1], paths[2])


def running_correlation(live: FloatArray, shadow: FloatArray) -> FloatArray:
    """Return the correlation of two sets of returns over all bars so far.

    Parameters
    ----------
    live, shadow : ndarray of shape (n_strategies, n_bars)
        Returns per bar; bars where either is NaN are left out.

    Returns
    -------
    ndarray of shape (n_strategies, n_bars)
        In [-1, 1]; NaN while either has not moved.
    """
    absent = np.isnan(live) | np.isnan(shadow)
    x, y = np.where(absent, 0.0, live), np.where(absent, 0.0, shadow)
    n = np.cumsum(~absent, axis=1)
    sums = [np.cumsum(part, axis=1) for part in (x, y, x * x, y * y, x * y)]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y, xx, yy, xy = (part / n for part in sums)
        spread = (xx - mean_x**2) * (yy - mean_y**2)
        result = (xy - mean_x * mean_y) / np.sqrt(spread)
    return np.where(spread > 1e-24, np.clip(result, -1.0, 1.0), np.nan)


@compiled
def _paths(
    returns: FloatArray,
    horizon: IntArray,
    first: IntArray,
    position: IntArray,
    paths: FloatArray,
) -> None:
    for i in range(returns.shape[0]):
        seen, growth, peak, total, highest = 0, 0.0, 0.0, 0.0, 0.0
        for t in range(returns.shape[1]):
            value = returns[i, t]
            if not np.isnan(value):
                # An account that has lost everything stays there.
                step = np.log1p(max(value, -1.0 + 1e-12))
                total += step
                highest = max(highest, total)
                if t >= first[i]:
                    if seen > 0 and seen % horizon[i] == 0:
                        growth, peak = 0.0, 0.0
                    growth += step
                    peak = max(peak, growth)
                    seen += 1
            position[i, t] = (seen - 1) % horizon[i] if seen > 0 else -1
            paths[0, i, t] = growth
            paths[1, i, t] = np.expm1(growth - peak)
            paths[2, i, t] = np.expm1(total - highest)
