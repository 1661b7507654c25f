"""Expectations and verdicts, threshold rules, alerts and their notifications."""

from __future__ import annotations

from monitoring.models.alert import Alert, AlertEvent, AlertSource, AlertState, Silence
from monitoring.models.notification import Notification, NotificationStatus, Transport
from monitoring.models.rule import Comparator, Severity, ThresholdRule
from monitoring.models.verification import (
    Expectation,
    Shadow,
    Verification,
    VerificationStatus,
    VerificationTransition,
)

__all__ = [
    "Alert",
    "AlertEvent",
    "AlertSource",
    "AlertState",
    "Comparator",
    "Expectation",
    "Notification",
    "NotificationStatus",
    "Severity",
    "Shadow",
    "Silence",
    "ThresholdRule",
    "Transport",
    "Verification",
    "VerificationStatus",
    "VerificationTransition",
]
