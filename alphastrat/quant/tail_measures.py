"""Measures of the shape and the tails of a return distribution. Losses are negative."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from alphastrat.quant.return_measures import divide
from alphastrat.quant.samples import Sample, measure
from alphastrat.quant.types import FloatArray


@measure(least=3)
def skewness(returns: Sample) -> FloatArray:
    r"""Return the moment skewness, :math:`m_3 / m_2^{3/2}`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Without unit; negative for a long left tail; NaN if the returns do not vary.
    """
    third = np.einsum("ij,ij,ij->i", *[returns.centred] * 3) / returns.n_bars
    return divide(third, returns.second_moment**1.5)


@measure(least=4)
def kurtosis(returns: Sample) -> FloatArray:
    r"""Return the moment kurtosis, :math:`m_4 / m_2^2`; 3 for a normal distribution.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Without unit, >= 1, not reduced by 3; NaN if the returns do not vary.
    """
    squares = returns.centred**2
    fourth = np.einsum("ij,ij->i", squares, squares) / returns.n_bars
    return divide(fourth, returns.second_moment**2)


@measure()
def mean_absolute_deviation(returns: Sample) -> FloatArray:
    r"""Return the mean distance from the mean, :math:`\overline{|r - \bar r|}`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar, >= 0.
    """
    return np.asarray(np.abs(returns.centred).mean(axis=1))


@measure()
def upside_risk(returns: Sample, *, required_return: float = 0.0) -> FloatArray:
    r"""Return the root mean square gain above a target, :math:`\sqrt{\overline{((r-t)^+)^2}}`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    required_return : float
        Target t per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar, >= 0; the mean is over all bars.

    References
    ----------
    .. [1] Bacon (2008), "Practical Portfolio Performance Measurement and Attribution", ch. 4.
    """
    gains = np.maximum(returns.returns - required_return, 0.0)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", gains, gains) / returns.n_bars))


@measure()
def upside_potential(returns: Sample, *, required_return: float = 0.0) -> FloatArray:
    r"""Return the mean gain above a target, :math:`\overline{(r - t)^+}`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    required_return : float
        Target t per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar, >= 0; the mean is over all bars.
    """
    return np.asarray(np.maximum(returns.returns - required_return, 0.0).mean(axis=1))


@measure()
def downside_frequency(returns: Sample, *, required_return: float = 0.0) -> FloatArray:
    """Return the share of bars below a target.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    required_return : float
        Target per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction in [0, 1].
    """
    below = np.count_nonzero(returns.returns < required_return, axis=1)
    return np.asarray(below / returns.n_bars)


@measure()
def value_at_risk(returns: Sample, *, confidence: float = 0.95) -> FloatArray:
    """Return the historical value at risk: the return that few bars fall below.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    confidence : float
        Share of bars above it, in (0, 1).

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar; -0.03 means that one bar in twenty loses 3 % or more. The linear
        (type 7) quantile at 1 - confidence.
    """
    return returns.quantile(_tail(confidence))


@measure(least=2)
def gaussian_value_at_risk(returns: Sample, *, confidence: float = 0.95) -> FloatArray:
    r"""Return the value at risk of a normal distribution, :math:`\bar r + z s`, ddof 0.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    confidence : float
        Share of bars above it, in (0, 1).

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar, usually negative.
    """
    return returns.mean + _quantile(confidence) * np.sqrt(returns.second_moment)


@measure(least=4)
def modified_value_at_risk(returns: Sample, *, confidence: float = 0.95) -> FloatArray:
    r"""Return the Cornish-Fisher value at risk, which allows for skewness and kurtosis.

    .. math:: \bar r + s \left(z + \tfrac{z^2-1}{6} S + \tfrac{z^3-3z}{24} K
              - \tfrac{2z^3-5z}{36} S^2\right)

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    confidence : float
        Share of bars above it, in (0, 1).

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar, usually negative. S is the moment skewness, K the excess kurtosis.

    References
    ----------
    .. [1] Favre & Galeano (2002), "Mean-Modified Value-at-Risk Optimization with Hedge Funds",
       Journal of Alternative Investments 5(2).
    """
    z = _quantile(confidence)
    skew, excess = skewness(returns), kurtosis(returns) - 3.0
    adjusted = (
        z + (z**2 - 1) / 6 * skew + (z**3 - 3 * z) / 24 * excess - (2 * z**3 - 5 * z) / 36 * skew**2
    )
    return returns.mean + adjusted * np.sqrt(returns.second_moment)


@measure()
def conditional_value_at_risk(returns: Sample, *, confidence: float = 0.95) -> FloatArray:
    """Return the mean of the returns at or below the historical value at risk.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    confidence : float
        Share of bars above the value at risk, in (0, 1).

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar, at or below the value at risk; also called expected shortfall.

    References
    ----------
    .. [1] Acerbi & Tasche (2002), "On the coherence of expected shortfall", Journal of Banking &
       Finance 26(7).
    """
    n_tail = int((returns.n_bars - 1) * _tail(confidence)) + 1
    return np.asarray(returns.ordered[:, :n_tail].mean(axis=1))


@measure(least=2)
def gaussian_conditional_value_at_risk(returns: Sample, *, confidence: float = 0.95) -> FloatArray:
    r"""Return the expected shortfall of a normal distribution, :math:`\bar r - s\,\phi(z)/(1-c)`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    confidence : float
        Share c of bars above the value at risk, in (0, 1).

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per bar, usually negative.
    """
    density = NormalDist().pdf(_quantile(confidence)) / _tail(confidence)
    return returns.mean - density * np.sqrt(returns.second_moment)


@measure(least=2)
def tail_ratio(returns: Sample) -> FloatArray:
    """Return the size of the 95th percentile over the size of the 5th.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Above 1 if good bars are larger than bad ones; NaN if the 5th percentile is 0.

    References
    ----------
    .. [1] empyrical, `tail_ratio` (Quantopian 2016).
    """
    return divide(np.abs(returns.quantile(0.95)), np.abs(returns.quantile(0.05)))


def _tail(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), was {confidence}")
    # 1 - 0.95 is 0.05000000000000004, which would move the quantile.
    return round(1.0 - confidence, 12)


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(_tail(confidence))
