"""What a backtest and a search have in common: what was asked for, how it ended, whence it came."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import choices_check
from alphastrat.core.models import UUIDModel
from strategies.models.strategy import TIMEFRAMES


class StudyQuerySet(models.QuerySet[Any]):
    """Studies by owner."""

    def for_user(self, user: Any) -> Self:
        """Return the user's own; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)


class Study(UUIDModel):
    """A plug-in with parameters on a universe over a period, with an account and its costs."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    strategy_version = models.ForeignKey(
        "strategies.StrategyVersion", models.PROTECT, null=True, blank=True, related_name="+"
    )
    job = models.ForeignKey("core.Job", models.SET_NULL, null=True, blank=True, related_name="+")
    title = models.CharField(max_length=200)
    plugin = models.CharField(max_length=60)
    parameters = models.JSONField(default=dict)
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

    class Meta:
        abstract = True
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return self.title

    @property
    def period(self) -> str:
        """Return the first and last day."""
        return f"{self.start_at:%Y-%m-%d} to {self.end_at - timedelta(days=1):%Y-%m-%d}"

    @property
    def duration(self) -> timedelta | None:
        """Return how long the computation took, the last attempt at it."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at


def study_constraints(name: str, *, statuses: list[str], ended: tuple[str, ...]) -> list[Any]:
    """Return the constraints of a kind of study, under its own names."""
    return [
        choices_check(f"strategies_{name}_status", "status", statuses),
        choices_check(f"strategies_{name}_timeframe", "timeframe", [v for v, _ in TIMEFRAMES]),
        models.CheckConstraint(
            condition=Q(end_at__gt=models.F("start_at")), name=f"strategies_{name}_end_after_start"
        ),
        models.CheckConstraint(
            condition=Q(capital__gt=0, capital__lt=1e15),
            name=f"strategies_{name}_capital_is_positive",
        ),
        models.CheckConstraint(
            condition=Q(status__in=ended) ^ Q(finished_at__isnull=True),
            name=f"strategies_{name}_finished_has_time",
        ),
    ]
