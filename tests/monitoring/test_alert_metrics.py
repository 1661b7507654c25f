"""What Prometheus is told of alerts and of the monitor."""

from __future__ import annotations

import pytest
from django.utils.timezone import now
from prometheus_client import CollectorRegistry, generate_latest

from alphastrat.core.models import Heartbeat
from monitoring.alert_metrics import AlertCollector
from tests.monitoring.alert_builders import firing

pytestmark = pytest.mark.django_db


def scraped() -> list[str]:
    registry = CollectorRegistry()
    registry.register(AlertCollector())
    return generate_latest(registry).decode().splitlines()


def test_open_alerts_are_counted_by_state_severity_and_source(alice):
    firing(alice)
    firing(alice, cause="other", pending_seconds=60)
    lines = scraped()
    for state in ("firing", "pending"):
        name = f'alphastrat_open_alerts{{severity="warning",source="rule",state="{state}"}} 1.0'
        assert name in lines


def test_the_passes_of_the_active_monitor_are_told_and_the_standby_counted(alice):
    at = now()
    details = [
        {"state": "standby"},
        {"state": "active", "stored_ms": {"p50": 12.5}, "alerted_ms": {}},
    ]
    for pid, detail in enumerate(details):
        Heartbeat.objects.create(
            process="monitor", host="a", pid=pid, started_at=at, beat_at=at, detail=detail
        )
    lines = scraped()
    assert 'alphastrat_monitors{state="standby"} 1.0' in lines
    assert 'alphastrat_monitor_pass_seconds{part="stored",quantile="p50"} 0.0125' in lines
