"""Many parameter sets over the same bars: metrics only, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray
from strategies.quant.exits import ExitRules
from strategies.quant.memo import memo
from strategies.quant.panel import Panel, as_panel
from strategies.quant.registry import build, plugin
from strategies.quant.signals import WishArray, panel_signals
from strategies.quant.simulator import (
    Bars,
    SimulationConfig,
    market_arrays,
    outcome_arrays,
    sizing_weights,
    terms,
)
from strategies.quant.sweep_kernel import METRICS, Float32Array, run_all
from strategies.quant.wish_rows import WishRows, parameter_columns

# Sets whose wishes are computed one by one and held at a time, and those that come as rows.
CHUNK = 256
ROW_CHUNK = 4096
# Sets that a thread takes at a time: their wishes stay in its cache.
SPAN = 64


@dataclass(frozen=True, slots=True, eq=False)
class SweepResult:
    """Metrics of every parameter set, each of shape (n_sets,), in the order given.

    Attributes
    ----------
    total_return : ndarray
        Fraction over the whole span.
    mean_return, volatility : ndarray
        Arithmetic mean and sample deviation (ddof 1) of returns per bar.
    sharpe : ndarray
        Annualised with the configuration's periods per year; NaN without volatility.
    max_drawdown : ndarray
        Fraction <= 0.
    n_trips : ndarray
        Closed round trips.
    win_rate, profit_factor : ndarray
        Of closed round trips after costs, on P&L; NaN when undefined.
    exposure : ndarray
        Share of closes with a position.
    turnover : ndarray
        Value of all fills over the initial cash.
    block_sums, block_squares : ndarray of shape (n_sets, n_blocks)
        Sums of returns and squared returns in equal consecutive blocks, which is all that
        `overfitting.pbo_from_blocks` needs.
    block_sizes : ndarray of shape (n_blocks,)
        Bars per block.
    returns : ndarray of float32, shape (n_sets, n_bars), or None
        Kept only on request.
    """

    total_return: FloatArray
    mean_return: FloatArray
    volatility: FloatArray
    sharpe: FloatArray
    max_drawdown: FloatArray
    n_trips: FloatArray
    win_rate: FloatArray
    profit_factor: FloatArray
    exposure: FloatArray
    turnover: FloatArray
    block_sums: FloatArray
    block_squares: FloatArray
    block_sizes: FloatArray
    returns: Float32Array | None

    def __len__(self) -> int:
        return len(self.sharpe)

    def frame(self) -> pd.DataFrame:
        """Return the metrics as columns, one row per parameter set."""
        return pd.DataFrame({name: getattr(self, name) for name in METRICS})


@dataclass(frozen=True, slots=True)
class SweepEstimate:
    """What a sweep will take, before it is started.

    Attributes
    ----------
    n_sets : int
        Parameter sets.
    seconds : float
        Of one core, by the rate of a trial run on the same bars.
    peak_bytes : int
        Memory of results and one chunk.
    """

    n_sets: int
    seconds: float
    peak_bytes: int


def sweep(
    key: str,
    parameter_sets: Iterable[Mapping[str, Any]],
    bars: Bars,
    *,
    config: SimulationConfig,
    n_blocks: int = 16,
    keep_returns: bool = False,
    progress: Callable[[int], None] | None = None,
) -> SweepResult:
    """Simulate a plug-in with every parameter set on the same bars.

    Parameters
    ----------
    key : str
        A registered plug-in.
    parameter_sets : iterable of mapping
        Parameters of the plug-in; besides these, "stop_loss", "take_profit", "trailing_stop",
        "max_bars" and "cooldown_bars" replace those of `config.exits`.
    bars : DataFrame, mapping of symbol to DataFrame, or Panel
        OHLCV bars.
    config : SimulationConfig
        Account, costs and rules.
    n_blocks : int
        Blocks of returns that are summed for CSCV.
    keep_returns : bool
        Whether to keep the returns, 4 bytes per set and bar.
    progress : callable, optional
        Called after each chunk with the number of sets done; may raise to cancel.

    Returns
    -------
    SweepResult
        One entry per parameter set.

    Raises
    ------
    ValueError
        If a parameter set is not accepted by the plug-in.
    """
    panel = as_panel(bars)
    engine = _Engine(panel, config, n_blocks)
    n_done = 0
    with memo():
        for chunk in _chunks(parameter_sets, _chunk_size(key, panel)):
            wanted = _wanted_sets(key, chunk, panel, config.exits)
            engine.run(wanted, keep_returns=keep_returns)
            n_done += len(chunk)
            if progress is not None:
                progress(n_done)
    return engine.result(keep_returns=keep_returns)


def sweep_wishes(
    bars: Bars,
    wishes: WishArray,
    *,
    config: SimulationConfig,
    exits: Sequence[ExitRules] | None = None,
    n_blocks: int = 16,
    keep_returns: bool = False,
) -> SweepResult:
    """Simulate ready-made wishes, one set after the other.

    Parameters
    ----------
    bars : DataFrame, mapping of symbol to DataFrame, or Panel
        OHLCV bars.
    wishes : ndarray of uint8, shape (n_sets, n_bars) or (n_sets, n_bars, n_assets)
        Bit fields as in `signals.pack_wishes`.
    config : SimulationConfig
        Account, costs and rules.
    exits : sequence of ExitRules, optional
        One per set; those of `config` for all when absent.
    n_blocks, keep_returns
        As in `sweep`.

    Returns
    -------
    SweepResult
        One entry per set.

    Raises
    ------
    ValueError
        If the wishes do not have the shape of the bars.
    """
    panel = as_panel(bars)
    cube = np.ascontiguousarray(wishes[:, :, None] if wishes.ndim == 2 else wishes)
    if cube.shape[1:] != (panel.n_bars, panel.n_assets):
        raise ValueError(
            f"wishes of shape {wishes.shape} do not belong to {panel.n_bars} bars of "
            f"{panel.n_assets} instruments"
        )
    engine = _Engine(panel, config, n_blocks)
    rules = [config.exits] * len(cube) if exits is None else exits
    levels = np.array([rule.as_array() for rule in rules]).reshape(len(cube), 5)
    priority = np.ones((1, panel.n_bars, panel.n_assets))
    engine.run(_whole(WishCube(cube, priority, levels)), keep_returns=keep_returns)
    return engine.result(keep_returns=keep_returns)


def sweep_cube(
    panel: Panel,
    cube: WishCube,
    *,
    config: SimulationConfig,
    n_blocks: int = 16,
    keep_returns: bool = False,
) -> SweepResult:
    """Simulate a cube of wishes, see `sweep_wishes`."""
    engine = _Engine(panel, config, n_blocks)
    engine.run(_whole(cube), keep_returns=keep_returns)
    return engine.result(keep_returns=keep_returns)


def estimate_sweep(
    key: str,
    parameter_sets: Sequence[Mapping[str, Any]],
    bars: Bars,
    *,
    config: SimulationConfig,
    clock: Callable[[], float],
    keep_returns: bool = False,
) -> SweepEstimate:
    """Estimate time and memory of a sweep from a trial of a few of its sets.

    Parameters
    ----------
    key, parameter_sets, bars, config, keep_returns
        As in `sweep`.
    clock : callable
        Monotonic seconds, such as `time.perf_counter`.

    Returns
    -------
    SweepEstimate
        For all sets on one core.
    """
    panel = as_panel(bars)
    step = max(1, len(parameter_sets) // 8)
    trial = list(parameter_sets[::step])
    sweep(key, trial[:1], panel, config=config)
    started = clock()
    sweep(key, trial, panel, config=config)
    seconds = (clock() - started) / max(len(trial), 1) * len(parameter_sets)
    cells = panel.n_bars * panel.n_assets
    chunk = min(CHUNK, len(parameter_sets)) * cells * (1 + 8 * (panel.n_assets > 1))
    results = len(parameter_sets) * 8 * (len(METRICS) + 2 * 16)
    kept = len(parameter_sets) * panel.n_bars * 4 if keep_returns else 0
    scratch = panel.n_bars * 8 * (2 + 21 * panel.n_assets) + cells * 8 * 12
    return SweepEstimate(len(parameter_sets), seconds, chunk + results + kept + scratch)


_EXIT_NAMES = frozenset(("stop_loss", "take_profit", "trailing_stop", "max_bars", "cooldown_bars"))


class WishCube(NamedTuple):
    """Wishes of many parameter sets on the same bars.

    Attributes
    ----------
    wishes : ndarray of uint8, shape (n_sets, n_bars, n_assets)
        Bit fields.
    priority : ndarray of shape (n_sets, n_bars, n_assets)
        Strengths; first dimension 1 for a single instrument, where it decides nothing.
    exits : ndarray of shape (n_sets, 5)
        As `ExitRules.as_array`.
    """

    wishes: WishArray
    priority: FloatArray
    exits: FloatArray

    def window(self, start: int, stop: int) -> WishCube:
        """Return the bars `start` (inclusive) to `stop` (exclusive)."""
        return WishCube(
            np.ascontiguousarray(self.wishes[:, start:stop]),
            np.ascontiguousarray(self.priority[:, start:stop]),
            self.exits,
        )


def wish_cube(
    key: str,
    parameter_sets: Sequence[Mapping[str, Any]],
    panel: Panel,
    *,
    exits: ExitRules,
) -> WishCube:
    """Return the wishes of a plug-in for many parameter sets.

    Parameters
    ----------
    key, parameter_sets
        As in `sweep`.
    panel : Panel
        Bars.
    exits : ExitRules
        Used where a set does not replace them.

    Returns
    -------
    WishCube
        One layer per set.
    """
    with memo():
        return _cube(key, parameter_sets, panel, exits)


class _WantedSets(NamedTuple):
    """Wishes of sets, asked for a span at a time; priority and exits as in `WishCube`."""

    wishes: WishRows
    priority: FloatArray
    exits: FloatArray


def _whole(cube: WishCube) -> _WantedSets:
    return _WantedSets(lambda span: cube.wishes[span], cube.priority, cube.exits)


def _wanted_sets(
    key: str, chunk: Sequence[Mapping[str, Any]], panel: Panel, exits: ExitRules
) -> _WantedSets:
    found = _rows(key, chunk, panel)
    if found is None:
        return _whole(_one_by_one(key, chunk, panel, exits))
    priority = np.ones((1, panel.n_bars, 1))
    levels = _all_exit_levels(chunk, exits)
    return _WantedSets(lambda span: found(span)[:, :, None], priority, levels)


def _rows(key: str, chunk: Sequence[Mapping[str, Any]], panel: Panel) -> WishRows | None:
    """Return the wishes as rows, where the plug-in and the sets allow it."""
    cls = plugin(key)
    if panel.n_assets != 1 or not hasattr(cls, "wish_rows") or not panel.has_bar.all():
        return None
    has_exits = not _EXIT_NAMES.isdisjoint(chunk[0])
    own = [_without_exits(params) for params in chunk] if has_exits else chunk
    columns = parameter_columns(cls, own)
    if columns is None or not cls.are_consistent(columns).all():
        return None
    answer: WishRows = cls.wish_rows(panel.bars(panel.symbols[0]), columns)
    return answer


def _without_exits(params: Mapping[str, Any]) -> Mapping[str, Any]:
    if _EXIT_NAMES.isdisjoint(params):
        return params
    return {name: value for name, value in params.items() if name not in _EXIT_NAMES}


def _all_exit_levels(chunk: Sequence[Mapping[str, Any]], exits: ExitRules) -> FloatArray:
    levels = np.tile(exits.as_array(), (len(chunk), 1))
    if not _EXIT_NAMES.isdisjoint(set().union(*chunk)):
        for i, params in enumerate(chunk):
            levels[i] = _exit_levels(params, exits)
    return levels


def _cube(key: str, chunk: Sequence[Mapping[str, Any]], panel: Panel, exits: ExitRules) -> WishCube:
    found = _rows(key, chunk, panel) if chunk else None
    if found is None:
        return _one_by_one(key, chunk, panel, exits)
    wishes = np.empty((len(chunk), panel.n_bars, 1), np.uint8)

    def fill(span: slice) -> None:
        wishes[span, :, 0] = found(span)

    _in_threads(fill, len(chunk))
    return WishCube(wishes, np.ones((1, panel.n_bars, 1)), _all_exit_levels(chunk, exits))


def _one_by_one(
    key: str, chunk: Sequence[Mapping[str, Any]], panel: Panel, exits: ExitRules
) -> WishCube:
    # Built once, so that the memo knows the frame again.
    single = panel.bars(panel.symbols[0]) if panel.n_assets == 1 else None
    shape = (len(chunk), panel.n_bars, panel.n_assets)
    wishes = np.empty(shape, np.uint8)
    # Priority decides only between instruments.
    n_priorities = len(chunk) if panel.n_assets > 1 else 1
    priority = np.ones((n_priorities, panel.n_bars, panel.n_assets))
    for i, params in enumerate(chunk):
        strategy = build(key, _without_exits(params))
        if single is not None and not hasattr(strategy, "panel_signals"):
            wishes[i, :, 0] = strategy.signals(single).wishes
        else:
            signals = panel_signals(strategy, panel)
            wishes[i], priority[i % n_priorities] = signals.wishes, signals.strength
    return WishCube(wishes, priority, _all_exit_levels(chunk, exits))


def _exit_levels(params: Mapping[str, Any], exits: ExitRules) -> FloatArray:
    changed = {name: params[name] for name in _EXIT_NAMES if name in params}
    kept = {name: getattr(exits, name) for name in _EXIT_NAMES}
    return ExitRules(**{**kept, **changed}).as_array()


def _chunks(
    parameter_sets: Iterable[Mapping[str, Any]], size: int
) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(parameter_sets)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _chunk_size(key: str, panel: Panel) -> int:
    is_in_rows = panel.n_assets == 1 and hasattr(plugin(key), "wish_rows")
    return ROW_CHUNK if is_in_rows else CHUNK


def _in_threads(work: Callable[[slice], None], n_sets: int) -> None:
    """Go through spans of sets on every core; they are independent, so no split matters."""
    spans = [slice(start, min(start + SPAN, n_sets)) for start in range(0, n_sets, SPAN)]
    n_threads = min(os.cpu_count() or 1, len(spans))
    if n_threads < 2:
        for span in spans:
            work(span)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, spans))


class _Engine:
    """Runs sets on the same market and collects their metrics."""

    def __init__(self, panel: Panel, config: SimulationConfig, n_blocks: int) -> None:
        self.market = market_arrays(panel)
        self.weights = sizing_weights(panel, config)
        self.terms = terms(config)
        self.periods_per_year = float(config.periods_per_year)
        self.edges = np.linspace(0, panel.n_bars, n_blocks + 1).astype(np.int64)
        self.parts: list[tuple[FloatArray, FloatArray, FloatArray, Float32Array]] = []

    def run(self, wanted: _WantedSets, *, keep_returns: bool) -> None:
        n_sets, n_bars = len(wanted.exits), len(self.market.close)
        n_blocks = len(self.edges) - 1
        part = (
            np.empty((n_sets, len(METRICS))),
            np.empty((n_sets, n_blocks)),
            np.empty((n_sets, n_blocks)),
            np.empty((n_sets, n_bars if keep_returns else 0), np.float32),
        )
        _in_threads(lambda span: self._run_span(wanted, part, span), n_sets)
        self.parts.append(part)

    def _run_span(self, wanted: _WantedSets, part: tuple[Any, ...], span: slice) -> None:
        n_bars, n_assets = self.market.close.shape
        run_all(
            self.market,
            wanted.wishes(span),
            self.weights,
            wanted.priority if len(wanted.priority) == 1 else wanted.priority[span],
            self.terms,
            wanted.exits[span],
            outcome_arrays(n_bars, n_assets, 3 * n_bars * n_assets),
            self.edges,
            self.periods_per_year,
            *(array[span] for array in part),
        )

    def result(self, *, keep_returns: bool) -> SweepResult:
        n_blocks, n_bars = len(self.edges) - 1, len(self.market.close)
        empty = (
            np.empty((0, len(METRICS))),
            np.empty((0, n_blocks)),
            np.empty((0, n_blocks)),
            np.empty((0, n_bars if keep_returns else 0), np.float32),
        )
        stacked = [np.concatenate(part) for part in zip(empty, *self.parts, strict=True)]
        metrics, sums, squares, returns = stacked
        return SweepResult(
            **{name: metrics[:, k].copy() for k, name in enumerate(METRICS)},
            block_sums=sums,
            block_squares=squares,
            block_sizes=np.diff(self.edges).astype(np.float64),
            returns=returns.astype(np.float32) if keep_returns else None,
        )
