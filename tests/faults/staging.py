"""Real processes of the product beside a test, ended with it whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from tests.browser.processes import environment


class Processes:
    """Starts processes on the database of the test; use it as a context manager."""

    def __init__(self, **variables: str) -> None:
        own = {"WEBHOOK_PRIVATE_ADDRESSES": "1", "LOG_LEVEL": "ERROR", **variables}
        self._variables = {**environment(dict(connection.settings_dict)), **own}
        self._started: list[subprocess.Popen[bytes] | Forked] = []

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

    def fork(self, *arguments: str, constants: Mapping[str, Any] | None = None) -> Forked:
        """Start a command of manage.py where importing is no part of what is tested."""
        self._started.append(forked := Forked(*arguments, constants=constants))
        return forked

    def python(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, *arguments]
        started = subprocess.Popen(command, env=self._variables, cwd=settings.BASE_DIR, **options)
        self._started.append(started)
        return started


_starter = multiprocessing.get_context("forkserver")
_starter.set_forkserver_preload(["tests.faults.preloaded"])


class Forked:
    """A command of manage.py in a process of its own that did not have to import anything.

    It is forked from one that has imported the product and done nothing else: what it opens is
    its own, and killed it ends as any process does.
    """

    def __init__(self, *arguments: str, constants: Mapping[str, Any] | None = None) -> None:
        """Start it; `constants` are values of modules, by their dotted names, to work with."""
        database = dict(connection.settings_dict)
        given = (arguments, database, dict(constants or {}))
        self._process = _starter.Process(target=_command, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode


def _command(
    arguments: tuple[str, ...], database: dict[str, Any], constants: dict[str, Any]
) -> None:
    """Run a command as manage.py does, on `database`, with nothing printed."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, sys.stdout.fileno())
    os.dup2(silent, sys.stderr.fileno())
    django.setup()
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    for name, value in constants.items():
        module, constant = name.rsplit(".", 1)
        assert hasattr(import_module(module), constant), name
        setattr(import_module(module), constant, value)
    connection.settings_dict.update(database)
    call_command(*arguments)


def kill(process: subprocess.Popen[bytes] | Forked) -> None:
    """End a process as a crash would: nothing of it runs any more."""
    process.send_signal(signal.SIGKILL)
    process.wait()


# Waits of the senders that a test need not sit through: what a killed one claimed is free again
# after 15 seconds instead of 20, what failed is tried again after 1 instead of 5.
IMPATIENT = {
    "monitoring.services.deliveries.LEASE": timedelta(seconds=15),
    "monitoring.services.sending.RENEW_SECONDS": 3.0,
    "monitoring.services.deliveries.FIRST_WAIT_SECONDS": 1.0,
    "monitoring.transports.webhook.ATTEMPT_SECONDS": 6.0,
}


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait for `condition`; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} seconds"
        time.sleep(0.05)
    return time.monotonic() - began
