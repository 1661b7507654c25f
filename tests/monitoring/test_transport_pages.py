"""People set up where alerts go, try it, and see what became of every message."""

from __future__ import annotations

import json

import pytest
from auditlog.models import LogEntry
from django.urls import reverse

from monitoring.models import Notification, Transport
from monitoring.services import credentials
from monitoring.services.notifications import queue_for
from tests.factories import bearer, make_token, make_user, signed_in
from tests.monitoring.outbox_builders import AT, make_alert, make_event, make_transport
from tests.monitoring.receivers import receiver

pytestmark = pytest.mark.django_db

URL = "/settings/transports/"
SECRET_URL = "https://hooks.example.org/T0/B0/secret-token"
FORM = {
    "name": "Desk",
    "kind": "webhook",
    "address": SECRET_URL,
    "minimum_severity": "warning",
    "sends_recovery": "on",
}


@pytest.fixture
def alice(db):
    return make_user()


@pytest.fixture
def browser(alice):
    return signed_in(alice)


@pytest.fixture
def client_of_bob(db):
    return signed_in(make_user("bob"))


def queue(owner, n: int = 1) -> list[Notification]:
    queue_for([make_event(make_alert(owner)) for _ in range(n)], at=AT)
    return list(Notification.objects.all())


def act(browser, transport, action, **options):
    return browser.post(reverse("monitoring:transport-act", args=[transport.pk, action]), **options)


def test_a_webhook_is_added_and_its_secret_shown_once(browser, alice):
    page = browser.post(URL, FORM).content.decode()
    transport = Transport.objects.get(owner=alice)
    secret = credentials.decrypt(transport.signing_key)
    assert secret in page
    assert "secret-token" not in page
    again = browser.get(URL).content.decode()
    assert secret not in again
    assert "https://hooks.example.org…" in again


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"address": "hooks.example.org"}, "address", "begins with https://"),
        ({"address": "https://u:p@example.org/"}, "address", "name and password"),
        ({"kind": "apprise", "address": "nonsense://x"}, "address", "no service"),
        ({"kind": "apprise", "address": "slack://x"}, "address", "lacks something"),
        ({"kind": "apprise", "address": "syslog://"}, "address", "nobody looks"),
        ({"kind": "apprise", "address": "vapid://a@b.de/?keyfile=/etc/x"}, "address", "a file"),
        ({"name": ""}, "name", "required"),
        ({"name": "Taken"}, "name", "of this name"),
        ({"minimum_severity": "loud"}, "minimum_severity", "valid choice"),
    ],
)
def test_every_field_says_what_is_wrong_with_it(browser, alice, changes, field, problem):
    make_transport(alice, name="Taken")
    response = browser.post(URL, {**FORM, **changes})
    assert response.status_code == 422
    assert problem in response.context["form"].errors[field][0]
    assert Transport.objects.count() == 1


def test_checking_while_typing_stores_nothing_and_forgives_what_is_not_filled_in(browser):
    response = browser.post(f"{URL}?validate=1", {"name": "", "address": "x", "kind": "webhook"})
    assert response.status_code == 422
    assert set(response.context["form"].errors) == {"address"}
    assert not Transport.objects.exists()


def test_a_change_without_an_address_keeps_the_stored_one(browser, alice):
    transport = make_transport(alice, url=SECRET_URL)
    url = reverse("monitoring:transport-edit", args=[transport.pk])
    assert "secret-token" not in browser.get(url).content.decode()
    browser.post(url, {"name": "New", "minimum_severity": "critical", "address": ""})
    transport.refresh_from_db()
    assert (transport.name, transport.minimum_severity) == ("New", "critical")
    assert credentials.decrypt(transport.address) == SECRET_URL


