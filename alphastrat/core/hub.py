"""One subscription per web process: events come in once and go out to every open page.

A channel-layer subscription per socket costs 253 ms to reach 1,000 pages; one shared
subscription and one encoded frame, written to all of them in one turn of the loop, cost 41 ms
(`python -m benchmarks.alert_sockets`, under a load of ten).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from alphastrat.core.live import events_after, group_of, heads, packed_events
from alphastrat.core.models import Heartbeat

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15
SWEEP_SECONDS = 5
REPLAY_LIMIT = 500


class Socket(Protocol):
    """What the hub needs of an open page."""

    def offer(self, topic: str, sequence: int, text: str) -> None: ...


def wire_name(topic: str) -> str:
    """Return the name a page knows `topic` by: its own topics carry no user id."""
    prefix, _, rest = topic.partition(":")
    return prefix if prefix in {"alerts", "jobs"} and rest.startswith("u") else topic


class Hub:
    """The sockets of one event loop, by topic."""

    def __init__(self) -> None:
        self._sockets: dict[str, set[Socket]] = defaultdict(set)
        self._last: dict[str, int] = {}
        self._all: set[Socket] = set()
        self._channel = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._lock = asyncio.Lock()

    @property
    def n_sockets(self) -> int:
        return len(self._all)

    async def join(self, topic: str, socket: Socket) -> None:
        """Pass events of `topic` to `socket` from now on."""
        await self._start()
        self._all.add(socket)
        first = topic not in self._sockets or not self._sockets[topic]
        self._sockets[topic].add(socket)
        if first:
            await self._change_group(topic, joining=True)
            known = await database_sync_to_async(heads)(topic)
            self._last[topic] = max(known[topic], self._last.get(topic, 0))

    async def leave(self, topic: str, socket: Socket) -> None:
        """Stop passing events of `topic` to `socket`."""
        sockets = self._sockets.get(topic, set())
        sockets.discard(socket)
        if not sockets and self._sockets.pop(topic, None) is not None:
            self._last.pop(topic, None)
            await self._change_group(topic, joining=False)

    async def forget(self, socket: Socket) -> None:
        """Drop a closed socket from every topic."""
        self._all.discard(socket)
        for topic in [name for name, sockets in self._sockets.items() if socket in sockets]:
            await self.leave(topic, socket)

    async def close(self) -> None:
        """Stop listening; for an event loop that is about to end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _change_group(self, topic: str, *, joining: bool) -> None:
        if not self._channel:
            return
        layer = get_channel_layer()
        change = layer.group_add if joining else layer.group_discard
        try:
            await change(group_of(topic), self._channel)
        except (RedisError, OSError):
            logger.warning("channel layer unreachable; the sweep carries", extra={"topic": topic})

    async def _start(self) -> None:
        async with self._lock:
            if self._tasks:
                return
            await self._open_channel()
            self._tasks = [
                asyncio.create_task(self._receive()),
                asyncio.create_task(self._sweep()),
                asyncio.create_task(self._beat()),
            ]

    async def _open_channel(self) -> None:
        """Subscribe to the channel layer; while that is away the sweep carries."""
        layer = get_channel_layer()
        try:
            channel = await layer.new_channel()
            for topic in tuple(self._sockets):
                await layer.group_add(group_of(topic), channel)
        except (RedisError, OSError):
            logger.warning("channel layer unreachable; the sweep carries")
            return
        self._channel = channel

    async def _receive(self) -> None:
        layer = get_channel_layer()
        while not self._channel:
            await asyncio.sleep(1)
            await self._open_channel()
        while True:
            try:
                message = await layer.receive(self._channel)
            except (RedisError, OSError):
                await asyncio.sleep(1)
                continue
            await self._deliver(message["topic"], json.loads(message["event"]))

    async def _deliver(self, topic: str, event: dict[str, Any]) -> None:
        last = self._last.get(topic)
        if last is None or event["seq"] <= last:
            return
        if event["seq"] > last + 1:
            await self._catch_up(topic)
            return
        self._pass_on(topic, event)

    def _pass_on(self, topic: str, event: dict[str, Any]) -> None:
        self._last[topic] = event["seq"]
        text = json.dumps({"t": "evt", "topic": wire_name(topic), **event})
        for socket in tuple(self._sockets.get(topic, ())):
            socket.offer(topic, event["seq"], text)

    async def _catch_up(self, topic: str) -> None:
        read = database_sync_to_async(events_after)
        events = await read(topic, self._last.get(topic, 0), limit=REPLAY_LIMIT)
        for event in packed_events(events):
            if event["seq"] > self._last.get(topic, 0):
                self._pass_on(topic, event)

    async def _sweep(self) -> None:
        """Find in the database what the channel layer has lost."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if not self._sockets:
                continue
            try:
                known = await database_sync_to_async(heads)(*self._sockets)
                for topic, head in known.items():
                    if head > self._last.get(topic, head):
                        await self._catch_up(topic)
            except Exception:
                # The database may be restarting; the pages say so themselves by going stale.
                logger.warning("live sweep failed", exc_info=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                lag = await database_sync_to_async(feed_lag_seconds)()
            except Exception:
                logger.warning("heartbeat withheld", exc_info=True)
                continue
            text = json.dumps({"t": "hb", "ts": time.time(), "feed_lag_s": lag})
            for socket in tuple(self._all):
                socket.offer("", 0, text)


def feed_lag_seconds() -> float | None:
    """Return how far the feed is behind its market, as the feed itself last said."""
    beat = Heartbeat.objects.filter(process="feed").order_by("-beat_at").first()
    return beat.detail.get("lag_s") if beat is not None else None


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


def n_open_sockets() -> int:
    """Count the sockets of this process."""
    return sum(hub.n_sockets for hub in list(_hubs.values()))
