"""Accounts added up with their envelopes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from monitoring.quant.cone import LEVELS
from monitoring.quant.joint_path import LiveMember, joint_path

DAY = 86_400_000_000


def member(capital, growth, *, first_day=1, drift=0.001, spread=0.01, horizon=252) -> LiveMember:
    """Quantiles of a random walk with this drift and spread per bar."""
    n, bars = len(growth), np.arange(1, horizon + 1)
    centre = drift * bars
    quantiles = centre[:, None] + spread * np.sqrt(bars)[:, None] * norm.ppf(LEVELS)
    times = (np.arange(n) + first_day) * DAY
    return LiveMember(capital, times, np.asarray(growth), np.arange(n), centre, quantiles)


def test_one_account_stands_as_it_is():
    only = member(100.0, np.log([1.01, 1.02, 0.99]))
    found = joint_path([only])
    np.testing.assert_allclose(found.live, [0.01, 0.02, -0.01])
    np.testing.assert_allclose(found.expected, np.expm1(only.centre[:3]))
    np.testing.assert_allclose(found.quantiles, np.expm1(only.quantiles[:3]))


def test_accounts_are_weighed_by_their_capital():
    """By hand: 300 at +10 % and 100 at -10 % are 420 of 400."""
    found = joint_path([member(300.0, [np.log(1.1)]), member(100.0, [np.log(0.9)])])
    assert found.live.tolist() == pytest.approx([0.05])


def test_one_that_begins_later_counts_with_its_capital_until_then():
    early, late = member(100.0, np.log([1.1, 1.1, 1.1])), member(100.0, [np.log(2.0)], first_day=3)
    found = joint_path([early, late])
    assert (found.times // DAY).tolist() == [1, 2, 3]
    np.testing.assert_allclose(found.live, [0.05, 0.05, 0.55])
    assert found.expected[0] == pytest.approx(0.5 * np.expm1(0.001))
    assert found.quantiles[1, 0] == pytest.approx(0.5 * np.expm1(early.quantiles[1, 0]))


def test_an_account_without_a_bar_that_day_stays_where_it_was():
    every_day = member(1.0, np.log([1.1, 1.2, 1.3]))
    gappy = member(1.0, np.log([1.1, 1.3]))
    gappy = LiveMember(
        1.0, np.array([1, 3]) * DAY, gappy.growth, gappy.position, gappy.centre, gappy.quantiles
    )
    assert joint_path([every_day, gappy]).live[1] == pytest.approx(0.15)


def test_a_path_longer_than_its_horizon_stays_at_its_end():
    found = joint_path([member(1.0, np.zeros(5), horizon=3)])
    assert found.expected[3] == found.expected[2] == found.expected[4]


def test_added_quantiles_are_those_of_accounts_that_move_together_and_no_narrower_than_others():
    """Against simulation: one common shock, and independent ones."""
    members = [member(capital, np.zeros(60)) for capital in (1.0, 2.0, 3.0)]
    found = joint_path(members).quantiles[-1]
    rng = np.random.default_rng(1)
    shocks = rng.standard_normal((3, 200_000))
    for dependent, wider in ((True, False), (False, True)):
        drawn = shocks[[0, 0, 0]] if dependent else shocks
        total = sum(
            capital * np.expm1(0.06 + 0.01 * np.sqrt(60) * one)
            for capital, one in zip((1.0, 2.0, 3.0), drawn, strict=True)
        )
        simulated = np.quantile(total / 6.0, LEVELS)
        if wider:
            assert found[0] < simulated[0]
            assert found[-1] > simulated[-1]
        else:
            np.testing.assert_allclose(found, simulated, atol=2e-3)
