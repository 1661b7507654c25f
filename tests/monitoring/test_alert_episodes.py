"""Episodes are opened once, told once, and ended only by evidence."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from alphastrat.core.models import LiveEvent
from monitoring.models import Alert, AlertEvent, Notification, Severity, Transport
from monitoring.services import credentials, performance_alerts
from monitoring.services.performance_alerts import advance, end_orphans, observe
from strategies.models import Strategy
from tests.factories import make_user
from tests.monitoring.alert_builders import (
    NOW,
    breach,
    calm,
    firing,
    later,
    make_rule,
    plain_strategy,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def transport(alice) -> Transport:
    address = credentials.encrypt("json://localhost")
    return Transport.objects.create(owner=alice, name="Mail", kind="apprise", address=address)


def history(alert) -> list[str]:
    return [event.kind for event in AlertEvent.objects.filter(alert=alert)]


def messages(alert) -> list[str]:
    sent = Notification.objects.filter(alert=alert).order_by("queued_at", "pk")
    return [message.event.kind for message in sent.select_related("event")]


def test_a_breach_fires_once_however_often_it_is_seen(alice, transport):
    for second in range(5):
        observe([breach(alice)], at=later(second))
    alert = Alert.objects.get()
    assert (alert.state, alert.fired_at, alert.evaluated_at) == ("firing", NOW, NOW)
    assert history(alert) == ["fired"]
    assert messages(alert) == ["fired"]


def test_a_metric_within_its_bounds_opens_nothing(alice):
    assert observe([calm(alice)], at=NOW) == []
    assert not Alert.objects.exists()


def test_missing_data_neither_ends_nor_changes_an_alert(alice):
    firing(alice)
    assert observe([breach(alice, severity=None, value=None, is_missing=True)], at=later(1)) == []
    assert Alert.objects.get().state == "firing"


def test_missing_data_opens_an_alert_where_the_rule_says_so(alice):
    gone = breach(alice, value=None, is_missing=True, title="No data for drawdown")
    (alert,) = observe([gone], at=NOW)
    assert (alert.state, alert.value) == ("firing", None)
    observe([calm(alice)], at=later(60))
    assert Alert.objects.get().state == "resolved"


def test_a_recovery_is_told_with_its_duration(alice, transport):
    alert = firing(alice)
    observe([calm(alice)], at=later(7440))
    alert.refresh_from_db()
    assert (alert.state, alert.resolved_at, alert.value) == ("resolved", later(7440), -0.01)
    assert history(alert) == ["fired", "resolved"]
    assert alert.events.last().text == "Recovered after 2 h 04 min."


def test_a_new_breach_after_the_recovery_is_a_new_episode(alice):
    firing(alice)
    observe([calm(alice)], at=later(60))
    observe([breach(alice)], at=later(4000))
    assert list(Alert.objects.order_by("evaluated_at").values_list("state", flat=True)) == [
        "resolved",
        "firing",
    ]


def test_a_breach_that_worsens_is_told_and_one_that_eases_is_not(alice, transport):
    firing(alice)
    worse = breach(alice, severity=Severity.CRITICAL, value=-0.11, bound=-0.1, title="Worse")
    observe([worse], at=later(1))
    observe([worse], at=later(2))
    observe([breach(alice, value=-0.07)], at=later(3))
    alert = Alert.objects.get()
    assert (alert.severity, alert.title, alert.bound, alert.value) == (
        "critical",
        "Worse",
        -0.1,
        -0.07,
    )
    assert history(alert) == ["fired", "worsened"]
    assert messages(alert) == ["fired", "worsened"]


def test_a_pending_breach_fires_when_it_has_lasted(alice, transport):
    observe([breach(alice, pending_seconds=60)], at=NOW)
    alert = Alert.objects.get()
    assert (alert.state, alert.fired_at) == ("pending", None)
    advance(at=later(59))
    observe([breach(alice, pending_seconds=60)], at=later(59))
    assert Alert.objects.get().state == "pending"
    assert messages(alert) == []
    advance(at=later(60))
    alert.refresh_from_db()
    assert (alert.state, alert.fired_at) == ("firing", later(60))
    assert history(alert) == ["opened", "fired"]
    assert messages(alert) == ["fired"]


def test_a_pending_breach_that_ends_is_never_told(alice, transport):
    observe([breach(alice, pending_seconds=60)], at=NOW)
    observe([calm(alice)], at=later(30))
    alert = Alert.objects.get()
    assert alert.state == "resolved"
    assert messages(alert) == []
    assert advance(at=later(120)) == []


def test_the_cooldown_holds_the_next_message_back_and_then_sends_it(alice, transport):
    firing(alice, cooldown_seconds=3600)
    observe([calm(alice, cooldown_seconds=3600)], at=later(600))
    observe([breach(alice, cooldown_seconds=3600)], at=later(1200))
    second = Alert.objects.get(state="firing")
    assert second.tell_at == later(3600)
    assert messages(second) == []
    advance(at=later(3599))
    assert messages(second) == []
    advance(at=later(3600))
    advance(at=later(3700))
    assert messages(second) == ["fired"]


def test_worse_news_breaks_the_cooldown(alice, transport):
    firing(alice, cooldown_seconds=3600)
    observe([calm(alice)], at=later(600))
    worse = breach(alice, severity=Severity.CRITICAL, value=-0.2, cooldown_seconds=3600)
    (second,) = observe([worse], at=later(1200))
    assert messages(second) == ["fired"]


def test_what_comes_and_goes_is_told_once_and_stays_open_until_calm(alice, transport):
    for turn in range(2):
        observe([breach(alice)], at=later(turn * 200))
        observe([calm(alice)], at=later(turn * 200 + 100))
    (third,) = observe([breach(alice)], at=later(400))
    assert third.is_flapping
    for second in range(500, 2000, 100):
        observe([calm(alice) if second % 200 else breach(alice)], at=later(second))
    third.refresh_from_db()
    assert third.state == "firing"
    assert messages(third) == ["fired"]
    observe([calm(alice)], at=later(2100))
    observe([calm(alice)], at=later(2100 + 901))
    third.refresh_from_db()
    assert third.state == "resolved"
    assert Alert.objects.count() == 3


def test_nobody_acknowledging_in_time_escalates_once(alice, transport):
    alert = firing(alice, escalate_after_seconds=300)
    advance(at=later(299))
    assert history(alert) == ["fired"]
    advance(at=later(300))
    advance(at=later(900))
    alert.refresh_from_db()
    assert alert.escalated_at == later(300)
    assert history(alert) == ["fired", "escalated"]
    assert alert.events.last().text == "Nobody acknowledged it for 5 min 00 s."


def test_a_snooze_ends_with_its_time(alice, transport):
    alert = firing(alice)
    Alert.objects.filter(pk=alert.pk).update(snoozed_until=later(600))
    advance(at=later(599))
    assert history(alert) == ["fired"]
    advance(at=later(600))
    alert.refresh_from_db()
    assert alert.snoozed_until is None
    assert history(alert) == ["fired", "woken"]


@pytest.mark.parametrize(("value", "expected"), [(-0.079, ["fired"]), (-0.081, ["fired", "woken"])])
def test_a_snooze_ends_with_its_bound(alice, value, expected):
    alert = firing(alice)
    Alert.objects.filter(pk=alert.pk).update(snoozed_bound=-0.08)
    observe([breach(alice, value=value)], at=later(5))
    assert history(alert) == expected


def test_an_alert_ends_with_its_rule_or_strategy(alice):
    rule, strategy = make_rule(alice), plain_strategy(alice)
    alert = firing(alice, rule_id=rule.pk, strategy_id=strategy.pk)
    assert end_orphans(at=later(1)) == []
    rule.is_enabled = False
    rule.save()
    end_orphans(at=later(2))
    alert.refresh_from_db()
    assert alert.state == "resolved"


def test_pages_are_told_in_the_same_transaction_and_in_order(alice, bob):
    observe([breach(alice), breach(bob, cause="b"), breach(alice, cause="a")], at=NOW)
    observe([calm(alice)], at=later(60))
    events = LiveEvent.objects.filter(topic=f"alerts:u{alice.pk}").order_by("sequence")
    assert [(e.sequence, e.kind, e.payload["state"]) for e in events] == [
        (1, "alert", "firing"),
        (2, "alert", "firing"),
        (3, "alert_state", "resolved"),
    ]
    assert events[0].payload["limit"] == "−5.00%"
    assert LiveEvent.objects.filter(topic=f"alerts:u{bob.pk}").count() == 1


def test_nothing_is_told_of_what_is_rolled_back(alice):
    with transaction.atomic():
        firing(alice)
        transaction.set_rollback(True)
    assert not LiveEvent.objects.exists()


@pytest.mark.parametrize("turn", ["open", "worsen", "recover"])
def test_the_number_of_statements_does_not_depend_on_the_number_of_alerts(alice, transport, turn):
    def run(n, at):
        drafts = [Strategy(owner=alice, name=f"{n} {i}", plugin="rsi") for i in range(n)]
        strategies = Strategy.objects.bulk_create(drafts)
        options = [
            {"cause": f"c{n}:{i}", "strategy_id": one.pk} for i, one in enumerate(strategies)
        ]
        steps = {
            "open": [breach(alice, **given) for given in options],
            "worsen": [
                breach(alice, severity=Severity.CRITICAL, value=-0.2, **given) for given in options
            ],
            "recover": [calm(alice, **given) for given in options],
        }
        if turn != "open":
            observe(steps["open"], at=at)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            changed = observe(steps[turn], at=at + timedelta(seconds=1))
        assert len(changed) == n
        return len(queries)

    assert run(2, NOW) == run(1000, later(10)) <= 20


@pytest.mark.django_db(transaction=True)
def test_two_monitors_that_see_the_same_breach_open_one_episode():
    alice = make_user("alice")
    causes = [f"cause {i}" for i in range(30)]
    gate = threading.Barrier(2)
    found = []

    def watch(order):
        try:
            gate.wait()
            found.append(observe([breach(alice, cause=cause) for cause in order], at=NOW))
        finally:
            connection.close()

    threads = [threading.Thread(target=watch, args=[order]) for order in (causes, causes[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert Alert.objects.count() == 30
    assert AlertEvent.objects.filter(kind="fired").count() == 30
    assert sum(map(len, found)) == 30


def test_of_two_findings_about_one_cause_the_worse_counts(alice):
    observe([breach(alice, severity=Severity.CRITICAL), breach(alice), calm(alice)], at=NOW)
    assert Alert.objects.get().severity == "critical"


def test_breaches_seen_late_say_how_late(alice):
    alert = firing(alice, breached_at=NOW - timedelta(days=900), recorded_at=NOW - timedelta(0, 2))
    assert alert.detected_after == timedelta(seconds=2)
    assert performance_alerts.RANKS[None] == 0
