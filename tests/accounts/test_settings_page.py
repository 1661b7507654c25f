from __future__ import annotations

import re

import pytest
from django.test import Client

from alphastrat.accounts.models import ApiToken
from tests.factories import make_token, make_user, signed_in

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
CHOICES = {
    "theme": "dark",
    "pnl_palette": "blue-orange",
    "density": "comfortable",
    "timezone": "Asia/Tokyo",
}


def test_preferences_are_saved_and_stand_in_the_first_byte_of_the_next_page():
    alice = make_user()
    client = signed_in(alice)
    page = client.post("/settings/", CHOICES, follow=True)
    alice.refresh_from_db()
    assert {name: getattr(alice, name) for name in CHOICES} == CHOICES
    assert alice.shortcuts_enabled is False
    html = re.search(r"<html[^>]*>", page.text).group()
    assert 'data-theme="dark"' in html
    assert 'data-pnl="blue-orange"' in html
    assert 'data-density="comfortable"' in html


def test_a_wrong_preference_is_refused_with_the_field_named():
    client = signed_in(make_user())
    answer = client.post("/settings/", {**CHOICES, "timezone": "Mars/Olympus"})
    assert answer.status_code == 422
    assert "Mars/Olympus is not one of the available choices" in answer.text
    assert 'aria-invalid="true"' in answer.text


def test_htmx_gets_the_fragment_and_everyone_else_the_page():
    client = signed_in(make_user())
    wrong = {**CHOICES, "theme": "plaid"}
    fragment = client.post("/settings/", wrong, headers=HTMX)
    assert (fragment.status_code, "<html" in fragment.text) == (422, False)
    assert 'id="preferences"' in fragment.text
    assert "HX-Request" in fragment["Vary"]
    saved = client.post("/settings/", CHOICES, headers=HTMX)
    assert saved["HX-Redirect"] == "/settings/"


def test_preferences_cannot_change_rights():
    alice = make_user(role="viewer")
    signed_in(alice).post(
        "/settings/", {**CHOICES, "role": "admin", "is_superuser": "on", "username": "root"}
    )
    alice.refresh_from_db()
    assert (alice.role, alice.is_superuser, alice.username) == ("viewer", False, "alice")


def test_the_secret_of_a_new_token_is_shown_once_and_works():
    client = signed_in(make_user())
    form = {"name": "notebook", "scope": "read-write", "lifetime": "90"}
    page = client.post("/settings/tokens/", form)
    secret = re.search(r"as_[\w-]{40,}", page.text).group()
    assert "no-store" in page["Cache-Control"]
    assert secret not in client.get("/settings/").text
    answer = Client().get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json()["token"]["scope"] == "read-write"
    token = ApiToken.objects.get()
    assert (token.expires_at - token.created_at).days in {89, 90}


@pytest.mark.parametrize("wrong", [{"name": ""}, {"scope": "root"}, {"lifetime": "-5"}])
def test_a_wrong_token_form_makes_no_token(wrong):
    client = signed_in(make_user())
    form = {"name": "notebook", "scope": "read", "lifetime": "never", **wrong}
    assert client.post("/settings/tokens/", form).status_code == 422
    assert client.post("/settings/tokens/", form, headers=HTMX).status_code == 422
    assert not ApiToken.objects.exists()


def test_a_viewer_is_offered_read_tokens_only():
    client = signed_in(make_user(role="viewer"))
    assert 'value="read-write"' not in client.get("/settings/").text
    form = {"name": "notebook", "scope": "read-write", "lifetime": "never"}
    assert client.post("/settings/tokens/", form).status_code == 422


def test_a_token_is_revoked_by_its_owner():
    alice = make_user()
    token, _ = make_token(alice)
    answer = signed_in(alice).post(f"/settings/tokens/{token.pk}/revoke/", headers=HTMX)
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert "Revoked" in answer.text


@pytest.mark.parametrize("role", ["viewer", "trader", "admin"])
def test_nobody_sees_or_revokes_the_token_of_another(role):
    token, _ = make_token(make_user("alice"), name="alices-notebook")
    charlie = signed_in(make_user("charlie", role=role))
    assert charlie.post(f"/settings/tokens/{token.pk}/revoke/").status_code == 404
    assert "alices-notebook" not in charlie.get("/settings/").text
    token.refresh_from_db()
    assert token.revoked_at is None


def test_settings_cost_the_same_queries_with_two_and_twenty_tokens(django_assert_num_queries):
    alice = make_user()
    client = signed_in(alice)
    for n_more in (2, 18):
        for number in range(n_more):
            make_token(alice, name=f"token {number}")
        with django_assert_num_queries(4):  # session, user, tokens, running jobs
            client.get("/settings/")


@pytest.mark.parametrize("path", ["/settings/", "/password/", "/login/"])
def test_pages_work_without_inline_code(path):
    client = Client() if path == "/login/" else signed_in(make_user())
    text = client.get(path).text
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son\w+=", text)
    assert text.count("<h1") == 1
