"""What the workers do for walk-forwards and sweeps."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from strategies.services import sweeps, walk_forwards


@job_task
def run_walk_forward(progress: JobProgress, *, search_id: str) -> dict[str, Any]:
    """Compute and store a walk-forward analysis, fold by fold."""
    analysis = walk_forwards.run_walk_forward(search_id, progress, at=now())
    progress.update(analysis.n_folds + 1, analysis.n_folds + 1, "Stored")
    return {
        "walk_forward": str(analysis.pk),
        "efficiency": analysis.efficiency,
        "sharpe_ratio": analysis.sharpe_ratio,
    }


@job_task
def run_sweep(progress: JobProgress, *, search_id: str) -> dict[str, Any]:
    """Try the sets of a sweep, chunk by chunk, and store what they are worth."""
    sweep = sweeps.run_sweep(search_id, progress, at=now())
    return {
        "sweep": str(sweep.pk),
        "n_evaluated": sweep.n_evaluated,
        "plateau_sharpe": sweep.plateau_sharpe,
    }
