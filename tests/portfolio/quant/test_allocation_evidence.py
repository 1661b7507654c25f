"""Estimates, views, correlations and evidence against published numbers and identities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import OAS, LedoitWolf

from portfolio.quant import correlation as corr
from portfolio.quant.allocation_problem import AllocationProblem, Method
from portfolio.quant.allocation_walk_forward import walk_forward_allocation
from portfolio.quant.black_litterman import View, black_litterman, equilibrium_returns
from portfolio.quant.candidates import rank_candidates
from portfolio.quant.conflicts import find_conflict
from portfolio.quant.constraints import Group, Limits
from portfolio.quant.diversification import (
    correlation_change,
    diversification_score,
    weighted_mean_correlation,
)
from portfolio.quant.estimators import Estimator, estimate_covariance, repair_covariance
from portfolio.quant.expected_returns import historical_returns, shrunk_returns
from portfolio.quant.requirements import Kind, requirements_of
from portfolio.quant.resampling import resample_weights


def market(seed, n, n_bars=500, common=0.006):
    rng = np.random.default_rng(seed)
    return rng.normal(0.0003, 0.01, (n_bars, n)) + rng.normal(0.0002, common, (n_bars, 1))


def test_shrinkage_equals_that_of_scikit_learn():
    returns = market(1, 12, 120)
    ours = estimate_covariance(returns, estimator=Estimator.LEDOIT_WOLF)
    np.testing.assert_allclose(ours, LedoitWolf().fit(returns).covariance_, rtol=1e-9)
    ours = estimate_covariance(returns, estimator=Estimator.OAS)
    np.testing.assert_allclose(ours, OAS().fit(returns).covariance_, rtol=1e-9)


def test_the_sample_covariance_is_that_of_numpy_and_fading_forgets_what_is_old():
    returns = market(2, 4)
    sample = estimate_covariance(returns, estimator=Estimator.SAMPLE)
    np.testing.assert_allclose(sample, np.cov(returns.T), rtol=1e-10)
    returns[:250] *= 10
    fading = estimate_covariance(returns, estimator=Estimator.EWMA, half_life=20)
    np.testing.assert_allclose(np.diag(fading), np.diag(sample), rtol=0.5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), estimator=st.sampled_from(list(Estimator)))
def test_covariances_of_ragged_histories_are_positive_semi_definite(seed, estimator):
    rng = np.random.default_rng(seed)
    returns = market(seed, 8, 40)
    for j in range(8):
        returns[: rng.integers(0, 30), j] = np.nan
    covariance = estimate_covariance(returns, estimator=estimator)
    assert np.linalg.eigvalsh(covariance)[0] >= -1e-15
    np.testing.assert_allclose(covariance, covariance.T)


def test_a_repaired_matrix_keeps_its_variances_and_a_good_one_is_left_alone():
    bad = np.array([[1.0, 0.9, -0.9], [0.9, 4.0, 1.8], [-0.9, 1.8, 1.0]])
    assert np.linalg.eigvalsh(bad)[0] < 0
    repaired = repair_covariance(bad)
    assert np.linalg.eigvalsh(repaired)[0] > -1e-12
    np.testing.assert_allclose(np.diag(repaired), np.diag(bad))
    good = np.cov(market(1, 5).T)
    np.testing.assert_array_equal(repair_covariance(good), (good + good.T) / 2)


def test_views_give_the_returns_of_he_and_litterman():
    # He & Litterman (1999), tables 1, 2 and 4: Germany beats the rest of Europe by 5 %.
    correlation = np.eye(7)
    upper = [
        [0.488, 0.478, 0.515, 0.439, 0.512, 0.491],
        [0.664, 0.655, 0.310, 0.608, 0.779],
        [0.861, 0.355, 0.783, 0.668],
        [0.354, 0.777, 0.653],
        [0.405, 0.306],
        [0.652],
    ]
    for i, row in enumerate(upper):
        for k, value in enumerate(row):
            correlation[i, i + 1 + k] = correlation[i + 1 + k, i] = value
    volatility = np.array([16.0, 20.3, 24.8, 27.1, 21.0, 20.0, 18.7]) / 100
    weights = np.array([1.6, 2.2, 5.2, 5.5, 11.6, 12.4, 61.5]) / 100
    covariance = correlation * np.outer(volatility, volatility)
    prior = equilibrium_returns(covariance, weights, risk_aversion=2.5)
    np.testing.assert_allclose(prior * 100, [3.9, 6.9, 8.4, 9.0, 4.3, 6.8, 7.6], atol=0.06)
    europe = 5.2 + 12.4
    view = View(3, 0.05, against=((2, 5.2 / europe), (5, 12.4 / europe)))
    mean, posterior = black_litterman(
        covariance, prior, [view], tau=0.05, uncertainty=np.array([0.021 * 0.05])
    )
    np.testing.assert_allclose(mean * 100, [4.3, 7.6, 9.3, 11.0, 4.5, 7.0, 8.1], atol=0.06)
    best = np.linalg.solve(2.5 * posterior, mean) * 100
    # Unconstrained weights are those of equilibrium over 1 + tau, moved along the view.
    np.testing.assert_allclose(best * 1.05, [1.6, 2.2, -4.0, 35.4, 11.6, -9.5, 61.5], atol=2.2)


@pytest.mark.parametrize(("confidence", "near"), [(0.999, 0.20), (0.001, 0.0)])
def test_a_view_counts_as_far_as_it_is_believed(confidence, near):
    covariance = np.diag([0.04, 0.09])
    mean, _ = black_litterman(covariance, np.zeros(2), [View(0, 0.20, confidence=confidence)])
    assert mean[0] == pytest.approx(near, abs=1e-3)
    assert mean[1] == 0.0


def test_shrunk_returns_lie_between_history_and_what_all_have_in_common():
    returns = market(3, 6)
    covariance = estimate_covariance(returns) * 252
    mean = historical_returns(returns, periods_per_year=252)
    shrunk, weight = shrunk_returns(returns, covariance, periods_per_year=252)
    assert 0 < weight < 1
    assert np.ptp(shrunk) == pytest.approx((1 - weight) * np.ptp(mean))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.71, "high"), (0.70, "moderate"), (0.30, "moderate"), (0.29, "low"), (-0.9, "low")],
)
def test_bands_are_those_of_the_mission(value, expected):
    assert corr.band(value) == expected
    assert corr.band(float("nan")) == "insufficient"


def test_twenty_nine_common_bars_are_insufficient_and_thirty_are_enough():
    returns = market(4, 3, 60)
    returns[:31, 1] = np.nan
    returns[:30, 2] = np.nan
    matrix, _ = corr.shrunk_correlation(returns)
    assert np.isnan(matrix[0, 1])
    assert np.isfinite(matrix[0, 2])
    assert np.isnan(corr.fading_correlation(returns)[0, 1])


def test_shrinkage_leaves_what_is_alike_and_takes_what_is_noise():
    returns = market(5, 8, 120, common=0.0)
    returns[:, 1] = returns[:, 0] + np.random.default_rng(1).normal(0, 0.004, 120)
    plain = corr.correlation_matrix(returns)
    shrunk, intensity = corr.shrunk_correlation(returns)
    assert 0 < intensity < 1
    assert shrunk[0, 1] == pytest.approx(plain[0, 1], rel=0.05)
    off = ~np.eye(8, dtype=bool)
    assert (np.abs(shrunk[off]) <= np.abs(plain[off])).all()
    weak = off & (np.abs(plain) < 0.05)
    np.testing.assert_allclose(shrunk[weak], 0.0, atol=1e-12)


def test_correlations_of_whole_histories_equal_those_of_the_same_with_a_gap_elsewhere():
    returns = market(6, 5, 120)
    with_a_gap = np.column_stack([returns, np.where(np.arange(120) < 40, np.nan, returns[:, 0])])
    whole, intensity = corr.shrunk_correlation(returns)
    np.testing.assert_allclose(corr.shrunk_correlation(with_a_gap)[0][:5, :5], whole, rtol=1e-9)
    assert 0.0 < intensity < 1.0


def test_rolling_correlation_equals_that_of_each_window():
    first, second = market(6, 2, 50).T
    rolled = corr.rolling_correlation(first, second, window=20)
    assert np.isnan(rolled[:19]).all()
    assert rolled[33] == pytest.approx(np.corrcoef(first[14:34], second[14:34])[0, 1])


def test_stress_bars_are_the_worst_tenth_of_the_market():
    market_returns = np.linspace(-0.05, 0.05, 50)
    market_returns[7] = np.nan
    worst = corr.stress_bars(market_returns)
    np.testing.assert_array_equal(np.flatnonzero(worst), [0, 1, 2, 3, 4])


def test_clustering_puts_neighbours_together():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 300, 1))
    returns = rng.normal(0, 0.3, (300, 6)) + np.hstack([first, second] * 3)
    order = corr.cluster_order(corr.correlation_matrix(returns)).tolist()
    assert set(order[:3]) in ({0, 2, 4}, {1, 3, 5})


def test_the_score_is_100_for_independent_bets_and_0_for_one():
    equal = np.full(5, 0.2)
    assert diversification_score(equal, np.eye(5)) == pytest.approx(100)
    assert diversification_score(equal, np.ones((5, 5))) == pytest.approx(0)
    assert diversification_score(np.array([1.0, 0, 0, 0, 0]), np.eye(5)) == 0.0


def test_a_move_away_from_likeness_is_called_reduced_and_none_is_not():
    rng = np.random.default_rng(3)
    common = rng.normal(0, 0.01, (400, 1))
    alike = common + rng.normal(0, 0.002, (400, 2))
    returns = np.hstack([alike, rng.normal(0, 0.01, (400, 2))])
    before, after = np.array([0.45, 0.45, 0.05, 0.05]), np.full(4, 0.25)
    change = correlation_change(returns, before, after, rng=np.random.default_rng(0))
    matrix = np.corrcoef(returns.T)
    assert change.before == pytest.approx(weighted_mean_correlation(before, matrix))
    assert change.after == pytest.approx(weighted_mean_correlation(after, matrix))
    assert change.verdict == "reduced"
    assert change.low < change.difference < change.high < 0
    same = correlation_change(returns, after, after, rng=np.random.default_rng(0))
    assert same.verdict == "unclear"


def test_candidates_are_ranked_by_how_much_they_lower_the_correlation():
    rng = np.random.default_rng(4)
    common = rng.normal(0, 0.01, (300, 1))
    members = common + rng.normal(0, 0.004, (300, 3))
    hedge = -common[:, 0] + rng.normal(0, 0.004, 300)
    stranger = rng.normal(0, 0.01, 300)
    twin = common[:, 0] + rng.normal(0, 0.004, 300)
    young = np.where(np.arange(300) < 280, np.nan, stranger)
    ranked = rank_candidates(
        members, np.full(3, 1 / 3), np.column_stack([twin, young, stranger, hedge])
    )
    assert [one.position for one in ranked] == [3, 2, 0, 1]
    assert ranked[0].with_portfolio < -0.8
    assert ranked[0].change < ranked[1].change < 0
    assert not ranked[-1].is_sufficient
    assert ranked[-1].n_common == 20


def build(returns):
    n = returns.shape[1]
    return AllocationProblem(
        tuple(f"S{i}" for i in range(n)),
        estimate_covariance(returns) * 252,
        returns.mean(axis=0) * 252,
        Limits(max_weight=0.5),
        Method.MIN_VOLATILITY,
    )


def test_resampled_weights_are_the_same_for_the_same_seed_and_bracket_their_mean():
    returns = market(7, 5, 250)
    first = resample_weights(returns, build, rng=np.random.default_rng(1), n_draws=30)
    second = resample_weights(returns, build, rng=np.random.default_rng(1), n_draws=30)
    other = resample_weights(returns, build, rng=np.random.default_rng(2), n_draws=30)
    np.testing.assert_array_equal(first.mean, second.mean)
    assert (first.mean != other.mean).any()
    assert (first.low <= first.mean + 1e-12).all()
    assert (first.mean <= first.high + 1e-12).all()
    assert first.mean.sum() == pytest.approx(1.0)
    assert first.n_failed == 0


def test_an_allocation_is_judged_on_bars_it_has_not_seen():
    returns = market(8, 4, 300)
    changed = returns.copy()
    changed[252:] = -changed[252:]
    asked = {"train_bars": 252, "hold_bars": 21, "cost_bps": 10.0}
    first = walk_forward_allocation(returns, build, **asked)
    second = walk_forward_allocation(changed, build, **asked)
    np.testing.assert_array_equal(first.weights[0], second.weights[0])
    assert first.first == 252
    assert len(first.chosen.returns) == 48


def test_equal_weight_out_of_sample_is_what_holding_and_paying_gives():
    returns = np.zeros((12, 2))
    returns[6, 0] = 0.5
    found = walk_forward_allocation(
        returns, lambda _: build(market(1, 2, 60)), train_bars=5, hold_bars=4, cost_bps=100
    )
    np.testing.assert_array_equal(found.rebalanced, [5, 9])
    # Half in each gains 25 %, drifts to 60 and 40 %, and pays 1 % of the 20 % moved.
    expected = np.zeros(7)
    expected[1], expected[4] = 0.25, -0.002
    np.testing.assert_allclose(found.equal.returns, expected, atol=1e-12)
    assert found.equal.turnover == pytest.approx(0.2)
    assert found.equal.cost == pytest.approx(0.002)


def test_too_short_a_history_has_no_walk_forward():
    assert walk_forward_allocation(market(1, 3, 100), build, train_bars=90, hold_bars=21) is None


def conflict_of(limits, n, **asked):
    current = asked.pop("current", None)
    names = [f"S{i}" for i in range(n)]
    requirements = requirements_of(limits, names, current=current, **asked)
    return find_conflict(
        requirements,
        allowed=[i not in limits.excluded for i in range(n)],
        current=current,
        expected=np.linspace(0.02, 0.10, n),
    )


@pytest.mark.parametrize(
    ("limits", "n", "kinds", "nearest"),
    [
        (Limits(), 3, {Kind.CASH, Kind.MAX_WEIGHT}, "at most 33.4 % per strategy"),
        (
            Limits(max_strategies=2),
            9,
            {Kind.CASH, Kind.MAX_WEIGHT, Kind.MAX_STRATEGIES},
            "at most 4 strategies instead of 2",
        ),
        (
            Limits(groups=(Group("Trend", tuple(range(8)), 0.4),)),
            9,
            {Kind.CASH, Kind.MAX_WEIGHT, Kind.GROUP_MAX},
            "",
        ),
        (Limits(floors=((0, 0.5),)), 6, {Kind.MAX_WEIGHT, Kind.FLOOR}, ""),
    ],
)
def test_conflicts_are_irreducible_and_each_alternative_resolves_them(limits, n, kinds, nearest):
    conflict = conflict_of(limits, n)
    assert {one.kind for one in conflict.requirements} == kinds
    allowed = [True] * n
    for one in conflict.requirements:
        others = [other for other in conflict.requirements if other is not one]
        assert find_conflict(others, allowed=allowed) is None
    assert find_conflict(conflict.requirements, allowed=allowed) is not None
    for change in conflict.alternatives:
        changed = [change.after if one is change.before else one for one in conflict.requirements]
        assert find_conflict(changed, allowed=allowed) is None
    assert nearest in conflict.sentence


def test_turnover_and_a_target_return_take_part_in_conflicts():
    current = np.array([0.6, 0.4, 0.0, 0.0, 0.0, 0.0])
    conflict = conflict_of(Limits(max_turnover=0.1), 6, current=current)
    assert {one.kind for one in conflict.requirements} == {Kind.MAX_WEIGHT, Kind.MAX_TURNOVER}
    conflict = conflict_of(Limits(), 6, target_return=0.095)
    assert Kind.TARGET_RETURN in {one.kind for one in conflict.requirements}
    assert "an expected return of at least" in conflict.sentence


def test_what_can_be_met_has_no_conflict():
    assert conflict_of(Limits(), 4) is None
