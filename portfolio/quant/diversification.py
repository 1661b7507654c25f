"""How well capital is spread, in one number, and whether a change made it better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphastrat.quant.bootstrap import block_length
from alphastrat.quant.types import FloatArray
from portfolio.quant.correlation import diversification_ratio, effective_bets
from portfolio.quant.resampling import resampled_rows

N_DRAWS = 500
CONFIDENCE = 0.90


@dataclass(frozen=True, slots=True)
class CorrelationChange:
    """What a change of weights did to the weighted mean correlation.

    Attributes
    ----------
    before, after : float
        Weighted mean correlations; NaN with fewer than two strategies.
    low, high : float
        Bounds of the difference after minus before.
    """

    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """After minus before; negative where strategies became less alike."""
        return self.after - self.before

    @property
    def verdict(self) -> str:
        """Reduced or raised only where the interval excludes no change."""
        if not np.isfinite(self.low) or self.low <= 0.0 <= self.high:
            return "unclear"
        return "reduced" if self.high < 0.0 else "raised"


def diversification_score(weights: FloatArray, covariance: FloatArray) -> float:
    r"""Return how far a portfolio is from one bet and towards as many as it has strategies.

    .. math:: 100 \cdot \frac{\min(DR^2, n) - 1}{n - 1}

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Non-negative fractions of equity.
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns.

    Returns
    -------
    float
        0 where everything moves together or one strategy holds all, 100 where as many
        independent bets of equal risk are held as there are strategies; NaN without risk.

    References
    ----------
    .. [1] Choueifaty, Froidure & Reynier (2013), "Properties of the most diversified
       portfolio", Journal of Investment Strategies 2(2): DR squared counts independent bets.
    """
    held = weights > 0.0
    n_held = int(held.sum())
    if n_held < 2:
        return 0.0 if n_held else float("nan")
    bets = effective_bets(weights[held], covariance[np.ix_(held, held)])
    return 100.0 * (min(max(bets, 1.0), float(n_held)) - 1.0) / (n_held - 1.0)


def weighted_mean_correlation(weights: FloatArray, correlation: FloatArray) -> float:
    r"""Return the mean correlation of pairs, each counted by the product of its weights.

    .. math:: \frac{\sum_{i \ne j} w_i w_j \rho_{ij}}{\sum_{i \ne j} w_i w_j}

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Non-negative fractions of equity.
    correlation : ndarray of shape (n_strategies, n_strategies)
        NaN pairs are left out.

    Returns
    -------
    float
        In [-1, 1]; NaN with fewer than two strategies.
    """
    products = np.outer(weights, weights)
    np.fill_diagonal(products, 0.0)
    products = np.where(np.isfinite(correlation), products, 0.0)
    total = float(products.sum())
    if total <= 0.0:
        return float("nan")
    return float((products * np.nan_to_num(correlation)).sum() / total)


def correlation_change(
    returns: FloatArray,
    before: FloatArray,
    after: FloatArray,
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> CorrelationChange:
    """Return the weighted mean correlation before and after, with an interval of the difference.

    Both are measured on the same resampled bars, so that what all histories have in common
    does not widen the interval.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar over common bars, finite.
    before, after : ndarray of shape (n_strategies,)
        Weights.
    rng : numpy.random.Generator
        Source of randomness.
    n_draws : int
        Resampled histories.
    confidence : float
        Coverage, in (0, 1).

    Returns
    -------
    CorrelationChange
        NaN where a side has fewer than two strategies.

    References
    ----------
    .. [1] Politis & Romano (1994), "The Stationary Bootstrap", JASA 89(428).
    """
    rows = resampled_rows(
        len(returns), n_draws=n_draws, rng=rng, block=block_length(returns.mean(axis=1))
    )
    counts = np.array([np.bincount(column, minlength=len(returns)) for column in rows.T])
    # What was observed, and then what was drawn.
    shares = np.vstack([np.ones(len(returns)), counts]) / len(returns)
    mean = shares @ returns
    deviation = np.sqrt(np.maximum(shares @ returns**2 - mean**2, 0.0))
    was, now = (
        _mean_correlations(returns, weights, shares, mean, deviation) for weights in (before, after)
    )
    differences = (now - was)[1:]
    known = differences[np.isfinite(differences)]
    low = high = float("nan")
    if known.size:
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = (float(bound) for bound in np.quantile(known, tails))
    return CorrelationChange(float(was[0]), float(now[0]), low, high)


def _mean_correlations(
    returns: FloatArray,
    weights: FloatArray,
    shares: FloatArray,
    mean: FloatArray,
    deviation: FloatArray,
) -> FloatArray:
    """Return the weighted mean correlation per row of shares, without any matrix of pairs.

    The variance of the sum of w_i z_i is the sum over all pairs of w_i w_j rho_ij.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(deviation > 1e-12, weights / deviation, 0.0)
    combined = scaled @ returns.T - (mean * scaled).sum(axis=1)[:, None]
    variance = np.einsum("dt,dt,dt->d", shares, combined, combined)
    used = np.where(scaled > 0.0, weights, 0.0)
    squares = (used**2).sum(axis=1)
    total = used.sum(axis=1) ** 2 - squares
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 1e-12, (variance - squares) / total, np.nan)


def summary(weights: FloatArray, covariance: FloatArray) -> dict[str, float]:
    """Return the measures of diversification of one portfolio.

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Non-negative fractions of equity.
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns.

    Returns
    -------
    dict of str to float
        Score from 0 to 100, diversification ratio, and effective number of bets.
    """
    ratio = diversification_ratio(weights, covariance)
    return {
        "score": diversification_score(weights, covariance),
        "ratio": ratio,
        "bets": ratio**2,
    }
