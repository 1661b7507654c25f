"""The live socket: UI protocol version 1 (docs/interface.md)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from alphastrat.core.hub import HEARTBEAT_SECONDS, REPLAY_LIMIT, get_hub, wire_name
from alphastrat.core.live import events_after, heads, packed_events, stored_topic
from alphastrat.servers.sockets import EXTENSION

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
        self.outbox: asyncio.Queue[str] = asyncio.Queue(OUTBOX_LIMIT)
        self.is_at_rest, self.is_let_go = False, False
        frames = self.scope.get("extensions", {}).get(EXTENSION, {})
        # Writing at once, without waking a task of this page's own, takes a fifth of the time.
        self.write: Callable[[str], bool] = frames.get("write", _queue)
        self.drop: Callable[[], None] | None = frames.get("drop")
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
        """Send a frame, or queue it behind others; a page too slow to read is let go.

        It comes back by itself and resumes by sequence.
        """
        if self.is_let_go:
            return
        held = self.replaying.get(topic)
        if held is not None:
            held.append((sequence, text))
            is_behind = len(held) > OUTBOX_LIMIT
        elif self.is_at_rest and self.outbox.empty() and self.write(text):
            return
        else:
            is_behind = self.outbox.full()
            if not is_behind:
                self.outbox.put_nowait(text)
        if is_behind:
            self._let_go()

    def _let_go(self) -> None:
        self.is_let_go = True
        logger.warning("page too slow, connection ended", extra={"user": self.user.pk})
        if self.drop is not None:
            self.drop()
        else:
            self.closing = asyncio.create_task(self.close(CLOSE_SLOW))

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
            text = await self.outbox.get()
            self.is_at_rest = False
            try:
                await self.send(text_data=text)
            except Exception:
                # The page is gone; the server tells us of it once nobody waits for the outbox.
                logger.debug("page gone", exc_info=True)
            self.is_at_rest = True


def _queue(_text: str) -> bool:
    return False


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
