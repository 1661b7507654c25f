"""Nothing that was started outlives the supervisor, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.faults]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30

# A worker whose own child hides in another session and ignores polite requests.
STUBBORN = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("working", flush=True)
while True:
    time.sleep(60)
"""

PRODUCT = """
import os, sys
from pathlib import Path
from alphastrat.servers import guard
from alphastrat.servers.console import Console
from alphastrat.servers.embedded import EmbeddedServers
from alphastrat.servers.supervisor import Program, Supervisor

guard.PATIENCE = 3.0
var = Path(sys.argv[1])

def supervise():
    supervisor = Supervisor(Console(), var / "log")
    servers = EmbeddedServers(var, durable=False, wait=supervisor.turn)
    supervisor.other_children = servers.process_ids
    try:
        servers.start()
        command = [sys.executable, "-c", sys.argv[2]]
        supervisor.start(Program("worker", command, env=os.environ, cwd=var))
        print("supervisor", os.getpid(), flush=True)
        while True:
            supervisor.turn()
    except KeyboardInterrupt:
        pass
    finally:
        supervisor.stop()
        servers.stop()
    return 0

sys.exit(guard.run_guarded(supervise))
"""


class Product:
    """A supervisor with both servers and one stubborn worker."""

    def __init__(self, var):
        self.var = var
        self.mark = f"alphastrat-test-{os.getpid()}-{time.monotonic_ns()}"
        self.guard = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PRODUCT), str(var), STUBBORN],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ALPHASTRAT_TEST_MARK": self.mark},
            text=True,
        )
        self.lines = []
        self.supervisor = 0

    def wait_until_working(self):
        self.supervisor = int(self.read_until("supervisor ").split()[1])
        self.read_until("working")

    def read_until(self, wanted):
        for line in self.guard.stdout:
            self.lines.append(line)
            if wanted in line:
                return line
        raise AssertionError("".join(self.lines))

    def living(self):
        """Return the pids of everything that was started.

        Known by its environment, or by its directory: PostgreSQL overwrites its environment.
        """
        found = []
        for entry in Path("/proc").iterdir():
            try:
                is_marked = self.mark.encode() in (entry / "environ").read_bytes()
                if is_marked or (entry / "cwd").readlink().is_relative_to(self.var):
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
        return found

    def left_after_waiting(self):
        deadline = time.monotonic() + PATIENCE
        while (left := self.living()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


@pytest.fixture
def product(var):
    running = Product(var)
    try:
        running.wait_until_working()
        # Guard, supervisor, worker and its child, Valkey, and PostgreSQL with its own.
        assert len(running.living()) >= 10
        yield running
    finally:
        for pid in running.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.guard.wait()
        running.guard.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_stops_everything(product, number):
    product.guard.send_signal(number)
    assert product.guard.wait(PATIENCE) == 0
    assert product.left_after_waiting() == []


def test_kill_9_of_the_first_process_leaves_nothing(product):
    product.guard.kill()
    assert product.left_after_waiting() == []


def test_kill_9_of_the_supervisor_leaves_nothing(product):
    os.kill(product.supervisor, signal.SIGKILL)
    assert product.guard.wait(PATIENCE) == 128 + signal.SIGKILL
    assert product.left_after_waiting() == []


def test_a_killed_worker_takes_its_children_along_and_starts_again(product):
    workers = [pid for pid in product.living() if is_worker(pid, product.supervisor)]
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    assert "starting it again" in product.read_until("was ended by SIGKILL")
    product.read_until("working")
    assert workers[0] not in product.living()


def is_worker(pid, supervisor):
    return parent_of(pid) == supervisor and STUBBORN.encode() in command_line(pid)


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
