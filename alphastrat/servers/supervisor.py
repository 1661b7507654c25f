"""Run programs side by side: their output to console and logs, a crashed one again."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from alphastrat.servers.console import Console, LogFile
from alphastrat.servers.process import end_descendants, signal_group, spawn

FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0
STOP_PATIENCE = 10.0
ORPHAN_PATIENCE = 2.0


@dataclass(slots=True)
class Program:
    """One of our processes: how it is run, and how its last run went."""

    name: str
    command: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path
    pass_fds: Sequence[int] = ()
    on_end: Callable[[int], None] | None = None  # given: it runs once
    child: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float | None = None
    delay: float = FIRST_DELAY
    partial: bytes = b""
    log: LogFile | None = field(default=None, repr=False)


def how_it_ended(code: int) -> str:
    """Say an exit status in words."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Supervisor:
    """Holds the programs; `turn()` does whatever is due and waits no longer than asked."""

    def __init__(self, console: Console, logs: Path) -> None:
        self.console = console
        self.other_children: Callable[[], set[int]] = set  # someone else waits for these
        self.is_stopping = False
        self._logs = logs
        self._programs: dict[str, Program] = {}
        self._selector = selectors.DefaultSelector()
        self._n_requests = 0
        self._wakeup, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._drain_wakeup)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request_stop)

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._n_requests += 1

    def check_stop(self) -> None:
        """Raise KeyboardInterrupt when someone asked us to stop."""
        if self._n_requests and not self.is_stopping:
            raise KeyboardInterrupt

    def watch(self, descriptor: int, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` from `turn()` whenever the descriptor can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, on_ready)

    def unwatch(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def _drain_wakeup(self) -> None:
        try:
            while os.read(self._wakeup, 512):
                pass
        except BlockingIOError:
            return

    def start(self, program: Program) -> None:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        if program.log is None:
            program.log = LogFile(self._logs / f"{program.name}.log")
        program.start_again_at = None
        program.started_at = time.monotonic()
        program.child = spawn(
            program.command,
            stdout=write_end,
            env=program.env,
            cwd=program.cwd,
            pass_fds=program.pass_fds,
        )
        os.close(write_end)
        self._programs[program.name] = program
        self.watch(read_end, lambda: self._pump(program, read_end))

    def _pump(self, program: Program, descriptor: int) -> None:
        try:
            content = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        if not content:
            self.unwatch(descriptor)
            os.close(descriptor)
            content = b"\n" if program.partial else b""
        if program.log is not None:
            program.log.write(content)
        *lines, program.partial = (program.partial + content).split(b"\n")
        for line in lines:
            self.console.line(program.name, line.decode("utf-8", "replace").rstrip())

    def turn(self, longest: float = 1.0) -> None:
        """Wait for output, a signal or a due restart, and see to it."""
        now = time.monotonic()
        due = [p.start_again_at - now for p in self._programs.values() if p.start_again_at]
        for key, _events in self._selector.select(max(0.0, min([longest, *due]))):
            key.data()
        self._collect_strays()
        for program in list(self._programs.values()):
            self._see_to(program)
        self.check_stop()

    def _see_to(self, program: Program) -> None:
        if program.child is not None:
            code = program.child.poll()
            if code is not None:
                self._note_end(program, code)
        elif program.start_again_at and program.start_again_at <= time.monotonic():
            self.start(program)

    def _note_end(self, program: Program, code: int) -> None:
        program.child = None
        # Its own children are ours now, and would work beside the next run.
        end_descendants(spare=self._children(), patience=ORPHAN_PATIENCE)
        if self.is_stopping:
            return
        if program.on_end is not None:
            program.on_end(code)
            return
        if time.monotonic() - program.started_at > STEADY_SECONDS:
            program.delay = FIRST_DELAY
        self.console.say(
            f"{program.name} {how_it_ended(code)}; starting it again in {program.delay:.0f} s"
        )
        program.start_again_at = time.monotonic() + program.delay
        program.delay = min(2 * program.delay, LONGEST_DELAY)

    def _collect_strays(self) -> None:
        """Collect dead children that are no program of ours: orphans we adopted."""
        known = self._children()
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in known:
                return
            os.waitpid(found.si_pid, 0)

    def _children(self) -> set[int]:
        return {p.child.pid for p in self._programs.values() if p.child} | self.other_children()

    def stop(self) -> None:
        """Stop every program: ask all, wait, then kill; a second Ctrl-C kills at once."""
        self.is_stopping = True
        n_requests = self._n_requests
        for program in self._programs.values():
            program.start_again_at = None
            if program.child is not None and program.child.poll() is None:
                program.child.terminate()
        deadline = time.monotonic() + STOP_PATIENCE
        while any(p.child for p in self._programs.values()):
            if time.monotonic() > deadline or self._n_requests > n_requests:
                self._kill_all()
            self.turn(0.1)
        for program in self._programs.values():
            if program.log is not None:
                program.log.close()
                program.log = None

    def _kill_all(self) -> None:
        for program in self._programs.values():
            if program.child is not None:
                signal_group(program.child.pid, signal.SIGKILL)
