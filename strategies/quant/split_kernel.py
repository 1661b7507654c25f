"""The compiled loop of combinatorially symmetric cross-validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.compiled import compiled, compiled_bare, compiled_elementwise


class Splits(NamedTuple):
    """What became of the best trial of each split, arrays of shape (n_splits,).

    Position of the trial, its Sharpe ratios per bar in and out of sample, and its rank out of
    sample from 1 (worst); trials that are equal count as half above and half below.
    """

    chosen: IntArray
    inside: FloatArray
    outside: FloatArray
    ranks: FloatArray


class Moments(NamedTuple):
    """Sums of returns and squared returns, shape (n_blocks, n_trials), and bars per block."""

    sums: FloatArray
    squares: FloatArray
    sizes: FloatArray


@compiled
def judge_splits(
    halves: IntArray, start: int, stop: int, moments: Moments, rate: float, splits: Splits
) -> None:
    """Judge splits and those that swap their halves.

    Parameters
    ----------
    halves : ndarray of int, shape (n_splits, n_blocks / 2)
        Blocks in sample, in lexicographic order, so that the k-th from the end has the blocks
        that the k-th has not.
    start, stop : int
        Of the first half of the splits.
    moments : Moments
        Of the trials.
    rate : float
        Riskless return per bar.
    splits : Splits
        Written.
    """
    n_trials = moments.sums.shape[1]
    one, other, scratch = np.empty(n_trials), np.empty(n_trials), np.empty(n_trials)
    for i in range(start, stop):
        mirrored = halves.shape[0] - 1 - i
        _sharpes(halves[i], moments, rate, one, scratch)
        _sharpes(halves[mirrored], moments, rate, other, scratch)
        _judge(one, other, i, splits)
        _judge(other, one, mirrored, splits)


@compiled_bare
def _sharpes(
    blocks: IntArray, moments: Moments, rate: float, sharpes: FloatArray, squares: FloatArray
) -> None:
    sharpes[:], squares[:], n_bars = 0.0, 0.0, 0.0
    for block in blocks:
        _add(moments.sums[block], sharpes)
        _add(moments.squares[block], squares)
        n_bars += moments.sizes[block]
    _finish(sharpes, squares, n_bars, rate)


@compiled_elementwise
def _add(numbers: FloatArray, totals: FloatArray) -> None:
    for j in range(totals.size):
        totals[j] += numbers[j]


@compiled_elementwise
def _finish(sharpes: FloatArray, squares: FloatArray, n_bars: float, rate: float) -> None:
    """Turn sums of returns into Sharpe ratios in place."""
    least = 1e-24 * (n_bars - 1.0) if n_bars > 1.0 else np.inf
    for j in range(sharpes.size):
        mean = sharpes[j] / n_bars
        spread = max(squares[j] / n_bars - mean * mean, 0.0) * n_bars
        # A trial that never traded is neither better nor worse than cash.
        sharpe = (mean - rate) / np.sqrt(spread / (n_bars - 1.0))
        sharpes[j] = sharpe if spread > least else 0.0


@compiled_bare
def _judge(inside: FloatArray, outside: FloatArray, i: int, splits: Splits) -> None:
    best = 0
    for j in range(1, inside.size):
        if inside[j] > inside[best]:
            best = j
    n_below, n_equal = _standing(outside, outside[best])
    splits.chosen[i], splits.inside[i], splits.outside[i] = best, inside[best], outside[best]
    splits.ranks[i] = n_below + 0.5 * (n_equal + 1.0)


@compiled_elementwise
def _standing(values: FloatArray, own: float) -> tuple[int, int]:
    n_below, n_equal = 0, 0
    for j in range(values.size):
        n_below += int(values[j] < own)
        n_equal += int(values[j] == own)
    return n_below, n_equal
