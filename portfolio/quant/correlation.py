"""How alike strategies are, and how many independent bets a portfolio really holds."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray
from portfolio.quant.covariances import check_covariance, portfolio_volatility

MIN_COMMON = 30


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
    mask = known.astype(np.float64)
    n_common = mask.T @ mask
    with np.errstate(invalid="ignore", divide="ignore"):
        # Moments of each strategy over the bars it shares with each other one.
        mean = (values.T @ mask) / n_common
        square = ((values**2).T @ mask) / n_common
        variance = square - mean**2
        covariance = (values.T @ values) / n_common - mean * mean.T
        correlation = covariance / np.sqrt(variance * variance.T)
    still = variance <= 1e-14 * np.maximum(square, 1e-300)
    correlation[(n_common < min_common) | still | still.T] = np.nan
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)


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
