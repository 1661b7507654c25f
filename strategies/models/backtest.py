"""Backtest runs, what they found, and the trials they count as."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q
from django.urls import reverse

from alphastrat.core.constraints import choices_check
from alphastrat.marketdata.models import BarRevision
from strategies.models.performance import ratio_column
from strategies.models.study import Study, StudyQuerySet, study_constraints

BLOBS = ("curves", "trades")
# What a page of results reads and a list does not.
DOCUMENTS = (*BLOBS, "metrics", "findings", "agreement", "luck", "library_versions")


class RunStatus(models.TextChoices):
    """Where a backtest run stands."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"


ENDED = (RunStatus.SUCCEEDED, RunStatus.FAILED)


class Engine(models.TextChoices):
    """What computed a run."""

    SIMULATOR = "simulator", "Simulator"
    VECTORBT = "vectorbt", "vectorbt"
    IMPORTED = "imported", "Imported"


class BacktestRunQuerySet(StudyQuerySet):
    """Runs by owner, without the heavy columns where they are not shown."""

    def listed(self) -> BacktestRunQuerySet:
        """Return what a list shows, without arrays and documents."""
        return self.select_related("strategy_version__strategy", "job", "owner").defer(*DOCUMENTS)

    def on_restated_bars(self) -> BacktestRunQuerySet:
        """Return the runs whose bars have been restated since they were computed."""
        restated = BarRevision.objects.annotate(
            traded=ExpressionWrapper(OuterRef("symbols"), ArrayField(models.CharField()))
        ).filter(
            traded__contains=[F("series__instrument__symbol")],  # type: ignore[misc]
            series__timeframe=OuterRef("timeframe"),
            opened_at__gte=OuterRef("start_at"),
            opened_at__lt=OuterRef("end_at"),
            recorded_at__gt=OuterRef("finished_at"),
        )
        computed_here = self.exclude(engine=Engine.IMPORTED)
        return computed_here.filter(Exists(restated.exclude(series__source="replay")))

    def succeeded(self) -> BacktestRunQuerySet:
        return self.filter(status=RunStatus.SUCCEEDED)


class BacktestRun(Study):
    """One simulation: what was asked, from which bars and code, and what came out."""

    Status = RunStatus
    Engine = Engine

    engine = models.CharField(max_length=9, choices=Engine, default=Engine.SIMULATOR)
    status = models.CharField(max_length=9, choices=RunStatus, default=RunStatus.QUEUED)

    total_return = ratio_column()
    annual_return = ratio_column()
    volatility = ratio_column()
    sharpe_ratio = ratio_column()
    sortino_ratio = ratio_column()
    calmar_ratio = ratio_column()
    max_drawdown = ratio_column()
    win_rate = ratio_column()
    profit_factor = ratio_column()
    exposure = ratio_column()
    n_trades = models.PositiveIntegerField(null=True, blank=True)

    metrics = models.JSONField(default=dict)
    findings = models.JSONField(default=list)
    agreement = models.JSONField(null=True, blank=True)
    luck = models.JSONField(null=True, blank=True)
    curves = models.BinaryField(null=True, blank=True)
    trades = models.BinaryField(null=True, blank=True)

    objects = BacktestRunQuerySet.as_manager()

    class Meta(Study.Meta):
        indexes = [
            # The backtests page of one user, newest first.
            models.Index(fields=["owner", "-requested_at"], name="strategies_run_owner_newest"),
        ]
        constraints = [
            *study_constraints("run", statuses=RunStatus.values, ended=ENDED),
            choices_check("strategies_run_engine", "engine", Engine.values),
            models.CheckConstraint(
                condition=~Q(status=RunStatus.SUCCEEDED)
                | Q(curves__isnull=False, trades__isnull=False),
                name="strategies_run_succeeded_has_result",
            ),
            models.CheckConstraint(
                condition=Q(status=RunStatus.FAILED) ^ Q(failure_reason=""),
                name="strategies_run_failed_has_reason",
            ),
            # The same file imported twice adds nothing.
            models.UniqueConstraint(
                fields=["owner", "data_fingerprint"],
                condition=Q(engine=Engine.IMPORTED),
                name="strategies_run_one_per_import",
            ),
        ]

    def get_absolute_url(self) -> str:
        return reverse("strategies:backtest-detail", args=[self.pk])

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    @property
    def etag(self) -> str:
        """Return what changes whenever the result does."""
        checked = "checked" if self.agreement else ""
        return f"{self.pk}-{self.status}-{checked}"


class TrialSource(models.TextChoices):
    """What tried a set of parameters."""

    BACKTEST = "backtest", "Backtest"
    SWEEP = "sweep", "Sweep"
    WALK_FORWARD = "walk_forward", "Walk-forward"


class Trial(models.Model):
    """One look at one hypothesis. Kept for ever: deleting a run does not undo the look.

    The deflated Sharpe ratio of a run asks how many trials its hypothesis has had; the
    hypothesis is the plug-in, universe and timeframe of one owner.
    """

    Source = TrialSource

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    hypothesis = models.CharField(max_length=64)
    configuration = models.CharField(max_length=64)
    source = models.CharField(max_length=12, choices=TrialSource)
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    # Per bar, not annualised: what the deflated Sharpe ratio takes the variance of.
    sharpe_per_bar = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            choices_check("strategies_trial_source", "source", TrialSource.values),
            # The same look twice is one look; its index serves the count by hypothesis.
            models.UniqueConstraint(
                fields=["owner", "hypothesis", "configuration", "start_at", "end_at"],
                name="strategies_trial_unique_look",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hypothesis[:8]} {self.configuration[:8]}"
