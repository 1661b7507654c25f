"""How alike strategies are, and how many independent bets a portfolio really holds."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from portfolio.quant.covariances import check_covariance, portfolio_volatility
from portfolio.quant.estimators import Estimator, estimate_covariance

MIN_COMMON = 30
HIGH = 0.70
MODERATE = 0.30
WARNING = 0.60
STRESS_SHARE = 0.10


class Band(StrEnum):
    """How alike two strategies are."""

    HIGH = "high"
    MODERATE = "moderate"
    LOW = "low"
    INSUFFICIENT = "insufficient"


def band(correlation: float) -> Band:
    """Return which band a correlation falls into.

    Parameters
    ----------
    correlation : float
        In [-1, 1]; NaN where too few bars are shared.

    Returns
    -------
    Band
        HIGH above 0.7, MODERATE from 0.3, LOW below, INSUFFICIENT for NaN.
    """
    if not np.isfinite(correlation):
        return Band.INSUFFICIENT
    if correlation > HIGH:
        return Band.HIGH
    return Band.MODERATE if correlation >= MODERATE else Band.LOW


def shrunk_correlation(
    returns: FloatArray, *, min_common: int = MIN_COMMON
) -> tuple[FloatArray, float]:
    r"""Return pairwise correlations, each shrunk towards zero by what its own noise deserves.

    .. math:: \hat\rho_{ij} = (1 - \delta_{ij}) \rho_{ij}, \qquad
              \delta_{ij} = \min\left(1, \frac{\overline{z_i^2 z_j^2} - \rho_{ij}^2}
              {n_{ij} \rho_{ij}^2}\right)

    the Ledoit-Wolf intensity of a pair of standardised returns: one intensity for all would hide
    a pair that is really alike among many that are not.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; NaN where a strategy has none.
    min_common : int
        Fewest bars that two strategies must share.

    Returns
    -------
    tuple of ndarray of shape (n_strategies, n_strategies) and float
        As `correlation_matrix`, and the mean intensity of the pairs in [0, 1].

    References
    ----------
    .. [1] Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
       matrices", Journal of Multivariate Analysis 88, section 3.
    """
    plain = correlation_matrix(returns, min_common=min_common)
    intensity = _pair_intensities(returns, plain)
    shrunk = plain * (1.0 - intensity)
    np.fill_diagonal(shrunk, 1.0)
    used = intensity[np.triu_indices(len(plain), 1)]
    used = used[np.isfinite(used)]
    return shrunk, float(used.mean()) if used.size else 0.0


def _pair_intensities(returns: FloatArray, plain: FloatArray) -> FloatArray:
    known = np.isfinite(returns)
    values, n_bars = np.where(known, returns, 0.0), known.sum(axis=0)
    n_common = np.maximum(_n_common(known), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(axis=0) / n_bars
        centred = np.where(known, returns - mean, 0.0)
        scale = np.sqrt((centred**2).sum(axis=0) / n_bars)
        squared = np.where(scale > 0.0, centred / scale, 0.0) ** 2
        noise = np.maximum(squared.T @ squared / n_common - plain**2, 0.0) / n_common
        return np.where(np.isfinite(plain), np.minimum(noise / plain**2, 1.0), np.nan)


def fading_correlation(
    returns: FloatArray, *, half_life: float = 63.0, min_common: int = MIN_COMMON
) -> FloatArray:
    """Return pairwise correlations in which older bars count less.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; NaN where a strategy has none.
    half_life : float
        Bars after which a return counts half.
    min_common : int
        Fewest bars that two strategies must share.

    Returns
    -------
    ndarray of shape (n_strategies, n_strategies)
        NaN where `correlation_matrix` has it.
    """
    plain = correlation_matrix(returns, min_common=min_common)
    used = np.isfinite(plain).sum(axis=0) > 1
    fading = np.full(plain.shape, np.nan)
    np.fill_diagonal(fading, 1.0)
    if used.sum() < 2:
        return fading
    known = np.isfinite(returns[:, used]).astype(np.float64)
    if (known.T @ known).min() < 2:
        return plain
    covariance = estimate_covariance(
        returns[:, used], estimator=Estimator.EWMA, half_life=half_life
    )
    deviation = np.sqrt(np.diag(covariance))
    fading[np.ix_(used, used)] = np.clip(covariance / np.outer(deviation, deviation), -1.0, 1.0)
    fading[~np.isfinite(plain)] = np.nan
    return fading


def rolling_correlation(first: FloatArray, second: FloatArray, *, window: int) -> FloatArray:
    """Return the correlation of two strategies over the last bars at each bar.

    Parameters
    ----------
    first, second : ndarray of shape (n_bars,)
        Fractions per bar; bars that either lacks are left out beforehand.
    window : int
        Bars, at least 2.

    Returns
    -------
    ndarray of shape (n_bars,)
        NaN until the window is full, and where one of the two does not move.

    Raises
    ------
    ValueError
        If a value is not finite, or the window is too short.
    """
    if window < 2 or not (np.isfinite(first) & np.isfinite(second)).all():
        raise ValueError(f"finite returns and a window of at least 2 bars are needed, was {window}")
    rolled = np.full(len(first), np.nan)
    if len(first) < window:
        return rolled
    pairs = [np.lib.stride_tricks.sliding_window_view(x, window) for x in (first, second)]
    centred = [pair - pair.mean(axis=1, keepdims=True) for pair in pairs]
    sizes = [np.sqrt((one**2).sum(axis=1)) for one in centred]
    with np.errstate(invalid="ignore", divide="ignore"):
        rolled[window - 1 :] = (centred[0] * centred[1]).sum(axis=1) / (sizes[0] * sizes[1])
    return np.clip(rolled, -1.0, 1.0)


def mean_correlation(correlation: FloatArray) -> float:
    """Return the mean over all pairs that have a correlation.

    Parameters
    ----------
    correlation : ndarray of shape (n_strategies, n_strategies)
        NaN where a pair has none.

    Returns
    -------
    float
        NaN without any.
    """
    pairs = correlation[np.triu_indices(len(correlation), 1)]
    known = pairs[np.isfinite(pairs)]
    return float(known.mean()) if known.size else float("nan")


def stress_bars(market: FloatArray, *, share: float = STRESS_SHARE) -> BoolArray:
    """Return the worst bars of a market.

    Parameters
    ----------
    market : ndarray of shape (n_bars,)
        Fractions per bar; NaN counts as no stress.
    share : float
        Of the bars with a return, in (0, 1).

    Returns
    -------
    ndarray of bool, shape (n_bars,)
        True on the bars with the lowest returns.
    """
    known = np.isfinite(market)
    n_worst = int(np.ceil(share * known.sum()))
    chosen = np.zeros(len(market), dtype=np.bool_)
    if n_worst:
        order = np.argsort(np.where(known, market, np.inf), kind="stable")
        chosen[order[:n_worst]] = True
    return chosen


def cluster_order(correlation: FloatArray) -> IntArray:
    """Return the order that puts strategies that are alike next to each other.

    Parameters
    ----------
    correlation : ndarray of shape (n_strategies, n_strategies)
        NaN, which means insufficient, counts as uncorrelated.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Positions: the leaves of an average-linkage tree, turned so that neighbours are as near
        as they can be.

    References
    ----------
    .. [1] Bar-Joseph, Gifford & Jaakkola (2001), "Fast optimal leaf ordering for hierarchical
       clustering", Bioinformatics 17.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(correlation) < 3:
        return np.arange(len(correlation), dtype=np.int64)
    known = np.where(np.isfinite(correlation), correlation, 0.0)
    distance = np.sqrt(np.maximum(0.0, 1.0 - (known + known.T) / 2.0))
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance, checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return np.asarray(leaves_list(tree), dtype=np.int64)


