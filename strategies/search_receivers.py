"""What becomes of a search whose job was cancelled or broke down."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.models import Job, JobStatus
from strategies.models import Sweep, WalkForward
from strategies.models.search import Search
from strategies.services import searching, sweeps, walk_forwards

KINDS: dict[str, type[Search]] = {walk_forwards.TASK: WalkForward, sweeps.TASK: Sweep}


@receiver(events.job_finished, dispatch_uid="strategies.stop_search")
def stop_search(*, job_id: str, task: str, status: str, **_: Any) -> None:
    """Give the search its job's reason; what it has stored stays for the next attempt."""
    if task not in KINDS or status == JobStatus.SUCCEEDED:
        return
    job = Job.objects.get(pk=job_id)
    search = KINDS[job.task].objects.filter(pk=job.arguments["search_id"], job=job).first()
    if search is not None:
        searching.stop(
            search,
            status=job.status,
            reason=job.error,
            code=job.error_code or job.status,
            at=now(),
        )
