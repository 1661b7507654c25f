"""Is it luck? The probability of overfitting, and what stability of a parameter set is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
import scipy

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.cores import on_every_core
from strategies.quant.split_kernel import Moments, Splits, judge_splits

DEFAULT_BLOCKS = 16
SPLITS_AT_ONCE = 256


class Rank(StrEnum):
    """How an out-of-sample rank becomes a relative one.

    OVER_N_PLUS_1 is the paper's; OVER_N is that of the R package pbo. For an even number of
    trials both give the same probability.
    """

    OVER_N_PLUS_1 = "n+1"
    OVER_N = "n"


@dataclass(frozen=True, slots=True, eq=False)
class OverfittingResult:
    """Combinatorially symmetric cross-validation of a family of trials.

    Attributes
    ----------
    probability : float
        Share of splits in which the best in-sample trial is at or below the out-of-sample
        median, in [0, 1]; about 0.5 for pure noise.
    loss_probability : float
        Share of splits in which that trial's out-of-sample performance is negative.
    logits : ndarray of shape (n_splits,)
        Logarithm of the odds of its relative rank.
    in_sample, out_of_sample : ndarray of shape (n_splits,)
        Performance of the chosen trial, per bar.
    slope, intercept : float
        Of the regression of out-of-sample on in-sample; a negative slope says that a better
        fit makes it worse. NaN when undefined.
    chosen : ndarray of int, shape (n_splits,)
        Position of the chosen trial.
    """

    probability: float
    loss_probability: float
    logits: FloatArray
    in_sample: FloatArray
    out_of_sample: FloatArray
    slope: float
    intercept: float
    chosen: IntArray


@dataclass(frozen=True, slots=True)
class Stability:
    """How the performance of a parameter set compares with its neighbours.

    Attributes
    ----------
    ratio : float
        Mean of the neighbours over the point itself; NaN if the point is not positive or has
        no neighbour. Below 0.7 is amber, below 0.4 red.
    share_positive : float
        Share of neighbours with a positive value.
    n_neighbours : int
        Sets within one grid step on every axis.
    is_on_edge : bool
        Whether the point lies on the border of the grid on an axis with more than two values.
    """

    ratio: float
    share_positive: float
    n_neighbours: int
    is_on_edge: bool


def block_moments(returns: FloatArray, n_blocks: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sums, sums of squares and sizes of consecutive blocks of returns.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_trials)
        Returns per bar, one trial per column.
    n_blocks : int
        Blocks, as equal as the bars allow.

    Returns
    -------
    sums, squares : ndarray of shape (n_trials, n_blocks)
        In fractions and squared fractions.
    sizes : ndarray of shape (n_blocks,)
        Bars.
    """
    edges = np.linspace(0, len(returns), n_blocks + 1).astype(np.int64)[:-1]
    sums = np.add.reduceat(returns, edges, axis=0).T
    squares = np.add.reduceat(returns**2, edges, axis=0).T
    sizes = np.diff([*edges, len(returns)]).astype(np.float64)
    return sums, squares, sizes


def overfitting_probability(
    returns: FloatArray,
    *,
    n_blocks: int = DEFAULT_BLOCKS,
    rate: float = 0.0,
    rank: Rank = Rank.OVER_N_PLUS_1,
) -> OverfittingResult:
    """Return the probability of backtest overfitting from the returns of all trials.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_trials)
        Returns per bar as fractions, finite, one trial per column.
    n_blocks : int
        Even number of blocks S; C(S, S/2) splits are made.
    rate : float
        Riskless return per bar.
    rank : Rank
        Convention of the relative rank.

    Returns
    -------
    OverfittingResult
        With one entry per split.

    Raises
    ------
    ValueError
        If there are fewer than 2 trials, an odd number of blocks, or blocks without bars.

    References
    ----------
    .. [1] Bailey, Borwein, López de Prado & Zhu (2017), "The Probability of Backtest
       Overfitting", Journal of Computational Finance 20(4).
    """
    if returns.ndim != 2 or not np.isfinite(returns).all():
        raise ValueError(f"returns must be a finite matrix, was of shape {returns.shape}")
    if len(returns) < 2 * n_blocks:
        raise ValueError(f"{n_blocks} blocks need {2 * n_blocks} bars, there are {len(returns)}")
    sums, squares, sizes = block_moments(returns, n_blocks)
    return overfitting_from_blocks(sums, squares, sizes, rate=rate, rank=rank)


def overfitting_from_blocks(
    sums: FloatArray,
    squares: FloatArray,
    sizes: FloatArray,
    *,
    rate: float = 0.0,
    rank: Rank = Rank.OVER_N_PLUS_1,
) -> OverfittingResult:
    """Return the probability of backtest overfitting from block sums, as a sweep keeps them.

    Parameters
    ----------
    sums, squares : ndarray of shape (n_trials, n_blocks)
        Sums of returns and squared returns per block.
    sizes : ndarray of shape (n_blocks,)
        Bars per block.
    rate, rank
        As in `overfitting_probability`.

    Returns
    -------
    OverfittingResult
        With one entry per split.

    Raises
    ------
    ValueError
        If there are fewer than 2 trials or an odd number of blocks.
    """
    n_trials, n_blocks = sums.shape
    if n_trials < 2 or n_blocks < 2 or n_blocks % 2:
        raise ValueError(
            f"at least 2 trials and an even number of blocks are needed, were {sums.shape}"
        )
    halves = np.array(list(combinations(range(n_blocks), n_blocks // 2)), np.int64)
    splits = _judged(halves, sums, squares, sizes, rate)
    logits = _logit(splits.ranks, n_trials, rank)
    slope, intercept = _regression(splits.inside, splits.outside)
    return OverfittingResult(
        probability=float((logits <= 0.0).mean()),
        loss_probability=float((splits.outside < 0.0).mean()),
        logits=logits,
        in_sample=splits.inside,
        out_of_sample=splits.outside,
        slope=slope,
        intercept=intercept,
        chosen=splits.chosen,
    )


def _judged(
    halves: IntArray, sums: FloatArray, squares: FloatArray, sizes: FloatArray, rate: float
) -> Splits:
    n_splits = len(halves)
    splits = Splits(
        np.empty(n_splits, np.int64), np.empty(n_splits), np.empty(n_splits), np.empty(n_splits)
    )
    moments = Moments(
        np.ascontiguousarray(sums.T), np.ascontiguousarray(squares.T), np.ascontiguousarray(sizes)
    )

    def work(span: slice) -> None:
        judge_splits(halves, span.start, span.stop, moments, float(rate), splits)

    # Each split is judged with the one that swaps its halves: both need the same ratios.
    on_every_core(lambda: work, n_splits // 2, span=SPLITS_AT_ONCE)
    return splits


def _logit(ranks: FloatArray, n_trials: int, rank: Rank) -> FloatArray:
    relative = ranks / (n_trials + 1 if rank is Rank.OVER_N_PLUS_1 else n_trials)
    with np.errstate(divide="ignore"):
        return np.log(relative / (1.0 - relative))


def _regression(inside: FloatArray, outside: FloatArray) -> tuple[float, float]:
    if len(inside) < 3 or np.ptp(inside) == 0.0:
        return math.nan, math.nan
    fit = scipy.stats.linregress(inside, outside)
    return float(fit.slope), float(fit.intercept)
