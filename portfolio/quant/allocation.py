"""The door to every allocation, and the only import of PyPortfolioOpt.

Mean-variance answers come from PyPortfolioOpt, minimum CVaR and maximum diversification from
skfolio; equal risk, risk budgets, hierarchical risk parity and equal weight are our own. Which
strategies are included, and how far an answer is from the best, our own solvers say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant import convex
from portfolio.quant.allocation_direct import (
    chosen_weights,
    direct_weights,
    objective,
    objective_value,
    solve_in,
)
from portfolio.quant.allocation_problem import Allocation, AllocationProblem, Method
from portfolio.quant.conflicts import Conflict, Infeasible, find_conflict
from portfolio.quant.constraints import TOLERANCE, Region, relaxed_region
from portfolio.quant.covariances import (
    check_covariance,
    portfolio_volatility,
    risk_contributions,
)
from portfolio.quant.requirements import Kind, Requirement, limits_of, percent
from portfolio.quant.selection import Selection, best_selection, included
from portfolio.quant.skfolio_allocation import skfolio_version, skfolio_weights

BY_PYPFOPT = {
    Method.MAX_SHARPE,
    Method.MIN_VOLATILITY,
    Method.TARGET_RETURN,
    Method.TARGET_VOLATILITY,
}
BY_SKFOLIO = {Method.MIN_CVAR, Method.MAX_DIVERSIFICATION}
_BY_RATIO = {Method.MAX_SHARPE, Method.MAX_DIVERSIFICATION}
_SMOOTH = _BY_RATIO | {Method.MIN_VOLATILITY, Method.TARGET_RETURN}
_CLEAN = 1e-6
# A library's answer this far from the best is replaced by our own.
_POOR = 1e-3
_BINDS = 1e-5


class NoGain(ValueError):
    """No allowed weights are expected to earn more than cash; carries the best excess return."""

    def __init__(self, best: float) -> None:
        super().__init__(
            "A maximum Sharpe ratio needs an expected return above the risk-free rate; the most "
            f"that the limits allow is {percent(best)} a year above it. Minimum volatility and "
            "equal risk contribution need no expected returns."
        )
        self.best = best


def allocate(problem: AllocationProblem, *, n_nodes: int | None = None) -> Allocation:
    """Return the weights that a method gives inside the limits.

    Parameters
    ----------
    problem : AllocationProblem
        What is asked, with estimates per year.
    n_nodes : int, optional
        Most problems that the choice of strategies may solve.

    Returns
    -------
    Allocation
        Weights, what they are worth, and what holds them where they are.

    Raises
    ------
    Infeasible
        If nothing respects every limit; carries a smallest conflict and the nearest relaxation.
    NoGain
        If the maximum Sharpe ratio has no positive excess return to work with.
    ValueError
        If the covariance cannot be used.
    """
    check_covariance(problem.covariance)
    notes: list[str] = []
    if problem.method.is_rule:
        weights, solver, gap = _by_rule(problem, notes)
    else:
        weights, solver, gap = _by_objective(problem, notes, n_nodes)
    return measured(problem, weights, solver=solver, gap=gap, notes=notes)


def measured(
    problem: AllocationProblem,
    weights: FloatArray,
    *,
    solver: str = "",
    gap: float = float("nan"),
    notes: Sequence[str] = (),
) -> Allocation:
    """Return given weights with what they are worth.

    Parameters
    ----------
    problem : AllocationProblem
        Whose estimates and limits count.
    weights : ndarray of shape (n_strategies,)
        Fractions of equity.
    solver : str
        What found them.
    gap : float
        How much better any allowed weights could be.
    notes : sequence of str
        What a reader should know.

    Returns
    -------
    Allocation
        With NaN where the portfolio has no volatility.
    """
    volatility = portfolio_volatility(weights, problem.covariance)
    cash = 1.0 - float(weights.sum())
    expected = float(weights @ problem.expected) + cash * problem.risk_free
    shares = risk_contributions(weights, problem.covariance)
    gross = float(weights @ np.sqrt(np.diag(problem.covariance)))
    ratio = gross / volatility if volatility else float("nan")
    return Allocation(
        weights=weights,
        expected_return=expected,
        volatility=volatility,
        sharpe=(expected - problem.risk_free) / volatility if volatility else float("nan"),
        risk_shares=shares / volatility if volatility else shares,
        diversification=ratio,
        bets=ratio**2,
        solver=solver,
        gap=gap,
        binding=tuple(one.words for one in binding(problem, weights)),
        notes=tuple(notes),
    )


def explain(problem: AllocationProblem) -> Conflict | None:
    """Return why nothing respects every limit.

    Parameters
    ----------
    problem : AllocationProblem
        What is asked.

    Returns
    -------
    Conflict or None
        None where something does.
    """

    def least_volatility(others: Sequence[Requirement]) -> float | None:
        return _least_volatility(problem, others)

    return find_conflict(
        problem.requirements,
        allowed=list(~np.isin(np.arange(problem.n), problem.limits.excluded)),
        current=problem.current,
        expected=problem.expected,
        risk_free=problem.risk_free,
        least_volatility=least_volatility,
    )


def binding(problem: AllocationProblem, weights: FloatArray) -> list[Requirement]:
    """Return the requirements that hold weights where they are.

    Parameters
    ----------
    problem : AllocationProblem
        What is asked.
    weights : ndarray of shape (n_strategies,)
        Fractions of equity.

    Returns
    -------
    list of Requirement
        Those met with nothing to spare; cash, which always is, is left out.
    """
    return [one for one in problem.requirements if abs(_slack(problem, one, weights)) < _BINDS]


def _slack(problem: AllocationProblem, one: Requirement, weights: FloatArray) -> float:
    held = weights[included(weights)]
    match one.kind:
        case Kind.MAX_WEIGHT:
            return one.value - float(held.max(initial=0.0))
        case Kind.MIN_WEIGHT:
            return float(held.min(initial=1.0)) - one.value
        case Kind.MAX_STRATEGIES:
            return one.value - len(held)
        case Kind.MAX_TURNOVER:
            current = np.zeros(problem.n) if problem.current is None else problem.current
            return one.value - float(np.abs(weights - current).sum())
        case Kind.TARGET_RETURN | Kind.TARGET_VOLATILITY | Kind.CASH:
            return float("inf")
        case _:
            return one.value - float(weights[list(one.members)].sum())


def _by_rule(problem: AllocationProblem, notes: list[str]) -> tuple[FloatArray, str, float]:
    found = direct_weights(problem)
    if found is None:
        raise Infeasible(_conflict(problem))
    limits = problem.limits
    held = int(included(found.weights).sum())
    small = float(found.weights[found.weights > 0].min(initial=1.0)) < limits.min_weight - TOLERANCE
    if problem.method is Method.EQUAL_WEIGHT and small:
        notes.append(
            f"Equal weight is the baseline over all {held} strategies: the smallest weight of "
            f"{percent(limits.min_weight)} is not applied to it."
        )
    elif held < int(problem.region.open.sum()):
        notes.append(
            f"{held} of {int(problem.region.open.sum())} strategies are included: by this rule "
            f"the others would get less than the smallest weight."
        )
    return found.weights, "own solver", float("nan")


def _by_objective(
    problem: AllocationProblem, notes: list[str], n_nodes: int | None
) -> tuple[FloatArray, str, float]:
    region, selection = problem.region, None
    if problem.limits.is_selective:
        selection = chosen_weights(problem, objective(problem), n_nodes=n_nodes)
        if selection is None:
            raise _refusal(problem)
        region = _included_region(problem, region, included(selection.weights))
        _say_choice(problem, selection, notes)
    weights, solver, gap = _answer_in(problem, region, selection)
    if selection is not None:
        gap = max(gap, _relative(selection.value - selection.bound, selection.value))
    return weights, solver, gap


def _answer_in(
    problem: AllocationProblem, region: Region, selection: Selection | None
) -> tuple[FloatArray, str, float]:
    """Return the library's answer, or our own where it has none or a poor one."""
    found = _by_library(problem, region)
    if found is not None and region.admits(found, tolerance=1e-5):
        weights = _cleaned(found, region)
        gap = _gap_in(problem, region, weights)
        if not gap > _POOR:
            return weights, _library(problem.method), gap
    found = selection.weights if selection else solve_in(objective(problem), region)
    if found is None:
        raise _refusal(problem)
    weights = _cleaned(found, region)
    return weights, "own solver (Clarabel)", _gap_in(problem, region, weights)


