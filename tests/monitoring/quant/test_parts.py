"""Live less promise is execution and edge, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monitoring.quant.parts import parts_of

CENTRE = np.log([1.01, 1.02, 1.03])
SPREAD = np.array([0.01, 0.02, 0.03])


def test_the_parts_add_up_to_live_less_promise():
    found = parts_of(np.array([0.10, -0.10]), np.array([0.10, 0.0]), CENTRE, SPREAD)
    assert found is not None
    assert (found.n_bars, found.live) == (2, pytest.approx(-0.01))
    assert found.execution == pytest.approx(-0.11)  # 1.1 x 0.9 less 1.1
    assert found.edge == pytest.approx(0.10 - 0.02)
    assert found.execution + found.edge == pytest.approx(found.live - found.promised)
    assert found.departure == pytest.approx(math.log(1.10 / 1.02) / 0.02)


def test_bars_that_the_shadow_has_not_come_to_do_not_count():
    nan = math.nan
    found = parts_of(np.array([0.01, 0.02, 0.5]), np.array([0.01, 0.01, nan]), CENTRE, SPREAD)
    assert found is not None
    assert (found.n_bars, found.live) == (2, pytest.approx(1.01 * 1.02 - 1))


def test_beyond_the_horizon_its_last_bar_counts():
    found = parts_of(np.full(5, 0.0), np.full(5, 0.0), CENTRE, SPREAD)
    assert found is not None
    assert found.promised == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("shadow", "centre"), [([math.nan, math.nan], CENTRE), ([0.0, 0.0], np.empty(0))]
)
def test_without_a_shadow_or_a_promise_there_are_no_parts(shadow, centre):
    assert parts_of(np.zeros(2), np.array(shadow), centre, SPREAD) is None
