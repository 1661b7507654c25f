"""Allocations of 50 and 500 strategies over five years: bare library, our door, and the job.

python -m benchmarks.allocation

Limits: maximum Sharpe and equal risk contribution of 50 strategies under 1 s from request to
stored weights, of 500 under 30 s; hierarchical risk parity of 500 under 5 s; at most 1.3 times
the bare library call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

import numpy as np

from alphastrat.quant.types import FloatArray
from benchmarks.scratch import scratch_database, seconds
from portfolio.quant.allocation import allocate
from portfolio.quant.allocation_problem import AllocationProblem, Method
from portfolio.quant.constraints import Limits
from portfolio.quant.estimators import estimate_covariance
from portfolio.quant.hrp import HrpVariant, hrp_weights

N_DAYS = 1260
REPEATS = 5
OPEN = Limits(max_weight=0.3, min_weight=0.0)


def returns_of(n: int) -> FloatArray:
    rng = np.random.default_rng(7)
    common = rng.normal(0.0001, 0.005, (N_DAYS, 1))
    scale = rng.uniform(0.5, 1.5, n)
    return np.asarray((rng.normal(0.0004, 0.009, (N_DAYS, n)) + common) * scale)


def problem_of(returns: FloatArray, method: Method, limits: Limits) -> AllocationProblem:
    return AllocationProblem(
        tuple(f"S{i}" for i in range(returns.shape[1])),
        estimate_covariance(returns) * 252,
        returns.mean(axis=0) * 252,
        limits,
        method,
    )


def timed(call: Callable[[], Any]) -> float:
    call()
    return median(seconds(call) for _ in range(REPEATS))


def side_by_side(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Return the best times of two calls made in turn, so that both see the same machine."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(REPEATS)]
    return min(one for one, _ in pairs), min(other for _, other in pairs)


def by_pypfopt(problem: AllocationProblem, method: Method) -> Callable[[], Any]:
    from pypfopt import EfficientFrontier

    def call() -> Any:
        frontier = EfficientFrontier(
            problem.expected, problem.covariance, weight_bounds=(0, 0.3), solver="CLARABEL"
        )
        return frontier.max_sharpe() if method is Method.MAX_SHARPE else frontier.min_volatility()

    return call


def by_skfolio(returns: FloatArray) -> Callable[[], Any]:
    from skfolio.optimization import MaximumDiversification

    return lambda: MaximumDiversification(max_weights=0.3, solver="CLARABEL").fit(returns)


def against_the_libraries(n: int) -> None:
    returns = returns_of(n)
    for method in (Method.MAX_SHARPE, Method.MIN_VOLATILITY, Method.MAX_DIVERSIFICATION):
        problem = problem_of(returns, method, OPEN)
        bare = by_skfolio(returns)
        if method is not Method.MAX_DIVERSIFICATION:
            bare = by_pypfopt(problem, method)
        library, ours = side_by_side(bare, lambda one=problem: allocate(one))
        print(
            f"{n} strategies, {method.value}: bare library {library * 1000:.0f} ms, through our "
            f"door {ours * 1000:.0f} ms, ratio {ours / library:.2f} (limit 1.3)"
        )
    for method in (Method.RISK_PARITY, Method.MAX_SHARPE):
        problem = problem_of(returns, method, Limits())
        took = timed(lambda one=problem: allocate(one))
        print(f"{n} strategies, {method.value}, each 5 to 30 % or nothing: {took * 1000:.0f} ms")
    covariance = estimate_covariance(returns)
    for variant in HrpVariant:
        took = timed(lambda kind=variant: hrp_weights(covariance, variant=kind))
        print(f"{n} strategies, HRP ({variant.value}): {took * 1000:.0f} ms (limit 5 s)")


def from_request_to_result(n: int) -> None:
    from django.utils.timezone import now

    from alphastrat.accounts.models import User
    from alphastrat.core import jobs
    from portfolio import allocation_tasks
    from portfolio.services import portfolio_optimizer
    from portfolio.services.allocation_options import AllocationOptions
    from tests.portfolio.allocation_builders import make_book

    jobs.async_task = lambda *_, **__: None  # type: ignore[assignment]
    owner = User.objects.create_user(f"bench{n}", password="bench", role="trader")
    portfolio = make_book(owner, n, n_days=N_DAYS)
    print(f"{n} strategies with {N_DAYS} days each ({allocation_tasks.__name__})")
    for method in ("max_sharpe", "risk_parity"):
        options = AllocationOptions(method=method)
        times, whole = [], []
        for _ in range(3):
            asked = portfolio_optimizer.request_optimisation(portfolio, options, at=now())
            times.append(
                seconds(
                    lambda wanted=options: portfolio_optimizer.compute(portfolio, wanted, at=now())
                )
            )
            whole.append(seconds(lambda one=asked: jobs.run_job(str(one.job_id))))
            asked.refresh_from_db()
            if asked.status != "succeeded":
                raise RuntimeError(asked.failure_reason)
        limit = 1 if n <= 50 else 30
        print(
            f"  {method}: weights in {median(times):.2f} s, with frontier, bands and walk-forward "
            f"stored in {median(whole):.2f} s (first {whole[0]:.2f} s; limit {limit} s)"
        )


def main() -> None:
    """Print the times."""
    for n in (50, 500):
        against_the_libraries(n)
    with scratch_database():
        for n in (50, 500):
            from_request_to_result(n)


if __name__ == "__main__":
    main()
