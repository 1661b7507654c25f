"""Webhooks are signed, bounded in time, and kept out of the private network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from alphastrat.core.errors import InvalidInput
from monitoring.transports import webhook
from monitoring.transports.addresses import is_public
from monitoring.transports.base import DeliveryFailed, Message
from tests.monitoring.receivers import receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message(
    key="event:transport",
    title="[CRITICAL] Drawdown",
    body="Drawdown −16.2 %",
    severity="critical",
    payload={"type": "alert.fired", "data": {"title": "Drawdown −16.2 %"}},
)


@pytest.fixture(autouse=True)
def private_addresses_allowed(settings):
    settings.WEBHOOK_PRIVATE_ADDRESSES = True


def test_the_signature_is_that_of_the_published_example():
    # The example of the Standard Webhooks libraries' own tests (svix, standard-webhooks).
    body = b'{"test": 2432232314}'
    signed = webhook.signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_check_every_header():
    with receiver() as hook:
        webhook.Webhook(f"{hook.origin}/alerts?team=1", [SECRET]).send(MESSAGE)
    path, headers, body = hook.requests[0]
    assert path == "/alerts?team=1"
    assert headers["webhook-id"] == headers["idempotency-key"] == "event:transport"
    signed = f"event:transport.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert json.loads(body) == MESSAGE.payload


def test_both_keys_sign_while_a_rotation_lasts():
    with receiver() as hook:
        webhook.Webhook(hook.origin, [webhook.new_secret(), SECRET]).send(MESSAGE)
    (_, headers, body) = hook.requests[0]
    new, old = headers["webhook-signature"].split(" ")
    assert new != old
    stamp = int(headers["webhook-timestamp"])
    assert old == webhook.signature(SECRET, MESSAGE.key, stamp, body)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 408, 410, 425, 429, 500, 502, 503])
def test_what_the_receiver_answers_decides_whether_to_try_again(status):
    permanent = status not in {408, 425, 429, 500, 502, 503}
    with (
        receiver(status, headers={"Location": "http://127.0.0.1:1/"}) as hook,
        pytest.raises(DeliveryFailed) as failure,
    ):
        webhook.Webhook(hook.origin, [SECRET]).send(MESSAGE)
    assert failure.value.permanent is permanent
    assert str(status) in str(failure.value)
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("90000", 3600.0), ("soon", None), ("-5", 0.0)]
)
def test_a_receiver_may_ask_for_a_later_time_but_not_for_ever(header, seconds):
    with (
        receiver(503, headers={"Retry-After": header}) as hook,
        pytest.raises(DeliveryFailed) as failure,
    ):
        webhook.Webhook(hook.origin, [SECRET]).send(MESSAGE)
    assert failure.value.retry_after_seconds == seconds


def test_a_receiver_that_hangs_is_left_after_a_bounded_time(monkeypatch):
    monkeypatch.setattr(webhook, "ATTEMPT_SECONDS", 0.3)
    with receiver("hang") as hook, pytest.raises(DeliveryFailed) as failure:
        webhook.Webhook(hook.origin, [SECRET]).send(MESSAGE)
    assert not failure.value.permanent
    assert "No answer" in str(failure.value)


def test_a_receiver_that_drops_the_answer_counts_as_not_reached():
    with receiver("drop") as hook, pytest.raises(DeliveryFailed) as failure:
        webhook.Webhook(hook.origin, [SECRET]).send(MESSAGE)
    assert not failure.value.permanent
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]"]
)
def test_the_private_network_is_out_of_reach_unless_allowed(settings, host):
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    with pytest.raises(DeliveryFailed, match="private network") as failure:
        webhook.Webhook(f"http://{host}:9/", [SECRET]).send(MESSAGE)
    assert failure.value.permanent


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("0.0.0.0", False),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d70e", True),
    ],
)
def test_an_address_is_public_or_not(address, expected):
    assert is_public(address) is expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "hooks.example.org",
        "ftp://example.org",
        "https://",
        "https://u:p@example.org",
        "https://example.org:99999",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_no_webhook_can_have_is_refused(address):
    with pytest.raises(InvalidInput):
        webhook.check_address(address)
