"""The outbox in /metrics: times from breach to acceptance, and what waits or was given up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import accumulate

from django.db import Error as DatabaseError
from django.db.models import Count
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.models import Notification, NotificationStatus
from monitoring.models.notification import UNSENT, DeliveryTimes
from monitoring.services.delivery_times import BOUNDS

logger = logging.getLogger(__name__)

WATCHED = (*UNSENT, NotificationStatus.DEAD)


class OutboxCollector(Collector):
    """Reads the counts that the senders keep in the database."""

    def describe(self) -> list[Metric]:
        # Without this the registry would collect, and ask the database, while Django starts.
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            yield _times()
            yield _waiting()
        except DatabaseError:
            logger.warning("outbox not measured: the database does not answer")


def _times() -> Metric:
    family = HistogramMetricFamily(
        "alphastrat_delivery_seconds",
        "Time of each stage from a breach to the acceptance of its message.",
        labels=["stage"],
    )
    names = [*(str(bound) for bound in BOUNDS), "+Inf"]
    for row in DeliveryTimes.objects.order_by("stage"):
        buckets = list(zip(names, accumulate(row.counts), strict=True))
        family.add_metric([row.stage], buckets, sum_value=row.total_seconds)
    return family


def _waiting() -> Metric:
    family = GaugeMetricFamily(
        "alphastrat_notifications", "Messages that wait or were given up.", labels=["status"]
    )
    counted = Notification.objects.filter(status__in=WATCHED).values_list("status")
    known = dict(counted.annotate(n=Count("pk")).order_by())
    for status in WATCHED:
        family.add_metric([status.value], known.get(status.value, 0))
    return family


def register() -> None:
    """Add the outbox to what /metrics shows."""
    REGISTRY.register(OutboxCollector())
