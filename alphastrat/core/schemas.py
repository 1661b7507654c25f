"""Shapes shared by every part of the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from django.urls import reverse
from ninja import Schema
from pydantic import AfterValidator

from alphastrat.core.models import Job, JobStatus

# A day, or a time without a zone, is meant in UTC, as every time of the API is.
Moment = Annotated[
    datetime,
    AfterValidator(lambda at: at if at.tzinfo else at.replace(tzinfo=UTC)),
]


# What the schema of the API says of an operation that answers a report.
PDF_RESPONSE = {
    "responses": {
        200: {
            "description": "The report",
            "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
        }
    }
}


class Problem(Schema):
    """Why a request was not carried out (RFC 9457); `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    fields: dict[str, str]
    request_id: str | None


class JobOut(Schema):
    """A piece of work: how far it is and how it ended. `url` is where to ask again."""

    id: UUID
    title: str
    task: str
    status: JobStatus
    done: int
    total: int | None
    step: str
    attempts: int
    result: dict[str, Any] | None
    result_url: str
    error: str
    error_code: str
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    can_cancel: bool
    can_retry: bool
    url: str

    @staticmethod
    def resolve_url(job: Job) -> str:
        return reverse("api-1:get_job", args=[job.pk])
