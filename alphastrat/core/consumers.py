"""The live socket: UI protocol version 1 (docs/interface.md)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine, Generator
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from alphastrat.core.hub import HEARTBEAT_SECONDS, REPLAY_LIMIT, get_hub, wire_name
from alphastrat.core.live import events_after, heads, packed_events, stored_topic

logger = logging.getLogger(__name__)

PROTOCOL = 1
OUTBOX_LIMIT = 256
MAX_TOPICS = 200

CLOSE_LOGIN, CLOSE_TOPIC, CLOSE_PROTOCOL, CLOSE_SLOW = 4401, 4403, 4409, 1013


class LiveConsumer(AsyncWebsocketConsumer):
    """One open page: subscribes to topics, replays what was missed, then stays live."""

    # The hub listens to the channel layer for every page: none of them needs a channel of its own.
    channel_layer_alias = ""

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self.topics: dict[str, str] = {}
        self.replaying: dict[str, list[tuple[int, str]]] = {}
        self.outbox: asyncio.Queue[str | _Rest] = asyncio.Queue(OUTBOX_LIMIT)
        self.is_at_rest = False
        self.sender: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None
        await self.accept()
        if not self.user.is_authenticated:
            await self.close(CLOSE_LOGIN)
            return
        self.sender = asyncio.create_task(self._send_outbox())
        self.is_at_rest = True

    async def disconnect(self, code: int) -> None:
        if self.sender is not None:
            self.sender.cancel()
        await get_hub().forget(self)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            message = json.loads(text_data or "")
            kind, names = message["t"], _requested(message.get("topics", []))
        except (ValueError, KeyError, TypeError):
            await self.close(CLOSE_PROTOCOL)
            return
        if kind == "hello" and message.get("v") != PROTOCOL:
            await self.close(CLOSE_PROTOCOL)
        elif kind in {"hello", "sub"}:
            await self._subscribe(names)
        elif kind == "unsub":
            await self._unsubscribe(names)

    def offer(self, topic: str, sequence: int, text: str) -> None:
        """Send a frame, or queue it behind others.

        A page too slow to read is closed and resumes by sequence.
        """
        if topic in self.replaying:
            self.replaying[topic].append((sequence, text))
            return
        if self.is_at_rest and self.outbox.empty():
            self._send_at_once(text)
            return
        try:
            self.outbox.put_nowait(text)
        except asyncio.QueueFull:
            self.closing = asyncio.create_task(self.close(CLOSE_SLOW))

    def _send_at_once(self, text: str) -> None:
        """Write a frame without waking a task of this page's own: a fifth of the time.

        The server's `send` only waits while the page does not read. Else it ends at its first
        step; where it does wait, the rest of it is queued.
        """
        sending = self.base_send({"type": "websocket.send", "text": text})
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return
        except Exception:
            # The page is gone; the server tells us of it next.
            logger.debug("page gone", exc_info=True)
            return
        self.outbox.put_nowait(_Rest(sending, waits_for))

    async def _subscribe(self, names: dict[str, int | None]) -> None:
        if len(self.topics) + len(names) > MAX_TOPICS:
            await self.close(CLOSE_TOPIC)
            return
        answer = {}
        for name, since in names.items():
            topic = await database_sync_to_async(stored_topic)(self.user, name)
            if topic is None:
                await self.close(CLOSE_TOPIC)
                return
            self.topics[name] = topic
            answer[name] = await self._replay(topic, since)
        welcome = {
            "t": "welcome",
            "v": PROTOCOL,
            "hb": HEARTBEAT_SECONDS,
            "ts": time.time(),
            "build": settings.BUILD,
            "topics": answer,
        }
        await self.outbox.put(json.dumps(welcome))

    async def _unsubscribe(self, names: dict[str, int | None]) -> None:
        for name in names:
            topic = self.topics.pop(name, None)
            if topic is not None:
                await get_hub().leave(topic, self)

    async def _replay(self, topic: str, since: int | None) -> dict[str, Any]:
        """Join first, then send what was missed, so that nothing falls between the two."""
        self.replaying[topic] = []
        await get_hub().join(topic, self)
        head, missed, gap = await database_sync_to_async(_missed)(topic, since)
        for event in missed:
            text = json.dumps({"t": "evt", "topic": wire_name(topic), **event})
            await self.outbox.put(text)
        for sequence, text in self.replaying.pop(topic):
            if sequence > head:
                await self.outbox.put(text)
        return {"head": head, "gap": gap}

    async def _send_outbox(self) -> None:
        while True:
            item = await self.outbox.get()
            self.is_at_rest = False
            await (self.send(text_data=item) if isinstance(item, str) else item)
            self.is_at_rest = True


class _Rest:
    """A coroutine that has taken its first step; awaited, it goes on to its end."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                yield waits_for
                waits_for = self._coroutine.send(None)
            except StopIteration:
                return


def _requested(topics: list[dict[str, Any]]) -> dict[str, int | None]:
    return {str(topic["n"]): topic.get("since") for topic in topics}


def _missed(topic: str, since: int | None) -> tuple[int, list[dict[str, Any]], bool]:
    head = heads(topic)[topic]
    if since is None or since >= head:
        return head, [], since is not None and since > head
    if head - since > REPLAY_LIMIT:
        return head, [], True
    events = events_after(topic, since, limit=REPLAY_LIMIT)
    complete = bool(events) and events[0].sequence == since + 1
    if not complete:
        return head, [], True
    return max(head, events[-1].sequence), packed_events(events), False
