"""What every answer carries, and who may open which page."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import get_resolver

from tests.factories import make_job, make_user, signed_in

pytestmark = pytest.mark.django_db

ANSWERS = [
    ("/login/", 200),
    ("/settings/", 302),
    ("/nothing/here", 404),
    ("/api/v1/me", 401),
    ("/api/v1/nothing", 404),
    ("/healthz", 200),
    ("/metrics", 403),
    ("/admin/", 302),
]


@pytest.mark.parametrize(("path", "status"), ANSWERS)
def test_every_answer_carries_the_security_headers(client, path, status):
    response = client.get(path)
    assert response.status_code == status
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_server_error_carries_the_policy_too(monkeypatch, settings):
    settings.DEBUG = False

    def fail(*args, **options):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("alphastrat.accounts.views._settings_page", fail)
    client = signed_in(make_user(), raise_request_exception=False)
    response = client.get("/settings/")
    assert response.status_code == 500
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "hunter2" not in response.text


def test_cookies_are_closed_to_scripts_and_other_sites(client):
    make_user()
    response = client.post("/login/", {"username": "alice", "password": "correct horse"})
    cookie = response.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        ("viewer", "cancel", 403),
        ("viewer", "retry", 403),
        ("trader", "cancel", 302),
        ("admin", "cancel", 302),
    ],
)
def test_a_viewer_looks_and_does_not_touch(role, action, status):
    user = make_user(role=role)
    job = make_job(user)
    client = signed_in(user)
    assert client.get(f"/jobs/{job.pk}/").status_code == 200
    assert client.post(f"/jobs/{job.pk}/{action}/").status_code == status


def test_a_stranger_gets_404_and_not_403():
    job = make_job(make_user("alice"))
    charlie = signed_in(make_user("charlie"))
    assert charlie.get(f"/jobs/{job.pk}/").status_code == 404
    assert charlie.post(f"/jobs/{job.pk}/cancel/").status_code == 404


OWN_SETTINGS = {
    "accounts:settings",
    "accounts:password-change",
    "accounts:token-create",
    "accounts:token-revoke",
}
OPEN_TO_ALL = {"login", "logout", "admin-login", "healthz", "readyz", "metrics"}


def pages() -> list[tuple[str, str]]:
    """Return the name and an address of every page of ours, with ids that nothing has."""
    found = []
    for namespace, (_, resolver) in get_resolver().namespace_dict.items():
        if namespace in {"admin", "api-1"}:
            continue
        for name in {key for key in resolver.reverse_dict if isinstance(key, str)} - OPEN_TO_ALL:
            for options, pattern, *_ in resolver.reverse_dict.getlist(name):
                values = dict.fromkeys(options[0][1], _unknown(pattern))
                found.append((f"{namespace}:{name}", "/" + options[0][0] % values))
    return found


def _unknown(pattern: str) -> str:
    return "00000000-0000-4000-8000-000000000000" if "-" in pattern else "x"


def test_every_page_of_ours_asks_for_a_login():
    for name, path in pages():
        for answer in (Client().get(path), Client().post(path)):
            assert answer.status_code in {302, 405}, (name, path, answer.status_code)
            if answer.status_code == 302:
                assert answer["Location"].startswith("/login/"), name
    assert len(pages()) > 5


def test_a_viewer_changes_nothing_but_their_own_settings():
    viewer = signed_in(make_user(role="viewer"))
    for name, path in pages():
        if name not in OWN_SETTINGS:
            assert viewer.post(path).status_code in {403, 404, 405}, (name, path)
