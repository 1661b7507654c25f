"""What every app needs: identified rows, jobs, the live event log and process heartbeats."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import choices_check


class UUIDModel(models.Model):
    """A row that a person or a URL names."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        abstract = True


class TimeStampedModel(models.Model):
    """A row that says when it was written."""

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs by owner and state."""

    def for_user(self, user: Any) -> JobQuerySet:
        """Return the user's own jobs; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)

    def active(self) -> JobQuerySet:
        return self.filter(status__in=ACTIVE_STATUSES)

    def lost(self, *, before: datetime) -> JobQuerySet:
        """Return running jobs whose worker has not been heard of since `before`."""
        return self.filter(status=Job.Status.RUNNING, heartbeat_at__lt=before)

    def waiting(self, *, before: datetime) -> JobQuerySet:
        """Return jobs due for a worker but not claimed since they were sent at `before`."""
        return self.filter(status=Job.Status.QUEUED, sent_at__lt=before, due_at__lt=before)


CANCELLED_BY_USER = "Cancelled by the user."


class JobStatus(models.TextChoices):
    """Where a job stands."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ACTIVE_STATUSES = (JobStatus.QUEUED, JobStatus.RUNNING)


class Job(UUIDModel):
    """A piece of work for a worker: what, for whom, how far, and how it ended."""

    Status = JobStatus

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="jobs"
    )
    task = models.CharField(max_length=200)
    key = models.CharField(max_length=200)
    title = models.CharField(max_length=200)
    arguments = models.JSONField(default=dict)
    status = models.CharField(max_length=9, choices=JobStatus, default=JobStatus.QUEUED)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True, blank=True)
    step = models.CharField(max_length=200, blank=True)
    result = models.JSONField(null=True, blank=True)
    result_url = models.CharField(max_length=300, blank=True)
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    checkpoint = models.JSONField(default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)  # grows with every claim: the fence
    setbacks = models.PositiveSmallIntegerField(default=0)  # lost workers and vendor faults
    worker = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            # The jobs page of one user, newest first.
            models.Index(fields=["owner", "-created_at"], name="core_job_owner_newest"),
            # The sweep for lost and waiting jobs.
            models.Index(
                fields=["heartbeat_at"],
                condition=Q(status__in=ACTIVE_STATUSES),
                name="core_job_active",
            ),
        ]
        constraints = [
            choices_check("core_job_status", "status", JobStatus.values),
            # Asking twice for the same work gives one job.
            models.UniqueConstraint(
                fields=["key"],
                condition=Q(status__in=ACTIVE_STATUSES),
                name="core_job_one_active_per_key",
            ),
            models.CheckConstraint(
                condition=Q(status__in=ACTIVE_STATUSES) ^ Q(finished_at__isnull=False),
                name="core_job_finished_has_time",
            ),
            models.CheckConstraint(
                condition=Q(total__isnull=True) | Q(done__lte=models.F("total")),
                name="core_job_done_within_total",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.status})"

    def get_absolute_url(self) -> str:
        return reverse("core:job-detail", args=[self.pk])

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE_STATUSES

    @property
    def can_cancel(self) -> bool:
        return self.is_active and self.cancel_requested_at is None

    @property
    def can_retry(self) -> bool:
        return self.status in (self.Status.FAILED, self.Status.CANCELLED)

    def elapsed(self, *, at: datetime) -> timedelta | None:
        """Return how long the job has run, or ran."""
        if self.started_at is None:
            return None
        return max(timedelta(0), (self.finished_at or at) - self.started_at)

    def remaining(self, *, at: datetime) -> timedelta | None:
        """Return the expected time left at the pace so far; None before anything is known."""
        elapsed = self.elapsed(at=at)
        if elapsed is None or not self.total or not self.done or not self.is_active:
            return None
        return elapsed * ((self.total - self.done) / self.done)

    def request_cancel(self, *, at: datetime) -> None:
        """Ask the job to stop; one that no worker has claimed yet stops here."""
        queued = Job.objects.filter(pk=self.pk, status=self.Status.QUEUED)
        ending = {"status": self.Status.CANCELLED, "error": CANCELLED_BY_USER, "finished_at": at}
        if queued.update(cancel_requested_at=at, **ending):
            self.refresh_from_db()
            return
        Job.objects.filter(pk=self.pk, status=self.Status.RUNNING).update(cancel_requested_at=at)
        self.refresh_from_db()


class LiveTopic(models.Model):
    """The newest sequence number of a topic; its row lock orders the topic's publishers."""

    topic = models.CharField(primary_key=True, max_length=120)
    head = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.topic} at {self.head}"


class LiveEvent(models.Model):
    """One event of a live topic, kept for replay to a page that was away."""

    topic = models.CharField(max_length=120)
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=40)
    payload = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["topic", "sequence"], name="core_liveevent_unique_sequence"
            )
        ]
        # Retention deletes by age.
        indexes = [models.Index(fields=["created_at"], name="core_liveevent_age")]

    def __str__(self) -> str:
        return f"{self.topic} {self.sequence} {self.kind}"


class Heartbeat(models.Model):
    """The last sign of life of a long-running process."""

    process = models.CharField(max_length=20)
    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    detail = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["process", "host", "pid"], name="core_heartbeat_unique_process"
            )
        ]

    def __str__(self) -> str:
        return f"{self.process} on {self.host} ({self.pid})"
