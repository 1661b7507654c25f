"""Transports and the outbox of notifications."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from alphastrat.core.constraints import choices_check
from alphastrat.core.models import TimeStampedModel, UUIDModel
from monitoring.models.rule import Severity


class TransportKind(models.TextChoices):
    """How a notification leaves the house."""

    APPRISE = "apprise", "Messenger or e-mail"
    WEBHOOK = "webhook", "Signed webhook"


class TransportQuerySet(models.QuerySet["Transport"]):
    """Transports by owner."""

    def for_user(self, user: Any) -> TransportQuerySet:
        """Return the user's own transports; an administrator sees all of them."""
        return self if user.has_role("admin") else self.filter(owner=user)


class Transport(UUIDModel, TimeStampedModel):
    """An address that notifications are sent to; its credentials are encrypted at rest."""

    Kind = TransportKind

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="transports")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=7, choices=TransportKind)
    # Fernet tokens; monitoring.services.credentials is the only door.
    address = models.BinaryField()
    signing_key = models.BinaryField(null=True, blank=True)
    minimum_severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    # Only what nobody acknowledged in time.
    is_for_escalation = models.BooleanField(default=False)
    is_enabled = models.BooleanField(default=True)

    objects = TransportQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"], name="monitoring_transport_unique_name"
            ),
            choices_check("monitoring_transport_kind", "kind", TransportKind.values),
            choices_check("monitoring_transport_severity", "minimum_severity", Severity.values),
        ]

    def __str__(self) -> str:
        return self.name


class NotificationStatus(models.TextChoices):
    """Where a notification stands."""

    QUEUED = "queued", "Queued"
    SENDING = "sending", "Sending"
    SENT = "sent", "Sent"
    MUTED = "muted", "Muted"
    DEAD = "dead", "Given up"


UNSENT = (NotificationStatus.QUEUED, NotificationStatus.SENDING)


class Notification(UUIDModel):
    """One message about one alert event over one transport: the outbox."""

    Status = NotificationStatus

    alert = models.ForeignKey("monitoring.Alert", models.CASCADE, related_name="notifications")
    event = models.ForeignKey("monitoring.AlertEvent", models.CASCADE, related_name="notifications")
    transport = models.ForeignKey(Transport, models.CASCADE, related_name="notifications")
    status = models.CharField(
        max_length=7, choices=NotificationStatus, default=NotificationStatus.QUEUED
    )
    # The same in every attempt; receivers tell a repetition by it.
    key = models.CharField(max_length=80, unique=True)
    title = models.CharField(max_length=200)
    body = models.TextField()
    payload = models.JSONField(default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)
    queued_at = models.DateTimeField()
    due_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-queued_at"]
        constraints = [
            choices_check("monitoring_notification_status", "status", NotificationStatus.values),
            models.CheckConstraint(
                condition=Q(status__in=UNSENT) ^ Q(ended_at__isnull=False),
                name="monitoring_notification_ended_has_time",
            ),
        ]
        indexes = [
            # The sender's next messages.
            models.Index(
                fields=["due_at"], condition=Q(status__in=UNSENT), name="monitoring_outbox"
            )
        ]

    def __str__(self) -> str:
        return f"{self.title} over {self.transport_id}"
