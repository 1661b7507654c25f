"""Walk-forward analysis: splits in time, re-optimisation in every fold, stitched equity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.panel import Panel, as_panel
from strategies.quant.signals import LONG_EXIT, SHORT_EXIT, PanelSignals
from strategies.quant.simulator import Bars, SimulationConfig, SimulationResult, simulate
from strategies.quant.sweep import SweepResult, sweep_wanted
from strategies.quant.wanted_sets import WantedSets, wanted_sets

Chooser = Callable[[SweepResult, Sequence[Mapping[str, Any]]], int]


@dataclass(frozen=True, slots=True)
class Fold:
    """One in-sample and one out-of-sample span, as half-open bar positions."""

    train_start: int
    train_stop: int
    test_start: int
    test_stop: int

    @property
    def train(self) -> IntArray:
        """In-sample positions."""
        return np.arange(self.train_start, self.train_stop)

    @property
    def test(self) -> IntArray:
        """Out-of-sample positions."""
        return np.arange(self.test_start, self.test_stop)


@dataclass(frozen=True, slots=True, eq=False)
class CombinatorialSplit:
    """Train positions and the test blocks they are purged against."""

    train: IntArray
    tests: tuple[IntArray, ...]
    test_folds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What one fold chose in sample and earned out of sample.

    Attributes
    ----------
    number : int
        From 0.
    fold : Fold
        Its spans.
    parameters : dict
        Chosen in sample.
    in_sample_return, out_of_sample_return : float
        Annualised, as fractions.
    in_sample_sharpe, out_of_sample_sharpe : float
        Annualised.
    efficiency, sharpe_efficiency : float
        Out-of-sample over in-sample (Pardo); NaN if the in-sample value is not positive.
    n_trips : int
        Closed round trips out of sample.
    final_cash : float
        Account value at the end, which the next fold starts from.
    returns : tuple of float
        Out-of-sample returns per bar.
    """

    number: int
    fold: Fold
    parameters: dict[str, Any]
    in_sample_return: float
    in_sample_sharpe: float
    out_of_sample_return: float
    out_of_sample_sharpe: float
    efficiency: float
    sharpe_efficiency: float
    n_trips: int
    final_cash: float
    returns: tuple[float, ...]

    def as_state(self) -> dict[str, Any]:
        """Return plain values, from which `from_state` makes the same fold after a crash."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FoldResult:
        """Return the fold of a stored state; None stands for NaN."""
        values: dict[str, Any] = {
            key: math.nan if value is None else value for key, value in state.items()
        }
        values["fold"] = Fold(**state["fold"])
        values["returns"] = tuple(state["returns"])
        return cls(**values)


@dataclass(frozen=True, slots=True, eq=False)
class WalkForwardResult:
    """All folds and their stitched out-of-sample record.

    Attributes
    ----------
    folds : tuple of FoldResult
        In time order.
    index : DatetimeIndex of shape (n_out_of_sample,)
        Closes of the out-of-sample bars.
    returns, equity : ndarray of shape (n_out_of_sample,)
        Stitched: each fold starts with what the one before ended with.
    n_trials : int
        Parameter sets evaluated, over all folds.
    """

    folds: tuple[FoldResult, ...]
    index: pd.DatetimeIndex
    returns: FloatArray
    equity: FloatArray
    n_trials: int

    @property
    def efficiency(self) -> float:
        """Median walk-forward efficiency over the folds where it is defined, else NaN."""
        return _median([fold.efficiency for fold in self.folds])

    @property
    def sharpe_efficiency(self) -> float:
        """Median ratio of Sharpe ratios over the folds where it is defined, else NaN."""
        return _median([fold.sharpe_efficiency for fold in self.folds])

    @property
    def parameter_drift(self) -> dict[str, list[Any]]:
        """Chosen value of each parameter per fold."""
        names = {name: None for fold in self.folds for name in fold.parameters}
        return {name: [fold.parameters.get(name) for fold in self.folds] for name in names}


def walk_forward_folds(
    n_bars: int,
    *,
    train: int,
    test: int,
    purge: int = 0,
    is_anchored: bool = False,
) -> tuple[Fold, ...]:
    """Split bars into in-sample spans, each followed by an out-of-sample span.

    Parameters
    ----------
    n_bars : int
        Bars available.
    train, test : int
        Bars in and out of sample; folds move on by `test`.
    purge : int
        Bars left out between the two: the longest holding period plus the label horizon.
    is_anchored : bool
        Whether every in-sample span starts at the first bar instead of rolling.

    Returns
    -------
    tuple of Fold
        As many whole folds as fit.

    Raises
    ------
    ValueError
        If a length is not positive, the purge negative, or not even one fold fits.
    """
    if train < 1 or test < 1 or purge < 0:
        raise ValueError(f"train and test must be positive, were {train} and {test}")
    folds = []
    for start in range(0, n_bars - train - purge - test + 1, test):
        stop = start + train
        begin = 0 if is_anchored else start
        folds.append(Fold(begin, stop, stop + purge, stop + purge + test))
    if not folds:
        needed = train + purge + test
        raise ValueError(f"one fold needs {needed} bars, only {n_bars} are available")
    return tuple(folds)


def default_folds(
    n_bars: int,
    *,
    n_folds: int = 6,
    train_share: float = 0.7,
    purge: int = 0,
    is_anchored: bool = False,
) -> tuple[Fold, ...]:
    """Split bars into a number of folds with a share of each in sample.

    Parameters
    ----------
    n_bars : int
        Bars available.
    n_folds : int
        Folds wanted.
    train_share : float
        In-sample share of a fold, in (0, 1).
    purge, is_anchored
        As in `walk_forward_folds`.

    Returns
    -------
    tuple of Fold
        Exactly `n_folds`; leftover bars are at the end.

    Raises
    ------
    ValueError
        If the bars do not suffice.
    """
    if not 0.0 < train_share < 1.0 or n_folds < 1:
        raise ValueError(f"train_share must lie in (0, 1), was {train_share}")
    ratio = train_share / (1.0 - train_share)
    test = int((n_bars - purge) / (n_folds + ratio))
    train = n_bars - purge - n_folds * test
    return walk_forward_folds(
        n_bars,
        train=min(train, round(test * ratio)),
        test=test,
        purge=purge,
        is_anchored=is_anchored,
    )[:n_folds]


def combinatorial_splits(
    n_bars: int, *, n_folds: int, n_test_folds: int, purge: int = 0, embargo: int = 0
) -> tuple[CombinatorialSplit, ...]:
    """Return every choice of test folds with the train bars purged against them.

    Parameters
    ----------
    n_bars : int
        Bars available.
    n_folds, n_test_folds : int
        Blocks, and how many of them are tested at a time.
    purge : int
        Train bars dropped on both sides of a test block.
    embargo : int
        Further train bars dropped after a test block.

    Returns
    -------
    tuple of CombinatorialSplit
        C(n_folds, n_test_folds) of them, in the order of `itertools.combinations`.

    Raises
    ------
    ValueError
        If the counts contradict each other.

    References
    ----------
    .. [1] López de Prado (2018), "Advances in Financial Machine Learning", ch. 12.
    """
    if not 0 < n_test_folds < n_folds <= n_bars:
        raise ValueError(
            "0 < n_test_folds < n_folds <= n_bars must hold, were "
            f"{n_test_folds}, {n_folds}, {n_bars}"
        )
    blocks = np.array_split(np.arange(n_bars), n_folds)
    splits = []
    for chosen in combinations(range(n_folds), n_test_folds):
        is_train = np.ones(n_bars, np.bool_)
        for fold in chosen:
            first, last = blocks[fold][0], blocks[fold][-1]
            is_train[max(0, first - purge) : last + 1 + purge + embargo] = False
        tests = tuple(blocks[fold] for fold in chosen)
        splits.append(CombinatorialSplit(np.flatnonzero(is_train), tests, chosen))
    return tuple(splits)


def combinatorial_paths(n_folds: int, n_test_folds: int) -> npt.NDArray[np.int64]:
    """Return which split tests each fold on each whole path through time.

    Parameters
    ----------
    n_folds, n_test_folds : int
        As in `combinatorial_splits`.

    Returns
    -------
    ndarray of int, shape (n_paths, n_folds)
        Positions of splits; there are n_test_folds * C(n_folds, n_test_folds) / n_folds paths.
    """
    chosen = list(combinations(range(n_folds), n_test_folds))
    tested_in = [[k for k, folds in enumerate(chosen) if fold in folds] for fold in range(n_folds)]
    return np.array(tested_in, np.int64).T


def best_sharpe(result: SweepResult, parameter_sets: Sequence[Mapping[str, Any]]) -> int:
    """Return the position of the highest Sharpe ratio; undefined ones are worst, ties first."""
    return int(np.argmax(np.nan_to_num(result.sharpe, nan=-np.inf)))


def walk_forward(
    key: str,
    parameter_sets: Sequence[Mapping[str, Any]],
    bars: Bars,
    *,
    config: SimulationConfig,
    folds: Sequence[Fold],
    choose: Chooser = best_sharpe,
    finished: Sequence[FoldResult] = (),
    on_fold: Callable[[FoldResult], None] | None = None,
) -> WalkForwardResult:
    """Choose parameters in sample and trade them out of sample, fold after fold.

    Parameters
    ----------
    key : str
        A registered plug-in.
    parameter_sets : sequence of mapping
        Candidates, as in `sweep`.
    bars : DataFrame, mapping of symbol to DataFrame, or Panel
        OHLCV bars.
    config : SimulationConfig
        Account, costs and rules.
    folds : sequence of Fold
        From `walk_forward_folds` or `default_folds`.
    choose : callable
        Picks the position of the best set from an in-sample sweep.
    finished : sequence of FoldResult
        Folds done before a crash; they are not repeated.
    on_fold : callable, optional
        Called after each new fold, to store it; may raise to cancel.

    Returns
    -------
    WalkForwardResult
        Positions are closed at the last open of a fold, so that every fold pays its costs.

    Raises
    ------
    ValueError
        If there are no parameter sets or folds.

    Notes
    -----
    Wishes are computed once over the whole history and cut: a plug-in without look-ahead (see
    `checks.check_lookahead`) gives the same ones in every fold, and warm-up comes from the bars
    before the fold.

    References
    ----------
    .. [1] Pardo (2008), "The Evaluation and Optimization of Trading Strategies", ch. 11-12.
    """
    if not parameter_sets or not folds:
        raise ValueError("a walk-forward needs at least one parameter set and one fold")
    panel = as_panel(bars)
    wanted = wanted_sets(key, parameter_sets, panel, exits=config.exits)
    results = list(finished)
    for number, fold in enumerate(folds):
        if number < len(finished):
            continue
        cash = results[-1].final_cash if results else config.initial_cash
        result = _run_fold(number, fold, panel, wanted, parameter_sets, config, cash, choose)
        results.append(result)
        if on_fold is not None:
            on_fold(result)
    index = np.concatenate([fold.test for fold in folds])
    returns = np.concatenate([np.asarray(result.returns) for result in results])
    equity = np.asarray(config.initial_cash * np.cumprod(1.0 + returns), np.float64)
    n_trials = len(parameter_sets) * len(folds)
    return WalkForwardResult(tuple(results), panel.index[index], returns, equity, n_trials)


def _run_fold(
    number: int,
    fold: Fold,
    panel: Panel,
    wanted: WantedSets,
    parameter_sets: Sequence[Mapping[str, Any]],
    config: SimulationConfig,
    cash: float,
    choose: Chooser,
) -> FoldResult:
    train = panel.window(fold.train_start, fold.train_stop)
    inside = wanted.window(fold.train_start, fold.train_stop)
    swept = sweep_wanted(train, inside, config=config)
    chosen = choose(swept, parameter_sets)
    tested = _trade(fold, chosen, panel, wanted, config, cash)
    years = config.periods_per_year
    earned = _annual(swept.total_return[chosen], train.n_bars, years)
    outside = _annual(tested.equity[-1] / cash - 1.0, len(tested.equity), years)
    sharpe = _sharpe(tested.returns, years)
    return FoldResult(
        number=number,
        fold=fold,
        parameters=dict(parameter_sets[chosen]),
        in_sample_return=earned,
        in_sample_sharpe=float(swept.sharpe[chosen]),
        out_of_sample_return=outside,
        out_of_sample_sharpe=sharpe,
        efficiency=_over(outside, earned),
        sharpe_efficiency=_over(sharpe, float(swept.sharpe[chosen])),
        n_trips=len(tested.round_trips),
        final_cash=float(tested.equity[-1]),
        returns=tuple(tested.returns.tolist()),
    )


def _trade(
    fold: Fold,
    chosen: int,
    panel: Panel,
    wanted: WantedSets,
    config: SimulationConfig,
    cash: float,
) -> SimulationResult:
    span = slice(fold.test_start, fold.test_stop)
    test = panel.window(fold.test_start, fold.test_stop)
    own = slice(chosen, chosen + 1)
    wishes = wanted.wishes(own)[0, span].copy()
    if len(wishes) > 1:
        wishes[-2] = LONG_EXIT | SHORT_EXIT
    priority = wanted.priority_of(own)[0, span]
    signals = PanelSignals(test.index, test.symbols, wishes, priority)
    sized = replace(config, initial_cash=cash, exits=_exit_rules(wanted.exits[chosen], config))
    return simulate(test, signals, config=sized)


def _exit_rules(levels: FloatArray, config: SimulationConfig) -> Any:
    stop, target, trail, bars, cooldown = levels.tolist()
    return replace(
        config.exits,
        stop_loss=None if math.isnan(stop) else stop,
        take_profit=None if math.isnan(target) else target,
        trailing_stop=None if math.isnan(trail) else trail,
        max_bars=int(bars) or None,
        cooldown_bars=int(cooldown),
    )


def _annual(total: float, n_bars: int, periods_per_year: float) -> float:
    return float(max(1.0 + total, 0.0) ** (periods_per_year / n_bars) - 1.0)


def _sharpe(returns: FloatArray, periods_per_year: float) -> float:
    deviation = returns.std(ddof=1) if len(returns) > 1 else math.nan
    if not deviation > 1e-12:
        return math.nan
    return float(returns.mean() / deviation * math.sqrt(periods_per_year))


def _over(outside: float, inside: float) -> float:
    return outside / inside if inside > 0 else math.nan


def _median(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.median(defined)) if defined else math.nan
