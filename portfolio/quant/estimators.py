"""Covariances estimated from returns: plain, shrunk, or with a memory that fades."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray

HALF_LIFE = 63.0
MIN_COMMON = 30
# Smallest eigenvalue of a repaired matrix, relative to its largest.
_FLOOR = 1e-10


class Estimator(StrEnum):
    """How covariances are estimated."""

    LEDOIT_WOLF = "ledoit_wolf"
    OAS = "oas"
    SAMPLE = "sample"
    EWMA = "ewma"

    @property
    def label(self) -> str:
        """The estimator's name for people."""
        return {
            "ledoit_wolf": "Ledoit-Wolf shrinkage",
            "oas": "Oracle-approximating shrinkage",
            "sample": "Sample",
            "ewma": "Exponentially weighted, half-life 63 bars",
        }[self.value]


def estimate_covariance(
    returns: FloatArray,
    *,
    estimator: Estimator = Estimator.LEDOIT_WOLF,
    half_life: float = HALF_LIFE,
) -> FloatArray:
    r"""Return the covariances of returns, positive semi-definite.

    Shrinkage goes towards the mean variance on the diagonal,
    :math:`(1 - \delta) S + \delta \bar\sigma^2 I`. Where strategies have different histories,
    each pair's moments are over the bars the two share, the shrinkage intensity is that of the
    bars all share (or of the least that two share), and the matrix is repaired.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; NaN where a strategy has none.
    estimator : Estimator
        Which.
    half_life : float
        Bars after which a return counts half, for EWMA.

    Returns
    -------
    ndarray of shape (n_strategies, n_strategies)
        Squared fractions per bar.

    Raises
    ------
    ValueError
        If `returns` is not two-dimensional, or two strategies share fewer than two bars.

    References
    ----------
    .. [1] Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
       matrices", Journal of Multivariate Analysis 88.
    .. [2] Chen, Wiesel, Eldar & Hero (2010), "Shrinkage algorithms for MMSE covariance
       estimation", IEEE Transactions on Signal Processing 58, eq. (23).
    """
    if returns.ndim != 2:
        raise ValueError(f"returns have shape (n_bars, n_strategies), was {returns.shape}")
    least = _least_common(np.isfinite(returns))
    if least < 2:
        raise ValueError("every two strategies must share at least two bars")
    if estimator is Estimator.EWMA:
        return repair_covariance(_weighted(returns, _fading(len(returns), half_life), ddof=False))
    ddof = estimator is Estimator.SAMPLE
    moments = _weighted(returns, np.ones(len(returns)), ddof=ddof)
    if estimator is Estimator.SAMPLE:
        return repair_covariance(moments)
    if estimator is Estimator.OAS:
        intensity = oas_intensity(moments, least)
    else:
        intensity = _ledoit_wolf_intensity(returns, moments, least)
    target = np.eye(len(moments)) * np.trace(moments) / len(moments)
    return repair_covariance((1.0 - intensity) * moments + intensity * target)


def repair_covariance(covariance: FloatArray) -> FloatArray:
    """Return the matrix with no negative eigenvalues and the same variances.

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        Symmetric; moments over different periods often make it indefinite.

    Returns
    -------
    ndarray of shape (n_strategies, n_strategies)
        The same matrix where it needs no repair.

    References
    ----------
    .. [1] Rebonato & Jäckel (1999), "The most general methodology to create a valid correlation
       matrix", section 3: spectral decomposition, clipped and rescaled.
    """
    symmetric = (covariance + covariance.T) / 2.0
    if _is_well_above(symmetric, _FLOOR * float(np.trace(symmetric))):
        return symmetric
    values, vectors = np.linalg.eigh(symmetric)
    floor = _FLOOR * float(values[-1])
    if values[0] >= floor:
        return symmetric
    repaired = (vectors * np.maximum(values, floor)) @ vectors.T
    scale = np.sqrt(np.diag(symmetric) / np.diag(repaired))
    return np.asarray(repaired * np.outer(scale, scale), dtype=np.float64)