@pytest.mark.parametrize(("status", "said"), [(204, "was accepted"), (403, "answered 403")])
def test_a_test_message_shows_what_became_of_it(browser, alice, settings, status, said):
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    with receiver(status) as hook:
        transport = make_transport(alice, url=hook.origin)
        page = act(browser, transport, "test", headers={"HX-Request": "true"}).content.decode()
    assert said in page
    body = json.loads(hook.requests[0][2])
    assert body["type"] == "alert.test"
    transport.refresh_from_db()
    assert transport.tested_at is not None
    assert bool(transport.test_error) is (status != 204)


def test_a_rotated_secret_is_new_and_the_old_one_signs_for_a_while(browser, alice):
    transport = make_transport(alice)
    page = act(browser, transport, "rotate").content.decode()
    transport.refresh_from_db()
    assert credentials.decrypt(transport.signing_key) in page
    assert credentials.decrypt(transport.previous_signing_key) == "whsec_c2VjcmV0"


def test_switching_off_mutes_what_waits_and_on_sends_again(browser, alice):
    transport = make_transport(alice)
    (row,) = queue(alice)
    assert act(browser, transport, "off").status_code == 302
    row.refresh_from_db()
    assert row.status == "muted"
    act(browser, transport, "on")
    transport.refresh_from_db()
    assert transport.is_enabled


def test_deleting_takes_the_deliveries_along(browser, alice):
    transport = make_transport(alice)
    queue(alice)
    act(browser, transport, "delete")
    assert not Transport.objects.exists()
    assert not Notification.objects.exists()


def test_an_action_that_does_not_exist_is_not_found(browser, alice):
    assert act(browser, make_transport(alice), "explode").status_code == 404


@pytest.mark.parametrize("action", ["test", "rotate", "on", "off", "delete"])
def test_somebody_elses_transport_is_not_found(client_of_bob, alice, action):
    transport = make_transport(alice)
    assert act(client_of_bob, transport, action).status_code == 404
    url = reverse("monitoring:transport-edit", args=[transport.pk])
    assert client_of_bob.get(url).status_code == 404


def test_viewers_look_and_change_nothing(alice):
    alice.role = "viewer"
    alice.save()
    browser = signed_in(alice)
    transport = make_transport(alice)
    assert browser.get(URL).status_code == 200
    assert browser.post(URL, FORM).status_code == 403
    assert act(browser, transport, "test").status_code == 403
    assert browser.get("/alerts/deliveries/").status_code == 200
    assert browser.post("/alerts/deliveries/retry/").status_code == 403


def test_the_audit_log_says_that_a_transport_changed_but_not_to_where(browser, alice):
    browser.post(URL, FORM)
    entry = LogEntry.objects.filter(content_type__model="transport").get()
    assert "name" in entry.changes
    assert not {"address", "signing_key"} & set(entry.changes)


def test_the_settings_page_leads_to_transports(browser):
    assert URL in browser.get("/settings/").content.decode()


def test_deliveries_show_state_time_and_reason(browser, alice):
    make_transport(alice)
    queue(alice)
    Notification.objects.update(status="dead", ended_at=AT, error="The receiver answered 404.")
    page = browser.get("/alerts/deliveries/").content.decode()
    assert "The receiver answered 404." in page
    assert "Given up" in page
    assert "Send again" in page


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_deliveries_can_be_exported(browser, alice, form):
    make_transport(alice)
    (row,) = queue(alice)
    response = browser.get(f"/alerts/deliveries/?format={form}")
    content = b"".join(response) if response.streaming else response.content
    assert row.key.encode() in content


def test_deliveries_can_be_filtered(browser, alice):
    transport = make_transport(alice, name="Hook")
    make_transport(alice, name="Other")
    queue(alice)
    page = browser.get(f"/alerts/deliveries/?transport={transport.pk}&status=queued")
    assert len(page.context["rows"]) == 1


