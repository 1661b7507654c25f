"""Send to the channel layer from code that is not asynchronous, without waiting for it.

`async_to_sync` builds an event loop and a connection for every message; one loop in a thread of
its own keeps both. What it loses, the hubs find in the event log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import Future
from typing import Any

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def send(group: str, message: dict[str, Any]) -> Future[None]:
    """Hand `message` to the loop that sends it; returns at once."""
    return asyncio.run_coroutine_threadsafe(_send(group, message), _loop())


async def _send(group: str, message: dict[str, Any]) -> None:
    try:
        await get_channel_layer().group_send(group, message)
    except (RedisError, OSError):
        logger.warning("live event not announced", extra={"group": group})


def _loop() -> asyncio.AbstractEventLoop:
    """Return this process's loop; a forked child cannot use its parent's."""
    process = os.getpid()
    with _lock:
        if process not in _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="messenger", daemon=True).start()
            _loops[process] = loop
        return _loops[process]


def _renew_lock() -> None:
    # The lock may have been held by a thread that the child does not have.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
