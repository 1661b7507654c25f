"""Start, find and end processes so that nothing we started outlives us (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from alphastrat.servers.state import process_birth

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that servers run under when we are root."""

    name: str
    uid: int
    gid: int

    def become(self) -> None:
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that we can end it."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int, death_signal: signal.Signals) -> None:
    """Ask the kernel for `death_signal` when `parent`, our parent, is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _before_exec(account: Account | None, death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        if account is not None:
            account.become()
        # Changing the user clears the death signal: ask for it afterwards.
        die_with(parent, death_signal)

    return prepare


def spawn(
    command: Sequence[str | Path],
    *,
    stdout: int | IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own that gets `death_signal` when we die.

    The kernel watches the thread that starts the child: call this from the main thread only.
    """
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        preexec_fn=_before_exec(account, death_signal),
    )


def signal_group(group: int, number: signal.Signals) -> bool:
    """Signal every process of a group; tell whether there was one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _all_pids() -> Iterable[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _parent_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def descendants(ancestor: int, *, spare: Container[int] = ()) -> list[int]:
    """Return every living process below `ancestor`, without the spared ones and theirs."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        parent = _parent_of(pid)
        if parent is not None and pid not in spare:
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return [pid for pid in found if process_birth(pid)]


def end_descendants(*, spare: Container[int] = (), patience: float) -> None:
    """End what is below us: ask, wait, insist. Orphans are below us once we `adopt_orphans`.

    PostgreSQL is not asked again: it got its own signal and must write its data out.
    """
    deadline = time.monotonic() + patience
    asked: set[int] = set()
    while left := descendants(os.getpid(), spare=spare):
        insist = time.monotonic() > deadline
        for pid in left:
            is_postgres = program_of(pid).endswith("/postgres")
            if insist or (pid not in asked and not is_postgres):
                _kill(pid, signal.SIGKILL if insist else signal.SIGTERM)
                asked.add(pid)
        time.sleep(0.02)


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def program_of(pid: int) -> str:
    """Return the path of the program a process runs, empty when it cannot be known."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return ""


def working_directory(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
