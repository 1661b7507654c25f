"""Measures of returns against a benchmark over their common bars."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.return_measures import divide
from alphastrat.quant.samples import Sample, benchmark_measure
from alphastrat.quant.types import BoolArray, FloatArray


@benchmark_measure()
def beta(returns: Sample) -> FloatArray:
    r"""Return the slope on the benchmark, :math:`cov(r, b) / var(b)`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Without unit; NaN if the benchmark does not vary. A constant risk-free rate does not
        change it.

    References
    ----------
    .. [1] Sharpe (1964), "Capital Asset Prices", Journal of Finance 19(3).
    """
    return divide(_covariance(returns), returns.benchmark.second_moment)


@benchmark_measure()
def alpha(returns: Sample, *, periods_per_year: float, risk_free: float = 0.0) -> FloatArray:
    r"""Return the annualised intercept, :math:`(1 + \bar r - r_f - \beta(\bar b - r_f))^p - 1`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.
    periods_per_year : float
        Bars in a year; 1 gives the alpha per bar.
    risk_free : float
        Risk-free return per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per year.

    References
    ----------
    .. [1] Jensen (1968), "The Performance of Mutual Funds in the Period 1945-1964", Journal of
       Finance 23(2).
    """
    explained = beta(returns, None) * (returns.benchmark.mean - risk_free)
    per_bar = returns.mean - risk_free - explained
    return np.asarray((1.0 + per_bar) ** periods_per_year - 1.0)


@benchmark_measure()
def tracking_error(returns: Sample, *, periods_per_year: float) -> FloatArray:
    r"""Return the annualised deviation of active returns, :math:`s(r - b)\sqrt{p}`, ddof 1.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.
    periods_per_year : float
        Bars in a year.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction >= 0.
    """
    return np.asarray(returns.active.deviation * np.sqrt(periods_per_year))


@benchmark_measure()
def information_ratio(returns: Sample, *, periods_per_year: float) -> FloatArray:
    """Return the annual geometric active return over the tracking error.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.
    periods_per_year : float
        Bars in a year.

    Returns
    -------
    ndarray of shape () or (n_series,)
        NaN if the series follows the benchmark exactly. The convention of
        PerformanceAnalytics; empyrical's `excess_sharpe` is `information_ratio_per_bar`.

    References
    ----------
    .. [1] Bacon (2008), "Practical Portfolio Performance Measurement and Attribution", ch. 5.
    """
    active = returns.annual_return(periods_per_year) - returns.benchmark.annual_return(
        periods_per_year
    )
    return divide(active, tracking_error(returns, None, periods_per_year=periods_per_year))


@benchmark_measure()
def information_ratio_per_bar(returns: Sample) -> FloatArray:
    r"""Return the mean active return over its deviation, :math:`\overline{r-b}/s(r-b)`, ddof 1.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Not annualised; NaN if the series follows the benchmark exactly.
    """
    return divide(returns.active.mean, returns.active.deviation)


@benchmark_measure(least=1)
def up_capture(returns: Sample) -> FloatArray:
    r"""Return the share of the benchmark's gains captured, compounded over the bars it rose.

    .. math:: \frac{\prod_{b>0} (1 + r_t) - 1}{\prod_{b>0} (1 + b_t) - 1}

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.

    Returns
    -------
    ndarray of shape () or (n_series,)
        1 if the series gains as much as the benchmark; NaN if the benchmark never gains.

    Notes
    -----
    The convention of PerformanceAnalytics. Compounding makes it depend on the length of the
    sample: compare only series of one length. empyrical annualises both returns instead.
    """
    rising = returns.benchmark.returns > 0.0
    return divide(
        _compound_where(returns, rising),
        _compound_where(returns.benchmark, rising),
    )


@benchmark_measure(least=1)
def down_capture(returns: Sample) -> FloatArray:
    r"""Return the share of the benchmark's losses suffered, compounded over the bars it fell.

    .. math:: \frac{\prod_{b<0} (1 + r_t) - 1}{\prod_{b<0} (1 + b_t) - 1}

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.

    Returns
    -------
    ndarray of shape () or (n_series,)
        1 if the series loses as much as the benchmark, negative if it gains while the benchmark
        loses; NaN if the benchmark never loses. See the notes of `up_capture`.
    """
    falling = returns.benchmark.returns < 0.0
    return divide(
        -_compound_where(returns, falling),
        -_compound_where(returns.benchmark, falling),
    )


@benchmark_measure()
def correlation(returns: Sample) -> FloatArray:
    r"""Return the Pearson correlation with the benchmark.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    benchmark : ndarray of shape (n_bars,) or (n_bars, n_series)
        Returns of the benchmark.

    Returns
    -------
    ndarray of shape () or (n_series,)
        In [-1, 1]; NaN if either does not vary.
    """
    spread = np.sqrt(returns.second_moment * returns.benchmark.second_moment)
    return np.clip(divide(_covariance(returns), spread), -1.0, 1.0)


def _covariance(returns: Sample) -> FloatArray:
    benchmark = returns.benchmark.centred
    if benchmark.shape[0] == 1:
        return np.asarray(returns.centred @ benchmark[0]) / returns.n_bars
    return np.einsum("ij,ij->i", returns.centred, benchmark) / returns.n_bars


def _compound_where(sample: Sample, chosen: BoolArray) -> FloatArray:
    if chosen.shape[0] == 1:
        growth = sample.growth[:, chosen[0]]
    else:
        growth = np.where(chosen, sample.growth, 1.0)
    return np.asarray(growth.prod(axis=1) - 1.0)
