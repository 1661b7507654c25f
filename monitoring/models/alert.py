"""Alerts: one episode of breach each, what happened to it, and what mutes its notifications."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from alphastrat.core.constraints import choices_check
from alphastrat.core.models import UUIDModel
from monitoring.models.rule import Severity


class AlertSource(models.TextChoices):
    """What noticed the breach."""

    RULE = "rule", "Threshold rule"
    VERIFICATION = "verification", "Verification"
    RISK = "risk", "Risk limit"
    SYSTEM = "system", "System"


class AlertState(models.TextChoices):
    """Where an episode stands; whether somebody has it is told by `acknowledged_at`."""

    PENDING = "pending", "Pending"
    FIRING = "firing", "Firing"
    RESOLVED = "resolved", "Resolved"


OPEN_STATES = (AlertState.PENDING, AlertState.FIRING)


class AlertQuerySet(models.QuerySet["Alert"]):
    """Alerts by owner and state."""

    def for_user(self, user: Any) -> AlertQuerySet:
        """Return the user's own alerts; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)

    def open(self) -> AlertQuerySet:
        return self.filter(state__in=OPEN_STATES)

    def firing(self) -> AlertQuerySet:
        return self.filter(state=AlertState.FIRING)

    def listed(self) -> AlertQuerySet:
        return self.select_related("strategy", "portfolio", "rule", "acknowledged_by")


