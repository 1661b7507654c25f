"""What strategies may be expected to earn: history believed only as far as it deserves."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from alphastrat.quant.types import FloatArray


class ReturnModel(StrEnum):
    """Where expected returns come from."""

    SHRUNK = "shrunk"
    FLOOR = "floor"
    HISTORICAL = "historical"
    BLACK_LITTERMAN = "black_litterman"

    @property
    def label(self) -> str:
        """The model's name for people."""
        return {
            "shrunk": "History, shrunk to what all have in common",
            "floor": "What survives the trials made (Sharpe floor)",
            "historical": "History as it was",
            "black_litterman": "Black-Litterman: equilibrium and views",
        }[self.value]


def historical_returns(returns: FloatArray, *, periods_per_year: float) -> FloatArray:
    """Return the mean return of each strategy per year.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; NaN where a strategy has none.
    periods_per_year : float
        Bars per year.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Arithmetic, as fractions per year; NaN without any return.
    """
    known = np.isfinite(returns)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, returns, 0.0).sum(axis=0) / known.sum(axis=0)
    return np.asarray(mean * periods_per_year, dtype=np.float64)


def shrunk_returns(
    returns: FloatArray, covariance: FloatArray, *, periods_per_year: float
) -> tuple[FloatArray, float]:
    r"""Return mean returns shrunk to that of the minimum-variance portfolio.

    .. math:: \hat\mu = (1 - w) \bar\mu + w \mu_0 \mathbf 1, \qquad
              w = \frac{N + 2}{N + 2 + T (\bar\mu - \mu_0 \mathbf 1)' \Sigma^{-1}
              (\bar\mu - \mu_0 \mathbf 1)}

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; NaN where a strategy has none.
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    periods_per_year : float
        Bars per year.

    Returns
    -------
    tuple of ndarray of shape (n_strategies,) and float
        Fractions per year, and the weight w of the common mean, in [0, 1].

    References
    ----------
    .. [1] Jorion (1986), "Bayes-Stein estimation for portfolio analysis", Journal of Financial
       and Quantitative Analysis 21(3), eq. (14) and (17).
    """
    mean = historical_returns(returns, periods_per_year=periods_per_year)
    n_strategies = len(mean)
    row, precise = _divided(covariance, np.column_stack([np.ones(n_strategies), mean])).T
    common = float(row @ mean / row.sum())
    years = float(np.isfinite(returns).sum(axis=0).min()) / periods_per_year
    distance = years * float((mean - common) @ (precise - common * row))
    weight = (n_strategies + 2.0) / (n_strategies + 2.0 + max(distance, 0.0))
    return (1.0 - weight) * mean + weight * common, weight


def _divided(covariance: FloatArray, columns: FloatArray) -> FloatArray:
    """Return the inverse times some columns, the least-squares one where there is no inverse."""
    try:
        return np.asarray(cho_solve(cho_factor(covariance), columns), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.pinv(covariance, hermitian=True) @ columns, dtype=np.float64)


def floor_returns(floors: FloatArray, volatilities: FloatArray, *, risk_free: float) -> FloatArray:
    r"""Return what each strategy earns at the Sharpe ratio it may promise.

    .. math:: \mu_i = r_f + SR_{floor,i} \sigma_i

    Parameters
    ----------
    floors : ndarray of shape (n_strategies,)
        Annual Sharpe ratios left after paying for the trials made, see `sharpe_floor`.
    volatilities : ndarray of shape (n_strategies,)
        Per year.
    risk_free : float
        Per year.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Fractions per year.
    """
    return np.asarray(risk_free + floors * volatilities, dtype=np.float64)
