"""Drawdown series and episodes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alphastrat.quant import drawdown as dd

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
CURVE = np.array([100.0, 120.0, 90.0, 108.0, 130.0, 117.0, 130.0, 125.0])


def test_drawdown_is_measured_from_the_running_peak():
    equity = np.array([100.0, 120.0, 90.0, 108.0, 130.0])
    np.testing.assert_allclose(dd.drawdown(equity), [0.0, 0.0, -0.25, -0.10, 0.0])


@pytest.mark.parametrize("bad", [[], [[[1.0]]], [1.0, float("nan")], [1.0, 0.0], [1.0, -1.0]])
def test_drawdown_rejects_curves_it_cannot_measure(bad):
    with pytest.raises(ValueError):
        dd.drawdown(np.array(bad, dtype=float))


def test_drawdown_of_returns_counts_the_start_as_a_peak_and_ends_in_ruin():
    np.testing.assert_allclose(dd.drawdown_of_returns(np.array([-0.1, 0.2])), [-0.1, 0.0])
    np.testing.assert_allclose(
        dd.drawdown_of_returns(np.array([[0.1, -1.5], [0.1, 9.0]])), [[0, -1], [0, -1]]
    )


def test_episodes_name_peak_trough_and_recovery():
    episodes = dd.drawdown_episodes(CURVE)
    assert [(e.peak, e.trough, e.recovery, e.end) for e in episodes] == [
        (1, 2, 4, 4),
        (4, 5, 6, 6),
        (6, 7, None, 7),
    ]
    assert [round(e.depth, 4) for e in episodes] == [-0.25, -0.1, -0.0385]
    assert [(e.duration, e.bars_to_trough, e.bars_to_recovery) for e in episodes] == [
        (3, 1, 2),
        (2, 1, 1),
        (1, 1, None),
    ]


def test_worst_drawdowns_come_deepest_first():
    assert [e.trough for e in dd.worst_drawdowns(CURVE, count=2)] == [2, 5]
    assert dd.worst_drawdowns(np.array([1.0, 2.0, 2.0])) == []


@pytest.mark.parametrize(
    ("curve", "longest"),
    [
        (CURVE, 3),
        ([1.0, 2.0, 3.0], 0),
        ([3.0, 2.0, 1.0], 2),  # never recovered: to the last bar
        ([2.0, 1.0, 1.0, 2.0, 1.0, 1.0], 3),
        ([2.0, 1.0, 2.0, 1.0, 1.0], 2),
    ],
)
def test_longest_drawdown_agrees_with_the_episodes(curve, longest):
    equity = np.array(curve)
    assert dd.longest_drawdown(equity) == longest
    durations = [episode.duration for episode in dd.drawdown_episodes(equity)]
    assert max(durations, default=0) == longest


def test_several_curves_are_measured_column_by_column():
    pair = np.column_stack([CURVE, CURVE[::-1]])
    for function in (dd.max_drawdown, dd.longest_drawdown, dd.ulcer_index, dd.pain_index):
        assert function(pair).tolist() == [function(CURVE), function(CURVE[::-1])]


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0.01, 1e6)))
def test_drawdowns_keep_their_bounds_whatever_the_curve(equity):
    depth = dd.drawdown(equity)
    assert ((depth > -1) & (depth <= 0)).all()
    episodes = dd.drawdown_episodes(equity)
    assert dd.max_drawdown(equity) == min((e.depth for e in episodes), default=0.0)
    assert dd.longest_drawdown(equity) == max((e.duration for e in episodes), default=0)
    assert sum(e.end - e.peak - (e.recovery is not None) for e in episodes) == (depth < 0).sum()
    assert dd.pain_index(equity) <= dd.ulcer_index(equity) + 1e-12


def test_drawdown_scales_with_the_account():
    np.testing.assert_allclose(dd.drawdown(CURVE * 7), dd.drawdown(CURVE))


def test_expected_max_drawdown_agrees_with_magdon_ismail():
    fixture = json.loads((FIXTURES / "drawdown__emdd_zero_drift.json").read_text())
    expected = fixture["expected"][0]
    inputs = fixture["inputs"]
    # Published as a positive size; ours is negative.
    value = -dd.expected_max_drawdown(inputs["sigma"], inputs["T"])
    assert value == pytest.approx(expected["value"], abs=expected["tol"])
