"""PostgreSQL out of a pip wheel, run in the foreground by us."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from alphastrat.servers.account import hand_over
from alphastrat.servers.errors import ServerError
from alphastrat.servers.ports import LOOPBACK
from alphastrat.servers.process import Account, spawn, working_directory
from alphastrat.servers.programs import POSTGRES_MAJOR, postgres_programs
from alphastrat.servers.state import process_birth

USER = DATABASE = "alphastrat"
# Below this the parallel workers of one large sort fill /dev/shm and the query fails.
SMALLEST_SHARED_MEMORY = 256 * 2**20


def shared_memory_kind(directory: str = "/dev/shm") -> str:
    """Return mmap where shared memory is tiny (containers give 64 MB), else posix."""
    try:
        space = os.statvfs(directory)
    except OSError:
        return "mmap"
    usable = os.access(directory, os.W_OK | os.X_OK)
    free = space.f_bavail * space.f_frsize
    return "posix" if usable and free >= SMALLEST_SHARED_MEMORY else "mmap"


@dataclass(slots=True)
class Postgres:
    """One embedded PostgreSQL: its files under `home`, TCP on the loopback address only.

    It listens on no Unix socket, so the length of the path does not matter.
    """

    home: Path
    log: Path
    port: int
    password: str
    account: Account | None = None
    durable: bool = True

    name = "postgres"
    death_signal = signal.SIGINT  # fast shutdown: does not wait for clients
    stop_signal = signal.SIGINT

    @property
    def files(self) -> Path:
        return self.home / "data"

    @property
    def url(self) -> str:
        return f"postgres://{USER}:{self.password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def prepare(self) -> bool:
        """Create the cluster if there is none; tell whether it was created."""
        hand_over(self.home, self.account)
        version = self.files / "PG_VERSION"
        if version.exists():
            self._check_version(version.read_text(encoding="ascii").strip())
            self._end_leftover()
            return False
        self._create_cluster()
        return True

    def _check_version(self, found: str) -> None:
        if found != str(POSTGRES_MAJOR):
            raise ServerError(
                f"{self.files} was written by PostgreSQL {found}, and this is {POSTGRES_MAJOR}: "
                "dump it with the old version, or move it away to start afresh."
            )

    def _create_cluster(self) -> None:
        draft = self.home / "data.new"  # renamed when complete: a killed initdb leaves no cluster
        shutil.rmtree(draft, ignore_errors=True)
        hand_over(draft, self.account)
        secret = self.home / "password"
        secret.write_text(self.password, encoding="ascii")
        if self.account is not None:
            os.chown(secret, self.account.uid, self.account.gid)
        secret.chmod(0o600)
        options = ["-U", USER, f"--pwfile={secret.name}", "--auth=scram-sha-256", "--no-sync"]
        options += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        options += ["--set", "dynamic_shared_memory_type=mmap"]
        status = self._run("initdb", draft, options).wait()
        secret.unlink()
        if status != 0:
            raise ServerError(f"PostgreSQL could not create its files: see {self.log}.")
        draft.rename(self.files)

    def _run(self, program: str, files: Path, options: Sequence[str]) -> subprocess.Popen[bytes]:
        """Run a program on `files`, by descriptor: its account may not be able to walk there."""
        descriptor = os.open(files, os.O_PATH | os.O_DIRECTORY)
        path = files if self.account is None else Path(f"/proc/self/fd/{descriptor}")
        try:
            with self.log.open("ab") as log:
                return spawn(
                    [postgres_programs(self.account) / program, "-D", path, *options],
                    stdout=log,
                    env=self._env(),
                    cwd=self.home,
                    account=self.account,
                    death_signal=self.death_signal,
                    pass_fds=[descriptor],
                )
        finally:
            os.close(descriptor)

    def _env(self) -> dict[str, str]:
        # Nothing of the user's own PostgreSQL (PGDATA, PGPORT, ...) may leak in.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        return {**kept, "HOME": str(self.home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def _end_leftover(self) -> None:
        """Clear a pid file whose process is gone, is someone else, or is our own orphan.

        We hold the lock on this directory, so a server still alive here lost its supervisor.
        """
        path = self.files / "postmaster.pid"
        try:
            pid = int(path.read_text(encoding="ascii").split("\n", 1)[0])
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            return
        if working_directory(pid) == self.files.resolve():
            self._stop_orphan(pid)
        path.unlink(missing_ok=True)

    def _stop_orphan(self, pid: int) -> None:
        deadline = time.monotonic() + 30
        os.kill(pid, signal.SIGINT)
        while process_birth(pid):
            if time.monotonic() > deadline:
                raise ServerError(
                    f"A PostgreSQL of an earlier run (process {pid}) does not stop: "
                    f"end it with `kill -QUIT {pid}` and start again."
                )
            time.sleep(0.05)

    def start(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": shared_memory_kind(),
            "max_connections": 200,
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        options = [f"--{key}={value}" for key, value in settings.items()]
        return self._run("postgres", self.files, options)

    def is_ready(self) -> bool:
        """Tell whether it takes connections; creates our database the first time it does."""
        address = f"host={LOOPBACK} port={self.port} user={USER} connect_timeout=5"
        try:
            with psycopg.connect(
                f"{address} dbname=postgres", password=self.password, autocommit=True
            ) as connection:
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if connection.execute(query, [DATABASE]).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServerError(
                    f"The password kept for {self.files} is not its own: put back "
                    "servers.json from the same var directory, or move both away."
                ) from None
            return False
        return True
