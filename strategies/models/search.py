"""What walk-forward analyses and sweeps share: a hypothesis, the sets to try, where they stand."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q

from alphastrat.core.models import JobStatus
from strategies.models.study import Study, StudyQuerySet, study_constraints


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


class SearchQuerySet(StudyQuerySet):
    """Searches by owner, without the heavy columns where they are not shown."""

    def listed(self) -> Self:
        """Return what a list shows, without arrays and documents."""
        return self.select_related("job", "owner").defer(*self.model.DOCUMENTS)


class Search(Study):
    """A hypothesis and the parameter sets to try on it."""

    Status = SearchStatus
    # Every search runs on the kernel.
    engine: ClassVar[str] = "simulator"
    DOCUMENTS: ClassVar[tuple[str, ...]] = ("summary", "library_versions")

    # The axes as asked for: name to range or values. `parameters` are those that stay as they are.
    space = models.JSONField(default=dict)
    n_sets = models.PositiveBigIntegerField()
    status = models.CharField(max_length=9, choices=SearchStatus, default=SearchStatus.QUEUED)
    n_evaluated = models.PositiveIntegerField(default=0)
    summary = models.JSONField(default=dict)

    objects = SearchQuerySet.as_manager()

    class Meta(Study.Meta):
        abstract = True

    @property
    def state(self) -> str:
        """Return the status, or how the job ended where nobody was left to write it down."""
        ended = self.job.status if self.job is not None else ""
        return ended if ended in JOB_STOPPED and self.status in UNFINISHED else self.status

    @property
    def is_ended(self) -> bool:
        return self.state not in UNFINISHED

    @property
    def etag(self) -> str:
        """Return what changes whenever the result does."""
        return f"{self.pk}-{self.status}-{self.finished_at}"

    def get_engine_display(self) -> str:
        """Return the engine in words; every search runs on the kernel."""
        return "Simulator"


def search_constraints(name: str) -> list[Any]:
    """Return the constraints of a kind of search, under its own names."""
    return [
        *study_constraints(
            name, statuses=SearchStatus.values, ended=("succeeded", "failed", "cancelled")
        ),
        models.CheckConstraint(condition=Q(n_sets__gte=1), name=f"strategies_{name}_has_sets"),
        models.CheckConstraint(
            condition=Q(status__in=("failed", "cancelled")) ^ Q(failure_reason=""),
            name=f"strategies_{name}_stopped_has_reason",
        ),
    ]
