"""Sends what is due: outside of transactions, a bounded number at once, none of them twice.

One slow receiver holds one place, never the others' messages.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from uuid import UUID, uuid4

from django.db import Error as DatabaseError
from django.utils.timezone import now

from monitoring.models import Notification
from monitoring.models.alert import AlertEventKind
from monitoring.services import deliveries
from monitoring.services.credentials import CredentialsLost
from monitoring.services.deliveries import Outcome
from monitoring.transports.base import Delivery, DeliveryFailed, Message

logger = logging.getLogger(__name__)

PLACES = 16
RENEW_SECONDS = 5.0
# A digest quotes so many messages in full and the titles of so many more.
DIGEST_QUOTES = 5
DIGEST_TITLES = 20
RANKS = ("critical", "warning", "info")


class Sender:
    """Claims, sends and records; used by one thread, which alone talks to the database."""

    def __init__(self, *, places: int = PLACES, clock: Callable[[], datetime] = now) -> None:
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex[:8]}"
        self.counts: Counter[str] = Counter()
        self._places = places
        self._clock = clock
        self._pool = ThreadPoolExecutor(places, thread_name_prefix="send")
        self._under_way: dict[Future[Outcome], tuple[UUID, tuple[UUID, ...]]] = {}
        self._unrecorded: list[Outcome] = []
        self._renewed_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether attempts are under way, or ended and not yet recorded."""
        return bool(self._under_way or self._unrecorded)

    def begin(self, *, at: datetime, limit: int) -> int:
        """Claim due messages for the free places and start sending them; return how many."""
        free = self._places - len(self._under_way)
        if free <= 0 or limit <= 0:
            return 0
        busy = {transport for transport, _ in self._under_way.values()}
        batches = deliveries.claim(by=self.name, at=at, limit=limit, places=free, busy=busy)
        for unit in (unit for batch in batches for unit in _units(batch)):
            self._submit(unit, at=at)
        return sum(len(batch) for batch in batches)

    def settle(self, *, seconds: float) -> None:
        """Wait up to `seconds` for an attempt to end; record what ended, keep the other claims.

        While the database is away the outcomes wait here; it raises until they are recorded.
        """
        done, _ = wait(self._under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            del self._under_way[future]
            self._unrecorded.append(future.result())
        while self._unrecorded:
            deliveries.settle(self._unrecorded[0], by=self.name)
            self._count(self._unrecorded.pop(0))
        if self._under_way and time.monotonic() - self._renewed_at >= RENEW_SECONDS:
            ids = [key for _, keys in self._under_way.values() for key in keys]
            deliveries.renew(ids, by=self.name, at=self._clock())
            self._renewed_at = time.monotonic()

    def close(self, *, seconds: float) -> None:
        """End: wait for what is under way, but no longer than `seconds`."""
        deadline = time.monotonic() + seconds
        try:
            while self.is_busy and time.monotonic() < deadline:
                self.settle(seconds=0.2)
        except DatabaseError:
            logger.warning("outcomes not recorded; those messages are sent again")
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, unit: Sequence[Notification], *, at: datetime) -> None:
        ids = tuple(one.pk for one in unit)
        transport = unit[0].transport
        try:
            delivery = deliveries.opened(transport, at=at)
        except CredentialsLost as error:
            failure = DeliveryFailed(str(error), permanent=True)
            self._unrecorded.append(Outcome(ids, at, at, failure))
            return
        future = self._pool.submit(_attempt, delivery, message_about(unit), ids, self._clock)
        self._under_way[future] = (transport.pk, ids)

    def _count(self, outcome: Outcome) -> None:
        if outcome.failure is None:
            self.counts["sent"] += len(outcome.ids)
            return
        self.counts["failed"] += len(outcome.ids)
        logger.warning(
            "messages not accepted",
            extra={"count": len(outcome.ids), "reason": str(outcome.failure)},
        )


def message_about(unit: Sequence[Notification]) -> Message:
    """Return what to send: the message itself, or one digest of several."""
    first = unit[0]
    if len(unit) == 1:
        return Message(
            key=first.key,
            title=first.title,
            body=first.body,
            severity=first.payload["data"]["severity"],
            is_recovery=first.event.kind == AlertEventKind.RESOLVED,
            payload=first.payload,
        )
    severities = Counter(str(one.payload["data"]["severity"]) for one in unit)
    counted = ", ".join(f"{severities[name]} {name}" for name in RANKS if severities[name])
    last = DIGEST_QUOTES + DIGEST_TITLES
    lines = [f"{one.title}\n{one.body}\n" for one in unit[:DIGEST_QUOTES]]
    lines += [one.title for one in unit[DIGEST_QUOTES:last]]
    if len(unit) > last:
        lines.append(f"… and {len(unit) - last} more")
    return Message(
        key=first.key,
        title=f"{len(unit)} alerts: {counted}",
        body="\n".join(lines),
        severity=next(name for name in RANKS if severities[name]),
        is_recovery=all(one.event.kind == AlertEventKind.RESOLVED for one in unit),
    )


def _units(batch: Sequence[Notification]) -> list[list[Notification]]:
    """Return what is sent as one: all for a messenger together, webhooks each alone."""
    if batch[0].transport.kind == "apprise":
        return [list(batch)]
    return [[notification] for notification in batch]


def _attempt(
    delivery: Delivery, message: Message, ids: tuple[UUID, ...], clock: Callable[[], datetime]
) -> Outcome:
    sent_at = clock()
    failure = None
    try:
        delivery.send(message)
    except DeliveryFailed as refused:
        failure = refused
    except Exception as error:
        # A library's own fault must not stop the sender, nor lose the message.
        logger.exception("transport failed", extra={"key": message.key})
        failure = DeliveryFailed(f"{type(error).__name__} in the transport.", permanent=False)
    return Outcome(ids, sent_at, clock(), failure)
