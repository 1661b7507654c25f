"""What walk-forward analyses and sweeps share: a hypothesis, the sets to try, where they stand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import choices_check
from alphastrat.core.models import JobStatus, UUIDModel
from strategies.models.strategy import TIMEFRAMES


class SearchStatus(models.TextChoices):
    """Where a search stands; one that was stopped can go on."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


UNFINISHED = (SearchStatus.QUEUED, SearchStatus.RUNNING)
JOB_STOPPED = (JobStatus.CANCELLED, JobStatus.FAILED)
STOPPED = (SearchStatus.FAILED, SearchStatus.CANCELLED)


class SearchQuerySet(models.QuerySet[Any]):
    """Searches by owner, without the heavy columns where they are not shown."""

    def for_user(self, user: Any) -> Self:
        """Return the user's own searches; an administrator sees all of them."""
        return self if user.has_role("admin") else self.filter(owner=user)

    def listed(self) -> Self:
        """Return what a list shows, without arrays and documents."""
        return self.select_related("job", "owner").defer(*self.model.DOCUMENTS)


class Search(UUIDModel):
    """A hypothesis and the parameter sets to try on it."""

    Status = SearchStatus
    # Every search runs on the kernel.
    engine: ClassVar[str] = "simulator"
    DOCUMENTS: ClassVar[tuple[str, ...]] = ("summary", "library_versions")

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    strategy_version = models.ForeignKey(
        "strategies.StrategyVersion", models.PROTECT, null=True, blank=True, related_name="+"
    )
    job = models.ForeignKey("core.Job", models.SET_NULL, null=True, blank=True, related_name="+")
    title = models.CharField(max_length=200)
    plugin = models.CharField(max_length=60)
    # Parameters that stay as they are, and the axes as asked for: name to range or values.
    parameters = models.JSONField(default=dict)
    space = models.JSONField(default=dict)
    symbols = ArrayField(models.CharField(max_length=40))
    timeframe = models.CharField(max_length=3, choices=TIMEFRAMES)
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    capital = models.DecimalField(max_digits=20, decimal_places=4)
    currency = models.CharField(max_length=3, default="USD")
    costs = models.JSONField(default=dict)
    exit_rules = models.JSONField(default=dict)
    sizing = models.JSONField(default=dict)
    benchmark = models.CharField(max_length=40, blank=True)
    seed = models.BigIntegerField(default=0)
    n_sets = models.PositiveBigIntegerField()

    status = models.CharField(max_length=9, choices=SearchStatus, default=SearchStatus.QUEUED)
    failure_reason = models.TextField(blank=True)
    failure_code = models.CharField(max_length=40, blank=True)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    data_fingerprint = models.CharField(max_length=64, blank=True)
    code_version = models.CharField(max_length=80, blank=True)
    library_versions = models.JSONField(default=dict)
    n_bars = models.PositiveIntegerField(null=True, blank=True)
    periods_per_year = models.FloatField(null=True, blank=True)
    n_evaluated = models.PositiveIntegerField(default=0)
    summary = models.JSONField(default=dict)

    objects = SearchQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return self.title

    @property
    def state(self) -> str:
        """Return the status, or how the job ended where nobody was left to write it down."""
        ended = self.job.status if self.job is not None else ""
        return ended if ended in JOB_STOPPED and self.status in UNFINISHED else self.status

    @property
    def is_ended(self) -> bool:
        return self.state not in UNFINISHED

    @property
    def period(self) -> str:
        """Return the first and last day."""
        return f"{self.start_at:%Y-%m-%d} to {self.end_at - timedelta(days=1):%Y-%m-%d}"

    @property
    def duration(self) -> timedelta | None:
        """Return how long the last attempt took."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at

    @property
    def etag(self) -> str:
        """Return what changes whenever the result does."""
        return f"{self.pk}-{self.status}-{self.finished_at}"

    def get_engine_display(self) -> str:
        """Return the engine in words; every search runs on the kernel."""
        return "Simulator"


def search_constraints(name: str) -> list[Any]:
    """Return the constraints of a kind of search, under its own names."""
    ended = ("succeeded", "failed", "cancelled")
    return [
        choices_check(f"strategies_{name}_status", "status", SearchStatus.values),
        choices_check(f"strategies_{name}_timeframe", "timeframe", [v for v, _ in TIMEFRAMES]),
        models.CheckConstraint(
            condition=Q(end_at__gt=models.F("start_at")), name=f"strategies_{name}_end_after_start"
        ),
        models.CheckConstraint(
            condition=Q(capital__gt=0, capital__lt=1e15),
            name=f"strategies_{name}_capital_is_positive",
        ),
        models.CheckConstraint(condition=Q(n_sets__gte=1), name=f"strategies_{name}_has_sets"),
        models.CheckConstraint(
            condition=Q(status__in=ended) ^ Q(finished_at__isnull=True),
            name=f"strategies_{name}_finished_has_time",
        ),
        models.CheckConstraint(
            condition=Q(status__in=("failed", "cancelled")) ^ Q(failure_reason=""),
            name=f"strategies_{name}_stopped_has_reason",
        ),
    ]
