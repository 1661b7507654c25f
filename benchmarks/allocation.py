"""Allocations of 50 and 500 strategies over five years: bare libraries, our door, and the job.

python -m benchmarks.allocation

Limits: maximum Sharpe and equal risk contribution of 50 strategies under 1 s from request to
stored result, of 500 under 30 s; hierarchical risk parity of 500 under 5 s; at most 1.3 times
the bare library call.

The bare call and ours get the same covariances, expected returns and bounds and take turns, so
that both meet the same load of the machine; what is compared is the best of several, in the
computing time of all cores. A request goes through the API to a worker process of the product
that has just started, over the broker; it counts as stored when the frontier, the resampled
bands and the walk-forward are stored too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

import numpy as np
from threadpoolctl import threadpool_limits

from alphastrat.quant.types import FloatArray
from benchmarks.scratch import scratch_database
from portfolio.quant.allocation import allocate
from portfolio.quant.allocation_problem import AllocationProblem, Method
from portfolio.quant.constraints import Limits
from portfolio.quant.estimators import estimate_covariance

N_DAYS = 1260
REPEATS = 7
OPEN = Limits(max_weight=0.3, min_weight=0.0)
BY_PYPFOPT = {
    Method.MAX_SHARPE: lambda frontier, _: frontier.max_sharpe(),
    Method.MIN_VOLATILITY: lambda frontier, _: frontier.min_volatility(),
    Method.TARGET_RETURN: lambda frontier, target: frontier.efficient_return(target),
    Method.TARGET_VOLATILITY: lambda frontier, target: frontier.efficient_risk(target),
}
ASKED = ("max_sharpe", "risk_parity", "hrp")
# Seconds from request to stored result.
MOST = {50: 1.0, 500: 30.0}
MOST_HRP = 5.0
PATIENCE = 300.0


def returns_of(n: int) -> FloatArray:
    rng = np.random.default_rng(7)
    common = rng.normal(0.0001, 0.005, (N_DAYS, 1))
    scale = rng.uniform(0.5, 1.5, n)
    return np.asarray((rng.normal(0.0004, 0.009, (N_DAYS, n)) + common) * scale)


def problem_of(returns: FloatArray, method: Method, limits: Limits) -> AllocationProblem:
    covariance = estimate_covariance(returns) * 252
    expected = returns.mean(axis=0) * 252
    targets = {
        Method.TARGET_RETURN: float(np.quantile(expected, 0.7)),
        Method.TARGET_VOLATILITY: 0.6 * float(np.sqrt(np.diag(covariance)).mean()),
    }
    return AllocationProblem(
        tuple(f"S{i}" for i in range(returns.shape[1])),
        covariance,
        expected,
        limits,
        method,
        scenarios=returns if method is Method.MIN_CVAR else None,
        target=targets.get(method),
    )


def core_seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def bare_call(problem: AllocationProblem) -> Callable[[], Any]:
    """Return the library's own call for a problem without our limits."""
    if problem.method in BY_PYPFOPT:
        return by_pypfopt(problem)
    if problem.method is Method.HRP_CONDENSED:
        return by_pypfopt_hrp(problem)
    return by_skfolio(problem)


def by_pypfopt(problem: AllocationProblem) -> Callable[[], Any]:
    from pypfopt import EfficientFrontier

    def call() -> Any:
        frontier = EfficientFrontier(
            problem.expected, problem.covariance, weight_bounds=(0, 0.3), solver="CLARABEL"
        )
        return BY_PYPFOPT[problem.method](frontier, problem.target)

    return call


def by_pypfopt_hrp(problem: AllocationProblem) -> Callable[[], Any]:
    import pandas as pd
    from pypfopt import HRPOpt

    covariance = pd.DataFrame(problem.covariance, problem.names, problem.names)
    return lambda: HRPOpt(cov_matrix=covariance).optimize()


def by_skfolio(problem: AllocationProblem) -> Callable[[], Any]:
    from skfolio.measures import RiskMeasure
    from skfolio.optimization import MaximumDiversification, MeanRisk, RiskBudgeting

    from portfolio.quant.skfolio_allocation import given_prior

    asked: dict[str, Any] = {"max_weights": 0.3, "solver": "CLARABEL"}
    asked["prior_estimator"] = given_prior(problem.covariance, problem.expected)
    returns = np.zeros((2, problem.n)) if problem.scenarios is None else problem.scenarios
    models: dict[Method, Callable[[], Any]] = {
        Method.MIN_CVAR: lambda: MeanRisk(risk_measure=RiskMeasure.CVAR, **asked),
        Method.MAX_DIVERSIFICATION: lambda: MaximumDiversification(**asked),
        Method.RISK_PARITY: lambda: RiskBudgeting(risk_measure=RiskMeasure.VARIANCE, **asked),
    }
    return lambda: models[problem.method]().fit(returns)


