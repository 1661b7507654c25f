from __future__ import annotations

import io
import logging
from datetime import timedelta

import pytest
import structlog
from axes.models import AccessAttempt
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from alphastrat.core import logs
from tests.factories import PASSWORD, make_user, signed_in

pytestmark = pytest.mark.django_db
LOGIN = "/login/"


def sign_in(client: Client, password: str = PASSWORD, **fields):
    return client.post(LOGIN, {"username": "alice", "password": password, **fields})


def test_the_right_password_leads_to_the_overview(client):
    make_user()
    response = sign_in(client)
    assert (response.status_code, response["Location"]) == (302, "/")


def test_a_wrong_password_is_answered_with_one_clear_sentence(client):
    make_user()
    response = sign_in(client, "wrong")
    assert response.status_code == 422
    assert "The user name or the password is wrong." in response.text
    unknown = client.post(LOGIN, {"username": "nobody", "password": "wrong"})
    assert "The user name or the password is wrong." in unknown.text


def test_an_account_that_is_switched_off_cannot_sign_in(client):
    make_user(is_active=False)
    assert sign_in(client).status_code == 422


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("/jobs/?page=2", "/jobs/?page=2"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        (r"/\evil.example/", "/"),
    ],
)
def test_next_leads_only_to_our_own_pages(client, target, leads_to):
    make_user()
    assert sign_in(client, next=target)["Location"] == leads_to


def test_a_page_that_needs_a_user_leads_to_the_login_and_back(client):
    make_user()
    response = client.get("/settings/")
    assert response["Location"] == "/login/?next=/settings/"
    page = client.get(response["Location"])
    assert '<input type="hidden" name="next" value="/settings/">' in page.text


def test_login_needs_its_csrf_token():
    make_user()
    assert sign_in(Client(enforce_csrf_checks=True)).status_code == 403


def test_someone_signed_in_is_not_asked_again():
    assert signed_in(make_user()).get(LOGIN).status_code == 302


def test_guessing_locks_the_account_for_that_address_and_says_when_to_try_again(client, settings):
    settings.AXES_FAILURE_LIMIT = 3
    make_user()
    for _ in range(2):
        assert sign_in(client, "guess").status_code == 422
    assert sign_in(client, "guess").status_code == 429
    response = sign_in(client)
    assert response.status_code == 429
    assert "Try again in 15 minutes" in response.text
    assert 0 < int(response["Retry-After"]) <= 900
    assert client.get("/settings/").status_code == 302


def test_a_lock_ends_after_the_cool_off(client, settings):
    settings.AXES_FAILURE_LIMIT = 1
    make_user()
    assert sign_in(client, "guess").status_code == 429
    attempt = AccessAttempt.objects.get()
    AccessAttempt.objects.update(attempt_time=attempt.attempt_time - timedelta(minutes=16))
    assert sign_in(client).status_code == 302


def test_a_lock_does_not_keep_out_another_address(client, settings):
    settings.AXES_FAILURE_LIMIT = 1
    make_user()
    sign_in(client, "guess")
    assert sign_in(Client(REMOTE_ADDR="192.0.2.7")).status_code == 302


def test_an_invented_forwarding_header_does_not_escape_the_lock(client, settings):
    settings.AXES_FAILURE_LIMIT = 1
    make_user()
    sign_in(client, "guess")
    assert sign_in(Client(headers={"X-Forwarded-For": "192.0.2.9"})).status_code == 429


def test_one_address_may_try_only_so_often(client, settings):
    settings.LOGIN_TRIES_PER_MINUTE = 1
    cache.clear()
    # Four tries span at most two windows, so at least two of them are refused.
    tries = [client.post(LOGIN, {"username": f"user{i}", "password": "x"}) for i in range(4)]
    refused = [response for response in tries if response.status_code == 429]
    assert len(refused) >= 2
    assert "Too many tries from your address." in refused[0].text
    assert 0 < int(refused[0]["Retry-After"]) <= 60


def test_signing_out_needs_a_post_and_ends_the_session():
    client = signed_in(make_user())
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/settings/").status_code == 302


def test_a_password_is_changed_and_other_sessions_end():
    alice = make_user()
    here, elsewhere = signed_in(alice), signed_in(alice)
    new = "battery staple 12"
    wrong = {"old_password": "nope", "new_password1": new, "new_password2": new}
    refused = here.post("/password/", wrong)
    assert refused.status_code == 422
    assert "Your old password was entered incorrectly" in refused.text
    assert here.post("/password/", {**wrong, "old_password": PASSWORD}).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(new)
    assert here.get("/settings/").status_code == 200
    assert elsewhere.get("/settings/").status_code == 302


def test_a_weak_password_is_refused_with_the_reason():
    client = signed_in(make_user())
    answer = client.post(
        "/password/", {"old_password": PASSWORD, "new_password1": "123", "new_password2": "123"}
    )
    assert answer.status_code == 422
    assert "too short" in answer.text


def test_the_administration_uses_the_same_login(client):
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0] == f"{reverse('accounts:login')}?next=%2Fadmin%2F"
    assert signed_in(make_user()).get("/admin/", follow=True).status_code == 403
    assert signed_in(make_user("root", role="admin")).get("/admin/").status_code == 200


def test_no_password_or_token_reaches_the_log(client, caplog, settings):
    settings.AXES_FAILURE_LIMIT = 1
    make_user()
    with caplog.at_level(logging.DEBUG):
        sign_in(client, "hunter2-secret")
        client.get("/api/v1/me", headers={"Authorization": "Bearer as_hunter3-secret"})
    assert "hunter2-secret" not in caplog.text
    assert "hunter3-secret" not in caplog.text
    stored = AccessAttempt.objects.get()
    assert "hunter2-secret" not in f"{stored.get_data}{stored.post_data}"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_logged_failure_shows_no_local_variables(form):
    out = io.StringIO()
    configured = logging.StreamHandler(out)
    configured.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *logs._renderer(form),
            ]
        )
    )
    logger = logging.getLogger(f"failing.{form}")
    logger.addHandler(configured)
    password = "-".join(("hunter2", "secret"))
    try:
        raise RuntimeError(f"{len(password)} characters")
    except RuntimeError:
        logger.exception("sign-in failed")
    assert "RuntimeError: 14 characters" in out.getvalue()
    assert "hunter2-secret" not in out.getvalue()
