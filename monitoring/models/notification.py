"""Transports and the outbox of notifications."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

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
        """Return the user's own transports; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(owner=user)


class Transport(UUIDModel, TimeStampedModel):
    """An address that notifications are sent to; its credentials are encrypted at rest."""

    Kind = TransportKind

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="transports")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=7, choices=TransportKind)
    # Fernet tokens; monitoring.services.credentials is the only door.
    address = models.BinaryField()
    # What may be shown of the address.
    hint = models.CharField(max_length=120, blank=True)
    signing_key = models.BinaryField(null=True, blank=True)
    # Signs as well for a day after a rotation, so that receivers can change over.
    previous_signing_key = models.BinaryField(null=True, blank=True)
    key_rotated_at = models.DateTimeField(null=True, blank=True)
    minimum_severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    # Only what nobody acknowledged in time.
    is_for_escalation = models.BooleanField(default=False)
    sends_recovery = models.BooleanField(default=True)
    is_enabled = models.BooleanField(default=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    test_error = models.CharField(max_length=300, blank=True)

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


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Notifications by owner and state."""

    def for_user(self, user: Any) -> NotificationQuerySet:
        """Return what was sent to the user; administrators and viewers see all."""
        return self if user.sees_everyone else self.filter(transport__owner=user)

    def listed(self) -> NotificationQuerySet:
        return self.select_related("alert", "event", "transport")

    def dead(self) -> NotificationQuerySet:
        return self.filter(status=NotificationStatus.DEAD)


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
    # When the row was written, by the clock of the database.
    stored_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()
    # Who sends it now. A claim moves `due_at` on, again and again while it lasts: that of a dead
    # sender comes due by itself.
    claimed_at = models.DateTimeField(null=True, blank=True)
    claimed_by = models.CharField(max_length=64, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    mute_reason = models.CharField(max_length=300, blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["-queued_at"]
        constraints = [
            choices_check("monitoring_notification_status", "status", NotificationStatus.values),
            models.CheckConstraint(
                condition=Q(status__in=UNSENT) ^ Q(ended_at__isnull=False),
                name="monitoring_notification_ended_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status="muted") ^ Q(mute_reason=""),
                name="monitoring_notification_muted_has_reason",
            ),
            models.CheckConstraint(
                condition=~Q(status="sending") | Q(claimed_at__isnull=False),
                name="monitoring_notification_sending_is_claimed",
            ),
        ]
        indexes = [
            # The sender's next messages.
            models.Index(
                fields=["due_at"], condition=Q(status__in=UNSENT), name="monitoring_outbox"
            ),
            # The deliveries of one transport, newest first.
            models.Index(fields=["transport", "-queued_at"], name="monitoring_notification_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.title} over {self.transport_id}"

    @property
    def delay(self) -> timedelta | None:
        """Return the time from being stored to being accepted; None while it is not."""
        return None if self.accepted_at is None else self.accepted_at - self.stored_at


class DeliveryTimes(models.Model):
    """A histogram of how long one stage from breach to acceptance took; it only grows."""

    stage = models.CharField(max_length=20, primary_key=True)
    counts = ArrayField(models.BigIntegerField())
    total_seconds = models.FloatField(default=0.0)

    class Meta:
        verbose_name_plural = "delivery times"

    def __str__(self) -> str:
        return self.stage
