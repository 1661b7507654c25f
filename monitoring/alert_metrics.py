"""Alerts and the monitor's passes in /metrics, read where any process can: in the database."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.db import Error as DatabaseError
from django.db.models import Count
from django.utils.timezone import now
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alphastrat.core.heartbeats import FRESH_FOR
from alphastrat.core.models import Heartbeat
from monitoring.models import Alert

logger = logging.getLogger(__name__)

PARTS = ("alerted", "stored")


class AlertCollector(Collector):
    """Counts open alerts and repeats what the active monitor says of its passes."""

    def describe(self) -> list[Metric]:
        # Without this the registry would collect, and ask the database, while Django starts.
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            yield _open_alerts()
            yield from _monitors()
        except DatabaseError:
            logger.warning("alerts not measured: the database does not answer")


def _open_alerts() -> Metric:
    family = GaugeMetricFamily(
        "alphastrat_open_alerts",
        "Alerts that are pending or firing.",
        labels=["state", "severity", "source"],
    )
    counted = Alert.objects.open().values_list("state", "severity", "source")
    for *labels, n in counted.annotate(n=Count("pk")).order_by():
        family.add_metric(labels, n)
    return family


def _monitors() -> Iterator[Metric]:
    running = GaugeMetricFamily(
        "alphastrat_monitors", "Monitors heard of lately.", labels=["state"]
    )
    passes = GaugeMetricFamily(
        "alphastrat_monitor_pass_seconds",
        "Time from waking to the alerts of rules and to having stored all, over the last passes.",
        labels=["part", "quantile"],
    )
    states: dict[str, int] = {}
    fresh = Heartbeat.objects.filter(process="monitor", beat_at__gt=now() - FRESH_FOR)
    for beat in fresh.order_by("beat_at"):
        state = str(beat.detail.get("state", "unknown"))
        states[state] = states.get(state, 0) + 1
        if state != "standby":
            newest = beat.detail
            for part in PARTS:
                for quantile, milliseconds in (newest.get(f"{part}_ms") or {}).items():
                    passes.add_metric([part, quantile], milliseconds / 1000)
    for state, n in states.items():
        running.add_metric([state], n)
    yield running
    yield passes


def register() -> None:
    """Add alerts and passes to what /metrics shows."""
    REGISTRY.register(AlertCollector())
