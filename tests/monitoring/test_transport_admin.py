"""Transports in the administration: configured, tested, and silent about their credentials."""

from __future__ import annotations

import pytest

from monitoring.models import Notification, Transport
from monitoring.services import credentials
from tests.factories import make_user, signed_in
from tests.monitoring.outbox_builders import make_alert, make_event, make_transport
from tests.monitoring.receivers import receiver

pytestmark = pytest.mark.django_db
URL = "/admin/monitoring/transport/"
FIELDS = {"name": "Desk", "minimum_severity": "warning", "is_enabled": "on"}


@pytest.fixture
def root():
    return make_user("root", role="admin")


@pytest.mark.parametrize("role", ["viewer", "trader"])
def test_nobody_else_enters(role, alice):
    hook = make_transport(alice)
    client = signed_in(make_user("someone", role=role))
    for url in (URL, f"{URL}{hook.pk}/change/", "/admin/monitoring/notification/"):
        assert client.get(url).status_code == 302


def test_a_transport_is_added_for_somebody_with_its_address_encrypted(root, alice):
    client = signed_in(root)
    address = "slack://TokenA/TokenB/TokenC/#ops"
    values = {**FIELDS, "owner": alice.pk, "kind": "apprise"}
    assert "needs an address" in client.post(f"{URL}add/", values).text
    wrong = client.post(f"{URL}add/", {**values, "address_entered": "nonsense"})
    assert wrong.status_code == 200
    answer = client.post(f"{URL}add/", {**values, "address_entered": address})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    made = Transport.objects.get()
    assert (made.owner, made.name) == (alice, "Desk")
    assert credentials.decrypt(made.address) == address


def test_no_page_shows_a_credential(root, alice):
    hook = make_transport(alice, url="https://hooks.example.org/T0/secret-path")
    client = signed_in(root)
    for url in (URL, f"{URL}{hook.pk}/change/"):
        page = client.get(url).text
        for secret in ("secret-path", "whsec_", bytes(hook.address).decode()):
            assert secret not in page


def test_changing_a_transport_keeps_its_address_unless_one_is_entered(root, alice):
    hook = make_transport(alice, url="https://hooks.example.org/old")
    client, url = signed_in(root), f"{URL}{hook.pk}/change/"
    assert client.post(url, {**FIELDS, "minimum_severity": "critical"}).status_code == 302
    hook.refresh_from_db()
    assert (hook.name, hook.minimum_severity, hook.kind) == ("Desk", "critical", "webhook")
    assert credentials.decrypt(hook.address) == "https://hooks.example.org/old"
    client.post(url, {**FIELDS, "address_entered": "https://hooks.example.org/new"})
    hook.refresh_from_db()
    assert credentials.decrypt(hook.address) == "https://hooks.example.org/new"
    make_transport(alice, name="Other")
    assert client.post(url, {**FIELDS, "name": "Other"}).status_code == 200


def test_switching_off_mutes_what_waits(root, alice):
    hook = make_transport(alice)
    event = make_event(make_alert(alice))
    Notification.objects.create(
        alert=event.alert,
        event=event,
        transport=hook,
        key="1",
        title="Drawdown",
        queued_at=event.happened_at,
        due_at=event.happened_at,
    )
    fields = {name: value for name, value in FIELDS.items() if name != "is_enabled"}
    signed_in(root).post(f"{URL}{hook.pk}/change/", fields)
    hook.refresh_from_db()
    assert not hook.is_enabled
    assert Notification.objects.get().status == "muted"


def test_a_test_message_is_sent_from_the_list(root, alice, settings):
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    with receiver() as quick:
        hook = make_transport(alice, url=quick.origin)
        chosen = {"action": "send_tests", "_selected_action": [str(hook.pk)]}
        answer = signed_in(root).post(URL, chosen, follow=True)
        assert "the test was accepted" in answer.text
        assert len(quick.requests) == 1


def test_deliveries_are_read_and_never_edited(root):
    client = signed_in(root)
    assert client.get("/admin/monitoring/notification/").status_code == 200
    assert client.get("/admin/monitoring/notification/add/").status_code == 403
