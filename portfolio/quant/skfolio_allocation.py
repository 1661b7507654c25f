"""The one door to skfolio: minimum CVaR and maximum diversification."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant.allocation_problem import AllocationProblem, Method
from portfolio.quant.constraints import Region


def skfolio_weights(
    problem: AllocationProblem, region: Region, chosen: BoolArray
) -> FloatArray | None:
    """Return weights by skfolio over the chosen strategies.

    Parameters
    ----------
    problem : AllocationProblem
        Asking for the minimum CVaR or the maximum diversification.
    region : Region
        Of the chosen strategies only.
    chosen : ndarray of bool, shape (n_strategies,)
        Which strategies these are.

    Returns
    -------
    ndarray of shape (n_chosen,) or None
        None where skfolio finds no answer.
    """
    # Importing skfolio brings scikit-learn, which only those who optimise should pay.
    from skfolio.exceptions import OptimizationError
    from skfolio.measures import RiskMeasure
    from skfolio.optimization import MaximumDiversification, MeanRisk, ObjectiveFunction

    covariance, expected = problem.part(chosen)
    scenarios = _scenarios(problem, chosen)
    asked: dict[str, Any] = {
        "prior_estimator": given_prior(covariance, expected),
        "min_weights": region.lower,
        "max_weights": region.upper,
        "budget": region.total,
        "solver": "CLARABEL",
        "add_constraints": _constraints(region),
    }
    if problem.method is Method.MIN_CVAR:
        model: Any = MeanRisk(
            objective_function=ObjectiveFunction.MINIMIZE_RISK,
            risk_measure=RiskMeasure.CVAR,
            cvar_beta=problem.confidence,
            **asked,
        )
    else:
        model = MaximumDiversification(**asked)
    try:
        model.fit(scenarios)
    except (OptimizationError, ValueError):
        return None
    return np.asarray(model.weights_, dtype=np.float64)


def given_prior(covariance: FloatArray, expected: FloatArray) -> Any:
    """Return the estimator that hands skfolio given estimates.

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    expected : ndarray of shape (n_strategies,)
        Expected returns per year, as fractions.

    Returns
    -------
    skfolio.prior.BasePrior
        Whatever the returns that it is fitted to say.
    """
    from skfolio.prior import BasePrior, ReturnDistribution

    class Given(BasePrior):
        """Our estimates, whatever the returns that are passed say."""

        def __init__(self) -> None:
            """Take no parameters: the estimates are those around it."""

        def fit(self, X: Any, y: Any = None, **_: Any) -> Any:  # noqa: N803
            self.return_distribution_ = ReturnDistribution(
                mu=expected, covariance=covariance, returns=np.asarray(X)
            )
            return self

    return Given()


def skfolio_version() -> str:
    """Return the version that answers.

    Returns
    -------
    str
        E.g. ``skfolio 1.12.2``.
    """
    import skfolio

    return f"skfolio {skfolio.__version__}"


def _scenarios(problem: AllocationProblem, chosen: BoolArray) -> FloatArray:
    if problem.scenarios is not None:
        return problem.scenarios[:, chosen]
    # Maximum diversification looks at the covariance only; skfolio asks for returns all the same.
    return np.zeros((2, int(chosen.sum())))


def _constraints(region: Region) -> Any:
    """Return the region's other limits, written so that any multiple of the weights keeps them."""
    import cvxpy as cp

    def added(weights: Any) -> list[Any]:
        scale = cp.sum(weights) / region.total
        rows = []
        if len(region.ceilings):
            rows.append(region.groups @ weights <= region.ceilings * scale)
        if region.turnover is not None:
            moved = cp.norm1(weights - region.turnover.current * scale)
            rows.append(moved <= region.turnover.most * scale)
        return rows

    return added
