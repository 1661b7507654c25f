"""What a job's progress says: share done, time elapsed, time left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from alphastrat.core.formatting import clock, count
from alphastrat.core.models import Job
from alphastrat.core.navigation import address


@dataclass(frozen=True, slots=True)
class JobView:
    """The printed progress of one job."""

    is_active: bool
    can_cancel: bool
    amount: str
    unit: str
    elapsed: str
    left: str
    share: float | None
    url: str
    cancel_url: str
    retry_url: str
    poll_url: str


def job_view(job: Job, *, poll: str = "", unit: str = "", at: datetime | None = None) -> JobView:
    """Describe `job` as of `at`, which is now unless given."""
    at = at or timezone.now()
    url = address("core:job-detail", job.pk)
    return JobView(
        is_active=job.is_active,
        can_cancel=job.can_cancel,
        amount=_amount(job, unit),
        unit=unit,
        elapsed=_clock(job.elapsed(at=at)),
        left=_left(job, at),
        share=min(1.0, job.done / job.total) if job.total else None,
        url=url,
        cancel_url=address("core:job-cancel", job.pk),
        retry_url=address("core:job-retry", job.pk) if job.can_retry else "",
        poll_url=poll or url,
    )


def _amount(job: Job, unit: str) -> str:
    if not job.total:
        return f"{count(job.done).text} {unit}".strip() if job.done else ""
    return f"{count(job.done).text} of {count(job.total).text} {unit}".strip()


def _clock(length: timedelta | None) -> str:
    return "" if length is None else clock(length).text


def _left(job: Job, at: datetime) -> str:
    """Say the time left once a twentieth is done; before that the pace says little."""
    if not job.total or job.done * 20 < job.total:
        return ""
    return _clock(job.remaining(at=at))
