"""Run the monitor: one is active, any other stands by."""

from __future__ import annotations

import gc
import logging
import signal
import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection
from django.utils.timezone import now

from alphastrat.core.heartbeats import beat
from alphastrat.core.notify import Listener, Wake
from monitoring.services import system_monitor
from monitoring.services.performance_monitor import PerformanceMonitor
from monitoring.services.rules import MONITOR
from monitoring.services.sender import SenderThread

logger = logging.getLogger(__name__)

STANDBY_SECONDS = 2.0
BEAT_SECONDS = 2.0
TIDY_SECONDS = 3600.0


class Command(BaseCommand):
    help = "Watch strategies and the installation: judge, alert, send, give back lost jobs."

    def handle(self, *args: Any, **options: Any) -> None:
        listener = Listener(MONITOR)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, listener.stop)
        sender = SenderThread()
        self._standby_beat_at = float("-inf")
        while not listener.is_stopped:
            try:
                sender.start()
                self._take_turn(listener, sender)
            except (DatabaseError, InterfaceError):
                # The lock went with the session: stand in line again when the server is back.
                logger.warning("database unreachable", exc_info=True)
                connection.close()
                time.sleep(STANDBY_SECONDS / 2)
        sender.stop()
        listener.close()

    def _take_turn(self, listener: Listener, sender: SenderThread) -> None:
        with system_monitor.monitor_lock() as active:
            if active:
                self._watch(listener, sender)
                return
        # What is heard here is for the active monitor; the first pass after a take-over is a sweep.
        if time.monotonic() - self._standby_beat_at >= BEAT_SECONDS:
            beat("monitor", {"state": "standby"})
            self._standby_beat_at = time.monotonic()
        listener.wait(STANDBY_SECONDS)

    def _watch(self, listener: Listener, sender: SenderThread) -> None:
        logger.info("monitor active")
        monitor = PerformanceMonitor()
        tidied_at = beat_at = float("-inf")
        wake = Wake(is_sweep=True)
        # What is loaded by now stays: looking through it for garbage takes a third of a second.
        gc.freeze()
        while not listener.is_stopped:
            state = self._pass(monitor, wake)
            if wake.is_sweep:
                system_monitor.sweep(at=now())
                sender.start()
            if time.monotonic() - beat_at >= BEAT_SECONDS:
                beat("monitor", {"state": state, **monitor.summary()})
                beat_at = time.monotonic()
            if time.monotonic() - tidied_at >= TIDY_SECONDS:
                system_monitor.tidy(at=now())
                tidied_at = time.monotonic()
            wake = listener.wait()

    def _pass(self, monitor: PerformanceMonitor, wake: Wake) -> str:
        """Run a pass; one that fails is said loudly and must not end lost jobs and messages too."""
        try:
            monitor.run_pass(wake, at=now())
        except (DatabaseError, InterfaceError):
            raise
        except Exception:
            logger.exception("pass failed")
            return "failing"
        return "active"
