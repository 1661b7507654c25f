"""The efficient frontier: the least volatility for each return the limits allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray
from portfolio.quant import convex
from portfolio.quant.allocation_problem import AllocationProblem
from portfolio.quant.constraints import Region
from portfolio.quant.covariances import portfolio_volatility
from portfolio.quant.selection import included

N_POINTS = 25


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """Points from the least volatility to the most return.

    Attributes
    ----------
    expected_returns, volatilities : ndarray of shape (n_points,)
        Per year, both ascending.
    weights : ndarray of shape (n_points, n_strategies)
        Of each point.
    """

    expected_returns: FloatArray
    volatilities: FloatArray
    weights: FloatArray


def efficient_frontier(
    problem: AllocationProblem, weights: FloatArray, *, n_points: int = N_POINTS
) -> Frontier:
    """Return the frontier of the strategies that given weights include.

    Parameters
    ----------
    problem : AllocationProblem
        Estimates and limits.
    weights : ndarray of shape (n_strategies,)
        The chosen allocation, which decides who is included.
    n_points : int
        Points wanted, at least 2.

    Returns
    -------
    Frontier
        Empty where the limits leave nothing.

    References
    ----------
    .. [1] Markowitz (1952), "Portfolio selection", Journal of Finance 7(1).
    """
    region = _region(problem, weights)
    chosen = region.open
    part = region.part(chosen)
    covariance, expected = problem.part(chosen)
    calm = convex.minimum_variance(covariance, part)
    best = convex.maximum_return(expected, part)
    found = [calm]
    if calm is not None and best is not None:
        targets = np.linspace(float(calm @ expected), float(best @ expected), n_points)[1:-1]
        found += [
            convex.minimum_variance(covariance, part, expected=expected, min_return=target)
            for target in targets
        ]
        found.append(best)
    points = np.zeros((0, problem.n))
    known = [one for one in found if one is not None]
    if known:
        points = np.zeros((len(known), problem.n))
        points[:, chosen] = np.array(known)
    cash = 1.0 - points.sum(axis=1)
    return Frontier(
        points @ problem.expected + cash * problem.risk_free,
        np.array([portfolio_volatility(row, problem.covariance) for row in points]),
        points,
    )


def _region(problem: AllocationProblem, weights: FloatArray) -> Region:
    region = problem.region
    held = included(weights)
    least = problem.limits.min_weight
    # Equal weight may hold less than the smallest weight.
    floor = min(least, float(weights[held].min(initial=least)))
    lower = np.where(held, np.maximum(region.lower, floor), 0.0)
    return region.bounded(lower, np.where(held, np.maximum(region.upper, lower), 0.0))