def test_what_was_given_up_is_sent_again_by_the_owner_alone(browser, client_of_bob, alice):
    make_transport(alice)
    (row,) = queue(alice)
    url = reverse("monitoring:delivery-retry", args=[row.pk])
    assert browser.post(url).status_code == 409
    Notification.objects.update(status="dead", ended_at=AT)
    assert client_of_bob.post(url).status_code == 404
    assert browser.post(url).status_code == 302
    row.refresh_from_db()
    assert (row.status, row.attempts) == ("queued", 0)
    Notification.objects.update(status="dead", ended_at=AT)
    browser.post("/alerts/deliveries/retry/")
    row.refresh_from_db()
    assert row.status == "queued"


@pytest.mark.parametrize("n_rows", [2, 20])
def test_the_pages_cost_the_same_number_of_queries_however_much_there_is(
    browser, alice, n_rows, django_assert_num_queries
):
    for number in range(n_rows):
        make_transport(alice, name=f"Hook {number}")
    queue(alice, n_rows)
    # Session, user, transports, the top bar's open alerts.
    with django_assert_num_queries(4):
        browser.get(URL)
    # Session, user, choice of transports, count, rows, given up, the top bar's open alerts.
    with django_assert_num_queries(7):
        browser.get("/alerts/deliveries/")


@pytest.fixture
def headers(alice):
    return bearer(make_token(alice)[1])


def test_the_api_adds_a_transport_and_tells_its_secret_once(client, alice, headers):
    asked = {"name": "Desk", "kind": "webhook", "address": SECRET_URL}
    made = client.post("/api/v1/transports", asked, "application/json", headers=headers)
    assert made.status_code == 201
    assert made.json()["signing_secret"].startswith("whsec_")
    listed = client.get("/api/v1/transports", headers=headers).json()["items"]
    assert [one["hint"] for one in listed] == ["https://hooks.example.org…"]
    assert "secret-token" not in json.dumps([made.json(), listed])
    url = f"/api/v1/transports/{made.json()['id']}"
    change = {"name": "Renamed", "minimum_severity": "critical"}
    changed = client.put(url, change, "application/json", headers=headers)
    assert changed.json()["name"] == "Renamed"
    assert client.post(f"{url}/disable", headers=headers).json()["is_enabled"] is False
    assert client.post(f"{url}/enable", headers=headers).json()["is_enabled"] is True
    assert client.post(f"{url}/rotate", headers=headers).json()["signing_secret"]
    assert client.delete(url, headers=headers).status_code == 204


def test_the_api_names_the_field_that_is_wrong(client, headers):
    asked = {"name": "Desk", "kind": "webhook", "address": "nowhere"}
    answer = client.post("/api/v1/transports", asked, "application/json", headers=headers)
    assert answer.status_code == 422
    assert "https://" in answer.json()["fields"]["address"]


def test_the_api_tests_a_transport(client, alice, headers, settings):
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    with receiver(500) as hook:
        transport = make_transport(alice, url=hook.origin)
        answer = client.post(f"/api/v1/transports/{transport.pk}/test", headers=headers)
    assert answer.json() == {"accepted": False, "error": "The receiver answered 500."}


def test_the_api_lists_deliveries_and_sends_them_again(client, alice, headers):
    make_transport(alice)
    (row,) = queue(alice)
    listed = client.get("/api/v1/deliveries?status=queued", headers=headers).json()["items"]
    assert [(one["key"], one["kind"]) for one in listed] == [(row.key, "fired")]
    url = f"/api/v1/deliveries/{row.pk}/retry"
    assert client.post(url, headers=headers).status_code == 409
    Notification.objects.update(status="dead", ended_at=AT)
    assert client.post(url, headers=headers).json()["status"] == "queued"


def test_the_api_hides_what_belongs_to_others(client, alice):
    transport = make_transport(alice)
    (row,) = queue(alice)
    bob = bearer(make_token(make_user("bob"))[1])
    assert client.get(f"/api/v1/transports/{transport.pk}", headers=bob).status_code == 404
    assert client.post(f"/api/v1/deliveries/{row.pk}/retry", headers=bob).status_code == 404
    assert client.get("/api/v1/deliveries", headers=bob).json()["items"] == []
