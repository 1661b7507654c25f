"""What market data does when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from alphastrat.core import events
from alphastrat.core.models import Job, JobStatus
from alphastrat.marketdata.models import ImportRun, ImportStatus

OPEN = (ImportStatus.QUEUED, ImportStatus.RUNNING)


@receiver(events.job_finished, dispatch_uid="marketdata.close_import")
def close_import(*, job_id: str, status: str, **_: Any) -> None:
    """End the import of a job that was cancelled, or failed in a way the import did not expect."""
    if status != JobStatus.SUCCEEDED:
        job = Job.objects.get(pk=job_id)
        ImportRun.objects.filter(job=job, status__in=OPEN).update(
            status=job.status, error=job.error, finished_at=job.finished_at
        )
