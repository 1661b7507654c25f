"""Valkey out of a pip wheel, run in the foreground by us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from alphastrat.servers.account import hand_over
from alphastrat.servers.ports import LOOPBACK
from alphastrat.servers.process import Account, spawn
from alphastrat.servers.programs import valkey_program


@dataclass(slots=True)
class Valkey:
    """One embedded Valkey: its files under `home`, TCP on the loopback address only."""

    home: Path
    log: Path
    port: int
    password: str
    account: Account | None = None
    durable: bool = True

    name = "valkey"
    death_signal = signal.SIGTERM
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def prepare(self) -> bool:
        """Write the configuration; tell whether there were no files before."""
        is_new = not self.home.exists()
        hand_over(self.home, self.account)
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            "databases 16",
            "daemonize no",
            "save 300 1" if self.durable else 'save ""',
            "appendonly no",
            "stop-writes-on-bgsave-error no",
            "maxmemory-policy noeviction",
        ]
        # In a file, not on the command line: everyone on the machine can read command lines.
        path = self.home / "valkey.conf"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write("\n".join(lines) + "\n")
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)
        return is_new

    def start(self) -> subprocess.Popen[bytes]:
        # By descriptor, as Valkey makes names absolute and its account may not walk there.
        descriptor = os.open(self.home / "valkey.conf", os.O_RDONLY)
        try:
            with self.log.open("ab") as log:
                return spawn(
                    [valkey_program(self.account), f"/proc/self/fd/{descriptor}"],
                    stdout=log,
                    cwd=self.home,
                    account=self.account,
                    death_signal=self.death_signal,
                    pass_fds=[descriptor],
                )
        finally:
            os.close(descriptor)

    def recover(self) -> bool:
        """Put aside a dump that cannot be read: the database is the truth, Valkey may be lost."""
        dump = self.home / "dump.rdb"
        if not dump.exists():
            return False
        dump.replace(dump.with_suffix(".unreadable"))
        return True

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode("ascii"))
                answer = b""
                while answer.count(b"\r\n") < 2:
                    received = connection.recv(256)
                    if not received:
                        return False
                    answer += received
        except OSError:
            return False
        return b"+PONG" in answer
