"""Live events are numbered without holes, replayed in order, and only for who may see them."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser
from django.db import connections, transaction

from alphastrat.core import live
from alphastrat.core.consumers import LiveConsumer
from alphastrat.core.hub import Hub, get_hub
from alphastrat.core.models import LiveEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def close_hub():
    yield
    await get_hub().close()
    await database_sync_to_async(connections.close_all)()


def connect(user) -> WebsocketCommunicator:
    socket = WebsocketCommunicator(LiveConsumer.as_asgi(), "/ws/live/")
    socket.scope["user"] = user
    return socket


async def hello(socket, *topics, v=1):
    await socket.connect()
    wanted = [{"n": name, "since": since} for name, since in topics]
    await socket.send_json_to({"t": "hello", "v": v, "build": "test", "topics": wanted})


async def publish(*arguments):
    await sync_to_async(live.publish)(*arguments)


def test_sequences_have_no_holes_even_after_a_rollback():
    live.publish("system", "note", {"n": 1})
    with transaction.atomic():
        live.publish("system", "note", {"n": 2})
        transaction.set_rollback(True)
    live.publish("system", "note", {"n": 3})
    found = LiveEvent.objects.filter(topic="system").order_by("sequence")
    assert [(e.sequence, e.payload["n"]) for e in found] == [(1, 1), (2, 3)]
    assert live.heads("system", "other") == {"system": 2, "other": 0}


async def test_missed_events_are_replayed_in_order_before_the_welcome(alice):
    for n in (1, 2, 3):
        await publish(f"jobs:u{alice.pk}", "job", {"n": n})
    socket = connect(alice)
    await hello(socket, ("jobs", 1))
    frames = [await socket.receive_json_from() for _ in range(3)]
    assert [(f["t"], f.get("seq")) for f in frames] == [("evt", 2), ("evt", 3), ("welcome", None)]
    assert frames[0]["topic"] == "jobs"
    assert frames[2]["topics"] == {"jobs": {"head": 3, "gap": False}}
    await socket.disconnect()


async def test_an_event_reaches_an_open_page(alice):
    socket = connect(alice)
    await hello(socket, ("jobs", 0))
    assert (await socket.receive_json_from())["t"] == "welcome"
    await publish(f"jobs:u{alice.pk}", "job", {"state": "running"})
    event = await socket.receive_json_from(timeout=8)
    assert (event["topic"], event["seq"], event["d"]) == ("jobs", 1, {"state": "running"})
    await socket.disconnect()


async def test_an_event_the_channel_layer_lost_is_found_by_the_sweep(alice, monkeypatch):
    monkeypatch.setattr("alphastrat.core.hub.SWEEP_SECONDS", 0.2)
    socket = connect(alice)
    await hello(socket, ("jobs", 0))
    await socket.receive_json_from()
    with monkeypatch.context() as patch:
        patch.setattr(live, "_send", lambda event: None)
        await publish(f"jobs:u{alice.pk}", "job", {"state": "lost"})
    event = await socket.receive_json_from(timeout=8)
    assert event["d"] == {"state": "lost"}
    await socket.disconnect()


async def test_too_many_missed_events_are_a_gap(alice, monkeypatch):
    monkeypatch.setattr("alphastrat.core.consumers.REPLAY_LIMIT", 2)
    for n in range(4):
        await publish(f"jobs:u{alice.pk}", "job", {"n": n})
    socket = connect(alice)
    await hello(socket, ("jobs", 1))
    welcome = await socket.receive_json_from()
    assert welcome["topics"] == {"jobs": {"head": 4, "gap": True}}
    await socket.disconnect()


async def test_pruned_events_are_a_gap(alice):
    for n in range(3):
        await publish(f"jobs:u{alice.pk}", "job", {"n": n})
    await LiveEvent.objects.filter(sequence__lte=2).adelete()
    socket = connect(alice)
    await hello(socket, ("jobs", 1))
    welcome = await socket.receive_json_from()
    assert welcome["topics"]["jobs"] == {"head": 3, "gap": True}
    await socket.disconnect()


@pytest.mark.parametrize(
    ("topic", "code"), [("strategy:00000000-0000-4000-8000-000000000000", 4403), ("unknown", 4403)]
)
async def test_a_topic_of_somebody_else_is_refused(alice, topic, code):
    socket = connect(alice)
    await hello(socket, (topic, 0))
    closed = await socket.receive_output()
    assert (closed["type"], closed["code"]) == ("websocket.close", code)


async def test_an_anonymous_page_is_sent_to_the_login():
    socket = connect(AnonymousUser())
    await socket.connect()
    closed = await socket.receive_output()
    assert closed["code"] == 4401


@pytest.mark.parametrize("text", ["not json", "[]", json.dumps({"t": "hello", "v": 99})])
async def test_a_foreign_protocol_is_refused(alice, text):
    socket = connect(alice)
    await socket.connect()
    await socket.send_to(text_data=text)
    assert (await socket.receive_output())["code"] == 4409


class FakeSocket:
    def __init__(self):
        self.seen = []

    def offer(self, topic, sequence, text):
        self.seen.append(sequence)


async def test_events_that_arrive_out_of_order_are_passed_on_in_order():
    hub, socket = Hub(), FakeSocket()
    await hub.join("system", socket)
    for n in (1, 2, 3):
        await publish("system", "note", {"n": n})
    for sequence in (3, 1, 2):
        await hub._deliver("system", {"seq": sequence, "ts": 0, "kind": "note", "d": {}})
    assert socket.seen == [1, 2, 3]
    await hub.forget(socket)
    assert hub.n_sockets == 0
    await hub.close()
