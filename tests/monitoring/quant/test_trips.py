"""Round trips of live fills, from flat to flat."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quant.trips import round_trips


def trips_of(*fills):
    row, asset, column, quantity, price, fee = (
        np.array(part, float) for part in zip(*fills, strict=True)
    )
    return round_trips(
        row.astype(int), asset.astype(int), column.astype(int), quantity, price=price, fee=fee
    )


def test_a_round_trip_ends_flat_and_pays_its_fees():
    found = trips_of((0, 0, 1, 10, 100.0, 1.0), (0, 0, 4, -10, 110.0, 1.0))
    assert (found.entered[0], found.exited[0]) == (1, 4)
    assert found.returns[0] == pytest.approx((100 - 2) / 1000)
    assert found.pnl[0] == pytest.approx(100 - 2)


def test_a_position_built_and_sold_in_parts_is_one_round_trip():
    found = trips_of(
        (0, 0, 1, 10, 100.0, 0),
        (0, 0, 2, 10, 120.0, 0),
        (0, 0, 3, -5, 130.0, 0),
        (0, 0, 6, -15, 100.0, 0),
    )
    assert len(found) == 1
    assert found.returns[0] == pytest.approx((5 * 130 + 15 * 100 - 2200) / 2200)


def test_a_reversal_ends_one_and_begins_another_with_the_fee_shared():
    found = trips_of((0, 0, 1, 10, 100.0, 0), (0, 0, 2, -30, 110.0, 3.0), (0, 0, 5, 20, 100.0, 0))
    assert found.entered.tolist() == [1, 2]
    assert found.exited.tolist() == [2, 5]
    np.testing.assert_allclose(found.returns, [(100 - 1) / 1000, (200 - 2) / 2200])
    np.testing.assert_allclose(found.pnl, [100 - 1, 200 - 2])


def test_open_positions_come_last_and_have_no_return():
    found = trips_of(
        (0, 0, 1, 10, 100.0, 0),
        (0, 1, 2, 5, 50.0, 0),
        (0, 1, 3, -5, 55.0, 0),
        (1, 0, 0, -1, 10.0, 0),
        (1, 0, 9, 1, 9.0, 0),
    )
    assert found.row.tolist() == [0, 0, 1]
    assert found.exited.tolist() == [3, -1, 9]
    assert np.isnan(found.returns[1])
    assert np.isnan(found.pnl[1])
    assert found.returns[2] == pytest.approx(0.1)


def test_no_fills_no_round_trips():
    empty = np.empty(0)
    whole = empty.astype(int)
    assert len(round_trips(whole, whole, whole, empty, price=empty, fee=empty)) == 0