class Alert(UUIDModel):
    """One episode of breach for one cause and subject."""

    State = AlertState
    Source = AlertSource

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="alerts")
    source = models.CharField(max_length=12, choices=AlertSource)
    rule = models.ForeignKey(
        "monitoring.ThresholdRule", models.SET_NULL, null=True, blank=True, related_name="alerts"
    )
    strategy = models.ForeignKey(
        "strategies.Strategy", models.CASCADE, null=True, blank=True, related_name="alerts"
    )
    portfolio = models.ForeignKey(
        "portfolio.Portfolio", models.CASCADE, null=True, blank=True, related_name="alerts"
    )
    # "rule:<id>|strategy:<id>", "verification|strategy:<id>", …: one open episode for each.
    cause = models.CharField(max_length=160)
    # Alerts of one group are shown and notified together.
    group = models.CharField(max_length=120, blank=True)
    severity = models.CharField(max_length=8, choices=Severity)
    title = models.CharField(max_length=200)
    detail = models.CharField(max_length=500, blank=True)
    metric = models.CharField(max_length=40, blank=True)
    value = models.FloatField(null=True, blank=True)
    bound = models.FloatField(null=True, blank=True)
    evidence = models.JSONField(default=dict)

    state = models.CharField(max_length=8, choices=AlertState, default=AlertState.PENDING)
    # Close of the bar or time of the fill that was beyond the bound; then when we saw, said, and
    # were heard.
    breached_at = models.DateTimeField()
    recorded_at = models.DateTimeField(
        null=True, blank=True, help_text="When the observation had been stored."
    )
    evaluated_at = models.DateTimeField()
    fired_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    comment = models.CharField(max_length=500, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    # Snoozed until the value is beyond this, where set.
    snoozed_bound = models.FloatField(null=True, blank=True)
    # What time itself brings about: the end of the pending period, of the cooldown that holds a
    # message back, and of the patience with nobody acknowledging.
    fire_at = models.DateTimeField(null=True, blank=True)
    tell_at = models.DateTimeField(null=True, blank=True)
    escalate_at = models.DateTimeField(null=True, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)
    # Since when the metric is back within its bounds although the episode is kept open: flapping.
    calm_since = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    is_flapping = models.BooleanField(default=False)
    feedback = models.CharField(
        max_length=6, choices=[("useful", "Useful"), ("noise", "Noise")], blank=True
    )

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-breached_at"]
        constraints = [
            choices_check("monitoring_alert_source", "source", AlertSource.values),
            choices_check("monitoring_alert_state", "state", AlertState.values),
            choices_check("monitoring_alert_severity", "severity", Severity.values),
            # Two monitors that see the same breach open one episode.
            models.UniqueConstraint(
                fields=["cause"],
                condition=Q(state__in=OPEN_STATES),
                name="monitoring_alert_one_open_per_cause",
            ),
            models.CheckConstraint(
                condition=Q(state="resolved") ^ Q(resolved_at__isnull=True),
                name="monitoring_alert_resolved_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(state="firing") | Q(fired_at__isnull=False),
                name="monitoring_alert_firing_has_time",
            ),
        ]
        indexes = [
            # The inbox of one user, newest first.
            models.Index(fields=["owner", "-breached_at"], name="monitoring_alert_inbox"),
            # Earlier episodes of a cause: cooldown and flapping.
            models.Index(fields=["cause", "-resolved_at"], name="monitoring_alert_history"),
            # What is open, on every page's badge.
            models.Index(
                fields=["owner", "state"],
                condition=Q(state__in=OPEN_STATES),
                name="monitoring_alert_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("monitoring:alert-detail", args=[self.pk])

    @property
    def is_acknowledged(self) -> bool:
        return self.acknowledged_at is not None

    @property
    def subject(self) -> str:
        """Return the name of what is in breach; fetch strategy and portfolio with the alert."""
        return str(self.strategy or self.portfolio or "")

    @property
    def standing(self) -> str:
        """Return the status to show: somebody may have an alert that still fires."""
        if self.state == AlertState.FIRING and self.is_acknowledged:
            return "acknowledged"
        return str(self.state)

    @property
    def can_be_resolved(self) -> bool:
        """Whether it makes sense to end it by hand: what is still evaluated would come back."""
        if self.state == AlertState.RESOLVED:
            return False
        if self.source == AlertSource.RULE:
            return self.rule is None or not self.rule.is_enabled
        return self.source in (AlertSource.SYSTEM, AlertSource.RISK)

    def is_snoozed(self, *, at: datetime) -> bool:
        """Whether its messages are put off at `at`: until a time, a bound, or the earlier."""
        if self.snoozed_until is not None:
            return self.snoozed_until > at
        return self.snoozed_bound is not None

    @property
    def detected_after(self) -> timedelta:
        """Return the time from the breach, or from its storage if that was later, to being seen.

        Bars that are replayed closed years before they were stored.
        """
        return self.evaluated_at - max(self.breached_at, self.recorded_at or self.breached_at)

    def duration(self, *, at: datetime) -> timedelta:
        """Return how long the episode has lasted since it was seen, or lasted."""
        return (self.resolved_at or at) - self.evaluated_at


class AlertEventKind(models.TextChoices):
    """What happened to an alert."""

    OPENED = "opened", "Opened"
    FIRED = "fired", "Fired"
    WORSENED = "worsened", "Worsened"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    COMMENTED = "commented", "Commented"
    SNOOZED = "snoozed", "Snoozed"
    WOKEN = "woken", "Snooze ended"
    ESCALATED = "escalated", "Escalated"
    RESOLVED = "resolved", "Resolved"
    FEEDBACK = "feedback", "Feedback"


class AlertEvent(UUIDModel):
    """One line of an alert's history; never changed."""

    Kind = AlertEventKind

    alert = models.ForeignKey(Alert, models.CASCADE, related_name="events")
    kind = models.CharField(max_length=12, choices=AlertEventKind)
    happened_at = models.DateTimeField()
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    text = models.CharField(max_length=500, blank=True)
    value = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["happened_at", "pk"]
        constraints = [choices_check("monitoring_alertevent_kind", "kind", AlertEventKind.values)]

    def __str__(self) -> str:
        return f"{self.alert_id} {self.kind}"


class SilenceKind(models.TextChoices):
    """Why notifications are muted."""

    SILENCE = "silence", "Silence"
    MAINTENANCE = "maintenance", "Maintenance window"


class SilenceQuerySet(models.QuerySet["Silence"]):
    """Silences by owner and time."""

    def for_user(self, user: Any) -> SilenceQuerySet:
        """Return the user's own silences; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)

    def active(self, *, at: datetime) -> SilenceQuerySet:
        return self.filter(starts_at__lte=at, ends_at__gt=at)


class Silence(UUIDModel):
    """A time-boxed mute of notifications by matcher; evaluation goes on."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="silences")
    kind = models.CharField(max_length=11, choices=SilenceKind, default=SilenceKind.SILENCE)
    # Field of the alert to the value it must have: severity, metric, strategy, portfolio, rule.
    matchers = models.JSONField(default=dict)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    comment = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            choices_check("monitoring_silence_kind", "kind", SilenceKind.values),
            models.CheckConstraint(
                condition=Q(ends_at__gt=models.F("starts_at")),
                name="monitoring_silence_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return self.comment
