"""Forgetting old deliveries, so that the outbox does not grow for ever."""

from __future__ import annotations

from datetime import datetime

from monitoring.models import Notification
from monitoring.models.alert import OPEN_STATES
from monitoring.models.notification import UNSENT

# Rows that one statement deletes: the sender is never kept waiting.
BATCH = 5_000


def forget_old_deliveries(*, before: datetime) -> int:
    """Delete deliveries that ended before an instant; return how many.

    What has not been sent stays, and so do the deliveries of alerts that are still open: they
    say what has been told already. Alerts and their history stay for ever.
    """
    old = Notification.objects.filter(ended_at__lt=before).exclude(status__in=UNSENT)
    old = old.exclude(alert__state__in=OPEN_STATES)
    n_deleted = 0
    while ids := list(old.order_by("ended_at").values_list("pk", flat=True)[:BATCH]):
        n_deleted += Notification.objects.filter(pk__in=ids).delete()[0]
    return n_deleted
