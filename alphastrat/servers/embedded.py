"""The embedded servers of one var/ directory: made ready, started, stopped, remembered."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alphastrat.servers.account import server_account
from alphastrat.servers.errors import ServerError
from alphastrat.servers.ports import pick_port
from alphastrat.servers.postgres import Postgres
from alphastrat.servers.process import signal_group
from alphastrat.servers.state import process_birth, read_state, write_state
from alphastrat.servers.valkey import Valkey

Server = Postgres | Valkey
Announce = Callable[[str], None]
Wait = Callable[[float], None]
ALL = ("postgres", "valkey")
READY_PATIENCE = 60.0
STOP_PATIENCE = 20.0


def _silent(_sentence: str) -> None:
    return


class EmbeddedServers:
    """Start with `start()`, stop with `stop()`; `urls` is known before anything runs.

    The caller holds the `Lock` of the directory for as long as the servers run.
    """

    def __init__(
        self,
        var: Path,
        names: Sequence[str] = ALL,
        *,
        durable: bool = True,
        announce: Announce = _silent,
        wait: Wait = time.sleep,
    ) -> None:
        self.var = var
        self._announce = announce
        self._wait = wait
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        logs = var / "log"
        logs.mkdir(parents=True, exist_ok=True)
        remembered: dict[str, Any] = read_state(var).get("servers", {})
        self.servers: list[Server] = [
            _server(name, var, remembered.get(name, {}), durable=durable) for name in names
        ]
        self._remembered = remembered
        self._facts: dict[str, Any] = {}

    @property
    def urls(self) -> dict[str, str]:
        return {server.name: server.url for server in self.servers}

    def has(self, name: str) -> bool:
        return name in self.urls

    def process_ids(self) -> set[int]:
        return {child.pid for child in self.children.values()}

    def remember(self, **facts: Any) -> None:
        """Write who runs here and where, for the next start and for other commands."""
        self._facts |= facts
        known = {s.name: {"port": s.port, "password": s.password} for s in self.servers}
        pid = os.getpid()
        state = {
            "servers": {**self._remembered, **known},
            "urls": self.urls,
            "pid": pid,
            "birth": process_birth(pid),
            **self._facts,
        }
        write_state(self.var, state)

    def start(self) -> None:
        """Start what is not running and wait until all of it answers."""
        # Before any files: a password that is not kept locks us out of our own cluster.
        self.remember()
        started = []
        for server in self.servers:
            if server.name not in self.children:
                if server.prepare():
                    self._announce(f"created the files of {server.name} in {server.home}")
                self.children[server.name] = server.start()
                started.append(server)
        for server in started:
            self._await_ready(server)

    def _await_ready(self, server: Server) -> None:
        began = time.monotonic()
        told = began
        while not server.is_ready():
            child = self.children[server.name]
            if child.poll() is not None:
                del self.children[server.name]
                self._start_again(server)
                return
            now = time.monotonic()
            if now - began > READY_PATIENCE:
                raise ServerError(f"{server.name} does not answer: see {server.log}.")
            if now - told > 1.0:
                self._announce(f"waiting for {server.name} ({now - began:.0f} s)")
                told = now
            self._wait(0.01)

    def _start_again(self, server: Server) -> None:
        """One more try: the port may have been taken meanwhile, or the dump be unreadable."""
        port = pick_port(server.port)
        mended = port != server.port or (isinstance(server, Valkey) and server.recover())
        if not mended:
            raise ServerError(f"{server.name} stopped while starting: see {server.log}.")
        server.port = port
        self.remember()
        server.prepare()
        child = self.children[server.name] = server.start()
        deadline = time.monotonic() + READY_PATIENCE
        while not server.is_ready():
            if child.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{server.name} does not start: see {server.log}.")
            self._wait(0.01)

    def stop(self) -> None:
        """Stop the servers, their data written out; kill only what does not obey."""
        running = [server for server in self.servers if server.name in self.children]
        for server in running:
            self.children[server.name].send_signal(server.stop_signal)
        deadline = time.monotonic() + STOP_PATIENCE
        for server in running:
            child = self.children.pop(server.name)
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                signal_group(child.pid, signal.SIGKILL)
                child.wait()


def _server(name: str, var: Path, remembered: dict[str, Any], *, durable: bool) -> Server:
    kinds: dict[str, type[Server]] = {"postgres": Postgres, "valkey": Valkey}
    home = var / name
    return kinds[name](
        home=home,
        log=var / "log" / f"{name}.log",
        port=pick_port(remembered.get("port")),
        password=remembered.get("password") or secrets.token_urlsafe(24),
        account=server_account(home),
        durable=durable,
    )