def oas_intensity(moments: FloatArray, n_bars: int) -> float:
    """Return how far the oracle-approximating estimator shrinks.

    Parameters
    ----------
    moments : ndarray of shape (n_strategies, n_strategies)
        Sample covariances, divided by the number of bars.
    n_bars : int
        Bars they come from.

    Returns
    -------
    float
        In [0, 1].
    """
    p = len(moments)
    squares, mean_square = float((moments**2).sum()), (np.trace(moments) / p) ** 2
    # As scikit-learn and the paper's corrected form: alpha is the mean squared entry.
    alpha = squares / p**2
    numerator = alpha + mean_square
    denominator = (n_bars + 1.0) * (alpha - mean_square / p)
    return 1.0 if denominator <= 0 else float(min(numerator / denominator, 1.0))


def ledoit_wolf_intensity(returns: FloatArray) -> float:
    """Return how far the Ledoit-Wolf estimator shrinks.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar, finite.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    .. [1] Ledoit & Wolf (2004), Journal of Multivariate Analysis 88, section 3.
    """
    centred = returns - returns.mean(axis=0)
    return _intensity(centred, centred.T @ centred / len(returns))


def _intensity(centred: FloatArray, moments: FloatArray) -> float:
    n_bars, p = centred.shape
    if p == 1:
        return 0.0
    mean_variance = float(np.trace(moments)) / p
    spread = float((moments**2).sum()) / p - mean_variance**2
    # The squared products of all pairs of one bar sum to the square of its sum of squares.
    sizes = np.einsum("ti,ti->t", centred, centred)
    noise = (float(sizes @ sizes) / n_bars - float((moments**2).sum())) / (n_bars * p)
    if spread <= 0.0:
        return 1.0
    return float(min(max(noise, 0.0), spread) / spread)


def _is_well_above(symmetric: FloatArray, floor: float) -> bool:
    """Return whether every eigenvalue is above a floor: far cheaper than to compute them."""
    try:
        np.linalg.cholesky(symmetric - floor * np.eye(len(symmetric)))
    except np.linalg.LinAlgError:
        return False
    return True


def _least_common(known: BoolArray) -> int:
    """Return the fewest bars that two strategies share."""
    if known.size == 0 or known.all():
        return len(known) if known.size else 0
    mask = known.astype(np.float64)
    return int((mask.T @ mask).min())


def _ledoit_wolf_intensity(returns: FloatArray, moments: FloatArray, least: int) -> float:
    if least == len(returns) >= MIN_COMMON:
        return _intensity(returns - returns.mean(axis=0), moments)
    whole = returns[np.isfinite(returns).all(axis=1)]
    if len(whole) < MIN_COMMON:
        return oas_intensity(moments, least)
    return ledoit_wolf_intensity(whole)


def _fading(n_bars: int, half_life: float) -> FloatArray:
    return np.asarray(0.5 ** (np.arange(n_bars)[::-1] / half_life), dtype=np.float64)


def _weighted(returns: FloatArray, bar_weights: FloatArray, *, ddof: bool) -> FloatArray:
    """Return weighted second moments over the bars that each two strategies share."""
    known = np.isfinite(returns)
    if known.all():
        shares = bar_weights / bar_weights.sum()
        # A matrix times its own transpose costs half of any other product.
        centred = (returns - shares @ returns) * np.sqrt(shares)[:, None]
        moments = centred.T @ centred
        return np.asarray(moments * (len(returns) / (len(returns) - 1.0) if ddof else 1.0))
    mask = known.astype(np.float64)
    values = np.where(known, returns, 0.0)
    heavy = mask * bar_weights[:, None]
    total = heavy.T @ mask
    mean = (values.T @ heavy) / total
    moments = ((values * bar_weights[:, None]).T @ values) / total - mean * mean.T
    if ddof:
        n_common = mask.T @ mask
        moments = moments * n_common / (n_common - 1.0)
    return np.asarray(moments, dtype=np.float64)