def _say_choice(problem: AllocationProblem, selection: Selection, notes: list[str]) -> None:
    n_in, n_open = int(included(selection.weights).sum()), int(problem.region.open.sum())
    if n_in == n_open:
        return
    proof = "no other choice is better" if selection.is_proven else "the best choice found"
    notes.append(
        f"{n_in} of {n_open} strategies are included; {proof} after {selection.nodes} combinations."
    )


def _included_region(problem: AllocationProblem, region: Region, chosen: BoolArray) -> Region:
    lower = np.where(chosen, np.maximum(region.lower, problem.limits.min_weight), 0.0)
    return region.bounded(lower, np.where(chosen, region.upper, 0.0))


def _by_library(problem: AllocationProblem, region: Region) -> FloatArray | None:
    chosen = region.open
    if not chosen.any() or (region.lower > region.upper + TOLERANCE).any():
        return None
    part = region.part(chosen)
    if problem.method in BY_SKFOLIO:
        found = skfolio_weights(problem, part, chosen)
    else:
        found = _pypfopt_weights(problem, part, chosen)
    if found is None:
        return None
    weights = np.zeros(problem.n)
    weights[chosen] = found
    return weights


def _pypfopt_weights(
    problem: AllocationProblem, region: Region, chosen: BoolArray
) -> FloatArray | None:
    # Importing cvxpy takes a second, which only those who optimise should pay.
    from cvxpy.error import SolverError
    from pypfopt import EfficientFrontier
    from pypfopt.exceptions import OptimizationError

    covariance, expected = problem.part(chosen)
    total = region.total
    # A mean variance of one suits the solver's tolerances; PyPortfolioOpt's weights sum to one:
    # they are shares of what is invested.
    unit = float(np.diag(covariance).mean())
    frontier = EfficientFrontier(
        expected,
        covariance / unit,
        weight_bounds=list(zip(region.lower / total, region.upper / total, strict=True)),
        solver="CLARABEL",
    )
    _add_constraints(frontier, region)
    try:
        _ask(frontier, problem, total, unit)
    except (OptimizationError, SolverError, ValueError):
        return None
    return np.asarray(frontier.weights, dtype=np.float64) * total


