"""Give the test run an embedded PostgreSQL and Valkey of its own, under var/test.

Loaded with `-p tests.plugin_servers`: Django's settings are read while pytest is still parsing
its command line, so a conftest.py would come too late.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from alphastrat.servers.embedded import EmbeddedServers
from alphastrat.servers.errors import ServerError
from alphastrat.servers.state import AlreadyRunningError, Lock

ROOT = Path(__file__).resolve().parent.parent
VARIABLES = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
MOST_RUNS_AT_ONCE = 8


class TestServers:
    """What this run started, to be stopped when it ends."""

    __test__ = False
    running: EmbeddedServers | None = None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None, object, object]:
    # xdist's workers inherit the variables from the controller.
    missing = [name for name, variable in VARIABLES.items() if not os.environ.get(variable)]
    if missing:
        try:
            _start(missing)
        except ServerError as error:
            raise pytest.UsageError(str(error)) from None
    return (yield)


def _start(names: list[str]) -> None:
    var = _free_directory()
    os.environ["ALPHASTRAT_VAR"] = str(var)
    TestServers.running = servers = EmbeddedServers(var, names, durable=False)
    servers.start()
    for name, url in servers.urls.items():
        os.environ[VARIABLES[name]] = url


def _free_directory() -> Path:
    """Return var/test/1, or the next one while another run holds it."""
    for number in range(1, MOST_RUNS_AT_ONCE + 1):
        directory = ROOT / "var" / "test" / str(number)
        try:
            Lock(directory).acquire()
        except AlreadyRunningError:
            continue
        return directory
    raise ServerError(f"{MOST_RUNS_AT_ONCE} test runs are already going on here.")


def pytest_unconfigure() -> None:
    if TestServers.running is not None:
        TestServers.running.stop()
        TestServers.running = None