def against_the_libraries(n: int) -> None:
    returns = returns_of(n)
    for method in (
        *BY_PYPFOPT,
        Method.MAX_DIVERSIFICATION,
        Method.MIN_CVAR,
        Method.RISK_PARITY,
        Method.HRP_CONDENSED,
    ):
        problem = problem_of(returns, method, OPEN)
        bare = bare_call(problem)
        pairs = [(core_seconds(bare), core_seconds(lambda: allocate(problem)))]  # noqa: B023
        repeats = 3 if max(pairs[0]) > 2.0 else REPEATS
        pairs = [
            (core_seconds(bare), core_seconds(lambda: allocate(problem)))  # noqa: B023
            for _ in range(repeats)
        ]
        library, ours = (min(column) for column in zip(*pairs, strict=True))
        print(
            f"{n} strategies, {method.value}: bare library {library * 1000:.1f} ms, through our "
            f"door {ours * 1000:.1f} ms, ratio {ours / library:.2f} (limit 1.3)"
        )
    for method in (Method.MAX_SHARPE, Method.MIN_VOLATILITY, Method.RISK_PARITY, Method.HRP):
        problem = problem_of(returns, method, Limits())
        took = median(core_seconds(lambda: allocate(problem)) for _ in range(REPEATS))  # noqa: B023
        print(f"{n} strategies, {method.value}, each 5 to 30 % or nothing: {took * 1000:.0f} ms")


class Requests:
    """A trader with a portfolio who asks through the API and waits for what is stored."""

    def __init__(self, n: int) -> None:
        from django.test import Client

        from alphastrat.accounts.models import User
        from tests.portfolio.allocation_builders import make_book

        owner = User.objects.create_user(f"bench{n}", password="bench", role="trader")
        self.portfolio = make_book(owner, n, n_days=N_DAYS)
        self.client = Client(SERVER_NAME="localhost")
        self.client.force_login(owner)

    def ask(self, method: str) -> str:
        """Ask for weights with everything else as it is by default; return the job."""
        body = json.dumps({"portfolio_id": str(self.portfolio.pk), "options": {"method": method}})
        address = "/api/v1/portfolio/optimize"
        answer = self.client.post(address, body, content_type="application/json")
        if answer.status_code != 202:
            raise RuntimeError(answer.content.decode())
        return str(answer.json()["id"])

    def wait(self, job: str) -> None:
        """Return when the answer with all of its evidence is stored."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.portfolio.optimisations.get(job=job)
            if found.status == "succeeded" and "walk_forward" in (found.result or {}):
                return
            if found.status == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"{found.status}: {found.failure_reason}")
            time.sleep(0.005)


def from_request_to_result(n: int, requests: Requests) -> None:
    """Print how long a worker of the product takes, over API and broker."""
    for method in ASKED:
        times = []
        for _ in range(6):
            began = time.perf_counter()
            requests.wait(requests.ask(method))
            times.append(time.perf_counter() - began)
        limit = MOST_HRP if (n, method) == (500, "hrp") else MOST[n]
        print(
            f"{n} strategies, {method}: request to stored result median {median(times):.2f} s, "
            f"slowest {max(times):.2f} s, first {times[0]:.2f} s (limit {limit:g} s)"
        )


def in_this_process(n: int, requests: Requests) -> None:
    """Print computing time and statements of the same work."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from alphastrat.core import jobs

    for method in ASKED:
        first, all_of_it, statements = [], [], 0
        for _ in range(4):
            asked = requests.portfolio.optimisations.get(job=requests.ask(method))
            first.append(core_seconds(lambda: weights_of(asked)))  # noqa: B023
            with CaptureQueriesContext(
                connection,
            ) as captured:
                all_of_it.append(core_seconds(lambda: jobs.run_job(str(asked.job_id))))  # noqa: B023
            statements = len(captured)
        print(
            f"{n} strategies, {method}: weights {median(first[1:]):.2f} s on a core, the whole "
            f"job with its evidence {median(all_of_it[1:]):.2f} s, {statements} statements"
        )


def weights_of(asked: Any) -> None:
    from django.utils.timezone import now

    from portfolio.services import portfolio_optimizer

    portfolio_optimizer.compute(asked.portfolio, asked.options, at=now())


def main() -> None:
    """Print the times."""
    threadpool_limits(1, "blas")
    for n in (50, 500):
        against_the_libraries(n)
    with scratch_database():
        from django.db import connection

        from alphastrat.core import jobs
        from tests.browser.processes import Worker, environment

        asked = {n: Requests(n) for n in (50, 500)}
        worker = Worker(environment(connection.settings_dict))
        try:
            began = time.perf_counter()
            asked[50].wait(asked[50].ask("equal_weight"))
            print(f"a worker that starts has answered after {time.perf_counter() - began:.1f} s")
            for n, requests in asked.items():
                from_request_to_result(n, requests)
        finally:
            worker.stop()
        jobs.async_task = lambda *_, **__: None  # type: ignore[assignment]
        for n, requests in asked.items():
            in_this_process(n, requests)


if __name__ == "__main__":
    main()
