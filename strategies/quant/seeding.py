"""Seeding of recursive averages as published, and how long a seed is remembered."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray
from strategies.quant.compiled import compiled


def wilder_warmup(period: int) -> int:
    """Return the bars after which the seed of a Wilder average weighs under 1e-8.

    Parameters
    ----------
    period : int
        Smoothing period in bars; the seed's weight is (1 - 1/period) to the power of the bars.

    Returns
    -------
    int
        Bars, the seeding included.
    """
    return 20 * period


def ema_warmup(period: int) -> int:
    """Return the bars after which the seed of an EMA weighs under 1e-8.

    Parameters
    ----------
    period : int
        EMA period in bars; the seed's weight is (1 - 2/(period + 1)) to the power of the bars.

    Returns
    -------
    int
        Bars, the seeding included.
    """
    return 11 * period


@compiled
def macd_published(
    close: FloatArray, fast: int, slow: int, signal: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return line, signal and histogram of `indicators.macd`, for a series without gaps."""
    n_bars = close.size
    line, signals, histogram = np.empty(n_bars), np.empty(n_bars), np.empty(n_bars)
    first, last_seed = min(slow - 1, n_bars), slow + signal - 2
    line[:first], signals[:last_seed], histogram[:last_seed] = np.nan, np.nan, np.nan
    fast_weight, slow_weight, signal_weight = 2 / (fast + 1), 2 / (slow + 1), 2 / (signal + 1)
    if n_bars < slow:
        return line, signals, histogram
    fast_ema, slow_ema = close[:fast].mean(), close[:slow].mean()
    for t in range(fast, slow):
        fast_ema += fast_weight * (close[t] - fast_ema)
    line[first] = fast_ema - slow_ema
    for t in range(slow, min(last_seed + 1, n_bars)):
        fast_ema += fast_weight * (close[t] - fast_ema)
        slow_ema += slow_weight * (close[t] - slow_ema)
        line[t] = fast_ema - slow_ema
    if n_bars <= last_seed:
        return line, signals, histogram
    signal_ema = line[first : last_seed + 1].mean()
    signals[last_seed] = signal_ema
    histogram[last_seed] = line[last_seed] - signal_ema
    # Each average waits for its own last value only; in one loop the three wait together.
    for t in range(last_seed + 1, n_bars):
        fast_ema += fast_weight * (close[t] - fast_ema)
        slow_ema += slow_weight * (close[t] - slow_ema)
        line[t] = fast_ema - slow_ema
        signal_ema += signal_weight * (line[t] - signal_ema)
        signals[t] = signal_ema
        histogram[t] = line[t] - signal_ema
    return line, signals, histogram


@compiled
def atr_published(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Return `indicators.atr`, for series without gaps."""
    ranges = np.full(close.size, np.nan)
    average = 0.0
    for t in range(close.size):
        true_range = high[t] - low[t]
        if t > 0:
            true_range = max(true_range, abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))
        if t < period:
            average += true_range / period
        else:
            average += (true_range - average) / period
        if t >= period - 1:
            ranges[t] = average
    return ranges
