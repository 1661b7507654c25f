"""What people do with alerts: take them, talk about them, put them off, judge their worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.formatting import format_value
from monitoring.models import Alert, AlertState
from monitoring.models.alert import AlertEventKind
from monitoring.quant.metric_catalogue import METRICS
from monitoring.services import performance_alerts
from monitoring.services.alert_records import AlertRecord

Kind = AlertEventKind
Change = Callable[[Alert, AlertRecord], bool]
FEEDBACK = ("useful", "noise")
MOST_AT_ONCE = 1_000


def acknowledge(ids: Iterable[UUID], *, by: Any, at: datetime, comment: str = "") -> list[Alert]:
    """Say that `by` has these alerts; they still fire, and nobody is sent for any more.

    Return those that were nobody's; the others are left as they are.
    """

    def change(alert: Alert, record: AlertRecord) -> bool:
        if alert.state == AlertState.RESOLVED or alert.is_acknowledged:
            return False
        alert.acknowledged_at, alert.acknowledged_by = at, by
        alert.escalate_at, alert.comment = None, comment[:500]
        record.note(alert, Kind.ACKNOWLEDGED, comment)
        return True

    return _change(ids, change, by=by, at=at)


def add_comment(ids: Iterable[UUID], *, by: Any, at: datetime, comment: str) -> list[Alert]:
    """Add a line to the history of alerts."""
    text = comment.strip()
    if not text:
        raise InvalidInput("Write something.", fields={"comment": "Write something."})

    def change(alert: Alert, record: AlertRecord) -> bool:
        alert.comment = text[:500]
        record.note(alert, Kind.COMMENTED, text)
        return True

    return _change(ids, change, by=by, at=at)


def snooze(
    ids: Iterable[UUID],
    *,
    by: Any,
    at: datetime,
    until: datetime | None = None,
    bound: float | None = None,
) -> list[Alert]:
    """Send no messages until a time, or until the value passes `bound`, whichever comes first."""
    if until is None and bound is None:
        raise InvalidInput("Say until when.", fields={"until": "Give a time or a bound."})
    if until is not None and until <= at:
        raise InvalidInput("The time has passed.", fields={"until": "This time has passed."})

    def change(alert: Alert, record: AlertRecord) -> bool:
        if alert.state == AlertState.RESOLVED:
            return False
        alert.snoozed_until, alert.snoozed_bound = until, bound
        record.note(alert, Kind.SNOOZED, _snooze_words(alert))
        return True

    return _change(ids, change, by=by, at=at)


def wake(ids: Iterable[UUID], *, by: Any, at: datetime) -> list[Alert]:
    """End the snooze of alerts now."""

    def change(alert: Alert, record: AlertRecord) -> bool:
        if not alert.is_snoozed(at=at):
            return False
        performance_alerts.wake(alert, record, "")
        return True

    return _change(ids, change, by=by, at=at)


def resolve(ids: Iterable[UUID], *, by: Any, at: datetime, comment: str = "") -> list[Alert]:
    """End alerts that nothing evaluates; raises ConflictError where something does."""

    def change(alert: Alert, record: AlertRecord) -> bool:
        if alert.state == AlertState.RESOLVED:
            return False
        if not alert.can_be_resolved:
            raise ConflictError(
                f"“{alert.title}” is evaluated all the time and ends by itself. Snooze it, or "
                "change its rule."
            )
        performance_alerts.resolve(alert, record, comment or "Ended by hand.")
        return True

    return _change(ids, change, by=by, at=at)


def give_feedback(ids: Iterable[UUID], *, by: Any, at: datetime, feedback: str) -> list[Alert]:
    """Say whether alerts were useful or noise."""
    if feedback not in FEEDBACK:
        raise InvalidInput("Say useful or noise.", fields={"feedback": "Say useful or noise."})

    def change(alert: Alert, record: AlertRecord) -> bool:
        if alert.feedback == feedback:
            return False
        alert.feedback = feedback
        record.note(alert, Kind.FEEDBACK, feedback.capitalize())
        return True

    return _change(ids, change, by=by, at=at)


@transaction.atomic
def _change(ids: Iterable[UUID], change: Change, *, by: Any, at: datetime) -> list[Alert]:
    wanted = list(ids)
    if len(wanted) > MOST_AT_ONCE:
        raise InvalidInput(f"At most {MOST_AT_ONCE:,} alerts at once.")
    record = AlertRecord(at, by)
    alerts = Alert.objects.for_user(by).filter(pk__in=wanted).select_related("rule")
    for alert in alerts.order_by("cause").select_for_update(of=("self",)):
        change(alert, record)
    return record.save()


def _snooze_words(alert: Alert) -> str:
    words = []
    if alert.snoozed_until is not None:
        words.append(f"until {alert.snoozed_until:%Y-%m-%d %H:%M} UTC")
    if alert.snoozed_bound is not None:
        metric = METRICS.get(alert.metric)
        shown = format_value(metric.format if metric else "ratio", alert.snoozed_bound).text
        words.append(f"until it passes {shown}")
    return " or ".join(words).capitalize()
