"""A grid agrees with the general functions on sets, and knows its own steps and borders."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.quant import grid as grids
from strategies.quant.combinatorial import combinatorial_sharpes
from strategies.quant.grid import Axis, Grid, smooth, stability
from tests.strategies.quant.grid_oracle import parameter_stability, smoothed_values

GRID = Grid((Axis("a", (1, 2, 3, 4)), Axis("b", (10, 20, 30)), Axis("c", (0.1, 0.2))))


@pytest.fixture
def values() -> np.ndarray:
    found = np.random.default_rng(7).normal(size=GRID.n_sets)
    found[5] = np.nan
    return found


@pytest.mark.parametrize("cells", [500_000, 1])
def test_smoothing_axis_by_axis_equals_all_pairs(values, cells, monkeypatch):
    monkeypatch.setattr(grids, "DENSE_CELLS", cells)
    numbers = np.arange(GRID.n_sets)
    expected = smoothed_values(GRID.sets(numbers), values)
    np.testing.assert_allclose(smooth(GRID, numbers, values), expected)
    kept = np.delete(numbers, [3, 9, 17])
    expected = smoothed_values(GRID.sets(kept), values[kept])
    np.testing.assert_allclose(smooth(GRID, kept, values[kept]), expected)


def test_stability_equals_that_of_the_sets(values):
    numbers = np.arange(GRID.n_sets)
    for chosen in numbers.tolist():
        found = stability(GRID, numbers, values, chosen)
        expected = parameter_stability(GRID.sets(numbers), values, chosen)
        assert found.ratio == pytest.approx(expected.ratio, nan_ok=True)
        assert (found.n_neighbours, found.is_on_edge) == (
            expected.n_neighbours,
            expected.is_on_edge,
        )


def test_numbers_and_positions_are_inverse():
    numbers = np.arange(GRID.n_sets)
    np.testing.assert_array_equal(GRID.numbers(GRID.positions(numbers)), numbers)
    assert GRID.sets(np.array([0, 23])) == [
        {"a": 1, "b": 10, "c": 0.1},
        {"a": 4, "b": 30, "c": 0.2},
    ]


def test_choices_have_no_neighbours():
    grid = Grid((Axis("a", (1, 2, 3)), Axis("side", ("long", "both"), is_ordered=False)))
    assert grid.neighbours(2).tolist() == [0, 4]
    values = np.array([1.0, 100.0, 1.0, 100.0, 1.0, 100.0])
    np.testing.assert_allclose(smooth(grid, np.arange(6), values), values)


def test_a_set_that_is_best_everywhere_is_chosen_on_every_path():
    rng = np.random.default_rng(1)
    returns = rng.normal(0.0, 0.01, (5, 400))
    returns[3] += 0.01
    found = combinatorial_sharpes(
        returns, n_folds=8, n_test_folds=2, purge=2, embargo=4, periods_per_year=252
    )
    expected = returns[3].mean() / returns[3].std(ddof=1) * 252**0.5
    assert (found.n_splits, found.n_choices, len(found.sharpes)) == (28, 1, 7)
    np.testing.assert_allclose(found.sharpes, expected, rtol=1e-6)
