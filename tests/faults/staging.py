"""Real processes of the product beside a test, ended with it whatever happens."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection

from tests.browser.processes import environment


class Processes:
    """Starts processes on the database of the test; use it as a context manager."""

    def __init__(self, **variables: str) -> None:
        own = {"WEBHOOK_PRIVATE_ADDRESSES": "1", "LOG_LEVEL": "ERROR", **variables}
        self._variables = {**environment(dict(connection.settings_dict)), **own}
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._started:
            process.kill()
        for process in self._started:
            process.wait()

    def manage(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of manage.py."""
        return self.python("manage.py", *arguments)

    def python(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, *arguments]
        started = subprocess.Popen(command, env=self._variables, cwd=settings.BASE_DIR, **options)
        self._started.append(started)
        return started


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process as a crash would: nothing of it runs any more."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait for `condition`; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} seconds"
        time.sleep(0.05)
    return time.monotonic() - began
