"""Measures of return, risk and the ratio of the two."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.samples import Sample, measure
from alphastrat.quant.types import FloatArray

# Every function takes `returns`: simple returns as fractions, an ndarray of shape (n_bars,) or
# (n_bars, n_series), NaN where a series has no observation, and returns an ndarray of shape () or
# (n_series,), NaN where the measure is undefined.


@measure()
def total_return(returns: Sample) -> FloatArray:
    r"""Return the compounded return, :math:`\prod (1 + r_t) - 1`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions; -1 or less is ruin.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction >= -1.
    """
    return returns.curve[:, -1] - 1.0


@measure()
def annual_return(returns: Sample, *, periods_per_year: float) -> FloatArray:
    r"""Return the geometric return per year, :math:`\prod (1 + r_t)^{p/n} - 1`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction per year >= -1.

    Notes
    -----
    n counts observations only; empyrical also counts a leading NaN.
    """
    return returns.annual_return(periods_per_year)


@measure(least=2)
def annual_volatility(returns: Sample, *, periods_per_year: float) -> FloatArray:
    r"""Return the sample standard deviation per year, :math:`s \sqrt{p}`, ddof 1.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction >= 0.
    """
    return np.asarray(returns.deviation * np.sqrt(periods_per_year))


@measure(least=2)
def sharpe_ratio(returns: Sample, *, periods_per_year: float, risk_free: float = 0.0) -> FloatArray:
    r"""Return the annualised Sharpe ratio, :math:`\sqrt{p}\,(\bar r - r_f)/s`, ddof 1.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year; 1 gives the ratio per bar.
    risk_free : float
        Risk-free return per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        NaN if the returns do not vary.

    References
    ----------
    .. [1] Sharpe (1994), "The Sharpe Ratio", Journal of Portfolio Management 21(1).
    """
    return divide(returns.mean - risk_free, returns.deviation) * np.sqrt(periods_per_year)


@measure()
def downside_risk(
    returns: Sample, *, periods_per_year: float, required_return: float = 0.0
) -> FloatArray:
    r"""Return the downside deviation per year, :math:`\sqrt{p \cdot \overline{\min(r-t,0)^2}}`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year.
    required_return : float
        Target t per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction >= 0. The mean is over all n bars, not only those below the target.

    References
    ----------
    .. [1] Rollinger & Hoffman (2013), "Sortino: A 'Sharper' Ratio", Red Rock Capital.
    """
    shortfall = _shortfall(returns, required_return)
    mean_square = np.einsum("ij,ij->i", shortfall, shortfall) / returns.n_bars
    return np.asarray(np.sqrt(mean_square * periods_per_year))


@measure()
def sortino_ratio(
    returns: Sample, *, periods_per_year: float, required_return: float = 0.0
) -> FloatArray:
    r"""Return the annualised Sortino ratio, :math:`p(\bar r - t)` over the downside risk.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year; 1 gives the ratio per bar.
    required_return : float
        Target t per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        NaN if no bar is below the target: the ratio is undefined, not infinitely good.

    References
    ----------
    .. [1] Sortino & Price (1994), "Performance Measurement in a Downside Risk Framework".
    """
    risk = downside_risk(
        returns, periods_per_year=periods_per_year, required_return=required_return
    )
    return divide((returns.mean - required_return) * periods_per_year, risk)


@measure()
def max_drawdown(returns: Sample) -> FloatArray:
    r"""Return the deepest drawdown of the compounded curve, :math:`\min_t E_t/\max_{s\le t}E_s-1`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction in [-1, 0]; the start counts as a peak.
    """
    return np.asarray(returns.drawdown.min(axis=1))


@measure()
def longest_drawdown(returns: Sample) -> FloatArray:
    """Return the most consecutive bars spent below a peak.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Bars with a drawdown; the bar of recovery is not counted.
    """
    # Peaks are few, so the gaps between them are looked for in one flat list, with a peak put
    # before and after every series.
    n_series = returns.returns.shape[0]
    at_peak = np.ones((n_series, returns.n_bars + 2), dtype=np.bool_)
    np.greater_equal(returns.drawdown, 0.0, out=at_peak[:, 1:-1])
    peaks = np.flatnonzero(at_peak)
    longest = np.zeros(n_series)
    np.maximum.at(longest, peaks[:-1] // at_peak.shape[1], np.diff(peaks) - 1.0)
    return longest


@measure()
def calmar_ratio(returns: Sample, *, periods_per_year: float) -> FloatArray:
    """Return the annual geometric return over the size of the deepest drawdown.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year.

    Returns
    -------
    ndarray of shape () or (n_series,)
        NaN if there is no drawdown.

    References
    ----------
    .. [1] Young (1991), "Calmar Ratio: A Smoother Tool", Futures 20(1); here over the whole
       sample instead of three years.
    """
    return divide(returns.annual_return(periods_per_year), -max_drawdown(returns))


@measure()
def ulcer_index(returns: Sample) -> FloatArray:
    r"""Return the root mean square drawdown, :math:`\sqrt{\overline{d_t^2}}`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction >= 0.

    References
    ----------
    .. [1] Martin & McCann (1989), "The Investor's Guide to Fidelity Funds".
    """
    depth = returns.drawdown
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", depth, depth) / returns.n_bars))


@measure()
def pain_index(returns: Sample) -> FloatArray:
    r"""Return the mean size of the drawdown, :math:`\overline{|d_t|}`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction >= 0.

    References
    ----------
    .. [1] Bacon (2008), "Practical Portfolio Performance Measurement and Attribution", ch. 4.
    """
    return np.asarray(-returns.drawdown.mean(axis=1))


@measure()
def martin_ratio(returns: Sample, *, periods_per_year: float) -> FloatArray:
    """Return the annual geometric return over the ulcer index.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year.

    Returns
    -------
    ndarray of shape () or (n_series,)
        NaN if there is no drawdown.

    References
    ----------
    .. [1] Martin & McCann (1989), "The Investor's Guide to Fidelity Funds".
    """
    return divide(returns.annual_return(periods_per_year), ulcer_index(returns))


@measure()
def omega_ratio(returns: Sample, *, required_return: float = 0.0) -> FloatArray:
    r"""Return gains over losses about a target, :math:`\sum (r-t)^+ / \sum (t-r)^+`.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    required_return : float
        Target t per bar, fraction.

    Returns
    -------
    ndarray of shape () or (n_series,)
        >= 0; NaN if no bar is below the target. Omega less 1 is the Omega-Sharpe ratio.

    References
    ----------
    .. [1] Keating & Shadwick (2002), "A Universal Performance Measure".
    """
    losses = -_shortfall(returns, required_return).sum(axis=1)
    excess = (returns.mean - required_return) * returns.n_bars
    return divide(excess + losses, losses)


@measure(least=3)
def stability(returns: Sample) -> FloatArray:
    """Return the R-squared of a straight line through the cumulative log return.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions, above -1.

    Returns
    -------
    ndarray of shape () or (n_series,)
        In [0, 1]; NaN after ruin or if the curve is flat.

    References
    ----------
    .. [1] empyrical, `stability_of_timeseries` (Quantopian 2016).
    """
    growth = np.log(returns.curve)
    bar = np.arange(returns.n_bars) - (returns.n_bars - 1) / 2.0
    centred = growth - growth.mean(axis=1, keepdims=True)
    covariance = centred @ bar
    return divide(covariance**2, np.einsum("ij,ij->i", centred, centred) * (bar @ bar))


@measure()
def winning_bars(returns: Sample) -> FloatArray:
    """Return the share of bars with a gain among the bars in which the account moved.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction in [0, 1]; bars with a return of exactly 0 count on neither side.
    """
    gains = np.count_nonzero(returns.returns > 0.0, axis=1).astype(np.float64)
    moved = np.count_nonzero(returns.returns, axis=1).astype(np.float64)
    return divide(gains, moved)


@measure()
def best_bar(returns: Sample) -> FloatArray:
    """Return the largest return of one bar.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction.
    """
    return np.asarray(returns.returns.max(axis=1))


@measure()
def worst_bar(returns: Sample) -> FloatArray:
    """Return the smallest return of one bar.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fraction.
    """
    return np.asarray(returns.returns.min(axis=1))


def _shortfall(returns: Sample, required_return: float) -> FloatArray:
    if required_return == 0.0:
        return returns.losses
    return np.asarray(np.minimum(returns.returns - required_return, 0.0))


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where the denominator is not positive.

    Parameters
    ----------
    numerator, denominator : ndarray of shape (n_series,)
        Any units.

    Returns
    -------
    ndarray of shape (n_series,)
        Never a sentinel or an infinity for an undefined ratio.
    """
    return np.asarray(numerator / np.where(denominator > 0.0, denominator, np.nan))
