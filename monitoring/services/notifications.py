"""The outbox: what is said about an alert, over which transports, and why not.

Queueing happens in the transaction of the fact, sending outside of any transaction.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from alphastrat.core.jsonable import jsonable
from alphastrat.core.notify import notify
from monitoring.models import Alert, AlertEvent, Notification, NotificationStatus, Transport
from monitoring.models.alert import AlertEventKind
from monitoring.models.notification import NotificationQuerySet
from monitoring.models.rule import Severity
from monitoring.services.muting import mute_reasons
from monitoring.services.sending import Sender

logger = logging.getLogger(__name__)

OUTBOX = "outbox"
Kind = AlertEventKind
RANKS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
# What is worth a message; the rest of an alert's history is for its page.
LEADS = {
    Kind.FIRED: "",
    Kind.WORSENED: "Worse: ",
    Kind.ESCALATED: "Not acknowledged: ",
    Kind.WOKEN: "Still: ",
    Kind.RESOLVED: "Resolved: ",
}


def queue_for(events: Sequence[AlertEvent], *, at: datetime) -> int:
    """Write the messages about `events` to the outbox, in the surrounding transaction.

    One for each event and enabled transport of the alert's owner that wants it; what a silence
    or a snooze mutes is written as well, with the reason. Queueing an event twice adds nothing.
    The number of statements does not depend on the number of events. Return how many are to send.
    """
    told = [event for event in events if event.kind in LEADS]
    alerts = Alert.objects.select_related("strategy", "portfolio").in_bulk(
        {event.alert_id for event in told}
    )
    transports = _transports({alert.owner_id for alert in alerts.values()})
    if not transports:
        return 0
    reasons = mute_reasons(alerts.values(), at=at)
    heard = _heard(event.alert_id for event in told if event.kind == Kind.RESOLVED)
    rows = [
        _draft(event, alerts[event.alert_id], transport, reasons.get(event.alert_id, ""), at=at)
        for event in told
        for transport in transports[alerts[event.alert_id].owner_id]
        if _wants(transport, event, alerts[event.alert_id], heard)
    ]
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    n_queued = sum(row.status == NotificationStatus.QUEUED for row in rows)
    if n_queued:
        notify(OUTBOX)
    return n_queued


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the messages that were due: accepted, or to be tried again or given up."""

    n_sent: int
    n_failed: int


def send_due(*, at: datetime, limit: int) -> Sent:
    """Send up to `limit` messages that are due at `at` and wait for the answers."""
    sender = Sender()
    n_begun = 0
    while True:
        n_new = sender.begin(at=at, limit=limit - n_begun)
        n_begun += n_new
        if not sender.is_busy:
            break
        sender.settle(seconds=1.0)
    sender.close(seconds=0)
    return Sent(n_sent=sender.counts["sent"], n_failed=sender.counts["failed"])


def send_dead_again(notifications: NotificationQuerySet, *, at: datetime) -> int:
    """Queue those of `notifications` that were given up: the same keys, fresh attempts."""
    n_queued = notifications.dead().update(
        status=NotificationStatus.QUEUED,
        due_at=at,
        attempts=0,
        ended_at=None,
        claimed_at=None,
        claimed_by="",
    )
    if n_queued:
        notify(OUTBOX)
    return n_queued


def _transports(owners: set[int]) -> Mapping[int, list[Transport]]:
    by_owner: dict[int, list[Transport]] = defaultdict(list)
    for transport in Transport.objects.filter(owner__in=owners, is_enabled=True):
        by_owner[transport.owner_id].append(transport)
    return by_owner


def _heard(alert_ids: Iterable[UUID]) -> set[tuple[UUID, UUID]]:
    """Return alert and transport wherever a message about the breach went out: not only muted."""
    ids = list(alert_ids)
    if not ids:
        return set()
    unmuted = Notification.objects.filter(alert__in=ids).exclude(status=NotificationStatus.MUTED)
    return set(unmuted.values_list("alert_id", "transport_id"))


def _wants(
    transport: Transport, event: AlertEvent, alert: Alert, heard: set[tuple[UUID, UUID]]
) -> bool:
    if event.kind == Kind.RESOLVED:
        return transport.sends_recovery and (alert.pk, transport.pk) in heard
    if transport.is_for_escalation and event.kind != Kind.ESCALATED:
        return False
    return RANKS[Severity(alert.severity)] >= RANKS[Severity(transport.minimum_severity)]


def _draft(
    event: AlertEvent, alert: Alert, transport: Transport, mute_reason: str, *, at: datetime
) -> Notification:
    title = _title(event, alert)
    return Notification(
        alert=alert,
        event=event,
        transport=transport,
        status=NotificationStatus.MUTED if mute_reason else NotificationStatus.QUEUED,
        mute_reason=mute_reason,
        ended_at=at if mute_reason else None,
        key=f"{event.pk}:{transport.pk}",
        title=title,
        body=_body(event, alert),
        payload=_payload(event, alert, title),
        queued_at=at,
        due_at=at,
    )


def _title(event: AlertEvent, alert: Alert) -> str:
    word = "OK" if event.kind == Kind.RESOLVED else alert.severity.upper()
    return f"[{word}] {LEADS[Kind(event.kind)]}{alert.title}"[:200]


def _body(event: AlertEvent, alert: Alert) -> str:
    seen = f"Breached {alert.breached_at:%Y-%m-%d %H:%M:%S} UTC"
    said = dict.fromkeys(line for line in (event.text, alert.detail) if line)
    lines = [alert.subject, *said, seen, page_url(alert)]
    return "\n".join(line for line in lines if line)


def page_url(alert: Alert) -> str:
    """Return the address of the alert's page where the site's own address is known."""
    return f"{settings.SITE_URL}{alert.get_absolute_url()}" if settings.SITE_URL else ""


def _payload(event: AlertEvent, alert: Alert, title: str) -> dict[str, Any]:
    content = {
        "type": f"alert.{event.kind}",
        "timestamp": event.happened_at,
        "data": {
            "event_id": event.pk,
            "alert_id": alert.pk,
            "title": title,
            "text": event.text,
            "state": alert.standing,
            "severity": alert.severity,
            "source": alert.source,
            "cause": alert.cause,
            "group": alert.group,
            "subject": alert.subject,
            "strategy_id": alert.strategy_id,
            "portfolio_id": alert.portfolio_id,
            "rule_id": alert.rule_id,
            "metric": alert.metric,
            "value": alert.value,
            "bound": alert.bound,
            "detail": alert.detail,
            "breached_at": alert.breached_at,
            "evaluated_at": alert.evaluated_at,
            "fired_at": alert.fired_at,
            "resolved_at": alert.resolved_at,
            "url": page_url(alert),
        },
    }
    return dict(jsonable(content))
