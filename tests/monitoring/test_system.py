"""Only administrators see the state of the installation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from alphastrat.core.models import Heartbeat, LiveEvent
from monitoring.services import system_monitor
from monitoring.services.alert_speed import alert_speed, pass_speed
from monitoring.services.system_health import queue
from tests.factories import make_job, make_user, signed_in
from tests.monitoring.alert_builders import firing
from tests.monitoring.outbox_builders import make_transport

pytestmark = pytest.mark.django_db
# Seconds after the breach at which a message was stored, sent and accepted.
STAMPS = {"queued_at": 0, "due_at": 0, "stored_at": 1, "sent_at": 3}
STAMPS |= {"accepted_at": 7, "ended_at": 7}


def test_a_trader_is_refused_and_an_administrator_sees_the_checks():
    assert signed_in(make_user("bob")).get("/system/").status_code == 403
    response = signed_in(make_user("alice", role="admin")).get("/system/")
    assert response.status_code == 200
    assert "channel layer" in response.content.decode().lower()
    assert 'data-label="What to do"' in response.content.decode()


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
    assert [step.status for step in alert_speed(at=at)] == ["no_data"] * 5
    for i, late in enumerate((1, 1, 90)):
        firing(alice, at=at, cause=str(i), breached_at=at - timedelta(seconds=late))
    detected, *_, delivered = alert_speed(at=at)
    assert (detected.n, detected.median) == (3, timedelta(seconds=1))
    assert (detected.longest, detected.status) == (timedelta(seconds=90), "breach")
    assert delivered.status == "no_data"
    html = signed_in(alice).get("/system/").content.decode()
    assert "How fast alerts are" in html
    assert "Open sockets" in html


def test_each_step_of_a_message_is_timed_alone():
    at = now()
    alice = make_user("alice")
    alert = firing(alice, at=at)
    event = alert.events.create(kind="fired", happened_at=at)
    times = {name: at + timedelta(seconds=s) for name, s in STAMPS.items()}
    make_transport(alice).notifications.create(
        alert=alert, event=event, key="k", title="t", body="b", status="sent", **times
    )
    steps = {step.label: step.longest for step in alert_speed(at=at)}
    assert steps["Fired to stored"] == timedelta(seconds=1)
    assert steps["Stored to sent"] == timedelta(seconds=2)
    assert steps["Sent to accepted"] == timedelta(seconds=4)
    assert steps["Fired to accepted"] == timedelta(seconds=7)


def test_the_monitors_own_times_are_told():
    at = now()
    assert [step.status for step in pass_speed(at=at)] == ["no_data", "no_data"]
    said = {"state": "active", "n_passes": 7, "alerted_ms": {"p50": 5, "p95": 9, "max": 40_000}}
    Heartbeat.objects.create(
        process="monitor", host="h", pid=1, started_at=at, beat_at=at, detail=said
    )
    told, stored = pass_speed(at=at)
    assert (told.n, told.median, told.status) == (7, timedelta(milliseconds=5), "warn")
    assert stored.status == "no_data"
