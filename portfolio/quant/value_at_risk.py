"""Value at risk and expected shortfall of a portfolio by four methods. Losses are negative."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alphastrat.quant.bootstrap import block_length
from alphastrat.quant.tail_measures import (
    conditional_value_at_risk,
    kurtosis,
    skewness,
    value_at_risk,
)
from alphastrat.quant.types import FloatArray, IntArray

LEAST_BARS = 30
N_PATHS = 10_000


class VarMethod(StrEnum):
    """How the distribution of the next return is guessed."""

    HISTORICAL = "historical"
    NORMAL = "normal"
    CORNISH_FISHER = "cornish_fisher"
    MONTE_CARLO = "monte_carlo"


@dataclass(frozen=True, slots=True)
class TailRisk:
    """What one method says.

    Attributes
    ----------
    value_at_risk, expected_shortfall : float
        Fractions over the horizon, usually negative; NaN with too few bars.
    is_valid : bool
        False for a Cornish-Fisher expansion outside the range of skewness and kurtosis in which
        it is a distribution.
    """

    value_at_risk: float
    expected_shortfall: float
    is_valid: bool = True


def tail_risk(
    returns: FloatArray,
    *,
    confidence: float,
    method: VarMethod,
    horizon: int = 1,
    rng: np.random.Generator | None = None,
    n_paths: int = N_PATHS,
) -> TailRisk:
    r"""Return the value at risk and the expected shortfall over a horizon.

    HISTORICAL takes overlapping windows of `horizon` bars; NORMAL and CORNISH_FISHER scale the
    moments of one bar (mean by h, deviation by :math:`\sqrt h`, skewness by :math:`1/\sqrt h`,
    excess kurtosis by 1/h); MONTE_CARLO compounds paths of the stationary block bootstrap.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns per bar as fractions, finite.
    confidence : float
        Share of outcomes above the value at risk, in (0, 1).
    method : VarMethod
        One of the four.
    horizon : int
        Bars ahead, >= 1.
    rng : numpy.random.Generator, optional
        Source of randomness of MONTE_CARLO, which needs one.
    n_paths : int
        Paths of MONTE_CARLO.

    Returns
    -------
    TailRisk
        NaN below 30 bars (of outcomes: windows for HISTORICAL).

    Raises
    ------
    ValueError
        If a return is not finite, the horizon is below 1, or a generator is missing.

    References
    ----------
    .. [1] Maillard (2012), "A user's guide to the Cornish Fisher expansion", SSRN 1997178.
    .. [2] Politis & Romano (1994), "The Stationary Bootstrap", JASA 89(428).
    """
    if returns.ndim != 1 or not np.isfinite(returns).all():
        raise ValueError("value at risk needs a one-dimensional series of finite returns")
    if horizon < 1:
        raise ValueError(f"the horizon is at least one bar, was {horizon}")
    if returns.size < LEAST_BARS:
        return TailRisk(float("nan"), float("nan"))
    if method in (VarMethod.NORMAL, VarMethod.CORNISH_FISHER):
        return _expansion(returns, confidence, horizon, is_normal=method is VarMethod.NORMAL)
    if method is VarMethod.HISTORICAL:
        outcomes = np.prod(1.0 + sliding_window_view(returns, horizon), axis=1) - 1.0
    elif rng is None:
        raise ValueError("Monte Carlo needs a random generator")
    else:
        rows = bootstrap_rows(len(returns), n_paths, horizon, rng=rng, block=block_length(returns))
        outcomes = np.prod(1.0 + returns[rows], axis=1) - 1.0
    if outcomes.size < LEAST_BARS:
        return TailRisk(float("nan"), float("nan"))
    return TailRisk(
        float(value_at_risk(outcomes, confidence=confidence)),
        float(conditional_value_at_risk(outcomes, confidence=confidence)),
    )


def is_expansion_valid(skew: float, excess: float) -> bool:
    r"""Return whether the Cornish-Fisher quantile rises with the probability everywhere.

    .. math:: \frac{S^2}{9} - 4 \left(\frac{K}{8} - \frac{S^2}{6}\right)
              \left(1 - \frac{K}{8} + \frac{5 S^2}{36}\right) \le 0

    Parameters
    ----------
    skew, excess : float
        Skewness S and excess kurtosis K.

    Returns
    -------
    bool
        False where the expansion is no distribution and its tail means nothing.

    References
    ----------
    .. [1] Maillard (2012), section 3.
    """
    square = skew * skew
    left = square / 9 - 4 * (excess / 8 - square / 6) * (1 - excess / 8 + 5 * square / 36)
    return left <= 0.0


def bootstrap_rows(
    n_bars: int, n_paths: int, horizon: int, *, rng: np.random.Generator, block: int
) -> IntArray:
    """Return positions of bars drawn by the stationary bootstrap, all paths at once.

    Parameters
    ----------
    n_bars : int
        Bars to draw from.
    n_paths, horizon : int
        Paths wanted and bars of each.
    rng : numpy.random.Generator
        Source of randomness; the same state gives the same paths.
    block : int
        Mean block length in bars, >= 1.

    Returns
    -------
    ndarray of int of shape (n_paths, horizon)
        In [0, n_bars); index several series with it and they keep their common days.

    References
    ----------
    .. [1] Politis & Romano (1994), section 2.
    """
    if min(n_bars, n_paths, horizon, block) < 1:
        raise ValueError(f"cannot draw {n_paths} paths of {horizon} bars from {n_bars}")
    rows = np.empty((n_paths, horizon), dtype=np.int64)
    rows[:, 0] = rng.integers(0, n_bars, n_paths)
    for bar in range(1, horizon):
        starts = rng.random(n_paths) < 1.0 / block
        rows[:, bar] = (rows[:, bar - 1] + 1) % n_bars
        rows[starts, bar] = rng.integers(0, n_bars, int(np.count_nonzero(starts)))
    return rows


def rolling_value_at_risk(
    returns: FloatArray,
    *,
    window: int,
    confidence: float,
    method: VarMethod,
    rng: np.random.Generator | None = None,
    n_paths: int = 2_000,
) -> FloatArray:
    """Return what each bar's value at risk was, made from the bars before it alone.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns per bar as fractions, finite.
    window : int
        Bars looked back upon, at least 30.
    confidence : float
        In (0, 1).
    method : VarMethod
        One of the four; one bar ahead.
    rng : numpy.random.Generator, optional
        Needed by MONTE_CARLO.
    n_paths : int
        Draws per bar of MONTE_CARLO.

    Returns
    -------
    ndarray of shape (n_bars,)
        Forecast *for* each bar, usually negative; NaN for the first `window` bars.

    Raises
    ------
    ValueError
        If the window is below 30 bars, or a generator is missing.
    """
    if window < LEAST_BARS:
        raise ValueError(f"the window is at least {LEAST_BARS} bars, was {window}")
    forecasts = np.full(returns.shape, np.nan)
    if returns.size <= window:
        return forecasts
    # The last window would forecast the bar after the end.
    past = sliding_window_view(returns, window)[:-1].T
    if method is VarMethod.HISTORICAL:
        forecasts[window:] = value_at_risk(np.ascontiguousarray(past), confidence=confidence)
    elif method is VarMethod.MONTE_CARLO:
        if rng is None:
            raise ValueError("Monte Carlo needs a random generator")
        # One bar ahead every block has length one.
        forecasts[window:] = _drawn_quantiles(past.T, n_paths, _tail(confidence), rng=rng)
    else:
        z = _quantile(confidence)
        quantiles = np.full(past.shape[1], z)
        if method is VarMethod.CORNISH_FISHER:
            quantiles = _adjusted(z, skewness(past), kurtosis(past) - 3.0)
        forecasts[window:] = past.mean(axis=0) + quantiles * past.std(axis=0)
    return forecasts


def _drawn_quantiles(
    windows: FloatArray, n_paths: int, share: float, *, rng: np.random.Generator
) -> FloatArray:
    """Return a quantile of `n_paths` draws from each window without making the draws.

    The two order statistics that a quantile lies between are those of as many uniform numbers,
    which are Beta distributed (David & Nagaraja 2003, "Order Statistics", section 2.5): only they
    are drawn.
    """
    n_windows, width = windows.shape
    position = (n_paths - 1) * share
    rank = int(position)
    lower = rng.beta(rank + 1, n_paths - rank, n_windows)
    upper = lower
    if rank + 1 < n_paths:
        upper = lower + (1.0 - lower) * rng.beta(1, n_paths - rank - 1, n_windows)
    ordered = np.sort(windows, axis=1)
    rows = np.arange(n_windows)
    below, above = (
        ordered[rows, np.minimum((one * width).astype(np.int64), width - 1)]
        for one in (lower, upper)
    )
    return np.asarray(below + (position - rank) * (above - below))


def _expansion(
    returns: FloatArray, confidence: float, horizon: int, *, is_normal: bool
) -> TailRisk:
    mean, deviation = float(returns.mean()) * horizon, float(returns.std()) * horizon**0.5
    if deviation <= 1e-12 * abs(mean):
        return TailRisk(mean, mean)
    skew = 0.0 if is_normal else float(skewness(returns)) / horizon**0.5
    excess = 0.0 if is_normal else (float(kurtosis(returns)) - 3.0) / horizon
    z = _quantile(confidence)
    # The mean of the expansion over the tail, in closed form by Hermite polynomials.
    tail = 1 + skew / 6 * z + excess / 24 * (z**2 - 1) - skew**2 / 36 * (2 * z**2 - 1)
    density = NormalDist().pdf(z) / _tail(confidence)
    return TailRisk(
        mean + float(_adjusted(z, skew, excess)) * deviation,
        mean - density * tail * deviation,
        is_valid=is_expansion_valid(skew, excess),
    )


def _adjusted(z: float, skew: FloatArray | float, excess: FloatArray | float) -> FloatArray:
    return np.asarray(
        z
        + (z**2 - 1) / 6 * np.asarray(skew)
        + (z**3 - 3 * z) / 24 * np.asarray(excess)
        - (2 * z**3 - 5 * z) / 36 * np.asarray(skew) ** 2
    )


def _tail(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), was {confidence}")
    return round(1.0 - confidence, 12)


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(_tail(confidence))
