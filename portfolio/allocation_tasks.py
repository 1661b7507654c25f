"""What the workers do for allocations."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now
from threadpoolctl import threadpool_limits

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from portfolio.services import portfolio_optimizer


@job_task
def optimise(progress: JobProgress, *, optimisation_id: str) -> dict[str, Any]:
    """Compute and store an allocation with its evidence."""
    # Hundreds of small matrices: threads of linear algebra would wait longer than they compute.
    with threadpool_limits(1, "blas"):
        found = portfolio_optimizer.run_optimisation(optimisation_id, progress, at=now())
    progress.update(portfolio_optimizer.N_STEPS + 1, portfolio_optimizer.N_STEPS + 1, "Stored")
    return {
        "optimisation": str(found.pk),
        "status": found.status,
        "failure_reason": found.failure_reason,
    }
