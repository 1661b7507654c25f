"""The false-alarm budget holds, and a halved edge is found when it is said to be.

The strategies below follow laws of their own: nothing in them comes from the resampling that the
levels were calibrated on.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from monitoring.quant import budget, detectors
from monitoring.quant.degradation import assess, standing_path
from monitoring.quant.evidence import Observations, alarm_counts, first_alarm
from monitoring.quant.status import Standing
from tests.monitoring.quant.builders import (
    DEVIATION,
    MEAN,
    make_expected,
    make_live,
    make_terms,
    make_trips,
)


@pytest.fixture(scope="module")
def expected():
    return make_expected()


def catoni_factors(noise, *, scale):
    n_paths = len(noise)
    observed = Observations.of_matrix(noise)
    z = detectors.standardise(observed, centre=np.zeros(n_paths), scale=np.full(n_paths, scale))
    return np.exp(detectors.catoni_log_factors(z)).reshape(*noise.shape, -1)


@pytest.mark.parametrize("rate", [0.05, 0.2, 1.0])
def test_the_detector_of_the_mean_alarms_as_often_as_its_level_says(expected, rate):
    """Within 20 % of the rate: on normal returns exactly at the promise, 2,400 years of them."""
    noise = np.random.default_rng(21).normal(0.0, DEVIATION, (600, 4 * 252))
    level = np.interp(np.log(rate), np.log(budget.RATES), expected.levels.log_levels[0])
    alarms = alarm_counts(catoni_factors(noise, scale=DEVIATION), np.array([math.exp(level)]))
    measured = alarms[0] / (600 * 4)
    assert measured <= 1.2 * rate
    assert measured >= 0.6 * rate


def test_levels_fall_with_the_rate_and_never_exceed_the_guarantee(expected):
    levels = np.exp(expected.levels.log_levels)
    assert (np.diff(levels, axis=1) <= 0).all()
    assert (levels[0] <= 252 / np.asarray(budget.RATES) + 1e-6).all()
    assert (np.diff(expected.levels.volatility) <= 0).all()


@pytest.mark.parametrize("alarms_per_year", [0.2, 0.5, 1.0, 2.0])
def test_the_budget_holds_for_all_checks_together(expected, alarms_per_year):
    """Changes from a good verdict to watch or worse, per year in which one could have come."""
    n_strategies, n_bars = 400, 504
    rng = np.random.default_rng(31)
    returns = rng.normal(MEAN, DEVIATION, (n_strategies, n_bars))
    gaps = rng.normal(0.0, 5.0, (n_strategies, n_bars))
    matches = (rng.random((n_strategies, n_bars)) < 0.98).astype(float)
    live = make_live(
        expected,
        returns,
        trips=make_trips(rng, n_strategies, n_bars),
        shadow=returns,
        gaps_bps=Observations.of_matrix(gaps),
        matches=Observations.of_matrix(matches),
    )
    found = assess(
        live, make_terms(expected, n_strategies, budget=np.full(n_strategies, alarms_per_year))
    )
    path = standing_path(found.called_for)
    is_flagged = path >= Standing.WATCH
    alarms = (is_flagged[:, 1:] & ~is_flagged[:, :-1]).sum()
    measured = alarms / ((~is_flagged).sum() / 252)
    assert measured <= 1.2 * alarms_per_year
    assert (path[:, -1] == Standing.FAILED).mean() <= 0.05


@pytest.mark.parametrize("loss", [0.5, 1.0])
def test_a_loss_of_edge_is_found_within_the_stated_time(loss):
    """A reference with an annual Sharpe ratio of 4: half of it is lost."""
    strong = make_expected(mean=0.0025, seed=4)
    rng = np.random.default_rng(8)
    reference = rng.normal(0.0, 0.01, 1_250)
    reference += 0.0025 - reference.mean()
    level = float(
        budget.levels_of_budget(strong.levels.log_levels[None], np.array([0.5]))[0, budget.RETURN]
    )
    half, most = budget.detection_delay(
        reference, loss=loss, mean_floor=0.0025, log_level=level, rng=rng
    )
    assert half < most
    fresh = np.random.default_rng(99).normal(-loss * 0.0025, 0.01, (500, 2_520))
    delays = first_alarm(catoni_factors(fresh, scale=0.01), math.exp(level))
    assert np.median(delays) <= 1.2 * half
    assert np.quantile(delays, 0.9) <= 1.2 * most


def test_a_loss_above_the_floor_is_never_found():
    reference = np.random.default_rng(0).normal(0.001, 0.01, 500)
    half, _ = budget.detection_delay(
        reference,
        loss=0.2,
        mean_floor=-0.002,
        log_level=math.log(1_000),
        rng=np.random.default_rng(1),
        n_bars=500,
    )
    assert half == math.inf


def test_a_larger_budget_means_lower_levels_and_a_narrower_band(expected):
    levels = np.repeat(expected.levels.log_levels[None], 3, axis=0)
    rates = np.array([0.1, 0.5, 4.0])
    found = budget.levels_of_budget(levels, rates)
    assert (np.diff(found, axis=0) < 0).all()
    np.testing.assert_allclose(budget.band_coverage(rates), [0.96, 0.8, 0.5])
    limits = np.repeat(expected.levels.volatility[None], 3, axis=0)
    assert (np.diff(budget.volatility_limit(limits, rates)) < 0).all()


def test_a_detector_without_observations_has_no_level_and_takes_no_share(expected):
    levels = np.stack([expected.levels.log_levels, expected.levels.log_levels])
    levels[1, 1:] = np.nan
    found = budget.levels_of_budget(levels, np.array([0.5, 0.5]))
    assert np.isnan(found[1, 1:]).all()
    assert found[1, 0] < found[0, 0]
