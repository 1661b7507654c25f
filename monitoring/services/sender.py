"""The sender as a thread of the monitor, or as a process of its own (`manage.py send_alerts`)."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from django.db import Error as DatabaseError
from django.db import connection
from django.utils.timezone import now

from alphastrat.core.notify import SWEEP_SECONDS, Listener
from monitoring.services import deliveries
from monitoring.services.notifications import OUTBOX
from monitoring.services.sending import Sender

logger = logging.getLogger(__name__)

BATCH = 200
BUSY_SECONDS = 0.02
RECONNECT_SECONDS = 0.5
CLOSE_SECONDS = 15.0


def run(listener: Listener) -> None:
    """Send what comes due until the listener is stopped; a lost database is waited for."""
    sender = Sender()
    is_lost = False
    try:
        while not listener.is_stopped:
            try:
                _turn(sender, listener)
                is_lost = False
            except DatabaseError as error:
                if not is_lost:
                    logger.warning("sender lost the database", extra={"reason": str(error)[:200]})
                is_lost = True
                connection.close()
                threading.Event().wait(RECONNECT_SECONDS)
    finally:
        sender.close(seconds=CLOSE_SECONDS)
        connection.close()


def _turn(sender: Sender, listener: Listener) -> None:
    if sender.is_busy:
        sender.settle(seconds=BUSY_SECONDS)
    if sender.begin(at=now(), limit=BATCH) or sender.is_busy:
        return
    listener.wait(_idle_seconds(deliveries.next_due(), at=now()))


def _idle_seconds(due_at: datetime | None, *, at: datetime) -> float:
    if due_at is None:
        return SWEEP_SECONDS
    return min(max((due_at - at).total_seconds(), BUSY_SECONDS), SWEEP_SECONDS)


class SenderThread:
    """Sends in the background of another process; start it, and stop it before that ends."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to send; does nothing while it already runs."""
        if self.is_alive:
            return
        self._listener = listener = Listener(OUTBOX)
        self._thread = threading.Thread(target=run, args=[listener], name="sender", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End once what is under way has ended."""
        if self._thread is None or self._listener is None:
            return
        self._listener.stop()
        self._thread.join(CLOSE_SECONDS + 5)
        self._listener.close()
        self._thread = self._listener = None
