"""Drawdown of equity curves: series, episodes, depth and duration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.returns import equity_curve
from alphastrat.quant.types import FloatArray, IntArray


def drawdown(equity: FloatArray) -> FloatArray:
    r"""Return the fractional loss from the running peak at every bar.

    .. math:: d_t = E_t / \max_{s \le t} E_s - 1

    Parameters
    ----------
    equity : ndarray of shape (n_bars,) or (n_bars, n_series)
        Account value at each bar close, in account currency, strictly positive.

    Returns
    -------
    ndarray of the same shape
        Fractions in (-1, 0]; -0.15 means 15 % below the peak.

    Raises
    ------
    ValueError
        If `equity` is empty, not one- or two-dimensional, or has a value that is not finite and
        positive.

    References
    ----------
    .. [1] Magdon-Ismail & Atiya (2004), "Maximum drawdown", Risk 17(10).
    """
    if equity.ndim not in (1, 2) or equity.size == 0:
        raise ValueError(f"equity must be a non-empty 1-D or 2-D array, was shape {equity.shape}")
    if not np.all(np.isfinite(equity) & (equity > 0)):
        raise ValueError("equity must be finite and positive at every bar")
    return equity / np.maximum.accumulate(equity, axis=0) - 1.0


def drawdown_of_returns(returns: FloatArray) -> FloatArray:
    """Return the drawdown of compounding `returns`, the start counted as a peak.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions. The account stays at zero after a return of -1 or less.

    Returns
    -------
    ndarray of the same shape
        Fractions in [-1, 0]; the first value is negative if the first return is.
    """
    curve = equity_curve(np.maximum(returns, -1.0))
    return (curve / np.maximum.accumulate(curve, axis=0) - 1.0)[1:]


@dataclass(frozen=True, slots=True)
class DrawdownEpisode:
    """One stay below a peak, in bar positions of the equity curve.

    Attributes
    ----------
    peak : int
        Last bar at the peak before the fall.
    trough : int
        First bar at the lowest value.
    recovery : int or None
        First bar back at or above the peak; None while still below.
    end : int
        `recovery`, or the last bar of the curve.
    depth : float
        Drawdown at the trough, negative fraction.
    """

    peak: int
    trough: int
    recovery: int | None
    end: int
    depth: float

    @property
    def duration(self) -> int:
        """Bars from peak to recovery, or to the last bar while still below."""
        return self.end - self.peak

    @property
    def bars_to_trough(self) -> int:
        """Bars from peak to trough."""
        return self.trough - self.peak

    @property
    def bars_to_recovery(self) -> int | None:
        """Bars from trough to recovery, None while still below."""
        return None if self.recovery is None else self.recovery - self.trough


def drawdown_episodes(equity: FloatArray) -> list[DrawdownEpisode]:
    """Return every stay below a running peak, in order of time.

    Parameters
    ----------
    equity : ndarray of shape (n_bars,)
        Account value at each bar close, strictly positive.

    Returns
    -------
    list of DrawdownEpisode
        Empty if the curve never falls.

    Raises
    ------
    ValueError
        If `equity` is not a non-empty 1-D array of finite positive values.
    """
    if equity.ndim != 1:
        raise ValueError(f"equity must be one-dimensional, was shape {equity.shape}")
    depth = drawdown(equity)
    below = np.concatenate(([False], depth < 0, [False]))
    edges = np.flatnonzero(np.diff(below.astype(np.int8)))
    episodes = []
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        trough = first + int(np.argmin(depth[first:after]))
        recovery = after if after < equity.size else None
        end = equity.size - 1 if recovery is None else recovery
        episodes.append(DrawdownEpisode(first - 1, trough, recovery, end, float(depth[trough])))
    return episodes


def worst_drawdowns(equity: FloatArray, *, count: int = 5) -> list[DrawdownEpisode]:
    """Return the deepest episodes, deepest first.

    Parameters
    ----------
    equity : ndarray of shape (n_bars,)
        Account value at each bar close, strictly positive.
    count : int
        Most episodes wanted.

    Returns
    -------
    list of DrawdownEpisode
        At most `count`; equal depths in order of time.
    """
    return sorted(drawdown_episodes(equity), key=lambda episode: episode.depth)[:count]


def max_drawdown(equity: FloatArray) -> FloatArray:
    """Return the deepest drawdown of each equity curve.

    Parameters
    ----------
    equity : ndarray of shape (n_bars,) or (n_bars, n_series)
        Account value at each bar close, strictly positive.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fractions in (-1, 0]; 0 if the curve never falls.
    """
    return np.asarray(drawdown(equity).min(axis=0))


def longest_drawdown(equity: FloatArray) -> FloatArray:
    """Return the most bars each equity curve spent between a peak and its recovery.

    Parameters
    ----------
    equity : ndarray of shape (n_bars,) or (n_bars, n_series)
        Account value at each bar close, strictly positive.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Bars, counted to the last bar while still below; 0 if the curve never falls.
    """
    at_peak = drawdown(equity) == 0.0
    bar = np.arange(equity.shape[0]).reshape(-1, *([1] * (equity.ndim - 1)))
    since_peak: IntArray = bar - np.maximum.accumulate(np.where(at_peak, bar, 0), axis=0)
    longest = since_peak.max(axis=0)
    recovered_later = np.where(longest > 0, _recovers_after_longest(since_peak, longest), 0)
    return np.asarray(longest + recovered_later, dtype=np.float64)


def _recovers_after_longest(since_peak: IntArray, longest: IntArray) -> FloatArray:
    """Return 1 where the bar after the longest stay is the recovery, else 0."""
    return np.asarray((since_peak[:-1] == longest).any(axis=0), dtype=np.float64)


def ulcer_index(equity: FloatArray) -> FloatArray:
    r"""Return the root mean square of the drawdown.

    .. math:: \sqrt{\tfrac{1}{n} \sum_t d_t^2}

    Parameters
    ----------
    equity : ndarray of shape (n_bars,) or (n_bars, n_series)
        Account value at each bar close, strictly positive.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction, >= 0.

    References
    ----------
    .. [1] Martin & McCann (1989), "The Investor's Guide to Fidelity Funds".
    """
    return np.asarray(np.sqrt(np.mean(drawdown(equity) ** 2, axis=0)))


def pain_index(equity: FloatArray) -> FloatArray:
    r"""Return the mean absolute drawdown.

    .. math:: \tfrac{1}{n} \sum_t |d_t|

    Parameters
    ----------
    equity : ndarray of shape (n_bars,) or (n_bars, n_series)
        Account value at each bar close, strictly positive.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction, >= 0.

    References
    ----------
    .. [1] Becker (2006), "The Zephyr Pain Index"; Bacon (2008), section 4.3.
    """
    return np.asarray(-np.mean(drawdown(equity), axis=0))


def expected_max_drawdown(annual_volatility: float, years: float) -> float:
    r"""Return the maximum drawdown to expect of a strategy without edge.

    .. math:: -\sqrt{\pi / 2}\, \sigma \sqrt{T}

    Parameters
    ----------
    annual_volatility : float
        Fraction per square-root year, >= 0.
    years : float
        Horizon, >= 0.

    Returns
    -------
    float
        Negative log fraction: that of a Brownian motion without drift, watched continuously.

    References
    ----------
    .. [1] Magdon-Ismail, Atiya, Pratap & Abu-Mostafa (2004), "On the maximum drawdown of a
       Brownian motion", Journal of Applied Probability 41(1).
    """
    return -math.sqrt(math.pi / 2) * annual_volatility * math.sqrt(years)
