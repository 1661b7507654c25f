"""Returns, equity curves and their annualisation."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray


def simple_returns(prices: FloatArray) -> FloatArray:
    r"""Return the fractional change from each bar to the next.

    .. math:: r_t = P_t / P_{t-1} - 1

    Parameters
    ----------
    prices : ndarray of shape (n_bars,) or (n_bars, n_series)
        Prices or account values, positive. NaN before a series starts is kept.

    Returns
    -------
    ndarray of shape (n_bars - 1,) or (n_bars - 1, n_series)
        Fractions; a loss is negative.

    Raises
    ------
    ValueError
        If a price is zero, negative or infinite, or there is no bar.
    """
    values = _check_prices(prices)
    return values[1:] / values[:-1] - 1.0


def log_returns(prices: FloatArray) -> FloatArray:
    r"""Return the continuously compounded change from each bar to the next.

    .. math:: \ell_t = \ln(P_t / P_{t-1})

    Parameters
    ----------
    prices : ndarray of shape (n_bars,) or (n_bars, n_series)
        Prices or account values, positive. NaN before a series starts is kept.

    Returns
    -------
    ndarray of shape (n_bars - 1,) or (n_bars - 1, n_series)
        Log units; a loss is negative.

    Raises
    ------
    ValueError
        If a price is zero, negative or infinite, or there is no bar.
    """
    return np.diff(np.log(_check_prices(prices)), axis=0)


def equity_curve(returns: FloatArray, *, initial: float = 1.0) -> FloatArray:
    r"""Return the account value that compounds `returns`, the start included.

    .. math:: E_0 = initial, \qquad E_t = E_{t-1} (1 + r_t)

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions, >= -1.
    initial : float
        Account value before the first return, positive.

    Returns
    -------
    ndarray of shape (n_bars + 1,) or (n_bars + 1, n_series)
        Account value; a NaN return makes every later value NaN.

    Raises
    ------
    ValueError
        If `initial` is not positive.
    """
    if not initial > 0:
        raise ValueError(f"initial must be positive, was {initial}")
    values = np.asarray(returns, dtype=np.float64)
    curve = np.empty((values.shape[0] + 1, *values.shape[1:]))
    curve[0] = 1.0
    np.cumprod(1.0 + values, axis=0, out=curve[1:])
    return curve * initial


def compound(returns: FloatArray) -> FloatArray:
    r"""Return the total return of compounding every bar.

    .. math:: R = \prod_t (1 + r_t) - 1

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.

    Returns
    -------
    ndarray of shape () or (n_series,)
        Fractions; NaN where a return is NaN, 0 for no bars.
    """
    return np.asarray(np.prod(1.0 + np.asarray(returns, dtype=np.float64), axis=0) - 1.0)


def compound_by(returns: FloatArray, labels: IntArray) -> tuple[IntArray, FloatArray]:
    """Compound the returns of each run of equal labels, e.g. of each month.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_series)
        Simple returns as fractions.
    labels : ndarray of shape (n_bars,)
        Period of each bar, never decreasing, e.g. year * 12 + month - 1.

    Returns
    -------
    labels : ndarray of shape (n_periods,)
        Periods that have a bar, increasing.
    returns : ndarray of shape (n_periods,) or (n_periods, n_series)
        Simple return of each period.

    Raises
    ------
    ValueError
        If the lengths differ or the labels decrease.
    """
    values = np.asarray(returns, dtype=np.float64)
    if labels.shape != values.shape[:1]:
        raise ValueError(f"labels have shape {labels.shape}, returns {values.shape}")
    if labels.size == 0:
        return labels, values
    if (np.diff(labels) < 0).any():
        raise ValueError("period labels must not decrease")
    starts = np.flatnonzero(np.r_[True, np.diff(labels) > 0])
    return labels[starts], np.multiply.reduceat(1.0 + values, starts, axis=0) - 1.0


def annualise_return(
    total_return: FloatArray, n_periods: int, *, periods_per_year: float
) -> FloatArray:
    r"""Return the constant annual rate that gives `total_return` over the periods.

    .. math:: (1 + R)^{p / n} - 1

    Parameters
    ----------
    total_return : ndarray of any shape
        Compounded return as a fraction.
    n_periods : int
        Number of bars compounded.
    periods_per_year : float
        Bars in a year, see `calendars.periods_per_year`.

    Returns
    -------
    ndarray of the same shape
        Fraction per year; -1 after ruin; NaN below -1 (debt has no rate) or for no periods.
    """
    growth = 1.0 + np.asarray(total_return, dtype=np.float64)
    if n_periods <= 0:
        return np.full_like(growth, np.nan)
    solvent = np.where(growth >= 0, growth, np.nan)
    return np.asarray(solvent ** (periods_per_year / n_periods) - 1.0)


def annualise_volatility(volatility: FloatArray, *, periods_per_year: float) -> FloatArray:
    r"""Scale a standard deviation per bar to a year by the square root of time.

    .. math:: \sigma_{year} = \sigma \sqrt{p}

    Parameters
    ----------
    volatility : ndarray of any shape
        Standard deviation of returns per bar, fraction.
    periods_per_year : float
        Bars in a year.

    Returns
    -------
    ndarray of the same shape
        Fraction per square-root year. Exact only for uncorrelated returns (Lo 2002).
    """
    return np.asarray(np.asarray(volatility, dtype=np.float64) * np.sqrt(periods_per_year))


def _check_prices(prices: FloatArray) -> FloatArray:
    values = np.asarray(prices, dtype=np.float64)
    if values.ndim == 0 or values.shape[0] == 0:
        raise ValueError(f"prices must have at least one bar, was shape {values.shape}")
    if (values <= 0).any() or np.isinf(values).any():
        raise ValueError("prices must be positive and finite")
    return values
