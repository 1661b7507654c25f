"""One chunk of a sweep as plain values: what a worker, here or elsewhere, is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from strategies.quant import registry
from strategies.quant.panel import Panel
from strategies.quant.simulator import SimulationConfig
from strategies.quant.sweep import SweepResult, sweep
from strategies.quant.sweep_kernel import METRICS
from strategies.quant.wanted_sets import EXIT_NAMES as EXIT_NAMES
from strategies.quant.wish_rows import consistent_sets, parameter_columns

N_BLOCKS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What every parameter set of a search is tried on.

    Attributes
    ----------
    key : str
        A registered plug-in.
    fixed : mapping of name to value
        Parameters that do not vary.
    history : Panel
        Warm-up bars and the period.
    offset : int
        Row of `history` at which the period starts.
    config : SimulationConfig
        Account, costs and rules.
    """

    key: str
    fixed: Mapping[str, Any]
    history: Panel
    offset: int
    config: SimulationConfig

    @property
    def period(self) -> Panel:
        """The bars of the period alone."""
        return self.history.window(self.offset, self.history.n_bars)


@dataclass(frozen=True, slots=True, eq=False)
class ChunkResult:
    """What the sets of one chunk did, in their order.

    Attributes
    ----------
    is_valid : ndarray of bool, shape (n_sets,)
        False where the plug-in does not accept the combination; its other values are NaN.
    metrics : ndarray of shape (n_sets, 10)
        Columns as in `sweep_kernel.METRICS`.
    sums, squares : ndarray of shape (n_sets, n_blocks)
        Block sums of returns and squared returns, for CSCV.
    """

    is_valid: BoolArray
    metrics: FloatArray
    sums: FloatArray
    squares: FloatArray


def accepts(key: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether a plug-in accepts a set of parameters, exit rules left aside.

    Parameters
    ----------
    key : str
        A registered plug-in.
    parameters : mapping of name to value
        A whole set.

    Returns
    -------
    bool
        False if they contradict each other, such as a fast average slower than the slow one.
    """
    own = {name: value for name, value in parameters.items() if name not in EXIT_NAMES}
    try:
        registry.build(key, own)
    except ValueError:
        return False
    return True


def accepted(key: str, fixed: Mapping[str, Any], varied: Sequence[Mapping[str, Any]]) -> BoolArray:
    """Return which sets a plug-in accepts.

    Parameters
    ----------
    key : str
        A registered plug-in.
    fixed : mapping of name to value
        Parameters that do not vary.
    varied : sequence of mapping
        The parameters of each set that vary.

    Returns
    -------
    ndarray of bool, shape (n_sets,)
        As `accepts` says of each.
    """
    cls = registry.plugin(key)
    if varied and hasattr(cls, "wish_rows"):
        whole = [
            {n: value for n, value in {**fixed, **own}.items() if n not in EXIT_NAMES}
            for own in varied
        ]
        columns = parameter_columns(cls, whole)
        consistent = None if columns is None else consistent_sets(cls, columns)
        if consistent is not None:
            return consistent
    return np.array([accepts(key, {**fixed, **own}) for own in varied], np.bool_)


def evaluate(ground: Ground, varied: Sequence[Mapping[str, Any]]) -> ChunkResult:
    """Try parameter sets on the same bars.

    Parameters
    ----------
    ground : Ground
        Bars, account and fixed parameters.
    varied : sequence of mapping
        The parameters of each set that vary.

    Returns
    -------
    ChunkResult
        One row per set; sets are independent, so how they are cut into chunks changes nothing.

    Raises
    ------
    ValueError
        If the plug-in is not known here or cannot use the bars.
    """
    registry.load_builtin_plugins()
    registry.plugin(ground.key)
    is_valid = accepted(ground.key, ground.fixed, varied)
    metrics = np.full((len(varied), len(METRICS)), np.nan)
    sums = np.full((len(varied), N_BLOCKS), np.nan)
    squares = np.full((len(varied), N_BLOCKS), np.nan)
    if is_valid.any():
        found = simulate_sets(ground, [own for own, ok in zip(varied, is_valid, strict=True) if ok])
        metrics[is_valid] = np.column_stack([getattr(found, name) for name in METRICS])
        sums[is_valid], squares[is_valid] = found.block_sums, found.block_squares
    return ChunkResult(is_valid, metrics, sums, squares)


def simulate_sets(
    ground: Ground, varied: Sequence[Mapping[str, Any]], *, keep_returns: bool = False
) -> SweepResult:
    """Simulate sets that the plug-in accepts on the period, knowing the warm-up bars before it.

    Parameters
    ----------
    ground, varied
        As in `evaluate`.
    keep_returns : bool
        Whether to keep the returns, 4 bytes per set and bar.

    Returns
    -------
    SweepResult
        One entry per set.
    """
    return sweep(
        ground.key,
        [{**ground.fixed, **own} for own in varied],
        ground.history,
        config=ground.config,
        first=ground.offset,
        n_blocks=N_BLOCKS,
        keep_returns=keep_returns,
    )
