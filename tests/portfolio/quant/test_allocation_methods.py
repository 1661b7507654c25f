"""Allocations against published portfolios, closed forms, brute force and the libraries."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.quant import convex
from portfolio.quant.allocation import NoGain, allocate
from portfolio.quant.allocation_direct import direct_weights, objective, solve_in
from portfolio.quant.allocation_problem import AllocationProblem, Method
from portfolio.quant.conflicts import Infeasible
from portfolio.quant.constraints import Group, GroupKind, Limits, correlated_groups
from portfolio.quant.cvar import minimum_cvar, tail_loss
from portfolio.quant.frontier import efficient_frontier
from portfolio.quant.hrp import HrpVariant, hrp_weights

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "fixtures"
FREE = Limits(max_weight=1.0, min_weight=0.0)
OBJECTIVES = [method for method in Method if not method.is_rule]


def fixture(name):
    document = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return document["inputs"], {row["name"]: row for row in document["expected"]}


def stock_returns():
    prices = pd.read_csv(FIXTURES / "data/pypfopt_stock_prices.csv.gz", index_col=0)
    return prices.pct_change(fill_method=None).dropna(how="all")


def market(seed, n, n_bars=500):
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0002, 0.006, (n_bars, 1))
    return rng.normal(0.0003, 0.01, (n_bars, n)) * rng.uniform(0.4, 2.0, n) + common


def problem_of(returns, method=Method.MIN_VOLATILITY, limits=FREE, **fields):
    n = returns.shape[1]
    return AllocationProblem(
        tuple(f"S{i}" for i in range(n)),
        np.cov(returns.T) * 252,
        returns.mean(axis=0) * 252,
        limits,
        method,
        scenarios=returns,
        **fields,
    )


@pytest.mark.parametrize("name", ["portfolio__cla_kwan_3assets", "portfolio__cla_markowitz_ch8"])
def test_corner_portfolios_have_the_least_variance_for_their_return(name):
    inputs, expected = fixture(name)
    mean, covariance = np.array(inputs["mean"]), np.array(inputs["cov"])
    corners = [row for key, row in expected.items() if key.endswith("_weights")]
    assert len(corners) == 4
    for row in corners:
        corner = np.array(row["value"], dtype=float)
        problem = AllocationProblem(
            ("A", "B", "C"),
            covariance,
            mean,
            FREE,
            Method.TARGET_RETURN,
            target=float(corner @ mean) - 1e-10,
        )
        np.testing.assert_allclose(allocate(problem).weights, corner, atol=2e-4)


def test_minimum_cvar_of_many_normal_scenarios_nears_rockafellar_and_uryasevs():
    inputs, expected = fixture("portfolio__cvar_ru2000_b95")
    mean, covariance = np.array(inputs["mean"]), np.array(inputs["cov"])
    rng = np.random.default_rng(7)
    half = rng.standard_normal((10_000, 3))
    scenarios = mean + np.concatenate([half, -half]) @ np.linalg.cholesky(covariance).T
    # The paper asks for an expected return of 0.011: one group row is that limit in disguise.
    region = replace(
        problem_of(scenarios).region,
        groups=-mean[None, :],
        ceilings=np.array([-inputs["target"]]),
    )
    weights = minimum_cvar(scenarios, region, confidence=inputs["beta"])
    np.testing.assert_allclose(weights, expected["weights"]["value"], atol=0.02)
    assert tail_loss(scenarios @ weights, 0.95) == pytest.approx(
        expected["cvar_95"]["value"], abs=0.002
    )


def test_minimum_volatility_and_maximum_sharpe_are_those_of_pyportfolioopts_own_tests():
    _, expected = fixture("portfolio__pypfopt_minvol_maxsharpe")
    returns = stock_returns()
    covariance = returns.cov().to_numpy() * 252
    mean = ((1 + returns).prod() ** (252 / returns.count()) - 1).to_numpy()
    for method, name in ((Method.MIN_VOLATILITY, "min_vol"), (Method.MAX_SHARPE, "max_sharpe")):
        found = allocate(
            AllocationProblem(
                tuple(returns.columns), covariance, mean, FREE, method, risk_free=0.02
            )
        )
        values = [found.expected_return, found.volatility, found.sharpe]
        np.testing.assert_allclose(values, expected[f"{name}(ret,vol,sharpe)"]["value"], atol=1e-5)
        assert found.gap < 1e-5
        assert "PyPortfolioOpt" in found.solver


def test_condensed_hrp_gives_the_weights_of_pyportfolioopts_own_tests():
    _, expected = fixture("portfolio__pypfopt_hrp")
    returns = stock_returns()
    weights = hrp_weights(
        returns.cov().to_numpy(),
        variant=HrpVariant.CONDENSED,
        correlation=returns.corr().to_numpy(),
    )
    wanted = [expected["weights"]["value"][symbol] for symbol in returns.columns]
    np.testing.assert_allclose(weights, wanted, atol=1e-6)


def test_published_hrp_gives_the_weights_printed_in_the_paper():
    # Lopez de Prado (2016): his generator with seed 12345, 5 series and 5 noisy copies of them;
    # the copies printed there are of series 3, 1, 5, 2 and 2.
    state = np.random.RandomState(12345)
    series = state.normal(0, 1, size=(10_000, 5))
    copies = series[:, [2, 0, 4, 1, 1]] + state.normal(0, 0.25, size=(10_000, 5))
    covariance = np.cov(np.concatenate([series, copies], axis=1), rowvar=False)
    printed = [7.00, 7.59, 10.84, 19.03, 9.72, 10.19, 6.62, 9.10, 7.12, 12.79]
    np.testing.assert_allclose(hrp_weights(covariance) * 100, printed, atol=0.005)
    condensed = hrp_weights(covariance, variant=HrpVariant.CONDENSED) * 100
    assert np.abs(condensed - printed).max() > 1.0


@pytest.mark.parametrize("method", OBJECTIVES)
def test_library_and_own_solver_agree(method):
    returns = market(3, 8)
    target = {Method.TARGET_RETURN: 0.06, Method.TARGET_VOLATILITY: 0.16}.get(method)
    limits = Limits(max_weight=0.4, min_weight=0.0, groups=(Group("G", (0, 1, 2), 0.3),))
    problem = problem_of(returns, method, limits, target=target)
    found = allocate(problem)
    own = solve_in(objective(problem), problem.region)
    assert "own" not in found.solver
    assert found.gap < 1e-4
    asked = objective(problem)
    assert asked.value(found.weights) == pytest.approx(asked.value(own), rel=1e-4)
    assert problem.region.admits(found.weights, tolerance=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 8),
    method=st.sampled_from(list(Method)),
    cash=st.sampled_from([0.0, 0.1]),
)
def test_weights_respect_every_limit_whatever_the_method(seed, n, method, cash):
    limits = Limits(max_weight=0.4, min_weight=0.05, cash=cash, caps=((0, 0.2),))
    problem = problem_of(market(seed, n), method, limits, target=0.9)
    if method is Method.TARGET_RETURN:
        problem = replace(problem, target=-0.5)
    try:
        found = allocate(problem)
    except NoGain:
        assert (problem.expected <= 1e-6).sum() > n - 4
        return
    weights = found.weights
    held = weights[weights > 1e-6]
    assert weights.sum() == pytest.approx(1.0 - cash, abs=1e-6)
    assert weights.max() <= 0.4 + 1e-5
    assert weights[0] <= 0.2 + 1e-5
    assert held.min() >= 0.05 - 1e-5
    assert found.risk_shares.sum() == pytest.approx(1.0)
    assert found.volatility > 0


@pytest.mark.parametrize("method", [Method.MIN_VOLATILITY, Method.MAX_SHARPE])
@pytest.mark.parametrize(
    "limits",
    [
        Limits(min_weight=0.12, max_weight=0.4),
        Limits(min_weight=0.0, max_weight=0.5, max_strategies=3),
        Limits(min_weight=0.1, max_weight=0.5, max_strategies=4),
    ],
)
def test_the_choice_of_strategies_is_the_best_of_all_choices(method, limits):
    problem = problem_of(market(11, 7), method, limits)
    asked = objective(problem)
    best = np.inf
    for size in range(1, (limits.room or 7) + 1):
        for members in itertools.combinations(range(7), size):
            chosen = np.isin(np.arange(7), members)
            region = problem.region.bounded(
                np.where(chosen, limits.min_weight, 0.0),
                np.where(chosen, problem.region.upper, 0.0),
            )
            weights = solve_in(asked, region)
            if weights is not None:
                best = min(best, asked.value(weights))
    found = direct_weights(problem)
    assert found.is_proven
    assert found.value == pytest.approx(best, rel=1e-6)
    assert asked.value(allocate(problem).weights) == pytest.approx(best, rel=1e-5)


def test_turnover_lock_ups_and_exclusions_are_kept():
    current = np.array([0.4, 0.3, 0.3, 0.0, 0.0, 0.0])
    limits = Limits(max_weight=0.4, min_weight=0.05, max_turnover=0.4, locked=(1,), excluded=(5,))
    for method in (Method.MIN_VOLATILITY, Method.MAX_DIVERSIFICATION, Method.RISK_PARITY):
        problem = problem_of(market(5, 6), method, limits, current=current)
        weights = allocate(problem).weights
        assert np.abs(weights - current).sum() <= 0.4 + 1e-5
        assert weights[1] >= 0.3 - 1e-5
        assert weights[5] == 0.0


def test_equal_weight_is_equal_and_says_that_the_smallest_weight_is_not_applied():
    found = allocate(problem_of(market(1, 30), Method.EQUAL_WEIGHT, Limits(cash=0.1)))
    np.testing.assert_allclose(found.weights, 0.03)
    assert "smallest weight of 5 % is not applied" in found.notes[0]


def test_risk_parity_leaves_out_what_would_get_less_than_the_smallest_weight():
    found = allocate(problem_of(market(1, 40), Method.RISK_PARITY, Limits()))
    held = found.weights > 0
    assert held.sum() < 40
    assert found.weights[held].min() >= 0.05
    shares = found.risk_shares[held]
    np.testing.assert_allclose(shares, 1 / held.sum(), rtol=1e-6)
    assert f"{held.sum()} of 40 strategies are included" in found.notes[0]


def test_risk_budgets_held_by_a_limit_stay_equal_among_those_that_are_free():
    covariance = np.diag([0.01, 0.16, 0.25, 0.36])
    problem = AllocationProblem(
        ("A", "B", "C", "D"),
        covariance,
        np.zeros(4),
        Limits(max_weight=0.4, min_weight=0.0),
        Method.RISK_PARITY,
    )
    found = allocate(problem)
    assert found.weights[0] == pytest.approx(0.4, abs=1e-5)
    # Among the uncorrelated others equal risk is inverse volatility.
    np.testing.assert_allclose(
        found.weights[1:] / found.weights[1:].sum(),
        (1 / np.array([0.4, 0.5, 0.6])) / (1 / np.array([0.4, 0.5, 0.6])).sum(),
        atol=1e-4,
    )
    assert found.binding == ("at most 40 % per strategy",)


def test_maximum_sharpe_without_any_gain_says_so_in_words():
    returns = market(2, 5)
    problem = replace(
        problem_of(returns, Method.MAX_SHARPE), expected=np.full(5, -0.02), risk_free=0.01
    )
    with pytest.raises(NoGain, match=r"the limits allow is -3 % a year above it"):
        allocate(problem)


def test_the_frontier_rises_and_every_point_is_efficient():
    problem = problem_of(market(4, 6), Method.MAX_SHARPE, Limits(max_weight=0.5))
    chosen = allocate(problem)
    found = efficient_frontier(problem, chosen.weights, n_points=12)
    assert len(found.volatilities) == 12
    assert (np.diff(found.expected_returns) > 0).all()
    assert (np.diff(found.volatilities) > -1e-7).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)
    on_frontier = np.interp(chosen.expected_return, found.expected_returns, found.volatilities)
    assert chosen.volatility == pytest.approx(on_frontier, rel=5e-3)


def test_groups_are_those_in_which_every_two_correlate_above_the_bound():
    correlation = np.eye(5)
    for i, j, rho in ((0, 1, 0.9), (1, 2, 0.9), (0, 2, 0.2), (3, 4, 0.6)):
        correlation[i, j] = correlation[j, i] = rho
    groups = correlated_groups(correlation)
    # 0 and 2 are strangers although both know 1; a pair at the bound is not above it.
    assert [group.members for group in groups] == [(0, 1)]
    assert groups[0].kind is GroupKind.CORRELATED
    assert groups[0].max_weight == 0.5


@pytest.mark.parametrize(
    ("method", "closed"),
    [
        (Method.MIN_VOLATILITY, [0.8, 0.2]),
        (Method.MAX_SHARPE, [8 / 11, 3 / 11]),
        (Method.MAX_DIVERSIFICATION, [2 / 3, 1 / 3]),
        (Method.RISK_PARITY, [2 / 3, 1 / 3]),
    ],
)
def test_two_uncorrelated_strategies_have_the_closed_form(method, closed):
    # Volatilities 20 % and 40 %, expected returns 6 % and 9 %.
    problem = AllocationProblem(
        ("A", "B"), np.diag([0.04, 0.16]), np.array([0.06, 0.09]), FREE, method
    )
    assert allocate(problem).weights[0] == pytest.approx(closed[0], abs=1e-5)


def test_an_infeasible_problem_names_a_smallest_conflict_and_what_would_do():
    with pytest.raises(Infeasible) as caught:
        allocate(problem_of(market(1, 3), Method.RISK_PARITY, Limits()))
    conflict = caught.value.conflict
    assert [one.words for one in conflict.requirements] == [
        "everything is invested",
        "at most 30 % per strategy",
    ]
    assert [one.words for one in conflict.alternatives] == [
        "at most 33.4 % per strategy instead of 30 %",
        "exactly 10 % in cash instead of 0 %",
    ]
    assert str(caught.value) == (
        "These cannot be met together: everything is invested and at most 30 % per strategy. "
        "The nearest that fits: at most 33.4 % per strategy instead of 30 %."
    )


def test_maximum_return_within_a_volatility_uses_all_of_it():
    returns = market(6, 5)
    problem = problem_of(returns, Method.TARGET_VOLATILITY, target=0.17)
    found = allocate(problem)
    assert found.volatility == pytest.approx(0.17, abs=1e-4)
    most = convex.maximum_return(problem.expected, problem.region)
    assert found.expected_return < most @ problem.expected