def strongest_pairs(correlation: FloatArray) -> list[tuple[int, int, float]]:
    """Return every pair that has a correlation, the most alike first.

    Parameters
    ----------
    correlation : ndarray of shape (n_strategies, n_strategies)
        NaN where a pair has none.

    Returns
    -------
    list of (int, int, float)
        Positions, the first below the second, and the correlation.
    """
    first, second = np.triu_indices(len(correlation), 1)
    values = correlation[first, second]
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(-values[known], kind="stable")]
    columns = (first[order].tolist(), second[order].tolist(), values[order].tolist())
    return list(zip(*columns, strict=True))


def correlation_matrix(returns: FloatArray, *, min_common: int = MIN_COMMON) -> FloatArray:
    """Return the pairwise correlations of strategy returns over their common bars.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; NaN where a strategy has none.
    min_common : int
        Fewest bars that two strategies must share.

    Returns
    -------
    ndarray of shape (n_strategies, n_strategies)
        In [-1, 1]; NaN where a pair shares too few bars, or one of the two never moves. The
        diagonal is 1.

    Raises
    ------
    ValueError
        If `returns` is not two-dimensional.

    References
    ----------
    .. [1] Pearson (1895), "Notes on regression and inheritance", Proc. Royal Society 58.
    """
    if returns.ndim != 2:
        raise ValueError(f"returns have shape (n_bars, n_strategies), was {returns.shape}")
    known = np.isfinite(returns)
    values = np.where(known, returns, 0.0)
    n_common, (sums, squares) = _n_common(known), _common_sums(values, known)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, square = sums / n_common, squares / n_common
        variance = square - mean**2
        covariance = (values.T @ values) / n_common - mean * mean.T
        correlation = covariance / np.sqrt(variance * variance.T)
    still = variance <= 1e-14 * np.maximum(square, 1e-300)
    correlation[(n_common < min_common) | still | still.T] = np.nan
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)


