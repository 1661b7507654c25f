"""Keep the installation itself healthy: lost jobs, old live events, and one monitor at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import connection

from alphastrat.core import jobs, live, schedules
from alphastrat.core.models import Heartbeat

logger = logging.getLogger(__name__)

# Any number will do as long as nothing else takes it: "monitor" in ASCII, cut to 48 bits.
MONITOR_LOCK = 0x6D6F6E69746F
EVENTS_KEPT = timedelta(hours=24)
HEARTBEATS_KEPT = timedelta(hours=1)


@contextmanager
def monitor_lock() -> Iterator[bool]:
    """Hold the lock that makes one monitor the active one; false where another has it.

    It belongs to the database session: a killed monitor loses it at once.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [MONITOR_LOCK])
        held = bool(cursor.fetchone()[0])
    try:
        yield held
    finally:
        if held:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MONITOR_LOCK])


def sweep(*, at: datetime) -> int:
    """Give back the work of lost workers; return how many jobs were sent again."""
    return jobs.requeue_lost_jobs(at=at)


def tidy(*, at: datetime) -> None:
    """Forget live events, heartbeats and recurring jobs that nobody will ask for again."""
    n_events = live.prune(before=at - EVENTS_KEPT)
    schedules.forget(before=at - schedules.KEPT)
    Heartbeat.objects.filter(beat_at__lt=at - HEARTBEATS_KEPT).delete()
    if n_events:
        logger.info("live events pruned", extra={"count": n_events})
