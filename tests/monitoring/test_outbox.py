"""What is queued about an alert, for whom, and what is muted and why."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from monitoring.models import Notification, Silence
from monitoring.services.notifications import queue_for
from tests.factories import make_user
from tests.monitoring.outbox_builders import AT, make_alert, make_event, make_transport

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(db):
    return make_user()


def queued(*events) -> list[Notification]:
    queue_for(events, at=AT)
    return list(Notification.objects.order_by("transport__name", "queued_at"))


def test_an_event_is_queued_once_for_each_transport_with_a_key_of_both(alice):
    hook, mail = make_transport(alice, name="Hook"), make_transport(alice, name="Mail")
    event = make_event(make_alert(alice))
    rows = queued(event)
    assert [row.key for row in rows] == [f"{event.pk}:{hook.pk}", f"{event.pk}:{mail.pk}"]
    assert {row.status for row in rows} == {"queued"}


def test_queueing_an_event_twice_adds_nothing(alice):
    make_transport(alice)
    event = make_event(make_alert(alice))
    queue_for([event], at=AT)
    queue_for([event], at=AT)
    assert Notification.objects.count() == 1


def test_a_message_goes_to_the_owner_alone(alice):
    make_transport(make_user("bob"))
    assert queued(make_event(make_alert(alice))) == []


def test_a_transport_that_is_off_gets_nothing(alice):
    make_transport(alice, is_enabled=False)
    assert queued(make_event(make_alert(alice))) == []


@pytest.mark.parametrize(
    ("minimum", "severity", "n_queued"),
    [
        ("info", "info", 1),
        ("warning", "info", 0),
        ("warning", "warning", 1),
        ("critical", "warning", 0),
        ("critical", "critical", 1),
    ],
)
def test_a_transport_gets_what_is_severe_enough(alice, minimum, severity, n_queued):
    make_transport(alice, minimum_severity=minimum)
    assert len(queued(make_event(make_alert(alice, severity=severity)))) == n_queued


@pytest.mark.parametrize(
    ("kind", "n_queued"), [("fired", 0), ("worsened", 0), ("woken", 0), ("escalated", 1)]
)
def test_an_escalation_transport_gets_only_what_nobody_acknowledged(alice, kind, n_queued):
    make_transport(alice, is_for_escalation=True)
    assert len(queued(make_event(make_alert(alice), kind))) == n_queued


@pytest.mark.parametrize("kind", ["opened", "acknowledged", "commented", "snoozed", "feedback"])
def test_what_people_do_themselves_is_not_sent(alice, kind):
    make_transport(alice)
    assert queued(make_event(make_alert(alice), kind)) == []


def test_a_recovery_is_told_where_the_breach_was(alice):
    told = make_transport(alice, name="Told")
    alert = make_alert(alice)
    queue_for([make_event(alert)], at=AT)
    make_transport(alice, name="Added later")
    make_transport(alice, name="Wants no recovery", sends_recovery=False)
    queue_for([make_event(alert, "resolved", "Recovered after 12 min.")], at=AT)
    recovery = Notification.objects.get(event__kind="resolved")
    assert recovery.transport == told
    assert recovery.title.startswith("[OK] Resolved: ")
    assert "Recovered after 12 min." in recovery.body


def test_a_recovery_from_what_was_only_muted_is_not_told(alice):
    make_transport(alice)
    alert = make_alert(alice, snoozed_until=AT + timedelta(hours=1))
    queue_for([make_event(alert)], at=AT)
    assert queue_for([make_event(alert, "resolved")], at=AT) == 0
    assert [row.event.kind for row in Notification.objects.all()] == ["fired"]


def test_a_snoozed_alert_is_muted_and_says_so(alice):
    make_transport(alice)
    (row,) = queued(make_event(make_alert(alice, snoozed_until=AT + timedelta(hours=1))))
    assert row.status == "muted"
    assert row.mute_reason == "Snoozed until 2026-11-20 16:30 UTC"
    assert row.ended_at == AT


@pytest.mark.parametrize(
    ("matchers", "is_muted"),
    [
        ({}, True),
        ({"severity": "critical"}, True),
        ({"severity": "warning"}, False),
        ({"severity": ["warning", "critical"]}, True),
        ({"severity": "critical", "metric": "drawdown"}, True),
        ({"severity": "critical", "metric": "volatility"}, False),
        ({"strategy": "4e0d9a5c-0000-4000-8000-000000000000"}, False),
    ],
)
def test_a_silence_mutes_what_all_its_matchers_match(alice, matchers, is_muted):
    make_transport(alice)
    hours = timedelta(hours=1)
    Silence.objects.create(
        owner=alice, matchers=matchers, starts_at=AT, ends_at=AT + hours, comment="Move of servers"
    )
    (row,) = queued(make_event(make_alert(alice)))
    expected = "Silence until 2026-11-20 16:30 UTC: Move of servers" if is_muted else ""
    assert row.mute_reason == expected


@pytest.mark.parametrize("start", [-2, 1])
def test_a_silence_mutes_nothing_outside_its_time(alice, start):
    make_transport(alice)
    begins = AT + timedelta(hours=start)
    Silence.objects.create(
        owner=alice, starts_at=begins, ends_at=begins + timedelta(hours=1), comment="Over"
    )
    (row,) = queued(make_event(make_alert(alice)))
    assert row.status == "queued"


def test_somebody_elses_silence_mutes_nothing(alice):
    make_transport(alice)
    Silence.objects.create(
        owner=make_user("bob"), starts_at=AT, ends_at=AT + timedelta(hours=1), comment="Mine"
    )
    assert queue_for([make_event(make_alert(alice))], at=AT) == 1


def test_what_is_queued_is_undone_with_the_fact(alice):
    make_transport(alice)
    event = make_event(make_alert(alice))
    with transaction.atomic():
        queue_for([event], at=AT)
        transaction.set_rollback(True)
    assert not Notification.objects.exists()


@pytest.mark.parametrize("n_events", [2, 20])
def test_queueing_costs_the_same_number_of_statements_however_many_events(
    alice, n_events, django_assert_num_queries
):
    make_transport(alice, name="Hook")
    make_transport(alice, name="Mail")
    alerts = [make_alert(alice) for _ in range(n_events)]
    queue_for([make_event(alert) for alert in alerts], at=AT)
    events = [make_event(alert, "resolved") for alert in alerts]
    # Alerts, transports, silences, who heard of it, the insert (savepoint around it), the wake-up.
    with django_assert_num_queries(6):
        assert queue_for(events, at=AT) == 2 * n_events


def test_the_link_of_a_message_leads_to_the_alert(alice, settings):
    settings.SITE_URL = "https://alpha.example.org"
    make_transport(alice)
    alert = make_alert(alice)
    (row,) = queued(make_event(alert))
    url = f"https://alpha.example.org{alert.get_absolute_url()}"
    assert row.payload["data"]["url"] == url
    assert url in row.body
