"""Old deliveries are forgotten once a day; what may still matter stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from alphastrat.core import jobs, schedules
from monitoring.models import Alert, Notification
from monitoring.services import delivery_retention
from tests.monitoring.outbox_builders import make_alert, make_event, make_transport

OLD, RECENT = timedelta(days=91), timedelta(days=89)


def deliver(owner, *, age, status="sent", state="resolved"):
    event = make_event(make_alert(owner, state=state))
    transport = owner.transports.first() or make_transport(owner)
    at = now() - age
    return Notification.objects.create(
        alert=event.alert,
        event=event,
        transport=transport,
        status=status,
        key=f"{event.pk}",
        title="Drawdown",
        body="",
        queued_at=at,
        due_at=at,
        claimed_at=at,
        ended_at=None if status in ("queued", "sending") else at,
        mute_reason="Silenced" if status == "muted" else "",
    )


def forget():
    schedules.start("forget-old-deliveries")
    job = jobs.Job.objects.latest("created_at")
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    return job.result["deleted"]


@pytest.mark.parametrize("status", ["sent", "muted", "dead"])
def test_what_ended_long_ago_goes_and_its_alert_stays(alice, status, sent):
    gone, kept = (deliver(alice, age=age, status=status) for age in (OLD, RECENT))
    assert forget() == 1
    assert list(Notification.objects.all()) == [kept]
    assert Alert.objects.filter(pk=gone.alert_id).exists()


@pytest.mark.parametrize("fields", [{"status": "queued"}, {"status": "sending"}])
def test_what_has_not_been_sent_stays(alice, fields, sent):
    deliver(alice, age=OLD, **fields)
    assert forget() == 0


@pytest.mark.parametrize("state", ["firing", "pending"])
def test_deliveries_of_an_open_alert_stay(alice, state, sent):
    deliver(alice, age=OLD, state=state)
    assert forget() == 0


def test_zero_days_keep_everything(alice, settings, sent):
    settings.DELIVERY_RETENTION_DAYS = 0
    deliver(alice, age=OLD)
    assert forget() == 0


def test_more_than_a_batch_goes_in_several_statements(alice, monkeypatch):
    monkeypatch.setattr(delivery_retention, "BATCH", 2)
    for _ in range(5):
        deliver(alice, age=OLD)
    assert delivery_retention.forget_old_deliveries(before=now()) == 5
