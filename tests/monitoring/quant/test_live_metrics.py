"""Metrics of live strategies equal what a hand or numpy computes one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quant.evidence import Observations
from monitoring.quant.live_metrics import (
    DAY_US,
    METRICS,
    OF_CURVES,
    OF_VERDICTS,
    Curves,
    curve_paths,
    curve_values,
    metric_values,
    periods_per_year,
)
from monitoring.quant.observations import LiveTrips
from tests.monitoring.quant.builders import make_expected, make_live

NAN = math.nan


def curves_of(*rows, per_year=252.0, shadow=None):
    returns = np.array(rows, float)
    curves = Curves.of_returns(returns, periods_per_year=per_year)
    if shadow is None:
        return curves
    return Curves(curves.times, returns, returns, np.array(shadow, float), curves.periods_per_year)


@pytest.mark.parametrize(
    ("key", "window", "returns", "expected"),
    [
        ("day_return", None, [0.01, -0.02], -0.02),
        ("total_return", None, [0.1, -0.1], -0.01),
        ("total_return", 1, [0.1, -0.1], -0.1),
        ("drawdown", None, [0.1, -0.1, 0.05], 0.9 * 1.05 - 1),
        ("drawdown", None, [-0.1], -0.1),  # the peak is the start
        ("drawdown", None, [0.1, 0.1], 0.0),
        ("drawdown", 2, [-0.5, 0.1, -0.1], -0.1),  # the peak within the window
        ("volatility", None, [0.01, -0.01], math.sqrt(2) * 0.01 * math.sqrt(252)),
        ("sharpe_ratio", None, [0.03, 0.01], 0.02 / (math.sqrt(2) * 0.01) * math.sqrt(252)),
        ("sharpe_ratio", None, [0.01, 0.01], NAN),  # nothing moved
        ("volatility", None, [0.01], NAN),
        ("total_return", None, [NAN, NAN], NAN),
    ],
)
def test_a_metric_is_what_a_hand_computes(key, window, returns, expected):
    value = curve_values(curves_of(returns), key, window)[0]
    assert value == pytest.approx(expected, nan_ok=True)


def test_a_day_of_intraday_bars_compounds_since_the_day_before():
    times = np.array([[DAY_US, DAY_US + 1, 2 * DAY_US, 2 * DAY_US + 1]])
    returns = np.array([[0.5, 0.5, 0.1, 0.1]])
    curves = Curves(times, returns, returns, returns, np.array([500.0]))
    assert curve_values(curves, "day_return")[0] == pytest.approx(0.21)
    assert curve_paths(curves, "day_return")[0] == pytest.approx([0.5, 1.25, 0.1, 0.21])


@given(
    st.sampled_from(sorted(OF_CURVES - {"exposure"})),
    st.sampled_from([None, 2, 3, 7]),
    st.lists(st.one_of(st.just(NAN), st.floats(-0.2, 0.2)), min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
)
def test_the_last_bar_of_a_path_is_the_value_now(key, window, returns, seed):
    shadow = np.random.default_rng(seed).normal(0, 0.01, (1, len(returns)))
    curves = curves_of(returns, shadow=shadow)
    path = curve_paths(curves, key, window)
    assert path.shape == (1, len(returns))
    for column in range(len(returns)):
        known = slice(None, column + 1)
        cut = Curves(
            curves.times[:, known],
            curves.returns[:, known],
            curves.exposure[:, known],
            curves.shadow[:, known],
            curves.periods_per_year,
        )
        now = curve_values(cut, key, window)[0]
        if not math.isnan(returns[column]):  # a bar without a return says nothing new
            assert path[0, column] == pytest.approx(now, nan_ok=True, abs=1e-12)


def test_the_shadow_is_tracked_and_correlated():
    rng = np.random.default_rng(1)
    shadow = rng.normal(0, 0.01, (2, 80))
    live = shadow + rng.normal(0, 0.002, (2, 80))
    live[0, :10] = NAN
    curves = curves_of(*live, shadow=shadow)
    differences = (live - shadow)[:, -60:]
    expected = differences.std(axis=1, ddof=1) * math.sqrt(252)
    assert curve_values(curves, "tracking_error", 60) == pytest.approx(expected)
    together = [np.corrcoef(live[i, -60:], shadow[i, -60:])[0, 1] for i in range(2)]
    assert curve_values(curves, "correlation_with_shadow", 60) == pytest.approx(together)


@pytest.fixture(scope="module")
def live():
    trips = LiveTrips(
        row=np.array([0, 0, 0, 1]),
        entered=np.array([2, 20, 27, 1]),
        exited=np.array([4, 22, -1, 3]),
        returns=np.array([0.1, -0.1, NAN, 0.2]),
        pnl=np.array([10.0, -10.0, NAN, 20.0]),
    )
    gaps = Observations(np.array([0, 0, 1]), np.array([3, 22, 25]), np.array([10.0, 4.0, -1.0]))
    returns = np.full((2, 30), 0.001)
    return make_live(make_expected(), returns, trips=trips, gaps_bps=gaps, present_us=32 * DAY_US)


@pytest.mark.parametrize(
    ("key", "window", "expected"),
    [
        ("win_rate", None, [0.5, 1.0]),
        ("win_rate", 10, [0.0, NAN]),
        ("slippage_bps", None, [7.0, -1.0]),
        ("slippage_bps", 10, [4.0, -1.0]),
        ("trades_per_week", None, [3 / 30 * 7, 1 / 30 * 7]),
        ("trades_per_week", 10, [2 / 10 * 7, 0.0]),
        ("exposure", None, [1.0, 1.0]),
        ("days_since_bar", None, [2.0, 2.0]),
    ],
)
def test_round_trips_and_fills_count_within_the_window(live, key, window, expected):
    values = metric_values(live, key, window)
    assert values == pytest.approx(expected, nan_ok=True)


def test_too_few_observations_are_nothing_known(live):
    assert np.isnan(metric_values(live, "win_rate", None, minimum=2)).tolist() == [False, True]
    assert np.isnan(metric_values(live, "total_return", None, minimum=31)).all()
    assert not np.isnan(metric_values(live, "total_return", None, minimum=30)).any()


@pytest.mark.parametrize("key", sorted(METRICS))
def test_every_metric_has_a_value_for_every_strategy(live, key):
    verdicts = {name: np.array([1.0, 2.0]) for name in OF_VERDICTS}
    window = METRICS[key].default_window
    values = metric_values(live, key, window, verdicts=verdicts)
    assert values.shape == (2,)


def test_bars_per_year_follow_from_their_spacing():
    times = np.array([[0, 0, 0], [0, 0, DAY_US], [DAY_US, 2 * DAY_US, 3 * DAY_US]])
    assert periods_per_year(times) == pytest.approx([NAN, NAN, 365.25], nan_ok=True)
