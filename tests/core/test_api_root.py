from __future__ import annotations

import json
import math
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.http import Http404, HttpResponse
from django.test import Client, RequestFactory
from django.utils.timezone import now
from ninja import Schema

from alphastrat.api import api
from alphastrat.core import api as jobs_api
from alphastrat.core import errors
from alphastrat.core.api_root import JsonableRenderer, ProductApi, StrictParser
from alphastrat.core.etags import not_modified
from alphastrat.core.problems import ProblemMiddleware
from alphastrat.core.throttling import Rate, spend
from tests.factories import bearer, make_job, make_token, make_user, signed_in

pytestmark = pytest.mark.django_db
ME, JOBS = "/api/v1/me", "/api/v1/jobs"


def assert_problem(response: HttpResponse, status: int, code: str) -> dict:
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert (body["status"], body["code"]) == (status, code)
    assert set(body) >= {"type", "title", "detail", "instance", "fields", "request_id"}
    return body


def raising(monkeypatch, error: Exception) -> None:
    def refuse(request, job_id):
        raise error

    monkeypatch.setattr(jobs_api, "_job", refuse)


# --- Who may -------------------------------------------------------------------------------------


def test_a_session_and_a_token_are_told_who_they_are():
    alice = make_user(timezone="Europe/Berlin")
    _, secret = make_token(alice, scope="read")
    by_session = signed_in(alice).get(ME).json()
    by_token = Client().get(ME, headers=bearer(secret)).json()
    assert by_session == {
        "username": "alice",
        "role": "trader",
        "timezone": "Europe/Berlin",
        "may_write": True,
        "token": None,
    }
    assert by_token["may_write"] is False
    assert by_token["token"]["scope"] == "read"


def test_nobody_is_told_how_to_sign_in(client):
    response = client.get(ME)
    body = assert_problem(response, 401, "not_authenticated")
    assert "Authorization: Bearer" in body["detail"]
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer as_unknown", "Bearer ", "Basic YTpi", "as_unknown"])
def test_a_header_without_a_usable_token_is_refused_even_with_a_session(header):
    client = signed_in(make_user())
    assert_problem(client.get(ME, headers={"Authorization": header}), 401, "not_authenticated")


def test_revoked_and_expired_tokens_and_those_of_people_switched_off_are_refused(client):
    alice, bob = make_user("alice"), make_user("bob", is_active=False)
    secrets = [
        make_token(alice, revoked_at=now())[1],
        make_token(alice, expires_at=now() - timedelta(minutes=1))[1],
        make_token(bob)[1],
    ]
    for secret in secrets:
        assert_problem(client.get(ME, headers=bearer(secret)), 401, "not_authenticated")


@pytest.mark.parametrize(
    ("role", "scope", "status"),
    [
        ("viewer", "read", 403),
        ("viewer", "read-write", 403),
        ("trader", "read", 403),
        ("trader", "read-write", 202),
        ("admin", "read", 403),
        ("admin", "read-write", 202),
    ],
)
def test_a_write_needs_the_trader_role_and_a_token_that_may_write(client, role, scope, status):
    user = make_user(role=role)
    _, secret = make_token(user, scope=scope)
    job = make_job(user)
    assert client.get(JOBS, headers=bearer(secret)).status_code == 200
    response = client.post(f"{JOBS}/{job.pk}/cancel", headers=bearer(secret))
    assert response.status_code == status
    job.refresh_from_db()
    assert (job.status == "cancelled") is (status == 202)


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("trader", 202), ("admin", 202)])
def test_a_write_by_session_needs_the_trader_role(role, status):
    user = make_user(role=role)
    response = signed_in(user).post(f"{JOBS}/{make_job(user).pk}/cancel")
    assert response.status_code == status


def test_a_write_by_session_needs_its_csrf_token():
    alice = make_user()
    job = make_job(alice)
    client = signed_in(alice, enforce_csrf_checks=True)
    body = assert_problem(client.post(f"{JOBS}/{job.pk}/cancel"), 403, "forbidden")
    assert "X-CSRFToken" in body["detail"]
    client.get("/settings/")
    token = client.cookies["csrftoken"].value
    answer = client.post(f"{JOBS}/{job.pk}/cancel", headers={"X-CSRFToken": token})
    assert answer.status_code == 202


