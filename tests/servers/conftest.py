"""Directories that servers running under another account can enter."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from alphastrat.servers.embedded import EmbeddedServers


@pytest.fixture
def var():
    # pytest's own tmp_path is closed to others, and as root the servers run as someone else.
    directory = Path(tempfile.mkdtemp(prefix="alphastrat-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def make_servers():
    started = []

    def make(var, names=("postgres", "valkey"), *, durable=False):
        servers = EmbeddedServers(var, names, durable=durable)
        started.append(servers)
        return servers

    yield make
    for servers in started:
        servers.stop()


@pytest.fixture
def busy_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]
