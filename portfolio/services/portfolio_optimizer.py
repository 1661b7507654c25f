"""The optimiser as a service: asked, computed in a worker, stored with its evidence, applied."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction

from alphastrat.core.errors import AlphaStratError, ConflictError, InvalidInput
from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import enqueue
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from alphastrat.quant.types import FloatArray
from portfolio.models import Optimisation, Portfolio
from portfolio.quant.allocation_problem import Allocation, AllocationProblem, Method
from portfolio.quant.conflicts import Conflict, Infeasible
from portfolio.quant.constraints import Limits
from portfolio.quant.estimators import estimate_covariance
from portfolio.services import allocation_evidence, portfolios
from portfolio.services.allocation_inputs import AllocationInputs, build_problem, read_inputs
from portfolio.services.allocation_options import AllocationOptions, options_of

TASK = "portfolio.allocation_tasks.optimise"
N_STEPS = 4


@transaction.atomic
def request_optimisation(
    portfolio: Portfolio, options: AllocationOptions, *, at: datetime
) -> Optimisation:
    """Queue the question; while the same is being answered, that answer is returned."""
    if not portfolio.members.exists():
        raise InvalidInput(
            "This portfolio has no strategies yet.", fields={"members": "Add at least one."}
        )
    document = options.as_json()
    active = portfolio.optimisations.filter(
        status__in=["queued", "running"],
        options=document,
        job__in=Job.objects.active(),
    ).first()
    if active is not None:
        return active
    optimisation = Optimisation.objects.create(
        portfolio=portfolio, method=options.method, options=document, requested_at=at
    )
    optimisation.job = enqueue(
        TASK,
        key=f"optimisation:{optimisation.pk}",
        title=f"Optimise {portfolio.name}",
        owner=portfolio.owner,
        result_url=portfolio.get_absolute_url(),
        optimisation_id=str(optimisation.pk),
    )
    optimisation.save(update_fields=["job"])
    Portfolio.objects.filter(pk=portfolio.pk).update(allocation_settings=document)
    return optimisation


def run_optimisation(
    optimisation_id: str, progress: JobProgress | None, *, at: datetime
) -> Optimisation:
    """Compute and store an answer: the weights first, then frontier, bands and walk-forward.

    Idempotent: run again it stores the same. What cannot be answered is stored with the reason.
    """
    optimisation = Optimisation.objects.select_related("portfolio__owner").get(pk=optimisation_id)
    if optimisation.status in ("succeeded", "failed") and optimisation.finished_at is not None:
        return optimisation
    _store(optimisation, status="running")
    try:
        inputs, problem, allocation = compute(optimisation.portfolio, optimisation.options, at=at)
    except (AlphaStratError, ValueError) as error:
        return _fail(optimisation, error, at=at)
    optimisation.data_fingerprint = inputs.returns.fingerprint
    document = allocation_evidence.headline(inputs, problem, allocation)
    _tell(progress, 1, "Weights found")
    # What a page shows first; the evidence follows while it is read.
    _store(
        optimisation, status="running", result=document, data_fingerprint=inputs.returns.fingerprint
    )
    for step, (name, words, make) in enumerate(allocation_evidence.PARTS, start=2):
        _tell(progress, step, words)
        document[name] = make(inputs, problem, allocation)
    _store(optimisation, status="succeeded", result=document, finished_at=at)
    portfolios.announce(optimisation.portfolio)
    return optimisation


def compute(
    portfolio: Portfolio, options: dict[str, Any] | AllocationOptions, *, at: datetime
) -> tuple[AllocationInputs, AllocationProblem, Allocation]:
    """Return an allocation with what it was computed from, storing nothing.

    Raises InvalidInput, NotEnoughData, or ValueError in words where nothing fits.
    """
    # The solvers take a second to import, which only those who optimise should pay.
    from portfolio.quant.allocation import allocate

    asked = options if isinstance(options, AllocationOptions) else options_of(options)
    inputs = read_inputs(portfolio, asked, at=at)
    problem = build_problem(inputs, inputs.matrix)
    try:
        return inputs, problem, allocate(problem)
    except Infeasible as error:
        # Whom a limit was shared out over is half of why it cannot be met.
        raise Infeasible(error.conflict, inputs.remarks) from error


def rehearse() -> None:
    """Solve a small problem by the library and by rule, so that the first real one is quick."""
    from portfolio.quant.allocation import allocate
    from portfolio.quant.resampling import resample_weights

    returns = np.random.default_rng(0).normal(0.001, 0.01, (60, 3))

    def build(drawn: FloatArray) -> AllocationProblem:
        names, limits = ("A", "B", "C"), Limits(max_weight=0.5, min_weight=0.0)
        return AllocationProblem(names, estimate_covariance(drawn), drawn.mean(axis=0), limits)

    problem = build(returns)
    for method in (Method.MIN_VOLATILITY, Method.RISK_PARITY):
        allocate(replace(problem, method=method))
    resample_weights(returns, build, rng=np.random.default_rng(0), n_draws=1)


def apply_targets(optimisation: Optimisation) -> None:
    """Make the weights of an answer the portfolio's targets.

    Raises ConflictError if there is no answer, or the members have changed since.
    """
    if optimisation.status != "succeeded" or not optimisation.result:
        raise ConflictError("This optimisation has no weights to use.")
    weights = {UUID(row["id"]): float(row["weight"]) for row in optimisation.result["strategies"]}
    portfolios.set_targets(optimisation.portfolio, weights)


def conflict_document(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict as it is stored and sent."""
    return {
        "requirements": [
            {"key": one.key, "kind": one.kind.value, "words": one.words}
            for one in conflict.requirements
        ],
        "alternatives": [
            {
                "key": change.before.key,
                "kind": change.before.kind.value,
                "words": change.words,
                "value": change.after.value,
            }
            for change in conflict.alternatives
        ],
        "together": [change.words for change in conflict.together],
        "sentence": conflict.sentence,
    }


def _fail(
    optimisation: Optimisation, error: AlphaStratError | ValueError, *, at: datetime
) -> Optimisation:
    result = None
    if isinstance(error, Infeasible):
        result = {"conflict": conflict_document(error.conflict) | {"remarks": error.remarks}}
    _store(
        optimisation,
        status="failed",
        failure_reason=str(error),
        result=result,
        finished_at=at,
    )
    portfolios.announce(optimisation.portfolio)
    return optimisation


def _store(optimisation: Optimisation, **values: Any) -> None:
    for name, value in values.items():
        setattr(optimisation, name, jsonable(value) if name == "result" else value)
    optimisation.save(update_fields=list(values))


def _tell(progress: JobProgress | None, done: int, step: str) -> None:
    if progress is not None:
        progress.update(done, N_STEPS + 1, step)


def weights_by_strategy(inputs: AllocationInputs, allocation: Allocation) -> dict[UUID, float]:
    """Return the weight of every usable strategy."""
    return {
        key: float(weight)
        for key, weight in zip(inputs.strategy_ids, np.round(allocation.weights, 8), strict=True)
    }
