"""Splits agree with published ones; folds are resumable and stitched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastrat.quant.execution import CostModel
from strategies.quant import registry
from strategies.quant.indicator_specs import synthetic_bars
from strategies.quant.simulator import SimulationConfig
from strategies.quant.walk_forward import (
    Fold,
    FoldResult,
    combinatorial_paths,
    combinatorial_splits,
    default_folds,
    walk_forward,
    walk_forward_folds,
)
from tests.strategies.quant.builders import load_fixture

registry.load_builtin_plugins()
CONFIG = SimulationConfig(periods_per_year=252, costs=CostModel(commission_bps=5))
SETS: list[dict[str, Any]] = [{"fast": f, "slow": s} for f in (3, 6, 9) for s in (20, 30)]


@pytest.mark.parametrize("purge", [0, 1])
def test_rolling_folds_agree_with_skfolio(purge: int) -> None:
    expected = load_fixture("walkforward__rolling_docs")["values"][f"splits_purge{purge}"]
    folds = walk_forward_folds(6, train=2, test=1, purge=purge)
    assert [[fold.train.tolist(), fold.test.tolist()] for fold in folds] == expected


def test_combinatorial_splits_agree_with_skfolio() -> None:
    expected = load_fixture("walkforward__cpcv_3_2")["values"]
    plain = combinatorial_splits(12, n_folds=3, n_test_folds=2)
    found = [[s.train.tolist(), *(t.tolist() for t in s.tests)] for s in plain]
    assert found == expected["splits_no_purge(train,test1,test2)"]
    purged = combinatorial_splits(12, n_folds=3, n_test_folds=2, purge=1)
    assert [s.train.tolist() for s in purged] == expected["train_sets_purge1"]
    embargoed = combinatorial_splits(12, n_folds=3, n_test_folds=2, embargo=1)
    assert [s.train.tolist() for s in embargoed] == expected["train_sets_embargo1"]
    assert len(combinatorial_splits(60, n_folds=6, n_test_folds=2)) == expected["n_splits(6,2)"]
    assert len(combinatorial_paths(6, 2)) == expected["n_paths(6,2)"]


def test_every_path_tests_every_fold_once_and_uses_every_test_once() -> None:
    paths = combinatorial_paths(6, 2)
    splits = combinatorial_splits(60, n_folds=6, n_test_folds=2)
    used = {(int(split), fold) for path in paths for fold, split in enumerate(path)}
    assert len(used) == paths.size == 30
    assert all(fold in splits[split].test_folds for split, fold in used)


def test_anchored_folds_start_at_the_first_bar() -> None:
    folds = walk_forward_folds(10, train=4, test=2, is_anchored=True)
    assert [fold.train_start for fold in folds] == [0, 0, 0]
    assert [fold.train_stop for fold in folds] == [4, 6, 8]


@given(
    st.integers(60, 3000), st.integers(1, 12), st.integers(0, 5), st.sampled_from([0.5, 0.7, 0.8])
)
def test_default_folds_use_the_bars_and_the_share(
    n_bars: int, n_folds: int, purge: int, share: float
) -> None:
    folds = default_folds(n_bars, n_folds=n_folds, train_share=share, purge=purge)
    assert len(folds) == n_folds
    assert folds[-1].test_stop <= n_bars
    for fold in folds:
        n_train, n_test = len(fold.train), len(fold.test)
        assert abs(n_train / (n_train + n_test) - share) < 0.5 / n_test + 1e-9
        assert fold.test_start - fold.train_stop == purge
    starts = [fold.test_start for fold in folds]
    assert starts[1:] == [fold.test_stop for fold in folds[:-1]]


def test_too_few_bars_are_named() -> None:
    with pytest.raises(ValueError, match="one fold needs 15 bars, only 10"):
        walk_forward_folds(10, train=10, test=5)


def test_equity_is_stitched_from_fold_to_fold() -> None:
    bars = synthetic_bars(700)
    folds = default_folds(700, n_folds=4)
    result = walk_forward("moving_average_cross", SETS, bars, config=CONFIG, folds=folds)
    assert len(result.folds) == 4
    assert len(result.equity) == sum(len(fold.test) for fold in folds)
    assert result.index[0] == bars.index[folds[0].test_start]
    ends = np.cumsum([len(fold.test) for fold in folds]) - 1
    np.testing.assert_allclose(result.equity[ends], [f.final_cash for f in result.folds])
    assert result.n_trials == 24
    assert result.parameter_drift["fast"] == [f.parameters["fast"] for f in result.folds]
    for fold in result.folds:
        if fold.in_sample_return > 0:
            ratio = fold.out_of_sample_return / fold.in_sample_return
            assert fold.efficiency == pytest.approx(ratio)
        else:
            assert math.isnan(fold.efficiency)


def test_the_choice_never_sees_the_test_span() -> None:
    bars = synthetic_bars(700)
    folds = default_folds(700, n_folds=3)
    changed = bars.copy()
    prices = ["open", "high", "low", "close"]
    changed.iloc[folds[0].test_start :, :4] = bars[prices].to_numpy()[folds[0].test_start :] * 2
    first = walk_forward("moving_average_cross", SETS, bars, config=CONFIG, folds=folds[:1])
    second = walk_forward("moving_average_cross", SETS, changed, config=CONFIG, folds=folds[:1])
    assert first.folds[0].parameters == second.folds[0].parameters
    assert first.folds[0].in_sample_sharpe == second.folds[0].in_sample_sharpe


def test_a_walk_forward_resumes_at_the_next_fold() -> None:
    bars, folds = synthetic_bars(700), default_folds(700, n_folds=4)
    stored: list[dict[str, Any]] = []

    def crash_after_two(result: FoldResult) -> None:
        stored.append(result.as_state())
        if len(stored) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk_forward(
            "moving_average_cross",
            SETS,
            bars,
            config=CONFIG,
            folds=folds,
            on_fold=crash_after_two,
        )
    done = [FoldResult.from_state(state) for state in stored]
    new: list[FoldResult] = []
    resumed = walk_forward(
        "moving_average_cross",
        SETS,
        bars,
        config=CONFIG,
        folds=folds,
        finished=done,
        on_fold=new.append,
    )
    whole = walk_forward("moving_average_cross", SETS, bars, config=CONFIG, folds=folds)
    assert [fold.number for fold in new] == [2, 3]
    np.testing.assert_array_equal(resumed.equity, whole.equity)


def test_a_stored_fold_reads_missing_numbers_as_undefined() -> None:
    fold = FoldResult(0, Fold(0, 5, 5, 8), {"a": 1}, 0.1, 1.0, 0.0, 0.0, 0.0, 0.0, 3, 1e5, (0.1,))
    state = {**fold.as_state(), "efficiency": None}
    assert math.isnan(FoldResult.from_state(state).efficiency)
    assert FoldResult.from_state(fold.as_state()) == fold


def test_every_fold_ends_flat_and_pays_for_it() -> None:
    bars, folds = synthetic_bars(400), default_folds(400, n_folds=2)
    sets = [{"lookback": 5}]
    result = walk_forward("time_series_momentum", sets, bars, config=CONFIG, folds=folds)
    assert all(fold.returns[-1] != 0.0 or fold.n_trips > 0 for fold in result.folds)
