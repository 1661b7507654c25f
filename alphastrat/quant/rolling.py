"""Any measure over a moving window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from alphastrat.quant.return_measures import sharpe_ratio
from alphastrat.quant.types import FloatArray

LEAST_WINDOW = 20


def half_year(periods_per_year: float) -> int:
    """Return how many bars half a year has, at least `LEAST_WINDOW`."""
    return max(LEAST_WINDOW, round(periods_per_year / 2))


def rolling_measure(
    returns: FloatArray, measure: Callable[[FloatArray], FloatArray], *, window: int
) -> FloatArray:
    """Return a measure of the last bars, as it was known at every bar.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns as fractions.
    measure : callable
        From returns of shape (window, n_windows) to values of shape (n_windows,): any function
        of `measures` with its keywords bound.
    window : int
        Bars looked back on, the present one included.

    Returns
    -------
    ndarray of shape (n_bars,)
        In the measure's unit; NaN before the window is full.

    Raises
    ------
    ValueError
        If the returns are not one-dimensional or the window is not positive.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"returns must be one-dimensional, was shape {values.shape}")
    if window < 1:
        raise ValueError(f"window must be positive, was {window}")
    rolled = np.full(values.size, np.nan)
    if values.size >= window:
        windows = np.lib.stride_tricks.sliding_window_view(values, window)
        rolled[window - 1 :] = measure(windows.T)
    return rolled


def rolling_sharpe(returns: FloatArray, *, periods_per_year: float, window: int) -> FloatArray:
    """Return the annualised Sharpe ratio of the last bars, as it was known at every bar.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns as fractions.
    periods_per_year : float
        Bars in a year.
    window : int
        Bars looked back on, the present one included.

    Returns
    -------
    ndarray of shape (n_bars,)
        NaN before the window is full, and where nothing moved in it.
    """
    measure = partial(sharpe_ratio, periods_per_year=periods_per_year)
    return rolling_measure(returns, measure, window=window)
