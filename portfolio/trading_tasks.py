"""What the workers do for accounts at brokers."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from portfolio.services import reconciliation


@job_task
def compare_books(progress: JobProgress) -> dict[str, Any]:
    """Compare every account that has a broker to ask with its books."""
    found = reconciliation.reconcile_all(at=now())
    progress.update(1, 1, "Compared")
    return {"fills": found.n_fills, "open": found.n_open, "resolved": found.n_resolved}
