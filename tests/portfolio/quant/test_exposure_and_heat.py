"""Exposure, portfolio heat and Turtle units by hand."""

from __future__ import annotations

import numpy as np
import pytest

from portfolio.quant.exposure import exposure, exposure_by
from portfolio.quant.heat import (
    TURTLE_CAPS,
    HeatBasis,
    OpenRisk,
    portfolio_heat,
    unit_counts,
)


def positions(rows):
    """From (quantity, mark, entry, stop, expected shortfall) rows."""
    columns = np.array(rows, dtype=float).T
    return OpenRisk(*columns, np.ones(len(rows)))


def test_exposure_counts_long_and_short():
    found = exposure(np.array([60_000.0, -20_000.0, 20_000.0]), 100_000.0)
    assert (found.long, found.short) == pytest.approx((0.8, -0.2))
    assert (found.gross, found.net, found.largest) == pytest.approx((1.0, 0.6, 0.6))
    assert found.effective_positions == pytest.approx(1 / (0.36 + 0.04 + 0.04))


def test_an_empty_account_is_not_exposed():
    found = exposure(np.array([]), 1.0)
    assert (found.gross, found.net, found.largest) == (0.0, 0.0, 0.0)
    assert np.isnan(found.effective_positions)


def test_groups_are_ordered_by_size_and_sum_to_the_whole():
    values = np.array([10.0, 30.0, -20.0, 5.0])
    groups = exposure_by(values, ["tech", "energy", "energy", "tech"], 100.0)
    assert list(groups) == ["energy", "tech"]
    assert groups["energy"].net == pytest.approx(0.10)
    assert sum(g.gross for g in groups.values()) == pytest.approx(exposure(values, 100.0).gross)


@pytest.mark.parametrize(
    ("row", "is_overnight", "expected"),
    [
        # 100 units, 5 below the mark: 500 of 10,000.
        ((100, 50, 48, 45, np.nan), False, 0.05),
        ((100, 50, 48, 45, np.nan), True, 0.0625),
        # Short: the stop is above.
        ((-100, 50, 52, 54, np.nan), False, 0.04),
        # The stop has locked in a gain: nothing below zero.
        ((100, 50, 40, 52, np.nan), False, 0.0),
        # A stop below the market's floor at 0 loses the price and no more.
        ((100, 50, 48, -10, np.nan), False, 0.5),
        # Without a stop: the expected shortfall of a session, and no gap on top.
        ((100, 50, 48, np.nan, -0.03), True, 0.015),
    ],
)
def test_heat_of_one_position(row, is_overnight, expected):
    heat = portfolio_heat(positions([row]), 10_000.0, is_overnight=is_overnight)
    assert heat.total == pytest.approx(expected)
    assert heat.correlated == pytest.approx(expected)


def test_heat_from_the_entry_is_an_option():
    heat = portfolio_heat(
        positions([(100, 50, 48, 45, np.nan)]),
        10_000.0,
        is_overnight=False,
        basis=HeatBasis.ENTRY,
    )
    assert heat.total == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("rho", "quantities", "expected"),
    [
        (1.0, (100, 100), 0.10),
        (0.0, (100, 100), 0.05 * 2**0.5),
        # A long and a short of the same thing hedge each other.
        (1.0, (100, -100), 0.0),
        # Not known: taken to fail together, whatever the directions.
        (np.nan, (100, -100), 0.10),
    ],
)
def test_correlated_heat(rho, quantities, expected):
    rows = [(q, 50, 50, 50 - 5 * np.sign(q), np.nan) for q in quantities]
    matrix = np.array([[1.0, rho], [rho, 1.0]])
    heat = portfolio_heat(positions(rows), 10_000.0, is_overnight=False, correlation=matrix)
    assert heat.total == pytest.approx(0.10)
    assert heat.correlated == pytest.approx(expected, abs=1e-12)


def test_a_position_without_stop_needs_a_shortfall():
    with pytest.raises(ValueError, match="expected shortfall"):
        portfolio_heat(positions([(1, 1, 1, np.nan, np.nan)]), 1.0, is_overnight=False)


def test_turtle_units_are_counted_per_side_and_closeness():
    closeness = np.array([[1.0, 0.8, 0.4, 0.0], [0.8, 1.0, 0.0, 0.0], [0.4, 0, 1, 0], [0, 0, 0, 1]])
    counts = unit_counts(np.array([4.0, 3.0, 2.0, -4.0]), closeness)
    assert counts == {
        "market": 4.0,
        "closely_correlated": 7.0,
        "loosely_correlated": 9.0,
        "direction": 9.0,
    }
    assert counts["closely_correlated"] > TURTLE_CAPS["closely_correlated"]
