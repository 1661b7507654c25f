"""Run the monitor: one is active, any other stands by."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection
from django.utils.timezone import now

from alphastrat.core.heartbeats import beat
from monitoring.services import system_monitor

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 5.0
STANDBY_SECONDS = 2.0
TIDY_SECONDS = 3600.0


class Command(BaseCommand):
    help = "Watch the installation: give back lost jobs, forget old live events."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.is_set():
            try:
                self._take_turn(stop)
            except (DatabaseError, InterfaceError):
                # The lock went with the session: stand in line again when the server is back.
                logger.warning("database unreachable")
                connection.close()
                stop.wait(STANDBY_SECONDS)

    def _take_turn(self, stop: threading.Event) -> None:
        with system_monitor.monitor_lock() as active:
            if active:
                self._watch(stop)
                return
        beat("monitor", {"state": "standby"})
        stop.wait(STANDBY_SECONDS)

    def _watch(self, stop: threading.Event) -> None:
        logger.info("monitor active")
        tidied_at = float("-inf")
        while not stop.is_set():
            beat("monitor", {"state": "active"})
            system_monitor.sweep(at=now())
            if time.monotonic() - tidied_at >= TIDY_SECONDS:
                system_monitor.tidy(at=now())
                tidied_at = time.monotonic()
            stop.wait(SWEEP_SECONDS)
