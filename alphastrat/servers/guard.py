"""A small parent above the supervisor: whatever becomes of the supervisor, all of it ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from alphastrat.servers.process import adopt_orphans, descendants, die_with, program_of

PATIENCE = 10.0


def run_guarded(supervise: Callable[[], int]) -> int:
    """Run `supervise` in a child and return its exit status once nothing below us lives.

    The kernel's death signal reaches only direct children. As the reaper of all orphans below,
    the guard also finds the children's children when the supervisor is killed with -9; when the
    guard is, the supervisor stops everything in order.
    """
    adopt_orphans()
    guard = os.getpid()
    supervisor = os.fork()
    if supervisor == 0:
        _run_supervisor(guard, supervise)
    _forward_signals(supervisor)
    status = _wait_for(supervisor)
    _end_descendants()
    return status


def _run_supervisor(guard: int, supervise: Callable[[], int]) -> None:
    # A session of its own: Ctrl-C reaches the guard alone, which passes it on once.
    os.setsid()
    die_with(guard, signal.SIGTERM)
    adopt_orphans()
    status = 1
    try:
        status = supervise()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _forward_signals(supervisor: int) -> None:
    def forward(number: int, _frame: FrameType | None) -> None:
        wanted = signal.SIGTERM if number == signal.SIGHUP else number
        try:
            os.kill(supervisor, wanted)
        except ProcessLookupError:
            return

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)


def _wait_for(supervisor: int) -> int:
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == supervisor:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                sys.stderr.write("The supervisor was killed: stopping everything it started.\n")
                return 128 - code
            return code


def _end_descendants() -> None:
    """Ask, wait, insist. PostgreSQL got its own signal already and must write its data out."""
    deadline = time.monotonic() + PATIENCE
    asked: set[int] = set()
    while left := _reap_and_list():
        insist = time.monotonic() > deadline
        for pid in left:
            is_postgres = program_of(pid).endswith("/postgres")
            if insist or (pid not in asked and not is_postgres):
                _kill(pid, signal.SIGKILL if insist else signal.SIGTERM)
                asked.add(pid)
        time.sleep(0.02)


def _reap_and_list() -> list[int]:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return []
    return descendants(os.getpid())


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