def test_a_token_needs_no_csrf_token():
    alice = make_user()
    _, secret = make_token(alice)
    client = Client(enforce_csrf_checks=True)
    answer = client.post(f"{JOBS}/{make_job(alice).pk}/cancel", headers=bearer(secret))
    assert answer.status_code == 202


def test_every_operation_of_the_api_is_closed_to_strangers():
    paths = api.get_openapi_schema()["paths"]
    operations = [
        (path, method) for path, methods in paths.items() for method in methods if "{" not in path
    ]
    assert operations
    client = Client(enforce_csrf_checks=True)
    for path, method in operations:
        response = client.generic(method.upper(), path)
        assert response.status_code == 401, (method, path)


def test_every_write_of_the_api_is_closed_to_viewers():
    client = signed_in(make_user(role="viewer"))
    paths = api.get_openapi_schema()["paths"]
    writes = [
        (path, method) for path, methods in paths.items() for method in methods if method != "get"
    ]
    assert writes
    for path, method in writes:
        address = _filled(path)
        response = client.generic(method.upper(), address)
        assert response.status_code == 403, (method, path)


def _filled(path: str) -> str:
    unknown = "00000000-0000-4000-8000-000000000000"
    return "/".join(unknown if part.startswith("{") else part for part in path.split("/"))


# --- Jobs ----------------------------------------------------------------------------------------


def test_jobs_are_listed_for_their_owner_and_strangers_get_404():
    alice, bob, root = make_user("alice"), make_user("bob"), make_user("root", role="admin")
    job = make_job(alice, result={"sharpe": None})
    listed = signed_in(alice).get(JOBS).json()
    assert (listed["count"], listed["items"][0]["id"]) == (1, str(job.pk))
    assert signed_in(bob).get(JOBS).json()["count"] == 0
    assert_problem(signed_in(bob).get(f"{JOBS}/{job.pk}"), 404, "not_found")
    assert_problem(signed_in(bob).post(f"{JOBS}/{job.pk}/cancel"), 404, "not_found")
    assert signed_in(root).get(f"{JOBS}/{job.pk}").status_code == 200


def test_a_job_is_filtered_by_status_and_an_unknown_status_is_named():
    alice = make_user()
    make_job(alice, status="failed")
    client = signed_in(alice)
    assert client.get(f"{JOBS}?status=failed").json()["count"] == 1
    assert client.get(f"{JOBS}?status=queued").json()["count"] == 0
    body = assert_problem(client.get(f"{JOBS}?status=odd"), 422, "invalid_input")
    assert "status" in body["fields"]


def test_a_finished_job_cannot_be_cancelled_and_a_running_one_not_retried():
    alice = make_user()
    client = signed_in(alice)
    done, queued = make_job(alice, status="succeeded"), make_job(alice)
    assert_problem(client.post(f"{JOBS}/{done.pk}/cancel"), 409, "conflict")
    assert_problem(client.post(f"{JOBS}/{queued.pk}/retry"), 409, "conflict")


def test_a_failed_job_runs_again_and_the_answer_says_where_to_follow_it():
    alice = make_user()
    job = make_job(alice, status="failed", error="boom")
    response = signed_in(alice).post(f"{JOBS}/{job.pk}/retry")
    assert (response.status_code, response["Location"]) == (202, f"{JOBS}/{job.pk}")
    assert response.json()["status"] == "queued"


def test_jobs_cost_the_same_queries_with_two_and_twenty_rows(django_assert_num_queries):
    alice = make_user()
    client = signed_in(alice)
    for n_more in (2, 18):
        for _ in range(n_more):
            make_job(alice)
        with django_assert_num_queries(4):  # session, user, count, rows
            client.get(JOBS)


# --- Pages, tags, throttling ---------------------------------------------------------------------


def test_a_list_is_cut_into_pages():
    alice = make_user()
    for _ in range(5):
        make_job(alice)
    body = signed_in(alice).get(f"{JOBS}?page=2&page_size=2").json()
    assert (len(body["items"]), body["count"], body["page"], body["pages"]) == (2, 5, 2, 3)
    assert signed_in(alice).get(f"{JOBS}?page=9").json()["items"] == []