def _ask(frontier: Any, problem: AllocationProblem, total: float, unit: float) -> None:
    match problem.method:
        case Method.MAX_SHARPE:
            frontier.max_sharpe(risk_free_rate=problem.risk_free)
        case Method.TARGET_RETURN:
            frontier.efficient_return(float(problem.invested_return or 0.0) / total)
        case Method.TARGET_VOLATILITY:
            frontier.efficient_risk(float(problem.target or 0.0) / total / unit**0.5)
        case _:
            frontier.min_volatility()


def _add_constraints(frontier: Any, region: Region) -> None:
    import cvxpy as cp

    total = region.total
    if len(region.ceilings):
        frontier.add_constraint(lambda w: region.groups @ w <= region.ceilings / total)
    turnover = region.turnover
    if turnover is not None:
        # The sum stands for one, so that any multiple of the weights keeps the limit.
        held = turnover.current / total
        frontier.add_constraint(lambda w: cp.norm1(w - held * cp.sum(w)) <= turnover.most / total)


def _library(method: Method) -> str:
    if method in BY_SKFOLIO:
        return f"{skfolio_version()} with Clarabel"
    import pypfopt

    return f"PyPortfolioOpt {pypfopt.__version__} with Clarabel"


def _cleaned(weights: FloatArray, region: Region) -> FloatArray:
    """Return weights without a solver's dust, summing to what they should."""
    clean = np.clip(np.where(weights < _CLEAN, 0.0, weights), region.lower, region.upper)
    free = (clean > region.lower + _CLEAN) & (clean < region.upper - _CLEAN)
    error = region.total - float(clean.sum())
    if free.any():
        clean[free] += error * clean[free] / clean[free].sum()
    return clean


def _gap_in(problem: AllocationProblem, region: Region, weights: FloatArray) -> float:
    r"""Return how much better any weights of the region could be, relative to the objective.

    For a convex objective f over a convex region, :math:`f(w) - f^* \le \nabla f(w)'(w - v)`
    with v the region's point of least :math:`\nabla f(w)'v`: a linear program away.
    """
    gradient = _gradient(problem, region, weights)
    least = None if gradient is None else _least_along(problem, region, gradient)
    if gradient is not None and least is not None:
        scale = abs(float(gradient @ weights)) or 1.0
        if problem.method in _BY_RATIO:
            scale = abs(objective_value(problem, weights)) * portfolio_volatility(
                weights, problem.covariance
            )
        elif problem.method is Method.TARGET_VOLATILITY:
            scale = abs(objective_value(problem, weights)) or 1.0
        gap = max(0.0, float(gradient @ weights) - least) / scale
        if problem.method is not Method.TARGET_VOLATILITY or gap < _POOR:
            return gap
    if problem.method in _SMOOTH:
        return float("nan")
    # Without a bound, by the answer of another solver.
    asked = objective(problem)
    best = solve_in(asked, region)
    if best is None:
        return float("nan")
    value = objective_value(problem, weights)
    return _relative(value - asked.value(best), value)


