"""Any measure over a moving window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alphastrat.quant.types import FloatArray


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
