"""Verdicts on strategies whose fate is known."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quant import budget
from monitoring.quant.checks import Judgement
from monitoring.quant.degradation import assess, standing_path
from monitoring.quant.evidence import Observations
from monitoring.quant.paths import live_paths, running_correlation
from monitoring.quant.status import (
    CLEAN_BARS,
    Findings,
    Standing,
    advance,
    decide,
    health_score,
)
from tests.monitoring.quant.builders import (
    DEVIATION,
    MEAN,
    make_expected,
    make_live,
    make_terms,
    make_trips,
)

N_BARS = 250


@pytest.fixture(scope="module")
def expected():
    return make_expected()


def healthy(n_strategies=1, n_bars=N_BARS, *, seed=0):
    noise = np.random.default_rng(seed).standard_normal((n_strategies, n_bars))
    noise -= noise.mean(axis=1, keepdims=True)
    return MEAN + DEVIATION * noise


def last(found):
    return [Standing(code) for code in standing_path(found.called_for)[:, -1]]


def test_a_strategy_that_follows_its_shadow_is_verified(expected):
    returns = healthy()
    rng = np.random.default_rng(1)
    live = make_live(
        expected,
        returns,
        trips=make_trips(rng, 1, N_BARS),
        shadow=returns + rng.normal(0, 1e-4, returns.shape),
        gaps_bps=Observations.of_matrix(rng.normal(0, 5, (1, N_BARS))),
        matches=Observations.of_matrix(np.ones((1, N_BARS))),
    )
    found = assess(live, make_terms(expected, 1))
    assert last(found) == [Standing.VERIFIED]
    assert found.coverage[0] == 1.0
    assert found.score[0] > 70
    assert found.correlation[0, -1] > 0.99


def test_without_a_shadow_nothing_is_verified(expected):
    live = make_live(expected, healthy(), trips=make_trips(np.random.default_rng(1), 1, N_BARS))
    found = assess(live, make_terms(expected, 1))
    assert last(found) == [Standing.MONITORING]
    assert found.coverage[0] == pytest.approx(0.75)
    assert not found.has_detector[budget.SLIPPAGE, 0]


def test_ten_days_are_no_basis_for_a_verdict(expected):
    found = assess(make_live(expected, healthy(n_bars=59)), make_terms(expected, 1))
    assert last(found) == [Standing.INSUFFICIENT]
    assert found.n_bars[0] == 59


def test_a_backtest_that_is_too_short_is_no_reference():
    short = make_expected(n_bars=240)
    live = make_live(short, healthy())
    found = assess(live, make_terms(short, 1))
    assert last(found) == [Standing.INSUFFICIENT]
    judged = Judgement(
        live,
        found,
        hard_drawdown=np.array([np.nan]),
        days_since_bar=np.zeros(1),
        is_stale=np.zeros(1, np.bool_),
    )
    said = judged.reason(0, [], Standing.INSUFFICIENT)
    assert said.startswith("Insufficient data: the backtest has 240 of 250 bars")


def test_without_expectation_there_is_no_verdict_but_the_owners_limit_holds():
    returns = np.full((2, 20), -0.02)
    returns[0] = 0.0
    terms = make_terms(None, 2, hard_drawdown=np.array([-0.2, -0.2]))
    found = assess(make_live(None, returns), terms)
    assert last(found) == [Standing.INSUFFICIENT, Standing.FAILED]
    assert np.isnan(found.score[0])


def test_a_lost_edge_is_degraded_and_then_failed(expected):
    rng = np.random.default_rng(3)
    returns = rng.normal(-0.0015, DEVIATION, (40, 500))
    found = assess(make_live(expected, returns), make_terms(expected, 40))
    path = standing_path(found.called_for)
    assert (path[:, -1] >= Standing.DEGRADED).mean() > 0.8
    assert (found.e_value > 20).mean() > 0.5


def test_worse_fills_show_in_the_difference_long_before_they_show_in_returns(expected):
    returns = healthy(seed=5)
    rng = np.random.default_rng(5)
    live = make_live(
        expected,
        returns,
        shadow=returns,
        gaps_bps=Observations.of_matrix(rng.normal(10, 5, (1, N_BARS))),
        matches=Observations.of_matrix(np.ones((1, N_BARS))),
    )
    found = assess(live, make_terms(expected, 1))
    log_r = found.evidence[budget.SLIPPAGE].log_r[0]
    over = np.flatnonzero(log_r >= found.log_levels[0, budget.SLIPPAGE])
    assert over[0] < 60
    assert found.evidence[budget.RETURN].log_e[0].max() < np.log(20)
    assert last(found)[0] >= Standing.DEGRADED


def test_missed_fills_are_noticed(expected):
    rng = np.random.default_rng(6)
    returns = healthy(seed=6)
    live = make_live(
        expected,
        returns,
        shadow=returns,
        matches=Observations.of_matrix((rng.random((1, N_BARS)) < 0.7).astype(float)),
    )
    found = assess(live, make_terms(expected, 1))
    assert found.match_rate[0, -1] == pytest.approx(0.7, abs=0.08)
    assert last(found)[0] >= Standing.DEGRADED


def test_a_drawdown_beyond_the_bounds_degrades_and_fails(expected):
    promise = expected.promise
    returns = healthy(2, seed=7)
    returns[0, -1] = promise.drawdown_95 * 1.05
    returns[1, -1] = promise.drawdown_99 * 1.3
    returns[:, -20:-1] = 0.0
    returns[:, :-20] = np.abs(returns[:, :-20]) * 0.1
    trips = make_trips(np.random.default_rng(1), 2, N_BARS)
    found = assess(make_live(expected, returns, trips=trips), make_terms(expected, 2))
    assert last(found) == [Standing.DEGRADED, Standing.FAILED]


def test_volatility_alone_is_never_worse_than_watch(expected):
    rng = np.random.default_rng(8)
    returns = MEAN + 1.6 * DEVIATION * rng.standard_normal((1, 120))
    returns += MEAN - returns.mean() + 0.001
    live = make_live(expected, returns, trips=make_trips(rng, 1, 120))
    found = assess(live, make_terms(expected, 1))
    assert found.volatility[0, -1] > found.volatility_limit[0]
    assert last(found)[0] == Standing.WATCH


def test_a_verdict_looked_at_twice_is_the_same(expected):
    live = make_live(expected, healthy(3), trips=make_trips(np.random.default_rng(0), 3, N_BARS))
    terms = make_terms(expected, 3)
    first, second = assess(live, terms), assess(live, terms)
    np.testing.assert_array_equal(first.called_for, second.called_for)
    np.testing.assert_array_equal(first.log_e, second.log_e)


def test_a_fleet_is_judged_as_each_strategy_alone_but_for_discoveries(expected):
    returns = healthy(5, seed=9)
    together = assess(make_live(expected, returns), make_terms(expected, 5))
    for i in range(5):
        alone = assess(make_live(expected, returns[i : i + 1]), make_terms(expected, 1))
        np.testing.assert_allclose(alone.log_e[0], together.log_e[i])
        np.testing.assert_array_equal(alone.called_for[0, :-1], together.called_for[i, :-1])


def test_one_strategy_alone_is_no_discovery_before_it_would_be_degraded(expected):
    """e-BH over one strategy would reject at E = 10; over 20 it needs 200."""
    returns = np.random.default_rng(3).normal(-0.0015, DEVIATION, (1, 500))
    terms = make_terms(expected, 1)
    path = assess(make_live(expected, returns), terms)
    at = int(np.flatnonzero(path.log_e[0] >= np.log(30))[0])
    early = make_live(expected, returns[:, : at + 1])
    alone = assess(early, terms)
    assert 30 <= alone.e_value[0] < 200
    assert not alone.is_discovery[0]
    among_bad = assess(early, terms, others=np.full(19, 1e6))
    assert among_bad.is_discovery[0]
    in_a_large_fleet = assess(early, terms, others=np.ones(1_000))
    assert not in_a_large_fleet.is_discovery[0]


def test_absent_bars_change_nothing(expected):
    returns = healthy(seed=10)
    gappy = np.full((1, 2 * N_BARS), np.nan)
    gappy[:, ::2] = returns
    whole = assess(make_live(expected, returns), make_terms(expected, 1))
    spread = assess(make_live(expected, gappy), make_terms(expected, 1))
    np.testing.assert_allclose(spread.log_e[:, ::2], whole.log_e)
    assert spread.n_bars[0] == N_BARS


def test_the_restart_forgets_evidence_but_not_the_owners_limit(expected):
    returns = np.concatenate([np.full((1, 100), -0.004), healthy(n_bars=100)], axis=1)
    terms = make_terms(expected, 1, first=np.array([100]), hard_drawdown=np.array([-0.3]))
    found = assess(make_live(expected, returns), terms)
    assert found.log_e[0, 99] == 0.0
    assert found.paths.drawdown[0, 99] == 0.0
    assert (found.called_for[0, 95:] == Standing.FAILED).any()


def test_paths_restart_with_the_horizon():
    returns = np.array([[0.1, -0.1, 0.1, -0.2]])
    paths = live_paths(returns, horizon=np.array([2]), first=np.array([0]))
    np.testing.assert_array_equal(paths.position, [[0, 1, 0, 1]])
    np.testing.assert_allclose(np.expm1(paths.growth), [[0.1, -0.01, 0.1, -0.12]])
    np.testing.assert_allclose(paths.drawdown, [[0, -0.1, 0, -0.2]])
    np.testing.assert_allclose(paths.whole_drawdown[0, -1], 1.1 * 0.9 * 1.1 * 0.8 / 1.1 - 1)


def test_running_correlation_is_that_of_the_bars_so_far():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 1, 50))
    x[0, 3] = np.nan
    found = running_correlation(x, y)
    kept = np.arange(50) != 3
    assert found[0, -1] == pytest.approx(np.corrcoef(x[0, kept], y[0, kept])[0, 1])
    assert np.isnan(running_correlation(np.zeros((1, 5)), np.ones((1, 5)))).all()


def matrix(*rows):
    return np.array(rows, np.int64)


def step(standing, clean, called_for, *, first_new=0, may_recover=False):
    found, bars = advance(
        np.array([standing]),
        np.array([clean]),
        matrix(called_for),
        first_new=np.array([first_new]),
        may_recover=np.array([may_recover]),
    )
    return Standing(found[0]), int(bars[0])


MONITORING, WATCH, DEGRADED, FAILED = (
    Standing.MONITORING,
    Standing.WATCH,
    Standing.DEGRADED,
    Standing.FAILED,
)


def test_a_worse_verdict_comes_at_once():
    assert step(MONITORING, 3, [DEGRADED]) == (DEGRADED, 0)


def test_a_better_verdict_needs_ten_clean_bars_in_a_row():
    assert step(WATCH, 0, [MONITORING] * 9) == (WATCH, 9)
    assert step(WATCH, 9, [MONITORING]) == (MONITORING, 0)
    assert step(WATCH, 0, [MONITORING] * 9 + [WATCH] + [MONITORING] * 9) == (WATCH, 9)


@pytest.mark.parametrize("verdict", [DEGRADED, FAILED])
def test_degraded_and_failed_stay_until_somebody_acknowledged_them(verdict):
    assert step(verdict, 0, [MONITORING] * 50)[0] == verdict
    assert step(verdict, 0, [MONITORING] * CLEAN_BARS, may_recover=True)[0] == MONITORING


def test_looking_again_at_the_same_bar_improves_nothing_but_may_worsen():
    assert step(WATCH, 9, [MONITORING] * 5, first_new=5) == (WATCH, 9)
    assert step(MONITORING, 2, [MONITORING, FAILED], first_new=2) == (FAILED, 0)


def test_enough_bars_end_insufficient_at_once():
    assert step(Standing.INSUFFICIENT, 0, [MONITORING]) == (MONITORING, 0)


def test_the_worst_reason_decides():
    yes, no = np.array([[True]]), np.array([[False]])
    findings = Findings(yes, yes, yes, yes, yes)
    assert decide(findings, is_beyond_limit=no)[0, 0] == FAILED
    assert decide(Findings(yes, no, yes, yes, yes), is_beyond_limit=no)[0, 0] == DEGRADED
    assert decide(Findings(no, yes, yes, yes, yes), is_beyond_limit=no)[0, 0] == -1
    assert decide(Findings(no, no, no, no, no), is_beyond_limit=yes)[0, 0] == FAILED


def test_the_score_weighs_what_has_evidence():
    nothing = np.array([[np.nan]])
    log_e = {
        "execution": nothing,
        "return": np.log([[10.0]]),
        "drawdown": np.zeros((1, 1)),
        "win_rate": np.log([[500.0]]),
        "frequency": nothing,
        "volatility": nothing,
    }
    score, coverage = health_score(log_e)
    assert coverage[0, 0] == pytest.approx(0.55)
    assert score[0, 0] == pytest.approx((25 * 50 + 20 * 100 + 10 * 0) / 55)