@pytest.mark.parametrize("query", ["page=0", "page_size=0", "page_size=1001", "page=x", "page=1e9"])
def test_a_page_out_of_bounds_is_refused(query):
    client = signed_in(make_user())
    assert_problem(client.get(f"{JOBS}?{query}"), 422, "invalid_input")


def test_an_unchanged_answer_is_304_for_the_same_user_only():
    alice = make_user()
    job = make_job(alice)
    client = signed_in(alice)
    first = client.get(f"{JOBS}/{job.pk}")
    same = client.get(f"{JOBS}/{job.pk}", headers={"If-None-Match": first["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    job.step = "halfway"
    job.save()
    changed = client.get(f"{JOBS}/{job.pk}", headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert "private" in first["Cache-Control"]


def test_a_version_answers_304_before_anything_is_computed():
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(pk=1)
    assert not_modified(request, "run", 7) is None
    again = RequestFactory().get("/", headers={"If-None-Match": request.entity_tag})
    again.user = SimpleNamespace(pk=1)
    assert not_modified(again, "run", 7).status_code == 304
    again.user = SimpleNamespace(pk=2)
    assert not_modified(again, "run", 7) is None


def test_a_rate_is_counted_per_window_and_says_how_long_to_wait():
    cache.clear()
    rate = Rate(limit=2, seconds=60)
    at = 1_800_000_000.0
    assert [spend("t", "alice", rate, at=at) for _ in range(3)] == [0, 0, 60]
    assert spend("t", "alice", rate, at=at + 45) == 15
    assert spend("t", "bob", rate, at=at) == 0
    assert spend("t", "alice", rate, at=at + 60) == 0


def test_a_lost_cache_lets_requests_through(settings):
    away = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": away}
    assert [spend("t", "alice", Rate(1), at=0.0) for _ in range(3)] == [0, 0, 0]
    assert signed_in(make_user()).get(ME).status_code == 200


def test_a_user_who_asks_too_often_is_told_to_wait(monkeypatch):
    monkeypatch.setattr("alphastrat.core.throttling.spend", lambda *args, **options: 17)
    response = signed_in(make_user()).get(ME)
    body = assert_problem(response, 429, "too_many_requests")
    assert (response["Retry-After"], body["retry_after"]) == ("17", 17)


def test_strangers_who_guess_tokens_are_slowed_down(client, settings):
    settings.API_ANONYMOUS_CALLS_PER_MINUTE = 1
    cache.clear()
    statuses = {client.get(ME, headers=bearer("as_guess")).status_code for _ in range(4)}
    assert statuses == {401, 429}


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code", "extra"),
    [
        (errors.InvalidInput("Bad.", fields={"end": "before start"}), 422, "invalid_input", {}),
        (
            errors.NotEnoughData("Few bars.", needed=100, available=7),
            422,
            "not_enough_data",
            {"needed": 100, "available": 7},
        ),
        (errors.ConflictError("Moved on."), 409, "conflict", {}),
        (
            errors.RiskDenied("No.", codes=["POSITION_LIMIT"]),
            409,
            "risk_denied",
            {"codes": ["POSITION_LIMIT"]},
        ),
        (errors.ProviderError("Away.", permanent=True), 502, "provider_error", {"permanent": True}),
        (errors.NotConverged("Stuck."), 422, "not_converged", {}),
        (Http404("secret row"), 404, "not_found", {}),
    ],
)
def test_every_expected_failure_is_a_problem(monkeypatch, error, status, code, extra):
    raising(monkeypatch, error)
    response = signed_in(make_user()).get(f"{JOBS}/{make_job().pk}")
    body = assert_problem(response, status, code)
    assert {name: body[name] for name in extra} == extra
    assert body["fields"] == getattr(error, "fields", {})
    assert "secret row" not in response.text


def test_a_bug_is_500_with_a_request_id_and_nothing_of_the_inside(monkeypatch, caplog):
    raising(monkeypatch, RuntimeError("password=hunter2"))
    response = signed_in(make_user()).get(f"{JOBS}/{make_job().pk}")
    body = assert_problem(response, 500, "unexpected")
    assert "hunter2" not in response.text
    assert body["request_id"] == response["X-Request-ID"]
    assert "request failed" in caplog.text


def test_an_unknown_address_and_a_refused_method_are_problems():
    client = signed_in(make_user())
    assert_problem(client.get("/api/v1/nothing/here"), 404, "not_found")
    response = client.delete(ME)
    assert_problem(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET"


def test_an_address_with_a_nul_character_is_refused():
    client = signed_in(make_user())
    assert_problem(client.get(f"{JOBS}?status=%00"), 400, "bad_request")
    assert_problem(client.get("/api/v1/a%00b"), 400, "bad_request")


def test_pages_are_left_alone_by_the_problem_shape(client):
    response = client.get("/nothing/here")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_an_error_before_the_api_keeps_its_retry_after():
    def overloaded(request):
        return HttpResponse("busy", status=503, headers={"Retry-After": "9"})

    response = ProblemMiddleware(overloaded)(RequestFactory().get("/api/v1/me"))
    assert_problem(response, 503, "unavailable")
    assert response["Retry-After"] == "9"


class Number(Schema):
    value: float
    label: str = ""


@pytest.fixture
def echo_client(settings):
    """Return a browser for an API with one operation that takes and gives a number."""
    echo = ProductApi(title="Echo", urls_namespace="echo")

    @echo.post("/echo", response=Number)
    def give_back(request, payload: Number) -> Number:
        return payload

    @echo.get("/undefined", response=Number)
    def undefined(request) -> Number:
        return Number(value=math.nan)

    from django.urls import path

    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("api/", echo.urls)]})
    return Client()


@pytest.mark.parametrize(
    "body",
    [
        '{"value": NaN}',
        '{"value": Infinity}',
        '{"value": 1e999}',
        "{",
        '{"value": 1, "label": "\\u0000"}',
    ],
)
def test_what_is_not_json_is_refused(echo_client, body):
    response = echo_client.post("/api/echo", body, content_type="application/json")
    assert_problem(response, 400, "bad_request")


def test_a_wrong_field_is_named_as_the_client_sent_it(echo_client):
    response = echo_client.post("/api/echo", '{"value": "x"}', content_type="application/json")
    body = assert_problem(response, 422, "invalid_input")
    assert list(body["fields"]) == ["value"]


def test_an_undefined_number_is_null(echo_client):
    assert echo_client.get("/api/undefined").json() == {"value": None, "label": ""}


def test_the_renderer_writes_only_json():
    text = JsonableRenderer().render(
        None, {"a": math.inf, "b": [math.nan, 1.5]}, response_status=200
    )
    assert json.loads(text) == {"a": None, "b": [None, 1.5]}


def test_the_parser_keeps_ordinary_numbers():
    request = RequestFactory().post("/", '{"a": 1.25e2}', content_type="application/json")
    assert StrictParser().parse_body(request) == {"a": 125.0}


# --- Description ---------------------------------------------------------------------------------


def test_the_description_is_for_people_who_signed_in_and_for_tokens(client):
    assert client.get("/api/v1/docs").status_code == 302
    assert client.get("/api/v1/openapi.json").status_code == 302
    _, secret = make_token(make_user(), scope="read")
    assert client.get("/api/v1/openapi.json", headers=bearer(secret)).status_code == 200
    assert_problem(client.get("/api/v1/docs", headers=bearer("as_x")), 401, "not_authenticated")


def test_the_description_names_the_problem_answer_and_both_ways_in():
    schema = signed_in(make_user()).get("/api/v1/openapi.json").json()
    assert schema["info"]["version"] == "1"
    assert set(schema["components"]["securitySchemes"]) == {"TokenAccess", "SessionAccess"}
    operation = schema["paths"]["/api/v1/me"]["get"]
    assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert "code" in schema["components"]["schemas"]["Problem"]["properties"]


def test_the_description_page_loads_from_our_origin_without_inline_code():
    page = signed_in(make_user()).get("/api/v1/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    assert '"validatorUrl": null' in page.text
    assert "<style" not in page.text
    assert page.text.count("<script ") == 3  # one block of JSON, two files
