"""What every allocator asks of a covariance matrix."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray

_SYMMETRY = 1e-10


def check_covariance(covariance: FloatArray) -> FloatArray:
    """Return `covariance` unchanged if an allocator can use it.

    Parameters
    ----------
    covariance : ndarray of shape (n_assets, n_assets)
        Covariances of returns per period, in squared fractions.

    Returns
    -------
    ndarray of shape (n_assets, n_assets)
        The same array.

    Raises
    ------
    ValueError
        If it is not square, not finite, not symmetric, has a variance that is not positive, or is
        not positive semi-definite (a matrix of pairwise covariances over different periods often
        is not, and must be repaired first).
    """
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or not covariance.size:
        raise ValueError(f"a covariance matrix is square, was of shape {covariance.shape}")
    if not np.isfinite(covariance).all():
        raise ValueError("a covariance matrix must be finite everywhere")
    scale = np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > _SYMMETRY * scale:
        raise ValueError("a covariance matrix must be symmetric")
    if (np.diag(covariance) <= 0).any():
        raise ValueError(f"every variance must be positive, was {np.diag(covariance).min():g}")
    slack = _SYMMETRY * scale * len(covariance)
    try:
        # Far cheaper than eigenvalues, and only a matrix that passes has a factor.
        np.linalg.cholesky(covariance + 2.0 * slack * np.eye(len(covariance)))
    except np.linalg.LinAlgError:
        lowest = float(np.linalg.eigvalsh(covariance)[0])
        raise ValueError(
            f"the matrix is not positive semi-definite: an eigenvalue is {lowest:g}"
        ) from None
    return covariance


def portfolio_volatility(weights: FloatArray, covariance: FloatArray) -> float:
    r"""Return the volatility of a weighted portfolio.

    .. math:: \sigma_p = \sqrt{w' \Sigma w}

    Parameters
    ----------
    weights : ndarray of shape (n_assets,)
        Fractions of equity; short positions are negative.
    covariance : ndarray of shape (n_assets, n_assets)
        Covariances of returns per period.

    Returns
    -------
    float
        Fraction per period, not annualised.

    References
    ----------
    .. [1] Markowitz (1952), "Portfolio selection", Journal of Finance 7(1).
    """
    return float(np.sqrt(max(0.0, float(weights @ covariance @ weights))))


def risk_contributions(weights: FloatArray, covariance: FloatArray) -> FloatArray:
    r"""Return how much each asset contributes to the portfolio's volatility.

    .. math:: RC_i = w_i (\Sigma w)_i / \sigma_p, \qquad \sum_i RC_i = \sigma_p

    Parameters
    ----------
    weights : ndarray of shape (n_assets,)
        Fractions of equity.
    covariance : ndarray of shape (n_assets, n_assets)
        Covariances of returns per period.

    Returns
    -------
    ndarray of shape (n_assets,)
        Fractions per period; negative for an asset that hedges. NaN where the portfolio has no
        volatility.

    References
    ----------
    .. [1] Maillard, Roncalli & Teiletche (2010), "The properties of equally weighted risk
       contribution portfolios", Journal of Portfolio Management 36(4), eq. (1).
    """
    volatility = portfolio_volatility(weights, covariance)
    if volatility == 0.0:
        return np.full(len(weights), np.nan)
    contributions: FloatArray = weights * (covariance @ weights) / volatility
    return contributions
