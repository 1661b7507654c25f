"""Weights by our own solvers: fast enough to be asked a hundred times in a row."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant import convex
from portfolio.quant.allocation_problem import AllocationProblem, Method
from portfolio.quant.conflicts import possible_choice
from portfolio.quant.constraints import TOLERANCE, Region
from portfolio.quant.cvar import minimum_cvar, tail_loss
from portfolio.quant.hrp import HrpVariant, hrp_weights
from portfolio.quant.risk_parity import budgeted_weights, risk_budget_weights
from portfolio.quant.selection import Problem, Selection, best_selection

_DROP = 0.5
# A scenario problem costs ten times a quadratic one.
_CVAR_NODES = 24


def direct_weights(problem: AllocationProblem, *, n_nodes: int | None = None) -> Selection | None:
    """Return weights by our own solvers.

    Parameters
    ----------
    problem : AllocationProblem
        What is asked.
    n_nodes : int, optional
        Most problems that the choice of strategies may solve; 0 takes the first that fits.

    Returns
    -------
    Selection or None
        None where no weights are allowed, or none earn more than cash for the Sharpe ratio.
    """
    if problem.method.is_rule:
        weights = rule_weights(problem)
        return None if weights is None else Selection(weights, 0.0, 0.0, 1)
    asked = objective(problem)
    region = problem.region
    if problem.limits.is_selective:
        return chosen_weights(problem, asked, n_nodes=n_nodes)
    found = solve_in(asked, region)
    if found is None:
        return None
    value = asked.value(found)
    return Selection(found, value, value, 1)


def chosen_weights(
    problem: AllocationProblem, asked: Problem, *, n_nodes: int | None = None
) -> Selection | None:
    """Return the best weights found of which each is zero or at least the smallest.

    Parameters
    ----------
    problem : AllocationProblem
        Whose limits count.
    asked : Problem
        What is minimised.
    n_nodes : int, optional
        Most problems to solve.

    Returns
    -------
    Selection or None
        None where no weights are allowed.
    """
    if n_nodes is None and problem.method is Method.MIN_CVAR:
        n_nodes = _CVAR_NODES
    region = problem.region
    found = best_selection(asked, region, problem.limits, n_nodes=n_nodes)
    if found is not None:
        return found
    # The search goes by the objective; where the limits are tight, feasibility must lead.
    relaxed = solve_in(asked, region)
    start = possible_choice(
        problem.requirements,
        allowed=list(region.open),
        preference=np.zeros(problem.n) if relaxed is None else relaxed,
        current=problem.current,
        expected=problem.expected,
        risk_free=problem.risk_free,
    )
    if relaxed is None or start is None:
        return None
    return best_selection(asked, region, problem.limits, n_nodes=n_nodes, start=start)


def solve_in(asked: Problem, region: Region) -> FloatArray | None:
    """Return the best weights of a region without any choice of strategies.

    Parameters
    ----------
    asked : Problem
        What is minimised.
    region : Region
        Weights that are allowed.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where there are none.
    """
    chosen = region.open
    part = region.part(chosen)
    if not chosen.any() or (region.lower > region.upper + TOLERANCE).any():
        return None
    found = asked.solve(part, chosen)
    return None if found is None else _spread(found, chosen)


def objective(problem: AllocationProblem) -> Problem:
    """Return what a method minimises, and how it is solved in a region.

    Parameters
    ----------
    problem : AllocationProblem
        With a method that has an objective.

    Returns
    -------
    Problem
        In whose value less is better.
    """

    def solve(region: Region, chosen: BoolArray) -> FloatArray | None:
        covariance, expected = problem.part(chosen)
        match problem.method:
            case Method.MAX_SHARPE:
                return convex.maximum_ratio(expected - problem.risk_free, covariance, region)
            case Method.MAX_DIVERSIFICATION:
                return convex.maximum_ratio(np.sqrt(np.diag(covariance)), covariance, region)
            case Method.TARGET_RETURN:
                return convex.minimum_variance(
                    covariance, region, expected=expected, min_return=problem.invested_return
                )
            case Method.TARGET_VOLATILITY:
                return convex.maximum_return_within(
                    expected, covariance, region, float(problem.target or 0.0)
                )
            case Method.MIN_CVAR if problem.scenarios is not None:
                return minimum_cvar(
                    problem.scenarios[:, chosen], region, confidence=problem.confidence
                )
            case _:
                return convex.minimum_variance(covariance, region)

    return Problem(solve, lambda weights: objective_value(problem, weights))


def objective_value(problem: AllocationProblem, weights: FloatArray) -> float:
    """Return what a method minimises, for given weights.

    Parameters
    ----------
    problem : AllocationProblem
        What is asked.
    weights : ndarray of shape (n_strategies,)
        Fractions of equity.

    Returns
    -------
    float
        Variance or volatility, a negative ratio or return, or the mean loss in the tail.
    """
    variance = float(weights @ problem.covariance @ weights)
    match problem.method:
        case Method.MAX_SHARPE:
            return -float(weights @ problem.excess) / max(variance, 1e-300) ** 0.5
        case Method.MAX_DIVERSIFICATION:
            volatilities = np.sqrt(np.diag(problem.covariance))
            return -float(weights @ volatilities) / max(variance, 1e-300) ** 0.5
        case Method.TARGET_VOLATILITY:
            return -float(weights @ problem.expected)
        case Method.MIN_CVAR if problem.scenarios is not None:
            return tail_loss(problem.scenarios @ weights, problem.confidence)
        case _:
            return variance


def rule_weights(problem: AllocationProblem) -> FloatArray | None:
    """Return weights by a rule, held inside the limits.

    Strategies whose weight by the rule is below the smallest allowed are left out, smallest
    first, and the rule is applied again to the rest. Weights outside the limits are then moved
    to the nearest allowed: for risk budgets in the sense of the budgets, else in squares.

    Parameters
    ----------
    problem : AllocationProblem
        With a method that is a rule.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.
    """
    region = problem.region
    chosen = region.open.copy()
    if not chosen.any():
        return None
    if problem.method is not Method.EQUAL_WEIGHT:
        chosen = _large_enough(problem, region, chosen)
    wanted = _by_rule(problem, chosen)
    if problem.method is Method.EQUAL_WEIGHT:
        lower = region.lower
    else:
        lower = np.where(chosen, np.maximum(region.lower, problem.limits.min_weight), 0.0)
    inside = region.bounded(lower, np.where(chosen, region.upper, 0.0))
    if inside.admits(wanted):
        return wanted
    held = _moved_inside(problem, inside, chosen, wanted)
    return held if held is not None else _nearest_choice(problem, region)


def _large_enough(problem: AllocationProblem, region: Region, chosen: BoolArray) -> BoolArray:
    limits = problem.limits
    kept = region.lower > 0.0
    while limits.is_selective:
        weights = _by_rule(problem, chosen)
        small = chosen & ~kept & (weights < limits.min_weight - TOLERANCE)
        surplus = 0 if limits.room is None else int(chosen.sum()) - limits.room
        n_out = max(int(_DROP * small.sum()), int(small.any()), surplus)
        free = chosen & ~kept
        if n_out <= 0 or not free.any():
            break
        out = np.argsort(np.where(free, weights, np.inf), kind="stable")
        trial = chosen.copy()
        trial[out[: min(n_out, int(free.sum()))]] = False
        if not trial.any() or region.upper[trial].sum() < region.total - TOLERANCE:
            break
        chosen = trial
    return chosen


def _by_rule(problem: AllocationProblem, chosen: BoolArray) -> FloatArray:
    covariance, _ = problem.part(chosen)
    match problem.method:
        case Method.EQUAL_WEIGHT:
            weights = np.full(len(covariance), 1.0 / len(covariance))
        case Method.HRP:
            weights = hrp_weights(covariance)
        case Method.HRP_CONDENSED:
            weights = hrp_weights(covariance, variant=HrpVariant.CONDENSED)
        case _:
            weights = risk_budget_weights(covariance, _budgets(problem, chosen))
    return _spread(weights * problem.limits.invested, chosen)


def _budgets(problem: AllocationProblem, chosen: BoolArray) -> FloatArray | None:
    if problem.method is not Method.RISK_BUDGET or problem.budgets is None:
        return None
    return problem.budgets[chosen]


def _moved_inside(
    problem: AllocationProblem, region: Region, chosen: BoolArray, wanted: FloatArray
) -> FloatArray | None:
    if (region.lower > region.upper + TOLERANCE).any():
        return None
    part = region.part(chosen)
    if problem.method in {Method.RISK_PARITY, Method.RISK_BUDGET}:
        covariance, _ = problem.part(chosen)
        shares = _budgets(problem, chosen)
        if shares is None:
            shares = np.full(len(covariance), 1.0)
        found = budgeted_weights(covariance, part, shares / shares.sum())
    else:
        found = convex.nearest_allowed(wanted[chosen], part)
    return None if found is None else _spread(found, chosen)


def _nearest_choice(problem: AllocationProblem, region: Region) -> FloatArray | None:
    """Return the nearest allowed weights where the rule's own choice of strategies has none."""
    wanted = _by_rule(problem, region.open)
    asked = Problem(
        lambda part, chosen: convex.nearest_allowed(wanted[chosen], part),
        lambda weights: float(((weights - wanted) ** 2).sum()),
    )
    if problem.method is Method.EQUAL_WEIGHT:
        return solve_in(asked, region)
    found = chosen_weights(problem, asked)
    return None if found is None else found.weights


def _spread(weights: FloatArray, chosen: BoolArray) -> FloatArray:
    spread = np.zeros(len(chosen))
    spread[chosen] = weights
    return spread
