"""Which strategy brings how much of the portfolio's tail risk. Losses are negative."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from alphastrat.quant.types import FloatArray
from portfolio.quant.covariances import portfolio_volatility


def normal_contributions(
    weights: FloatArray, mean: FloatArray, covariance: FloatArray, *, confidence: float
) -> FloatArray:
    r"""Return component value at risk under normal returns.

    .. math:: C_i = w_i \left(\mu_i + z \frac{(\Sigma w)_i}{\sigma_p}\right), \qquad
              \sum_i C_i = \mu_p + z \sigma_p

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Fractions of equity.
    mean : ndarray of shape (n_strategies,)
        Mean returns per bar.
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances per bar.
    confidence : float
        In (0, 1).

    Returns
    -------
    ndarray of shape (n_strategies,)
        Fractions per bar that sum to the portfolio's value at risk; positive for a hedge, NaN
        without volatility.

    References
    ----------
    .. [1] Jorion (2007), "Value at Risk", 3rd ed., eq. (7.33).
    """
    volatility = portfolio_volatility(weights, covariance)
    if volatility == 0.0:
        return np.full(len(weights), np.nan)
    z = NormalDist().inv_cdf(1.0 - confidence)
    return np.asarray(weights * (mean + z * (covariance @ weights) / volatility))


def shortfall_contributions(
    weights: FloatArray, returns: FloatArray, *, confidence: float
) -> FloatArray:
    r"""Return component expected shortfall, :math:`w_i E[r_i \mid r_p \le VaR]`, from history.

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Fractions of equity.
    returns : ndarray of shape (n_bars, n_strategies)
        Simple returns per bar, finite.
    confidence : float
        In (0, 1).

    Returns
    -------
    ndarray of shape (n_strategies,)
        Fractions per bar that sum to the portfolio's historical expected shortfall; NaN for an
        empty history.

    References
    ----------
    .. [1] Tasche (2002), "Expected shortfall and beyond", Journal of Banking & Finance 26(7),
       eq. (4.4).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), was {confidence}")
    if len(returns) == 0:
        return np.full(len(weights), np.nan)
    # The same bars as `conditional_value_at_risk` takes the mean of.
    n_tail = int((len(returns) - 1) * round(1.0 - confidence, 12)) + 1
    worst = np.argsort(returns @ weights, kind="stable")[:n_tail]
    return np.asarray(weights * returns[worst].mean(axis=0))
