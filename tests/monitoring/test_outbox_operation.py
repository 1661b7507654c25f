"""Operators see what is stuck, given up or unreadable; Prometheus sees the times."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import Error, connection
from prometheus_client import REGISTRY, generate_latest

from alphastrat.core.doctor import OPERATION, READINESS, Verdict, run_checks
from monitoring import doctor
from monitoring.models import Notification
from monitoring.services.notifications import queue_for, send_due
from tests.factories import make_user
from tests.monitoring.outbox_builders import AT, make_alert, make_event, make_transport
from tests.monitoring.receivers import receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(db):
    return make_user()


def queue(owner, n: int = 1) -> None:
    queue_for([make_event(make_alert(owner)) for _ in range(n)], at=AT)


def test_doctor_asks_about_deliveries_but_readiness_does_not():
    names = {finding.name for finding in run_checks(OPERATION, at=AT)}
    assert {"deliveries", "transport credentials"} <= names
    assert "deliveries" not in {finding.name for finding in run_checks(READINESS, at=AT)}


def test_doctor_finds_lost_keys(alice, settings):
    make_transport(alice, name="Ops channel")
    assert doctor.transport_credentials(AT).status == Verdict.OK
    settings.ENCRYPTION_KEYS = ["A" * 43 + "="]
    finding = doctor.transport_credentials(AT)
    assert finding.status == Verdict.ERROR
    assert "Ops channel" in finding.detail


def test_doctor_finds_messages_that_nothing_sends(alice):
    make_transport(alice)
    queue(alice)
    assert doctor.deliveries(AT).status == Verdict.OK
    assert doctor.deliveries(AT + timedelta(minutes=2)).status == Verdict.ERROR


def test_doctor_finds_messages_that_were_given_up(alice):
    make_transport(alice)
    queue(alice)
    Notification.objects.update(status="dead", ended_at=AT)
    assert doctor.deliveries(AT).status == Verdict.WARNING
    assert doctor.deliveries(AT + timedelta(days=2)).status == Verdict.OK


def test_metrics_hold_the_times_of_every_stage_and_what_waits(alice, settings):
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    with receiver() as hook:
        make_transport(alice, url=hook.origin)
        queue(alice, 2)
        send_due(at=AT, limit=10)
        queue(alice)
    text = generate_latest(REGISTRY).decode()
    for stage in ("breach_to_evaluated", "stored_to_sent", "sent_to_accepted"):
        assert f'alphastrat_delivery_seconds_count{{stage="{stage}"}} 2.0' in text
    assert 'alphastrat_notifications{status="queued"} 1.0' in text


def test_metrics_leave_the_outbox_out_while_the_database_is_away(monkeypatch):
    def refuse(*args, **options):
        raise Error("connection refused")

    monkeypatch.setattr(connection, "cursor", refuse)
    assert "alphastrat_delivery_seconds" not in generate_latest(REGISTRY).decode()


def test_the_command_sends_what_is_due_and_says_how_much(alice, settings, capsys):
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    with receiver() as hook:
        make_transport(alice, url=hook.origin)
        queue(alice, 3)
        call_command("send_alerts")
    assert capsys.readouterr().out == "3 sent, 0 not accepted\n"


def test_credentials_are_rotated_to_a_key_of_the_command(alice, settings, capsys):
    make_transport(alice)
    call_command("encryption_key")
    settings.ENCRYPTION_KEYS = [capsys.readouterr().out.strip(), *settings.ENCRYPTION_KEYS]
    call_command("rotate_credentials")
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    assert doctor.transport_credentials(AT).status == Verdict.OK
