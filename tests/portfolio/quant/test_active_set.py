"""The active set against an interior point, closed forms, and the conditions of an optimum."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphastrat.quant.types import FloatArray
from portfolio.quant import convex
from portfolio.quant.active_set import Rows, least_quadratic
from portfolio.quant.constraints import Group, Limits, Region, relaxed_region
from portfolio.quant.risk_parity import budgeted_weights, risk_budget_weights


def covariance(n: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    loads = rng.normal(size=(n, 3))
    # Variances in the order of one, which the interior point's tolerances suit.
    return np.asarray(loads @ loads.T / 3 + np.diag(rng.uniform(0.2, 2.0, n)))


def by_clarabel(matrix: FloatArray, region: Region) -> float:
    weights = cp.Variable(len(matrix))
    limits = [weights >= region.lower, weights <= region.upper, cp.sum(weights) == region.total]
    if len(region.ceilings):
        limits.append(region.groups @ weights <= region.ceilings)
    problem = cp.Problem(cp.Minimize(cp.quad_form(weights, cp.psd_wrap(matrix))), limits)
    problem.solve(solver="CLARABEL")
    return float(problem.value)


@pytest.mark.parametrize(("n", "cap"), [(12, 0.3), (150, 0.3), (150, 0.008), (300, 0.02)])
def test_few_and_many_strategies_reach_the_variance_of_an_interior_point(n, cap):
    matrix = covariance(n, seed=n)
    groups = (Group("first", tuple(range(n // 3)), 0.25), Group("last", (n - 2, n - 1), 1.0, 0.01))
    region = relaxed_region(Limits(max_weight=cap, min_weight=0.0, groups=groups), n)
    found = convex.minimum_variance(matrix, region)
    assert found is not None
    assert region.admits(found)
    assert found @ matrix @ found == pytest.approx(by_clarabel(matrix, region), rel=1e-6)


def test_strategies_that_promise_little_are_taken_in_where_limits_need_them():
    n = 200
    matrix = np.diag(np.linspace(0.01, 1.0, n))
    lower = np.zeros(n)
    # The first eighty, which have the least variance, may hold nearly nothing.
    upper = np.where(np.arange(n) < 80, 1e-4, 1.0)
    region = relaxed_region(Limits(max_weight=1.0, min_weight=0.0), n).bounded(lower, upper)
    found = convex.minimum_variance(matrix, region)
    assert found is not None
    free = 1.0 / np.diag(matrix)[80:]
    assert found[80:] == pytest.approx((1.0 - 80e-4) * free / free.sum(), rel=1e-6)


def test_limits_that_leave_nothing_have_no_answer_however_many_there_are():
    for n in (5, 150):
        region = relaxed_region(Limits(max_weight=0.9 / n, min_weight=0.0), n)
        assert convex.minimum_variance(np.eye(n), region) is None
        assert convex.maximum_ratio(np.ones(n), np.eye(n), region) is None


def test_an_unlimited_minimum_is_where_the_gradient_is_zero():
    matrix = covariance(6, seed=1)
    none = Rows(np.zeros((0, 6)), np.zeros(0), np.zeros(0))
    wide = np.full(6, np.inf)
    found = least_quadratic(matrix, -matrix @ np.arange(6.0), np.zeros(6), wide, none)
    assert found == pytest.approx(np.arange(6.0), abs=1e-9)


def test_the_largest_ratio_of_uncorrelated_strategies_has_its_closed_form():
    gains, variances = np.array([0.02, 0.05, 0.08]), np.array([0.01, 0.04, 0.09])
    region = relaxed_region(Limits(max_weight=1.0, min_weight=0.0), 3)
    found = convex.maximum_ratio(gains, np.diag(variances), region)
    expected = gains / variances
    assert found == pytest.approx(expected / expected.sum(), abs=1e-9)


@pytest.mark.parametrize("turnover", [None, 0.8])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_most_return_within_a_volatility_is_that_of_a_cone_program(share, turnover):
    rng = np.random.default_rng(3)
    n, matrix, gains = 10, covariance(10, seed=3), rng.normal(0.1, 0.1, 10)
    limits = Limits(max_weight=0.3, min_weight=0.0, max_turnover=turnover)
    region = relaxed_region(limits, n, np.full(n, 0.1))
    calm, bold = convex.minimum_variance(matrix, region), convex.maximum_return(gains, region)
    ends = [float(np.sqrt(weights @ matrix @ weights)) for weights in (calm, bold)]
    bound = ends[0] + share * (ends[1] - ends[0])
    found = convex.maximum_return_within(gains, matrix, region, bound)
    weights = cp.Variable(n)
    within = [weights >= 0, weights <= 0.3, cp.sum(weights) == 1]
    within.append(cp.norm(np.linalg.cholesky(matrix).T @ weights) <= bound)
    if turnover is not None:
        within.append(cp.norm1(weights - 0.1) <= turnover)
    problem = cp.Problem(cp.Maximize(gains @ weights), within)
    problem.solve(solver="CLARABEL")
    assert found is not None
    assert found @ gains == pytest.approx(float(problem.value), rel=1e-5)
    assert np.sqrt(found @ matrix @ found) <= bound * (1 + 1e-7)
    assert convex.maximum_return_within(gains, matrix, region, ends[0] * 0.99) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 14), st.integers(0, 10_000), st.floats(0.2, 0.9))
def test_limited_risk_budgets_are_kept_among_those_that_no_limit_holds(n, seed, ceiling):
    rng = np.random.default_rng(seed)
    matrix, shares = covariance(n, seed), rng.uniform(0.5, 2.0, n)
    shares /= shares.sum()
    members = tuple(range(max(1, n // 2)))
    group = (Group("half", members, ceiling),)
    region = relaxed_region(Limits(max_weight=1.0, min_weight=0.0, groups=group), n)
    found = budgeted_weights(matrix, region, shares)
    assert found is not None
    assert region.admits(found, tolerance=1e-6)
    contributions = found * (matrix @ found) / shares
    outside = contributions[len(members) :]
    assert outside == pytest.approx(np.full(len(outside), outside[0]), rel=1e-5)
    free = risk_budget_weights(matrix, shares)
    if free[list(members)].sum() < ceiling - 1e-6:
        assert found == pytest.approx(free, abs=1e-7)
    else:
        assert found[list(members)].sum() == pytest.approx(ceiling, abs=1e-6)


def test_budgets_that_no_weights_can_have_are_refused():
    region = relaxed_region(Limits(max_weight=0.2, min_weight=0.0), 4)
    assert budgeted_weights(covariance(4, seed=2), region, np.full(4, 0.25)) is None
