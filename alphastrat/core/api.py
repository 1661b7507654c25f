"""JSON API for jobs."""

from __future__ import annotations

from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Schema, Status

from alphastrat.core import jobs
from alphastrat.core.errors import ConflictError
from alphastrat.core.http import ApiRequest
from alphastrat.core.models import Job, JobQuerySet, JobStatus
from alphastrat.core.pagination import paged
from alphastrat.core.schemas import JobOut

router = Router(tags=["jobs"])


class JobFilter(Schema):
    status: JobStatus | None = None


@router.get("", response=list[JobOut], url_name="list_jobs")
@paged
def list_jobs(request: ApiRequest, wanted: Query[JobFilter]) -> JobQuerySet:
    """List your jobs, newest first; administrators and viewers see everyone's."""
    found = Job.objects.for_user(request.user)
    return found.filter(status=wanted.status) if wanted.status else found


@router.get("/{uuid:job_id}", response=JobOut, url_name="get_job")
def get_job(request: ApiRequest, job_id: UUID) -> Job:
    """Show a job: poll this until `finished_at` is set."""
    return _job(request, job_id)


@router.post("/{uuid:job_id}/cancel", response={202: JobOut}, url_name="cancel_job")
def cancel_job(request: ApiRequest, job_id: UUID) -> Status[Job]:
    """Ask a job to stop; one that is running stops at its next step."""
    job = _job(request, job_id)
    if not job.is_active:
        raise ConflictError("This job has already ended.")
    jobs.cancel(job, at=now())
    return Status(202, job)


@router.post("/{uuid:job_id}/retry", response={202: JobOut}, url_name="retry_job")
def retry_job(request: ApiRequest, job_id: UUID) -> Status[Job]:
    """Run a failed or cancelled job again, from its checkpoint."""
    return Status(202, jobs.retry(_job(request, job_id), at=now()))


def _job(request: ApiRequest, job_id: UUID) -> Job:
    return get_object_or_404(Job.objects.for_user(request.user), pk=job_id)
