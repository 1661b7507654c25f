from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from django.test import Client

from alphastrat.accounts.models import ApiToken, User
from tests.factories import PASSWORD, bearer, make_token, make_user, signed_in

pytestmark = pytest.mark.django_db


def newest(model) -> LogEntry:
    return LogEntry.objects.filter(content_type__model=model._meta.model_name).latest("timestamp")


def test_a_changed_setting_is_recorded_with_who_and_from_where():
    alice = make_user()
    form = {"theme": "dark", "pnl_palette": "teal-red", "density": "compact", "timezone": "UTC"}
    signed_in(alice).post("/settings/", form)
    entry = newest(User)
    assert entry.actor == alice
    assert entry.remote_addr == "127.0.0.1"
    assert entry.changes["theme"] == ["system", "dark"]


def test_the_recorded_address_is_not_the_one_the_client_claims():
    alice = make_user()
    client = signed_in(alice)
    form = {"name": "x", "scope": "read", "lifetime": "never"}
    client.post("/settings/tokens/", form, headers={"X-Forwarded-For": "8.8.8.8"})
    assert newest(ApiToken).remote_addr == "127.0.0.1"


def test_making_and_revoking_a_token_is_recorded_without_its_digest():
    alice = make_user()
    client = signed_in(alice)
    client.post("/settings/tokens/", {"name": "x", "scope": "read", "lifetime": "never"})
    token = ApiToken.objects.get()
    assert "digest" not in newest(ApiToken).changes
    client.post(f"/settings/tokens/{token.pk}/revoke/")
    entry = newest(ApiToken)
    assert (entry.actor, "revoked_at" in entry.changes) == (alice, True)


def test_a_changed_password_leaves_no_hash_in_the_log():
    alice = make_user()
    new = "battery staple 12"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    signed_in(alice).post("/password/", form)
    assert not any("password" in (entry.changes or {}) for entry in LogEntry.objects.all())


def test_a_request_by_token_is_recorded_as_its_owner(monkeypatch):
    alice, bob = make_user("alice"), make_user("bob")
    _, secret = make_token(alice)

    def rename(user, role):
        bob.first_name = "Robert"
        bob.save()
        return True

    monkeypatch.setattr(User, "has_role", rename)
    Client().get("/api/v1/me", headers=bearer(secret))
    assert newest(User).actor == alice


def test_the_audit_log_can_be_read_but_not_changed_by_administrators():
    make_token(make_user())
    entry = LogEntry.objects.latest("timestamp")
    admin = signed_in(make_user("root", role="admin"))
    page = f"/admin/auditlog/logentry/{entry.pk}"
    assert admin.get("/admin/auditlog/logentry/").status_code == 200
    assert admin.get(f"{page}/change/").status_code == 200
    assert admin.post(f"{page}/change/", {"object_repr": "x"}).status_code == 403
    assert admin.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    assert signed_in(make_user("bob")).get("/admin/auditlog/logentry/").status_code == 302
