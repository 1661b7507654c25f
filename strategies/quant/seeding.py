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
    line = np.full(close.size, np.nan)
    signals = np.full(close.size, np.nan)
    fast_weight, slow_weight, signal_weight = 2 / (fast + 1), 2 / (slow + 1), 2 / (signal + 1)
    fast_ema = slow_ema = signal_ema = 0.0
    for t in range(close.size):
        fast_ema = fast_ema + close[t] / fast if t < fast else fast_ema
        slow_ema = slow_ema + close[t] / slow if t < slow else slow_ema
        if t >= fast:
            fast_ema += fast_weight * (close[t] - fast_ema)
        if t >= slow:
            slow_ema += slow_weight * (close[t] - slow_ema)
        if t < slow - 1:
            continue
        line[t] = fast_ema - slow_ema
        n_lines = t - slow + 2
        if n_lines <= signal:
            signal_ema += line[t] / signal
        else:
            signal_ema += signal_weight * (line[t] - signal_ema)
        if n_lines >= signal:
            signals[t] = signal_ema
    return line, signals, line - signals


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
