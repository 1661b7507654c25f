"""PostgreSQL's NOTIFY and LISTEN: how one process wakes another within a millisecond.

A notification is part of the transaction that sends it. It may be lost while a listener is
disconnected, so a listener also wakes every few seconds and after each reconnect: a lost event
costs seconds and never truth.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from psycopg import sql

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 5.0
# Notifications that arrive this soon after the first are handled together with it.
COALESCE_SECONDS = 0.01
RECONNECT_SECONDS = 0.5
# PostgreSQL refuses payloads of 8,000 bytes and more.
MAX_PAYLOAD_BYTES = 7_900


def notify(channel: str, payload: str = "") -> None:
    """Wake the listeners of `channel` when the surrounding transaction commits.

    Equal notifications of one transaction arrive once. A payload that is too long is left out:
    the listener then looks at everything, as in a sweep.
    """
    if len(payload.encode()) > MAX_PAYLOAD_BYTES:
        payload = ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


@dataclass(frozen=True, slots=True)
class Wake:
    """Why a listener woke: payloads by channel, and whether to look at everything."""

    payloads: dict[str, frozenset[str]] = field(default_factory=dict)
    is_sweep: bool = False


class Listener:
    """Waits for notifications on a connection of its own; any thread may interrupt it."""

    def __init__(self, *channels: str, sweep_seconds: float = SWEEP_SECONDS) -> None:
        self._channels = channels
        self._sweep_seconds = sweep_seconds
        self._connection: psycopg.Connection[Any] | None = None
        self._swept_at = 0.0
        self._stopped = threading.Event()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self, *_signal: object) -> None:
        """End the loop soon; safe to call from a signal handler and more than once."""
        self._stopped.set()
        try:
            os.write(self._wake_writer, b"x")
        except OSError:
            return

    def close(self) -> None:
        """Give back the connection and the pipe."""
        self._disconnect()
        for end in (self._wake_reader, self._wake_writer):
            os.close(end)

    def wait(self, timeout: float | None = None) -> Wake:
        """Sleep until a notification, an interruption, or `timeout` seconds have passed.

        With nothing heard the wake is a sweep; so is the first one after a (re)connect, because
        what was sent before it was missed.
        """
        deadline = time.monotonic() + (self._sweep_seconds if timeout is None else timeout)
        try:
            if self._connection is None:
                self._connect()
                return self._sweep()
            heard = self._hear(deadline)
        except psycopg.Error as error:
            logger.warning("listener lost its connection", extra={"reason": str(error)[:200]})
            self._disconnect()
            self._sleep(RECONNECT_SECONDS)
            return self._sweep()
        # Steady news must not put the sweep off for ever.
        is_due = time.monotonic() - self._swept_at >= self._sweep_seconds
        return self._sweep(heard) if is_due or not heard else Wake(heard)

    def _sweep(self, heard: dict[str, frozenset[str]] | None = None) -> Wake:
        self._swept_at = time.monotonic()
        return Wake(heard or {}, is_sweep=True)

    def run(self, handle: Callable[[Wake], None]) -> None:
        """Call `handle` for every wake until stopped; a lost database is waited for."""
        while not self.is_stopped:
            wake = self.wait()
            if self.is_stopped:
                return
            try:
                handle(wake)
            except (OperationalError, InterfaceError) as error:
                logger.warning("database lost", extra={"reason": str(error)[:200]})
                close_old_connections()
                # What this wake asked for is done by the sweep after the reconnect.
                self._disconnect()
                self._sleep(RECONNECT_SECONDS)

    def _hear(self, deadline: float) -> dict[str, frozenset[str]]:
        heard: dict[str, set[str]] = {}
        self._take(heard)
        while not heard and not self.is_stopped:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            self._select(remaining)
            self._take(heard)
        if heard and not self.is_stopped:
            self._sleep(COALESCE_SECONDS)
            self._take(heard)
        return {channel: frozenset(payloads) for channel, payloads in heard.items()}

    def _take(self, heard: dict[str, set[str]]) -> None:
        assert self._connection is not None
        for one in self._connection.notifies(timeout=0):
            heard.setdefault(one.channel, set()).add(one.payload)

    def _select(self, timeout: float) -> None:
        assert self._connection is not None
        select.select([self._connection.fileno(), self._wake_reader], [], [], timeout)

    def _sleep(self, seconds: float) -> None:
        select.select([self._wake_reader], [], [], seconds)

    def _connect(self) -> None:
        parameters = connection.get_connection_params()
        parameters.pop("cursor_factory", None)
        parameters.setdefault("connect_timeout", 5)
        self._connection = psycopg.connect(**parameters, autocommit=True)
        for channel in self._channels:
            self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
