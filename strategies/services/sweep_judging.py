"""What the best of many sets is worth: plateau or spike, overfitted or not, luck or not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import scipy

from alphastrat.core.jsonable import jsonable
from alphastrat.quant.statistics import deflated_sharpe, effective_trials, expected_maximum_sharpe
from alphastrat.quant.types import FloatArray
from strategies.models import Sweep
from strategies.quant.chunks import N_BLOCKS, Ground, simulate_sets
from strategies.quant.grid import Grid, smooth, stability
from strategies.quant.overfitting import overfitting_from_blocks
from strategies.quant.sweep_kernel import METRICS
from strategies.services.sweep_archive import block_moments
from strategies.services.trials import count_trials

# Fewer trials or shorter blocks than this say nothing about overfitting.
LEAST_TRIALS, LEAST_BLOCK_BARS = 10, 20
# All pairs of splits and trials are compared; so many trials take seconds and megabytes.
MAX_JUDGED_TRIALS = 2_000
N_CORRELATED = 200
N_BINS = 24


def judge(sweep: Sweep, grid: Grid, ground: Ground, frame: pd.DataFrame) -> dict[str, Any]:
    """Return the best and the steadiest set, and how much of either may be luck."""
    numbers = frame["number"].to_numpy(np.int64)
    values = frame[sweep.objective].to_numpy(np.float64)
    smoothed = smooth(grid, numbers, values)
    filled = np.nan_to_num(values, nan=-np.inf)
    best, plateau = int(np.argmax(filled)), int(np.argmax(smoothed))
    return {
        "best": _set_document(grid, ground, frame, values, best),
        "plateau": _set_document(grid, ground, frame, values, plateau),
        "overfitting": _overfitting(frame, ground.period.n_bars),
        "n_effective_share": _effective_share(grid, ground, numbers),
        "n_valid": len(frame),
    }


def smoothed_of(sweep: Sweep, grid: Grid, frame: pd.DataFrame) -> FloatArray:
    """Return the objective smoothed over the grid."""
    return smooth(grid, frame["number"].to_numpy(np.int64), frame[sweep.objective].to_numpy())


def luck_of(sweep: Sweep, which: str = "best") -> dict[str, Any] | None:
    """Return the deflated Sharpe ratio of a chosen set, given every look at its hypothesis.

    Computed when it is shown, because later looks lower the confidence in earlier ones. None
    where the set never moved.
    """
    chosen: Mapping[str, Any] = sweep.summary.get(which) or {}
    shape = chosen.get("returns")
    if not shape:
        return None
    looks = count_trials(sweep)
    n_trials, variance = max(1, looks.n_trials), looks.sharpe_variance_per_bar
    n_effective = max(1.0, n_trials * (sweep.summary.get("n_effective_share") or 1.0))
    terms = {
        "n_observations": shape["n_bars"],
        "sharpe_variance": variance,
        "skewness": shape["skewness"],
        "kurtosis": shape["kurtosis"],
    }
    annual = math.sqrt(sweep.periods_per_year or 252.0)
    return {
        "n_trials": n_trials,
        "n_effective": n_effective,
        "luck": expected_maximum_sharpe(n_trials, variance) * annual,
        "luck_effective": expected_maximum_sharpe(n_effective, variance) * annual,
        "deflated": deflated_sharpe(shape["sharpe_per_bar"], n_trials=n_trials, **terms),
        "deflated_effective": deflated_sharpe(
            shape["sharpe_per_bar"], n_trials=n_effective, **terms
        ),
    }


def _set_document(
    grid: Grid, ground: Ground, frame: pd.DataFrame, values: FloatArray, row: int
) -> dict[str, Any]:
    numbers = frame["number"].to_numpy(np.int64)
    number = int(numbers[row])
    (varied,) = grid.sets(np.array([number]))
    document = {
        "number": number,
        "parameters": varied,
        "metrics": {name: float(frame[name].iloc[row]) for name in METRICS},
        "stability": asdict(stability(grid, numbers, values, number)),
        "edges": list(grid.edges(number)),
        "returns": _shape(ground, varied),
    }
    plain: dict[str, Any] = jsonable(document)
    return plain


def _shape(ground: Ground, varied: Mapping[str, Any]) -> dict[str, float] | None:
    kept = simulate_sets(ground, [varied], keep_returns=True).returns
    returns = np.empty(0) if kept is None else kept[0].astype(np.float64)
    if returns.size < 3 or not np.isfinite(returns).all() or not returns.std(ddof=1) > 1e-10:
        return None
    return {
        "n_bars": int(returns.size),
        "sharpe_per_bar": float(returns.mean() / returns.std(ddof=1)),
        "skewness": float(scipy.stats.skew(returns)),
        "kurtosis": float(scipy.stats.kurtosis(returns, fisher=False)),
    }


def _overfitting(frame: pd.DataFrame, n_bars: int) -> dict[str, Any] | None:
    """Return the probability of backtest overfitting; None where there is too little to go by."""
    if len(frame) < LEAST_TRIALS or n_bars < N_BLOCKS * LEAST_BLOCK_BARS:
        return None
    sums, squares = block_moments(frame)
    rows = np.arange(len(frame))
    if len(frame) > MAX_JUDGED_TRIALS:
        best = int(np.argmax(np.nan_to_num(frame["sharpe"].to_numpy(), nan=-np.inf)))
        spread = np.linspace(0, len(frame) - 1, MAX_JUDGED_TRIALS - 1).astype(np.int64)
        rows = np.unique(np.append(spread, best))
    sizes = np.diff(np.linspace(0, n_bars, N_BLOCKS + 1).astype(np.int64)).astype(np.float64)
    found = overfitting_from_blocks(sums[rows], squares[rows], sizes)
    finite = found.logits[np.isfinite(found.logits)]
    counts, edges = np.histogram(finite, bins=N_BINS)
    document: dict[str, Any] = jsonable(
        {
            "probability": found.probability,
            "loss_probability": found.loss_probability,
            "slope": found.slope,
            "n_splits": len(found.logits),
            "n_trials": len(rows),
            "counts": counts,
            "edges": edges,
        }
    )
    return document


def _effective_share(grid: Grid, ground: Ground, numbers: Any) -> float | None:
    """Return how many independent trials one trial stands for, from a sample of their returns."""
    rows = np.unique(np.linspace(0, len(numbers) - 1, min(len(numbers), N_CORRELATED)).astype(int))
    kept = simulate_sets(ground, grid.sets(numbers[rows]), keep_returns=True).returns
    if kept is None or not np.isfinite(kept).all():
        return None
    moving = kept[kept.std(axis=1) > 1e-10].astype(np.float64)
    if len(moving) < 2:
        return None
    return float(effective_trials(np.asarray(np.corrcoef(moving))) / len(rows))
