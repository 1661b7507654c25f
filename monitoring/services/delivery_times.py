"""How long each step from breach to acceptance takes: counted per stage, for /metrics.

The counts live in the database, because the process that sends is not the one that is scraped;
they only grow, as Prometheus expects of a histogram, and reading them costs the same for ever.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from monitoring.models import Notification
from monitoring.models.notification import DeliveryTimes

# Upper bounds in seconds; what is longer falls into one more bucket.
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
STAGES = (
    "breach_to_evaluated",
    "evaluated_to_stored",
    "stored_to_sent",
    "sent_to_accepted",
    "breach_to_accepted",
)


def record(
    notifications: Sequence[Notification], *, sent_at: datetime, accepted_at: datetime
) -> None:
    """Count the times of accepted messages; call in the transaction that settles them."""
    if not notifications:
        return
    DeliveryTimes.objects.bulk_create(
        [DeliveryTimes(stage=stage, counts=_empty()) for stage in STAGES], ignore_conflicts=True
    )
    rows = {row.stage: row for row in DeliveryTimes.objects.order_by("stage").select_for_update()}
    for notification in notifications:
        for stage, took in times(notification, sent_at=sent_at, accepted_at=accepted_at):
            seconds = max(took.total_seconds(), 0.0)
            row = rows[stage]
            row.counts[bisect_left(BOUNDS, seconds)] += 1
            row.total_seconds += seconds
    DeliveryTimes.objects.bulk_update(rows.values(), ["counts", "total_seconds"])


def times(
    notification: Notification, *, sent_at: datetime, accepted_at: datetime
) -> Iterator[tuple[str, timedelta]]:
    """Return how long each stage of one message took.

    Bars that are replayed closed years before they were stored: there the clock starts with the
    storage.
    """
    alert = notification.alert
    breached_at = max(alert.breached_at, alert.recorded_at or alert.breached_at)
    yield "breach_to_evaluated", alert.evaluated_at - breached_at
    yield "evaluated_to_stored", notification.stored_at - alert.evaluated_at
    yield "stored_to_sent", sent_at - notification.stored_at
    yield "sent_to_accepted", accepted_at - sent_at
    yield "breach_to_accepted", accepted_at - breached_at


def _empty() -> list[int]:
    return [0] * (len(BOUNDS) + 1)
