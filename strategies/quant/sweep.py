"""Many parameter sets over the same bars: metrics only, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray
from strategies.quant.exits import ExitRules
from strategies.quant.memo import memo
from strategies.quant.panel import Panel, as_panel
from strategies.quant.signals import WishArray
from strategies.quant.simulator import Bars, SimulationConfig
from strategies.quant.sweep_engine import SweepEngine
from strategies.quant.sweep_kernel import METRICS, Float32Array
from strategies.quant.wanted_sets import WantedSets, bytes_per_set, chunk_size, ready, wanted_sets


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
    first: int = 0,
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
    first : int
        Row of the first bar that is traded; those before it are history for the indicators.
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
    inside = panel.window(first, panel.n_bars)
    engine = SweepEngine(inside, config, n_blocks, keep_returns=keep_returns)
    n_done = 0
    with memo():
        for chunk in _chunks(parameter_sets, chunk_size(key, panel)):
            wanted = wanted_sets(key, chunk, panel, exits=config.exits)
            engine.run(wanted.window(first, panel.n_bars))
            n_done += len(chunk)
            if progress is not None:
                progress(n_done)
    return _result(engine)


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
    rules = [config.exits] * len(cube) if exits is None else exits
    levels = np.array([rule.as_array() for rule in rules]).reshape(len(cube), 5)
    wanted = ready(cube, np.ones((1, panel.n_bars, panel.n_assets)), levels)
    return sweep_wanted(panel, wanted, config=config, n_blocks=n_blocks, keep_returns=keep_returns)


def sweep_wanted(
    panel: Panel,
    wanted: WantedSets,
    *,
    config: SimulationConfig,
    n_blocks: int = 16,
    keep_returns: bool = False,
) -> SweepResult:
    """Simulate the wishes of `wanted_sets`, see `sweep_wishes`."""
    engine = SweepEngine(panel, config, n_blocks, keep_returns=keep_returns)
    engine.run(wanted)
    return _result(engine)


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
    chunk = min(chunk_size(key, panel), len(parameter_sets)) * bytes_per_set(panel)
    results = len(parameter_sets) * 8 * (len(METRICS) + 2 * 16)
    kept = len(parameter_sets) * panel.n_bars * 4 if keep_returns else 0
    scratch = panel.n_bars * 8 * (2 + 21 * panel.n_assets) + cells * 8 * 12
    return SweepEstimate(len(parameter_sets), seconds, chunk + results + kept + scratch)


def _chunks(
    parameter_sets: Iterable[Mapping[str, Any]], size: int
) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(parameter_sets)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _result(engine: SweepEngine) -> SweepResult:
    metrics, sums, squares, returns = engine.result()
    return SweepResult(
        **{name: metrics[:, k].copy() for k, name in enumerate(METRICS)},
        block_sums=sums,
        block_squares=squares,
        block_sizes=np.diff(engine.edges).astype(np.float64),
        returns=returns if engine.keeps_returns else None,
    )
