"""The API of alerts, rules and silences, and the live socket for programs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.db import connections
from django.utils.timezone import now

from alphastrat.core.hub import get_hub
from alphastrat.core.jsonable import jsonable
from alphastrat.routing import websocket_application
from monitoring.models import Alert, Silence, ThresholdRule
from tests.factories import bearer, make_token, make_user, signed_in
from tests.monitoring.alert_builders import firing, make_rule, plain_strategy
from tests.monitoring.test_performance_monitor import trade

ROOT = "/api/v1"
pytestmark = pytest.mark.django_db

RULE = {
    "name": "Deep water",
    "metric": "drawdown",
    "comparator": "below",
    "warning_bound": -0.05,
    "critical_bound": -0.1,
}


class Api:
    """A program with a token."""

    def __init__(self, user, **token):
        self._client = signed_in(make_user(f"nobody-{user.pk}"))
        self._client.logout()
        self._headers = bearer(make_token(user, **token)[1])

    def __call__(self, method, path, body=None):
        send = getattr(self._client, method)
        options = {"headers": self._headers, "content_type": "application/json"}
        return send(f"{ROOT}{path}", **({"data": body} if body is not None else {}), **options)


@pytest.fixture
def api(alice) -> Api:
    return Api(alice)


@pytest.fixture
def alert(alice) -> Alert:
    return firing(alice, at=now(), strategy_id=plain_strategy(alice).pk)


def test_alerts_are_listed_and_filtered(api, alice, alert):
    firing(alice, at=now(), cause="other", severity="critical")
    assert api("get", "/alerts").json()["count"] == 2
    found = api("get", f"/alerts?severity=warning&strategy_id={alert.strategy_id}").json()["items"]
    assert [one["id"] for one in found] == [str(alert.pk)]
    assert found[0]["subject"] == "RSI"
    assert found[0]["value"] == -0.06
    assert api("get", "/alerts?acknowledged=true").json()["count"] == 0


def test_an_alert_is_acknowledged_once(api, alert):
    path = f"/alerts/{alert.pk}"
    answer = api("post", f"{path}/acknowledge", {"comment": "On it"})
    assert (answer.status_code, answer.json()["acknowledged_by"]) == (200, "alice")
    assert api("post", f"{path}/acknowledge", {}).status_code == 409
    events = api("get", f"{path}/events").json()["items"]
    assert [(one["kind"], one["by"]) for one in events] == [
        ("fired", None),
        ("acknowledged", "alice"),
    ]


def test_an_alert_is_snoozed_talked_about_and_judged(api, alert):
    path = f"/alerts/{alert.pk}"
    until = jsonable(now() + timedelta(hours=1))
    assert api("post", f"{path}/snooze", {"until": until}).json()["snoozed_until"] is not None
    assert api("post", f"{path}/snooze", {}).status_code == 422
    assert api("post", f"{path}/wake", {}).json()["snoozed_until"] is None
    assert api("post", f"{path}/comments", {"comment": "Hm"}).json()["comment"] == "Hm"
    assert api("post", f"{path}/feedback", {"feedback": "useful"}).json()["feedback"] == "useful"
    assert api("post", f"{path}/feedback", {"feedback": "meh"}).status_code == 422
    assert api("post", f"{path}/resolve", {}).json()["state"] == "resolved"
    assert api("post", "/alerts/acknowledge", {"ids": [str(alert.pk)]}).json() == {"n_changed": 0}


def test_others_alerts_and_rules_are_not_there(alice, bob, alert):
    rule = make_rule(alice)
    theirs = Api(bob)
    assert theirs("get", f"/alerts/{alert.pk}").status_code == 404
    assert theirs("post", f"/alerts/{alert.pk}/acknowledge", {}).status_code == 404
    assert theirs("get", f"/rules/{rule.pk}").status_code == 404
    assert theirs("delete", f"/rules/{rule.pk}").status_code == 404
    assert theirs("post", "/alerts/acknowledge", {"ids": [str(alert.pk)]}).json() == {
        "n_changed": 0
    }


def test_a_token_that_may_only_read_acknowledges_nothing(alice, alert):
    reader = Api(alice, scope="read")
    assert reader("post", f"/alerts/{alert.pk}/acknowledge", {}).status_code == 403
    assert reader("get", f"/alerts/{alert.pk}").status_code == 200


def test_a_rule_is_made_changed_and_deleted(api):
    made = api("post", "/rules", RULE)
    assert made.status_code == 201
    path = f"/rules/{made.json()['id']}"
    changed = api("put", path, {**RULE, "warning_bound": -0.06, "version": 1}).json()
    assert (changed["warning_bound"], changed["version"]) == (-0.06, 2)
    assert api("put", path, {**RULE, "version": 1}).status_code == 409
    assert api("delete", path).status_code == 204
    assert not ThresholdRule.objects.exists()


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"critical_bound": -0.01}, "critical_bound"),
        ({"metric": "nonsense"}, "metric"),
        ({"metric": "volatility"}, "window_bars"),
        ({"scope": "strategy"}, "strategy"),
        ({"strategy_id": "00000000-0000-0000-0000-000000000000"}, "strategy_id"),
    ],
)
def test_a_wrong_rule_is_refused_by_field(api, changes, wrong):
    answer = api("post", "/rules", {**RULE, **changes})
    assert answer.status_code == 422
    assert wrong in answer.json()["fields"]


def test_a_rule_is_tried_before_it_is_kept(api, alice):
    trade(plain_strategy(alice), *([0.0] * 5 + [-0.06, 0.07]) * 3, end=now())
    tried = api("post", "/rules/preview", {**RULE, "metric": "day_return"}).json()
    assert tried["n_fired"] == 3
    assert len(tried["subjects"][0]["fired_at"]) == 3
    assert tried["subjects"][0]["source"] == "live"
    assert not ThresholdRule.objects.exists()


def test_the_metrics_are_told_with_their_units(api):
    metrics = {one["key"]: one for one in api("get", "/rules/metrics").json()}
    assert (metrics["drawdown"]["unit"], metrics["drawdown"]["scale"]) == ("%", 100.0)
    assert metrics["sharpe_ratio"]["needs_window"]


def test_silences_begin_and_end(api):
    at = now()
    sent = {
        "starts_at": jsonable(at - timedelta(minutes=1)),
        "ends_at": jsonable(at + timedelta(hours=1)),
        "comment": "Upgrade",
        "matchers": {"severity": "warning"},
    }
    made = api("post", "/silences", sent)
    assert made.status_code == 201
    assert api("post", "/silences", {**sent, "matchers": {"colour": "red"}}).status_code == 422
    assert api("delete", f"/silences/{made.json()['id']}").status_code == 204
    assert Silence.objects.get().ends_at <= now()
    assert api("delete", f"/silences/{made.json()['id']}").status_code == 409


@pytest.fixture
async def sockets():
    opened = []

    async def connect(*headers):
        socket = WebsocketCommunicator(websocket_application, "/ws/live/", headers=list(headers))
        opened.append(socket)
        return socket, await socket.connect()

    yield connect
    for socket in opened:
        await socket.disconnect()
    await get_hub().close()
    await database_sync_to_async(connections.close_all)()


@pytest.mark.django_db(transaction=True)
async def test_a_program_with_a_token_hears_of_its_alerts(sockets):
    alice = await database_sync_to_async(make_user)("alice")
    _, secret = await database_sync_to_async(make_token)(alice, scope="read")
    socket, (is_open, _) = await sockets((b"authorization", f"Bearer {secret}".encode()))
    assert is_open
    await socket.send_json_to({"t": "hello", "v": 1, "topics": [{"n": "alerts"}]})
    assert (await socket.receive_json_from(timeout=5))["t"] == "welcome"
    await database_sync_to_async(firing)(alice)
    heard = await socket.receive_json_from(timeout=5)
    assert (heard["topic"], heard["kind"], heard["d"]["state"]) == ("alerts", "alert", "firing")


@pytest.mark.django_db(transaction=True)
async def test_a_wrong_token_is_sent_away_and_so_is_a_page_of_another_origin(sockets):
    socket, _ = await sockets((b"authorization", b"Bearer as_wrong"))
    assert (await socket.receive_output(timeout=5))["code"] == 4401
    _, (is_open, _) = await sockets((b"origin", b"https://evil.test"))
    assert not is_open