def _least_along(problem: AllocationProblem, region: Region, gradient: FloatArray) -> float | None:
    """Return the least value of a linear function over a region."""
    chosen = region.open
    if not len(region.ceilings) and region.turnover is None and problem.invested_return is None:
        # Bounds and a sum: the cheapest strategies are filled up first.
        order = np.argsort(gradient)
        room = (region.upper - region.lower)[order]
        left = region.total - float(region.lower.sum())
        filled = np.clip(left - np.concatenate([[0.0], np.cumsum(room)[:-1]]), 0.0, room)
        return float(gradient @ region.lower + gradient[order] @ filled)
    program = convex.maximum_return(
        -gradient[chosen],
        region.part(chosen),
        at_least=problem.expected[chosen],
        least=problem.invested_return,
    )
    return None if program is None else float(gradient[chosen] @ program)


def _gradient(problem: AllocationProblem, region: Region, weights: FloatArray) -> FloatArray | None:
    toward = problem.covariance @ weights
    match problem.method:
        case Method.MIN_VOLATILITY | Method.TARGET_RETURN:
            return 2.0 * toward
        case Method.MAX_SHARPE | Method.MAX_DIVERSIFICATION:
            # At the best ratio S, gain minus S times volatility has its maximum, which is zero.
            gains = problem.excess
            if problem.method is Method.MAX_DIVERSIFICATION:
                gains = np.sqrt(np.diag(problem.covariance))
            volatility = portfolio_volatility(weights, problem.covariance)
            ratio = float(gains @ weights) / volatility
            return ratio * toward / volatility - gains
        case Method.TARGET_VOLATILITY:
            return _price_of_risk(problem, region, weights) * toward - problem.expected
        case _:
            return None


def _price_of_risk(problem: AllocationProblem, region: Region, weights: FloatArray) -> float:
    """Return the multiplier of the target variance; any that is not negative gives a bound.

    Weights that no bound holds earn in proportion to what they add to the variance.
    """
    if portfolio_volatility(weights, problem.covariance) < float(problem.target or 0.0) - _BINDS:
        return 0.0
    free = (weights > region.lower + _BINDS) & (weights < region.upper - _BINDS)
    if free.sum() < 2:
        return 0.0
    toward = (problem.covariance @ weights)[free]
    slope = np.polyfit(toward, problem.expected[free], 1)[0] if np.ptp(toward) > 0 else 0.0
    return max(0.0, float(slope))


def _relative(difference: float, value: float) -> float:
    return max(0.0, difference) / (abs(value) or 1.0)


def _refusal(problem: AllocationProblem) -> ValueError:
    """Return the reason why there is no answer, in words."""
    conflict = explain(problem)
    if conflict is not None:
        return Infeasible(conflict)
    best = convex.maximum_return(problem.excess, problem.region)
    if problem.method is Method.MAX_SHARPE and best is not None:
        return NoGain(float(best @ problem.excess))
    return Infeasible(Conflict((), (), ()))


def _conflict(problem: AllocationProblem) -> Conflict:
    return explain(problem) or Conflict((), (), ())


def _least_volatility(
    problem: AllocationProblem, requirements: Sequence[Requirement]
) -> float | None:
    """Return the least volatility that some requirements allow."""
    if not any(one.kind is Kind.CASH for one in requirements):
        return 0.0
    limits, target = limits_of(requirements, problem.limits)
    region = relaxed_region(limits, problem.n, problem.current)
    asked = AllocationProblem(
        problem.names,
        problem.covariance,
        problem.expected,
        limits,
        Method.MIN_VOLATILITY if target is None else Method.TARGET_RETURN,
        current=problem.current,
        target=target,
        risk_free=problem.risk_free,
    )
    if not limits.is_selective:
        weights = solve_in(objective(asked), region)
    else:
        found = best_selection(objective(asked), region, limits, n_nodes=20)
        weights = None if found is None else found.weights
    return None if weights is None else portfolio_volatility(weights, problem.covariance)
