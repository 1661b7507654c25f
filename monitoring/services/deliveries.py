"""The sender's side of the outbox: claims, outcomes, and the times that each step took.

A claim moves `due_at` into the future and is renewed while the attempt lasts. A sender that dies
stops renewing, and what it had claimed comes due again by itself: sent at least once, always with
the same key.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min

from monitoring.models import Notification, NotificationStatus, Transport
from monitoring.models.alert import AlertEventKind
from monitoring.models.notification import UNSENT
from monitoring.services import credentials, delivery_times
from monitoring.transports import webhook
from monitoring.transports.base import Delivery, DeliveryFailed
from monitoring.transports.messenger import Messenger

LEASE = timedelta(seconds=20)
# Waits between attempts: 5 s, 15 s, 45 s … one hour, each shortened by up to half by chance, so
# that what failed together does not come back together.
FIRST_WAIT_SECONDS = 5.0
WAIT_FACTOR = 3.0
LONGEST_WAIT_SECONDS = 3600.0
MAX_ATTEMPTS = 12
KEY_OVERLAP = timedelta(hours=24)
# A messenger takes so many alerts as one message; a webhook each on its own, so many at once.
DIGEST_SIZE = 50
WEBHOOKS_AT_ONCE = 4
# After a failure what else waits for that transport waits as well, but not as long.
LONGEST_HOLD = timedelta(seconds=30)

# Transports take turns by their oldest message, and share the free places.
_CLAIM = """
    WITH due AS (
        SELECT n.id, n.transport_id, t.kind, min(n.due_at) OVER same AS first_due,
               row_number() OVER (same ORDER BY n.due_at, n.id) AS place
        FROM monitoring_notification AS n JOIN monitoring_transport AS t ON t.id = n.transport_id
        WHERE n.status IN ('queued', 'sending') AND n.due_at <= %(at)s
          AND n.transport_id <> ALL (%(busy)s)
        WINDOW same AS (PARTITION BY n.transport_id)
    ), ranked AS (
        SELECT *, dense_rank() OVER (ORDER BY first_due, transport_id) AS turn FROM due
    ), mine AS (
        SELECT n.id FROM monitoring_notification AS n JOIN ranked AS r ON r.id = n.id
        WHERE r.turn <= %(places)s
          AND r.place <= CASE r.kind WHEN 'apprise' THEN %(digest)s ELSE
              greatest(1, least(%(webhooks)s, %(places)s / (SELECT max(turn) FROM ranked))) END
          AND n.status IN ('queued', 'sending') AND n.due_at <= %(at)s
        ORDER BY n.due_at LIMIT %(limit)s
        FOR UPDATE OF n SKIP LOCKED
    )
    UPDATE monitoring_notification AS n
    SET status = 'sending', claimed_at = %(at)s, claimed_by = %(by)s, due_at = %(until)s,
        attempts = n.attempts + 1
    FROM mine WHERE n.id = mine.id
    RETURNING n.id
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: `failure` is None where the message was accepted."""

    ids: tuple[UUID, ...]
    sent_at: datetime
    ended_at: datetime
    failure: DeliveryFailed | None = None


def claim(
    *, by: str, at: datetime, limit: int, places: int, busy: Collection[UUID] = ()
) -> list[list[Notification]]:
    """Claim up to `limit` due messages for `places` attempts at once, none of `busy` transports.

    Two senders never claim the same message: rows that one has locked are skipped by the other,
    and a claimed row is not due while its claim is renewed. Return them by transport.
    """
    values: dict[str, Any] = {
        "at": at,
        "by": by,
        "until": at + LEASE,
        "limit": limit,
        "places": places,
        "busy": list(busy),
        "digest": DIGEST_SIZE,
        "webhooks": WEBHOOKS_AT_ONCE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        ids = [row[0] for row in cursor.fetchall()]
    if not ids:
        return []
    claimed = Notification.objects.filter(pk__in=ids).select_related("transport", "event")
    by_transport: dict[UUID, list[Notification]] = {}
    for notification in claimed.order_by("queued_at", "pk"):
        by_transport.setdefault(notification.transport_id, []).append(notification)
    return list(by_transport.values())


def renew(ids: Collection[UUID], *, by: str, at: datetime) -> None:
    """Keep claims while their attempts last."""
    mine = Notification.objects.filter(pk__in=ids, claimed_by=by)
    mine.filter(status=NotificationStatus.SENDING).update(due_at=at + LEASE)


def next_due() -> datetime | None:
    """Return when the next message comes due; None while the outbox is empty."""
    unsent = Notification.objects.filter(status__in=UNSENT)
    return unsent.aggregate(first=Min("due_at"))["first"]


@transaction.atomic
def settle(outcome: Outcome, *, by: str) -> None:
    """Record an outcome, unless somebody else has taken the message up meanwhile."""
    ours = Notification.objects.filter(
        pk__in=outcome.ids, claimed_by=by, status=NotificationStatus.SENDING
    )
    if outcome.failure is not None:
        failed = list(ours.select_for_update().order_by("pk"))
        for notification in failed:
            _put_off(notification, outcome, outcome.failure)
        if failed and not outcome.failure.permanent:
            _hold_back(failed[0])
        return
    settled = list(ours.select_for_update().select_related("alert", "event").order_by("pk"))
    Notification.objects.filter(pk__in=[row.pk for row in settled]).update(
        status=NotificationStatus.SENT,
        sent_at=outcome.sent_at,
        accepted_at=outcome.ended_at,
        ended_at=outcome.ended_at,
        error="",
    )
    fired = [row for row in settled if row.event.kind == AlertEventKind.FIRED]
    delivery_times.record(fired, sent_at=outcome.sent_at, accepted_at=outcome.ended_at)


def wait_seconds(attempts: int, *, chance: float) -> float:
    """Return the wait after `attempts` failures; `chance` in [0, 1) shortens it by up to half."""
    wait = FIRST_WAIT_SECONDS * WAIT_FACTOR ** (attempts - 1)
    return min(wait, LONGEST_WAIT_SECONDS) * (1 - chance / 2)


def opened(transport: Transport, *, at: datetime) -> Delivery:
    """Return the transport ready to send, with its credentials decrypted."""
    address = credentials.decrypt(transport.address)
    if transport.kind == Transport.Kind.APPRISE:
        return Messenger(address)
    secrets = [credentials.decrypt(transport.signing_key)]
    rotated_at = transport.key_rotated_at
    if transport.previous_signing_key and rotated_at and at < rotated_at + KEY_OVERLAP:
        secrets.append(credentials.decrypt(transport.previous_signing_key))
    return webhook.Webhook(address, secrets)


def mute_unsent(transport: Transport, *, reason: str, at: datetime) -> int:
    """Mute what still waits for a transport that has been switched off."""
    waiting = Notification.objects.filter(transport=transport, status=NotificationStatus.QUEUED)
    return waiting.update(status=NotificationStatus.MUTED, mute_reason=reason, ended_at=at)


def _put_off(notification: Notification, outcome: Outcome, failure: DeliveryFailed) -> None:
    attempts = notification.attempts
    given_up = failure.permanent or attempts >= MAX_ATTEMPTS
    # Not a secret: what failed together shall not come back together.
    wait = wait_seconds(attempts, chance=random.random())
    wait = max(wait, failure.retry_after_seconds or 0.0)
    notification.status = NotificationStatus.DEAD if given_up else NotificationStatus.QUEUED
    notification.due_at = outcome.ended_at + timedelta(seconds=wait)
    notification.ended_at = outcome.ended_at if given_up else None
    notification.sent_at = outcome.sent_at
    notification.claimed_by = ""
    notification.error = str(failure)[:500]
    notification.save(
        update_fields=["status", "due_at", "ended_at", "sent_at", "claimed_by", "error"]
    )


def _hold_back(failed: Notification) -> None:
    """Put off what else waits for a transport that does not answer."""
    until = min(failed.due_at, (failed.sent_at or failed.due_at) + LONGEST_HOLD)
    waiting = Notification.objects.filter(
        transport=failed.transport_id, status=NotificationStatus.QUEUED, due_at__lt=until
    )
    waiting.update(due_at=until)
