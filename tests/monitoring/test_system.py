"""Only administrators see the state of the installation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from alphastrat.core.models import Heartbeat, LiveEvent
from monitoring.services import system_monitor
from monitoring.services.alert_speed import alert_speed
from monitoring.services.system_health import queue
from tests.factories import make_job, make_user, signed_in
from tests.monitoring.alert_builders import firing

pytestmark = pytest.mark.django_db


def test_a_trader_is_refused_and_an_administrator_sees_the_checks():
    assert signed_in(make_user("bob")).get("/system/").status_code == 403
    response = signed_in(make_user("alice", role="admin")).get("/system/")
    assert response.status_code == 200
    assert "channel layer" in response.content.decode().lower()


def test_the_queue_counts_everybody_s_jobs():
    at = now()
    for status in ("queued", "failed", "succeeded", "succeeded"):
        make_job(status=status)
    make_job(status="failed", finished_at=at - timedelta(days=2))
    seen = queue(at=at + timedelta(seconds=10))
    assert (seen.n_queued, seen.n_failed, seen.n_succeeded) == (1, 1, 2)
    assert seen.oldest_wait >= timedelta(seconds=9)


def test_old_live_events_and_dead_processes_are_forgotten():
    at = now()
    LiveEvent.objects.create(topic="system", sequence=1, kind="note", payload={})
    LiveEvent.objects.create(topic="system", sequence=2, kind="note", payload={})
    LiveEvent.objects.filter(sequence=1).update(created_at=at - timedelta(days=2))
    Heartbeat.objects.create(
        process="worker", host="a", pid=1, started_at=at, beat_at=at - timedelta(hours=2)
    )
    system_monitor.tidy(at=at)
    assert list(LiveEvent.objects.values_list("sequence", flat=True)) == [2]
    assert not Heartbeat.objects.exists()


def test_one_monitor_holds_the_lock_at_a_time():
    with system_monitor.monitor_lock() as first:
        assert first
    with system_monitor.monitor_lock() as again:
        assert again


def test_metric_definitions_name_their_formula_and_source():
    html = signed_in(make_user("alice")).get("/help/metrics/").content.decode()
    assert 'id="sharpe_ratio"' in html
    assert "<math" in html
    assert "Bacon (2008)" in html


def test_the_speed_of_alerts_is_told_against_its_limits():
    at = now()
    alice = make_user("alice", role="admin")
    assert [step.status for step in alert_speed(at=at)] == ["no_data", "no_data"]
    for i, late in enumerate((1, 1, 90)):
        firing(alice, at=at, cause=str(i), breached_at=at - timedelta(seconds=late))
    detected, delivered = alert_speed(at=at)
    assert (detected.n_alerts, detected.median) == (3, timedelta(seconds=1))
    assert (detected.longest, detected.status) == (timedelta(seconds=90), "breach")
    assert delivered.status == "no_data"
    assert "Alerts of the last day" in signed_in(alice).get("/system/").content.decode()
