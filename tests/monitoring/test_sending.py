"""Messages leave the outbox at least once, with the same key, and never twice at the same time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from monitoring.models import Notification, Transport
from monitoring.models.notification import DeliveryTimes
from monitoring.services import credentials, deliveries
from monitoring.services.deliveries import MAX_ATTEMPTS, wait_seconds
from monitoring.services.notifications import (
    Sent,
    queue_for,
    send_dead_again,
    send_due,
)
from monitoring.services.sending import message_about
from monitoring.transports import webhook
from tests.factories import make_user
from tests.monitoring.outbox_builders import AT, make_alert, make_event, make_transport
from tests.monitoring.receivers import receiver

pytestmark = pytest.mark.django_db

LATER = timedelta(days=1)


@pytest.fixture
def alice(db):
    return make_user()


@pytest.fixture(autouse=True)
def quick(settings, monkeypatch):
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    monkeypatch.setattr(webhook, "ATTEMPT_SECONDS", 0.5)


def queue(owner, n: int = 1, **fields) -> list[Notification]:
    events = [make_event(make_alert(owner, **fields)) for _ in range(n)]
    queue_for(events, at=AT)
    return list(Notification.objects.order_by("queued_at", "pk"))


def send(at=AT, limit=100) -> Sent:
    return send_due(at=at, limit=limit)


def test_an_accepted_message_is_sent_once_and_its_times_are_kept(alice):
    with receiver() as hook:
        make_transport(alice, url=hook.origin)
        (row,) = queue(alice)
        assert send() == Sent(n_sent=1, n_failed=0)
        assert send() == Sent(n_sent=0, n_failed=0)
    row.refresh_from_db()
    assert row.status == "sent"
    assert hook.keys == [row.key]
    assert row.sent_at <= row.accepted_at == row.ended_at
    assert row.delay == row.accepted_at - row.stored_at


def test_accepted_messages_are_counted_by_stage(alice):
    with receiver() as hook:
        make_transport(alice, url=hook.origin)
        queue(alice, 3)
        send()
    rows = {row.stage: row for row in DeliveryTimes.objects.all()}
    assert len(rows) == 5
    assert {sum(row.counts) for row in rows.values()} == {3}
    assert rows["breach_to_evaluated"].counts[0] == 3  # breached, seen at the same instant


def test_a_failure_is_tried_again_later_with_the_same_key(alice):
    with receiver(503) as hook:
        make_transport(alice, url=hook.origin)
        (row,) = queue(alice)
        assert send() == Sent(n_sent=0, n_failed=1)
        row.refresh_from_db()
        assert (row.status, row.attempts) == ("queued", 1)
        assert row.error == "The receiver answered 503."
        assert row.due_at > now()
        assert send(at=now()) == Sent(0, 0)
        hook.behaviour = 200
        assert send(at=now() + LATER) == Sent(n_sent=1, n_failed=0)
    row.refresh_from_db()
    assert (row.status, row.attempts, row.error) == ("sent", 2, "")
    assert hook.keys == [row.key] * 2


def test_waits_grow_to_an_hour_and_chance_shortens_them_by_up_to_half():
    full = [wait_seconds(attempts, chance=0.0) for attempts in range(1, 10)]
    assert full == [5, 15, 45, 135, 405, 1215, 3600, 3600, 3600]
    assert wait_seconds(3, chance=1.0) == 22.5


def test_a_message_is_given_up_after_the_last_attempt_and_can_be_sent_again(alice):
    with receiver(500) as hook:
        make_transport(alice, url=hook.origin)
        (row,) = queue(alice)
        for _ in range(MAX_ATTEMPTS):
            send(at=now() + LATER)
        row.refresh_from_db()
        assert (row.status, row.attempts) == ("dead", MAX_ATTEMPTS)
        assert row.ended_at is not None
        assert send(at=now() + LATER) == Sent(0, 0)
        hook.behaviour = 200
        assert send_dead_again(Notification.objects.all(), at=AT) == 1
        assert send() == Sent(n_sent=1, n_failed=0)
    assert len(set(hook.keys)) == 1
    assert send_dead_again(Notification.objects.all(), at=AT) == 0


def test_a_refusal_is_given_up_at_once(alice):
    with receiver(404) as hook:
        make_transport(alice, url=hook.origin)
        (row,) = queue(alice)
        send()
    row.refresh_from_db()
    assert (row.status, row.attempts) == ("dead", 1)


def test_the_receivers_wish_to_wait_is_granted(alice):
    with receiver(429, headers={"Retry-After": "1800"}) as hook:
        make_transport(alice, url=hook.origin)
        (row,) = queue(alice)
        send()
    row.refresh_from_db()
    assert row.due_at - row.sent_at >= timedelta(minutes=30)


def test_a_slow_receiver_holds_up_nobody_else(alice):
    with receiver("hang") as slow, receiver() as quick:
        make_transport(alice, name="Slow", url=slow.origin)
        make_transport(alice, name="Quick", url=quick.origin)
        queue(alice, 30)
        send()
        assert len(quick.requests) == 30
        # Four at a time, and the others wait with them.
        assert len(slow.requests) == 4
    waiting = Notification.objects.filter(transport__name="Slow")
    assert waiting.filter(status="queued").count() == 30
    assert all(row.due_at > AT for row in waiting)


def test_a_claimed_message_is_not_claimed_again_while_its_claim_lasts(alice):
    make_transport(alice)
    queue(alice)
    (batch,) = deliveries.claim(by="one", at=AT, limit=10, places=4)
    assert deliveries.claim(by="two", at=AT + deliveries.LEASE / 2, limit=10, places=4) == []
    deliveries.renew([batch[0].pk], by="one", at=AT + deliveries.LEASE / 2)
    assert deliveries.claim(by="two", at=AT + deliveries.LEASE, limit=10, places=4) == []


def test_the_claim_of_a_dead_sender_is_taken_up_and_its_late_outcome_ignored(alice):
    make_transport(alice)
    (row,) = queue(alice)
    deliveries.claim(by="dead", at=AT, limit=10, places=4)
    ((taken,),) = deliveries.claim(by="heir", at=AT + deliveries.LEASE, limit=10, places=4)
    assert (taken.key, taken.attempts) == (row.key, 2)
    deliveries.settle(deliveries.Outcome((row.pk,), AT, AT), by="dead")
    row.refresh_from_db()
    assert row.status == "sending"


@pytest.mark.parametrize("places", [1, 4, 16])
def test_a_claim_takes_no_more_webhooks_than_there_are_places(alice, places):
    for number in range(6):
        make_transport(alice, name=f"Hook {number}")
    queue(alice, 10)
    batches = deliveries.claim(by="one", at=AT, limit=1000, places=places)
    n_claimed = sum(len(batch) for batch in batches)
    assert 0 < n_claimed <= places
    assert Notification.objects.filter(status="sending").count() == n_claimed


def test_a_messenger_gets_many_alerts_as_one_message(alice):
    make_transport(alice, kind="apprise", url="json://127.0.0.1:9/")
    queue(alice, 30, severity="warning")
    queue(alice, 2)
    (batch,) = deliveries.claim(by="one", at=AT, limit=1000, places=1)
    message = message_about(batch)
    assert message.title == "32 alerts: 2 critical, 30 warning"
    assert message.severity == "critical"
    assert message.body.endswith("… and 7 more")


def test_a_messenger_is_reached_and_told_the_reference(alice):
    with receiver(200) as hook:
        make_transport(alice, kind="apprise", url=hook.origin.replace("http://", "json://"))
        (row,) = queue(alice)
        hook.requests.clear()
        assert send() == Sent(n_sent=1, n_failed=0)
    assert row.key in hook.requests[0][2].decode()


@pytest.mark.parametrize(("status", "expected"), [(403, "dead"), (500, "queued")])
def test_what_a_messenger_answers_decides_whether_to_try_again(alice, status, expected):
    with receiver(status) as hook:
        make_transport(alice, kind="apprise", url=hook.origin.replace("http://", "json://"))
        (row,) = queue(alice)
        send()
    row.refresh_from_db()
    assert row.status == expected
    assert "127.0.0.1" not in row.error


def test_an_address_whose_key_is_lost_gives_the_message_up_and_says_what_to_do(alice, settings):
    make_transport(alice)
    (row,) = queue(alice)
    settings.ENCRYPTION_KEYS = ["A" * 43 + "="]
    send()
    row.refresh_from_db()
    assert row.status == "dead"
    assert "ALPHASTRAT_ENCRYPTION_KEYS" in row.error


def test_what_waits_for_a_transport_that_is_switched_off_is_muted(alice):
    transport = make_transport(alice)
    (row,) = queue(alice)
    deliveries.mute_unsent(transport, reason="Switched off", at=AT)
    row.refresh_from_db()
    assert (row.status, row.mute_reason) == ("muted", "Switched off")
    assert send() == Sent(0, 0)


def test_credentials_are_unreadable_in_the_database_and_masked_on_pages(alice):
    transport = make_transport(alice, url="https://hooks.example.org/T0/B0/secret-token")
    stored = bytes(Transport.objects.get(pk=transport.pk).address)
    assert b"secret-token" not in stored
    assert credentials.decrypt(stored) == "https://hooks.example.org/T0/B0/secret-token"
    assert credentials.masked(credentials.decrypt(stored)) == "https://hooks.example.org…"
    assert "xoxb" not in credentials.masked("slack://xoxb-token/B/C")


def test_old_keys_decrypt_until_everything_is_encrypted_under_the_new_one(alice, settings):
    transport = make_transport(alice)
    (old,) = settings.ENCRYPTION_KEYS
    new = "B" * 42 + "A="
    settings.ENCRYPTION_KEYS = [new, old]
    assert credentials.rotate() == 1
    settings.ENCRYPTION_KEYS = [new]
    assert credentials.unreadable() == []
    transport.refresh_from_db()
    assert credentials.decrypt(transport.address) == "https://hooks.example.org/alerts"
    settings.ENCRYPTION_KEYS = [old]
    assert credentials.unreadable() == [transport]
