"""The product's own processes, pointed at the database of the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import quote

from django.conf import settings

START_SECONDS = 120.0


def environment(database: dict[str, str]) -> dict[str, str]:
    """Return the variables that point a process at `database`, a Django settings dictionary."""
    password = f":{quote(database['PASSWORD'])}" if database["PASSWORD"] else ""
    address = f"{database['HOST']}:{database['PORT']}" if database["PORT"] else database["HOST"]
    url = f"postgres://{quote(database['USER'])}{password}@{address}/{database['NAME']}"
    own = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "alphastrat.settings_test"}
    return {**os.environ, **own, "WORKERS": "1", "DEBUG": "0"}


class WebServer:
    """The real ASGI application on a free port."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "alphastrat.asgi:application"]
        command += ["--port", str(self.port), "--log-level", "error", "--no-access-log"]
        self._process = subprocess.Popen(command, env=self._variables, cwd=settings.BASE_DIR)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "the web server ended by itself"
            assert time.monotonic() < deadline, "the web server did not start"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.origin}/healthz", timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it the hard way, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self.is_alive:
            self.kill()


class Worker:
    """The process that carries out jobs."""

    def __init__(self, variables: dict[str, str]) -> None:
        command = [sys.executable, "manage.py", "run_worker"]
        self._process = subprocess.Popen(command, env=variables, cwd=settings.BASE_DIR)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
