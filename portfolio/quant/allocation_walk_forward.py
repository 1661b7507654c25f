"""The allocation judged on bars it had not seen, after costs, against equal weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from portfolio.quant.allocation_direct import direct_weights
from portfolio.quant.allocation_problem import AllocationProblem

Build = Callable[[FloatArray], AllocationProblem]

TRAIN_BARS = 252
HOLD_BARS = 21
COST_BPS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What a policy earned out of sample.

    Attributes
    ----------
    returns : ndarray of shape (n_bars,)
        Fractions per bar after costs.
    turnover : float
        Sum of absolute changes of weights over all rebalances.
    cost : float
        Fraction of equity that the rebalances cost, summed.
    """

    returns: FloatArray
    turnover: float
    cost: float


@dataclass(frozen=True, slots=True, eq=False)
class AllocationWalkForward:
    """An allocation and equal weight over the same bars.

    Attributes
    ----------
    first : int
        Position of the first bar out of sample.
    rebalanced : ndarray of int
        Positions of the bars at whose close weights were set.
    weights : ndarray of shape (n_rebalances, n_strategies)
        As set.
    chosen, equal : Track
        The allocation, and equal weight rebalanced at the same times at the same cost.
    n_kept : int
        Rebalances without an answer, at which the weights before were kept.
    """

    first: int
    rebalanced: IntArray
    weights: FloatArray
    chosen: Track
    equal: Track
    n_kept: int


def walk_forward_allocation(
    returns: FloatArray,
    build: Build,
    *,
    train_bars: int = TRAIN_BARS,
    hold_bars: int = HOLD_BARS,
    cost_bps: float = COST_BPS,
) -> AllocationWalkForward | None:
    """Return what an allocation would have earned on bars it had not seen.

    At the end of every training span weights are set from that span alone; they drift with the
    strategies until the next rebalance.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; a strategy without a return earns nothing on that bar.
    build : callable
        From the returns of a training span to the problem they make.
    train_bars, hold_bars : int
        Length of a training span, and bars until the next.
    cost_bps : float
        Cost of a change of weight, in basis points of what moves.

    Returns
    -------
    AllocationWalkForward or None
        None where the history is shorter than one training span and one holding.

    References
    ----------
    .. [1] DeMiguel, Garlappi & Uppal (2009), "Optimal versus naive diversification", Review of
       Financial Studies 22(5), section 2: rolling samples against 1/N.
    """
    n_bars, n = returns.shape
    if n_bars < train_bars + hold_bars:
        return None
    times = np.arange(train_bars, n_bars, hold_bars)
    weights = np.zeros((len(times), n))
    known, n_kept = False, 0
    for k, time in enumerate(times):
        found = _weights(returns[time - train_bars : time], build)
        if found is None:
            n_kept += 1
            weights[k] = weights[k - 1] if known else np.full(n, 1.0 / n)
        else:
            weights[k], known = found, True
    held = np.nan_to_num(returns)
    equal = np.full((len(times), n), 1.0 / n)
    return AllocationWalkForward(
        int(times[0]),
        times,
        weights,
        _track(held, times, weights, cost_bps),
        _track(held, times, equal, cost_bps),
        n_kept,
    )


def _weights(returns: FloatArray, build: Build) -> FloatArray | None:
    try:
        found = direct_weights(build(returns), n_nodes=0)
    except ValueError:
        return None
    return None if found is None else found.weights


def _track(returns: FloatArray, times: IntArray, targets: FloatArray, cost_bps: float) -> Track:
    ends = np.append(times[1:], len(returns))
    earned, turnover, cost = [], 0.0, 0.0
    current = np.zeros(returns.shape[1])
    for start, end, target in zip(times, ends, targets, strict=True):
        moved = float(np.abs(target - current).sum())
        # The first purchase is nobody's turnover: every policy makes it.
        fee = 0.0 if start == times[0] else moved * cost_bps / 1e4
        turnover += 0.0 if start == times[0] else moved
        cost += fee
        growth = np.cumprod(1.0 + returns[start:end], axis=0)
        value = growth @ target + (1.0 - target.sum())
        per_bar = np.diff(np.concatenate([[1.0], value])) / np.concatenate([[1.0], value[:-1]])
        per_bar[0] = (1.0 - fee) * (1.0 + per_bar[0]) - 1.0
        earned.append(per_bar)
        current = target * growth[-1] / value[-1]
    return Track(np.concatenate(earned), turnover, cost)
