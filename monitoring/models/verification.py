"""What a strategy promised, what it does, and the verdict."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import bounded_check, choices_check
from alphastrat.core.models import TimeStampedModel, UUIDModel


class Expectation(UUIDModel):
    """What the validated backtest of a version promises; frozen, never changed."""

    strategy = models.ForeignKey("strategies.Strategy", models.PROTECT, related_name="expectations")
    version = models.ForeignKey(
        "strategies.StrategyVersion", models.PROTECT, related_name="expectations"
    )
    run = models.ForeignKey(
        "strategies.BacktestRun", models.PROTECT, null=True, blank=True, related_name="+"
    )
    walk_forward = models.ForeignKey(
        "strategies.WalkForward", models.PROTECT, null=True, blank=True, related_name="+"
    )
    is_out_of_sample = models.BooleanField()
    frozen_at = models.DateTimeField()
    frozen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    # Superseded by a newer one of the same strategy.
    is_current = models.BooleanField(default=True)
    seed = models.BigIntegerField(default=0)
    n_bars = models.PositiveIntegerField()
    n_trades = models.PositiveIntegerField()
    periods_per_year = models.FloatField()
    # Returns per bar (float64).
    returns = models.BinaryField()
    # Scalars, alarm levels and cone, as monitoring.services.packing packs them.
    envelope = models.BinaryField()
    # The same for people, with regimes and how it was made.
    summary = models.JSONField(default=dict)

    class Meta:
        ordering = ["-frozen_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["strategy"],
                condition=Q(is_current=True),
                name="monitoring_expectation_one_current",
            ),
            models.CheckConstraint(
                condition=Q(run__isnull=False) ^ Q(walk_forward__isnull=False),
                name="monitoring_expectation_has_one_source",
            ),
        ]

    def __str__(self) -> str:
        return f"Expectation of {self.version_id} frozen {self.frozen_at:%Y-%m-%d}"


class Shadow(models.Model):
    """The same version re-run on the live period's bars: rebuilt, never the truth."""

    account = models.OneToOneField(
        "portfolio.Account", models.CASCADE, primary_key=True, related_name="shadow"
    )
    version = models.ForeignKey("strategies.StrategyVersion", models.PROTECT, related_name="+")
    computed_at = models.DateTimeField()
    computed_to = models.DateTimeField(help_text="Close of the newest bar in it.")
    data_fingerprint = models.CharField(max_length=64, blank=True)
    n_bars = models.PositiveIntegerField()
    # Times (int64 microseconds) and returns (float64), one after the other.
    curves = models.BinaryField()
    # Fills on the bars as they are now, and as each was when it was first computed.
    fills = models.BinaryField()
    known_fills = models.BinaryField(default=bytes)
    # Which live fill belongs to which, and the revision of the account it was found at.
    matched = models.BinaryField(default=bytes)
    # Live signals held against the re-run's: counts per bar, and the newest that differ.
    signals = models.BinaryField(default=bytes)
    divergences = models.BinaryField(default=bytes)
    # Up to here the comparison stays as it is while the bars do, and the sides of the re-run there.
    signals_to = models.DateTimeField(null=True, blank=True)
    sides = models.BinaryField(default=bytes)
    revision = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"Shadow of {self.account_id} to {self.computed_to:%Y-%m-%d %H:%M}"


class VerificationStatus(models.TextChoices):
    """The verdict on a strategy."""

    VERIFIED = "verified", "Verified"
    MONITORING = "monitoring", "Monitoring"
    WATCH = "watch", "Watch"
    DEGRADED = "degraded", "Degraded"
    FAILED = "failed", "Failed"
    INSUFFICIENT = "insufficient", "Insufficient data"


class DegradationAction(models.TextChoices):
    """What is done by itself when a strategy has degraded."""

    NONE = "none", "Nothing"
    REDUCE = "reduce", "Reduce"
    SUSPEND = "suspend", "Suspend"


class VerificationQuerySet(models.QuerySet["Verification"]):
    """Verdicts by owner."""

    def for_user(self, user: Any) -> VerificationQuerySet:
        """Return the verdicts on the user's strategies; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(strategy__owner=user)


class Verification(TimeStampedModel):
    """The standing of one live strategy against its expectation, and how it is judged."""

    Status = VerificationStatus
    Action = DegradationAction

    strategy = models.OneToOneField(
        "strategies.Strategy", models.CASCADE, primary_key=True, related_name="verification"
    )
    account = models.ForeignKey(
        "portfolio.Account", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    expectation = models.ForeignKey(
        Expectation, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # How it is judged.
    false_alarms_per_year = models.FloatField(default=0.5)
    # Half-width of "the same", as a fraction of the mean absolute trade return.
    tolerance = models.FloatField(default=0.1)
    hard_drawdown = models.FloatField(null=True, blank=True, help_text="A loss, negative.")
    on_degraded = models.CharField(
        max_length=7, choices=DegradationAction, default=DegradationAction.NONE
    )
    # Evidence counts from here: the start, the yearly restart or a reset after acknowledgement.
    evidence_from = models.DateTimeField(null=True, blank=True)

    # The verdict.
    status = models.CharField(
        max_length=12, choices=VerificationStatus, default=VerificationStatus.INSUFFICIENT
    )
    reason = models.CharField(max_length=400, blank=True)
    score = models.FloatField(null=True, blank=True)
    coverage = models.FloatField(default=0.0, help_text="Weight of the components with data.")
    e_value = models.FloatField(null=True, blank=True)
    n_bars = models.PositiveIntegerField(default=0)
    n_trades = models.PositiveIntegerField(default=0)
    clean_bars = models.PositiveIntegerField(default=0)
    # Components with value, interval, e-value or p-value and words; metrics for rules and pages.
    evidence = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    observed_to = models.DateTimeField(null=True, blank=True)
    evaluated_at = models.DateTimeField(null=True, blank=True)
    status_since = models.DateTimeField(null=True, blank=True)

    objects = VerificationQuerySet.as_manager()

    class Meta:
        constraints = [
            choices_check("monitoring_verification_status", "status", VerificationStatus.values),
            choices_check(
                "monitoring_verification_action", "on_degraded", DegradationAction.values
            ),
            bounded_check("monitoring_verification_budget", "false_alarms_per_year", 0.01, 12),
            bounded_check("monitoring_verification_tolerance", "tolerance", 0.01, 1),
        ]

    def __str__(self) -> str:
        return f"{self.strategy_id} {self.status}"


class VerificationTransition(UUIDModel):
    """A change of the verdict with the evidence that caused it; never changed."""

    strategy = models.ForeignKey(
        "strategies.Strategy", models.CASCADE, related_name="verification_transitions"
    )
    before = models.CharField(max_length=12, choices=VerificationStatus)
    after = models.CharField(max_length=12, choices=VerificationStatus)
    happened_at = models.DateTimeField()
    # Close of the bar or time of the fill that tipped it.
    observed_to = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=400, blank=True)
    e_value = models.FloatField(null=True, blank=True)
    evidence = models.JSONField(default=dict)
    # Set where a person overruled the statistics.
    overridden_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ["-happened_at"]
        constraints = [
            choices_check("monitoring_transition_before", "before", VerificationStatus.values),
            choices_check("monitoring_transition_after", "after", VerificationStatus.values),
        ]
        indexes = [
            # The history of one strategy, newest first.
            models.Index(fields=["strategy", "-happened_at"], name="monitoring_transition_newest")
        ]

    def __str__(self) -> str:
        return f"{self.strategy_id} {self.before} to {self.after}"
