"""The envelope of a year, its drawdowns, and what a backtest promises."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from monitoring.quant import expectations
from monitoring.quant.cone import LEVELS, max_drawdowns, percentile, performance_cone
from monitoring.quant.regimes import regime_of, trailing_deviation, volatility_regimes
from tests.monitoring.quant.builders import make_expected

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"


def normal_returns(n_bars=1_000, *, mean=0.0005, deviation=0.01, seed=0):
    noise = np.random.default_rng(seed).standard_normal(n_bars)
    return np.expm1(mean + deviation * (noise - noise.mean()) / noise.std(ddof=1))


def test_the_cone_of_independent_returns_is_the_analytic_one():
    cone = performance_cone(normal_returns(), n_bars=126, rng=np.random.default_rng(1))
    k = np.arange(1, 127)
    np.testing.assert_allclose(cone.centre, 0.0005 * k, atol=0.006)
    np.testing.assert_allclose(cone.spread, 0.01 * np.sqrt(k + k**2 / 1_000), rtol=0.1)
    low, high = cone.pointwise(0.95)
    np.testing.assert_allclose(np.log(high / low), 2 * 1.96 * cone.spread, rtol=0.1)
    assert not cone.is_analytic


def test_few_bars_fall_back_to_the_formula():
    cone = performance_cone(normal_returns(249), n_bars=60, rng=np.random.default_rng(1))
    k = np.arange(1, 61)
    assert cone.is_analytic
    np.testing.assert_allclose(cone.spread, 0.01 * np.sqrt(k + k**2 / 249), rtol=1e-9)


def test_a_band_holds_whole_paths_as_often_as_it_says():
    returns = normal_returns()
    cone = performance_cone(
        returns, n_bars=126, rng=np.random.default_rng(1), has_parameter_uncertainty=False
    )
    fresh = np.random.default_rng(2).normal(0.0005, 0.01, (4_000, 126)).cumsum(axis=1)
    for coverage in (0.5, 0.8, 0.95):
        low, high = np.log(cone.band(coverage))
        inside = ((fresh >= low) & (fresh <= high)).all(axis=1).mean()
        assert inside == pytest.approx(coverage, abs=0.05)
        point_low, point_high = np.log(cone.pointwise(coverage))
        pointwise = ((fresh >= point_low) & (fresh <= point_high)).all(axis=1).mean()
        assert pointwise < inside


def test_the_cone_is_the_same_for_the_same_seed():
    first, second = (
        performance_cone(normal_returns(), n_bars=20, rng=np.random.default_rng(5))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.quantiles, second.quantiles)


def test_drawdowns_without_drift_are_those_of_brownian_motion():
    fixture = json.loads((FIXTURES / "drawdown__emdd_zero_drift.json").read_text())
    steps = np.random.default_rng(3).normal(0.0, 0.01 / math.sqrt(2_000), (2_000, 2_000))
    found = -np.log1p(max_drawdowns(steps)).mean() / 0.01
    # Watching 2,000 times instead of always misses about two steps' worth of 0.58 deviations.
    expected = fixture["expected"][0]["value"] - 2 * 0.58 / math.sqrt(2_000)
    assert found == pytest.approx(expected, rel=0.02)


def test_a_path_that_only_rises_has_no_drawdown_and_the_first_loss_counts():
    steps = np.log(np.array([[1.1, 0.9], [1.1, 0.9]]))
    np.testing.assert_allclose(max_drawdowns(steps), [0.0, -0.19])


def test_percentiles_are_read_off_the_levels():
    levels = np.asarray(LEVELS)
    quantiles = np.stack([levels, levels * 2])[None].repeat(4, axis=0)
    growth = np.array([0.5, 0.15, -9.0, np.nan])
    found = percentile(growth, np.array([0, 1, 0, 0]), quantiles)
    np.testing.assert_allclose(found, [0.5, 0.075, 0.01, np.nan])


def test_the_promise_is_what_the_reference_did():
    promise = make_expected().promise
    assert promise.mean == pytest.approx(0.0008)
    assert promise.deviation == pytest.approx(0.01, rel=1e-3)
    assert promise.win_rate == pytest.approx(0.552)
    assert promise.win_rate_limit < promise.win_rate
    assert promise.trip_size == pytest.approx(0.552 * 0.02 + 0.448 * 0.015)
    assert promise.trips_per_bar == pytest.approx(0.2)
    assert promise.trips_per_bar_low < 0.2 < promise.trips_per_bar_high
    assert promise.drawdown_99 < promise.drawdown_95 < promise.drawdown_50 < 0
    assert promise.commission_bps == 2.0
    assert promise.block >= 5


def test_many_trials_lower_what_may_be_promised():
    rng = np.random.default_rng(0)
    returns = normal_returns()
    floors = [
        expectations.expected_of(
            returns,
            expectations.ReferenceTrips(),
            periods_per_year=252,
            rng=rng,
            n_trials=n,
            sharpe_variance=0.0004,
        ).promise.sharpe_floor
        for n in (1, 10, 1_000)
    ]
    # 0.055 less 0.02 times the expected maximum of ten normal draws, 1.575 (Bailey et al. 2014).
    assert floors[0] == pytest.approx(0.055, abs=1e-4)
    assert floors[1] == pytest.approx(0.055 - 0.02 * 1.575, abs=1e-3)
    assert floors[2] == 0.0


def test_a_flat_reference_promises_nothing():
    expected = expectations.expected_of(
        np.zeros(300),
        expectations.ReferenceTrips(),
        periods_per_year=252,
        rng=np.random.default_rng(0),
    )
    assert math.isnan(expected.promise.mean_floor)
    assert math.isnan(expected.promise.win_rate)
    assert np.isnan(expected.levels.log_levels).all()


@pytest.mark.parametrize(
    ("share", "n", "z", "limit"),
    # Newcombe (1998), Statistics in Medicine 17, table I: Wilson intervals at 95 %.
    [(81 / 263, 263, 1.959964, 0.2553), (15 / 148, 148, 1.959964, 0.0624)],
)
def test_wilson_limits_agree_with_newcombe(share, n, z, limit):
    assert expectations.wilson_lower(share, n, z=z) == pytest.approx(limit, abs=5e-5)


def test_rate_limits_are_garwoods():
    # Garwood (1936): for a count of 10 the 95 % limits are 4.795 and 18.390.
    low, high = expectations.rate_limits(10, 1, tail=0.025)
    assert (low, high) == (pytest.approx(4.795, abs=1e-3), pytest.approx(18.390, abs=1e-3))


def test_missing_promises_are_nan_in_the_columns():
    columns = expectations.promise_columns([{"mean": 0.1, "win_rate": None}, None])
    assert columns["mean"][0] == 0.1
    assert math.isnan(columns["win_rate"][0])
    assert math.isnan(columns["mean"][1])


def test_regimes_split_by_what_was_known_before_the_bar():
    rng = np.random.default_rng(0)
    returns = np.concatenate([rng.normal(0.001, s, 200) for s in (0.002, 0.01, 0.03)])
    calm, normal, turbulent = volatility_regimes(returns)
    assert calm.deviation < normal.deviation < turbulent.deviation
    assert calm.n_bars + normal.n_bars + turbulent.n_bars == 600 - 21
    deviation = trailing_deviation(returns)
    assert deviation[100] == pytest.approx(returns[79:100].std(ddof=1))
    assert regime_of(np.array([np.nan, 0.0, 1.0]), np.array([0.1, 0.2])).tolist() == [-1, 0, 2]
    assert volatility_regimes(returns[:50]) == ()