def _n_common(known: BoolArray) -> FloatArray:
    """Return how many bars each two strategies share."""
    n_bars, n_strategies = known.shape
    if known.all():
        return np.full((n_strategies, n_strategies), float(n_bars))
    mask = known.astype(np.float64)
    return np.asarray(mask.T @ mask, dtype=np.float64)


def _common_sums(values: FloatArray, known: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return the sum and the sum of squares of each strategy on the bars shared with each other."""
    if known.all():
        columns = values.sum(axis=0), (values**2).sum(axis=0)
        sums, squares = (np.repeat(one[:, None], len(one), axis=1) for one in columns)
        return sums, squares
    mask = known.astype(np.float64)
    return values.T @ mask, (values**2).T @ mask


def diversification_ratio(weights: FloatArray, covariance: FloatArray) -> float:
    r"""Return the weighted mean volatility over the portfolio's own.

    .. math:: DR = \frac{w'\sigma}{\sqrt{w'\Sigma w}}

    Parameters
    ----------
    weights : ndarray of shape (n_assets,)
        Non-negative fractions of equity.
    covariance : ndarray of shape (n_assets, n_assets)
        Covariances of returns per period.

    Returns
    -------
    float
        At least 1 for long-only weights; 1 where everything moves together, NaN without risk.

    Raises
    ------
    ValueError
        If the matrix cannot be used.

    References
    ----------
    .. [1] Choueifaty & Coignard (2008), "Toward maximum diversification", Journal of Portfolio
       Management 35(1), eq. (1).
    """
    check_covariance(covariance)
    volatility = portfolio_volatility(weights, covariance)
    if volatility == 0.0:
        return float("nan")
    return float(weights @ np.sqrt(np.diag(covariance)) / volatility)


def effective_bets(weights: FloatArray, covariance: FloatArray) -> float:
    """Return the number of independent bets of equal risk that diversify as well.

    Parameters
    ----------
    weights : ndarray of shape (n_assets,)
        Non-negative fractions of equity.
    covariance : ndarray of shape (n_assets, n_assets)
        Covariances of returns per period.

    Returns
    -------
    float
        The squared diversification ratio: n for n uncorrelated assets of equal risk.

    References
    ----------
    .. [1] Choueifaty, Froidure & Reynier (2013), "Properties of the most diversified
       portfolio", Journal of Investment Strategies 2(2).
    """
    return diversification_ratio(weights, covariance) ** 2
