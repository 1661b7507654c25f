"""A small parent above the supervisor: whatever becomes of the supervisor, all of it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from alphastrat.servers.process import adopt_orphans, die_with, end_descendants

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
    end_descendants(patience=PATIENCE)
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
