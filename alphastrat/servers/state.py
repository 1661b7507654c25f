"""What the supervisor remembers in var/: ports, passwords, who runs, and the lock."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from alphastrat.servers.errors import ServerError

STATE_NAME = "servers.json"
LOCK_NAME = "servers.lock"


class AlreadyRunningError(ServerError):
    """Another supervisor holds this var/ directory; the message is for the user."""


def read_state(var: Path) -> dict[str, Any]:
    """Return the remembered state; a missing or torn file is an empty one."""
    try:
        content = json.loads((var / STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_state(var: Path, state: dict[str, Any]) -> None:
    """Replace the state file in one step, readable by us alone: it holds passwords."""
    draft = var / f".{STATE_NAME}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(state, stream, indent=1)
    draft.replace(var / STATE_NAME)


def process_birth(pid: int) -> str | None:
    """Return the kernel's start time of a process, which tells a recycled pid from its first."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name may hold blanks and parentheses: count fields from the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def is_supervisor_alive(state: dict[str, Any]) -> bool:
    """Tell whether the process that wrote this state still runs."""
    pid, birth = state.get("pid"), state.get("birth")
    return isinstance(pid, int) and birth is not None and process_birth(pid) == birth


def running_url(var: Path, server: str) -> str | None:
    """Return the URL of a running embedded server, None when it is not running."""
    state = read_state(var)
    if not is_supervisor_alive(state):
        return None
    url = state.get("urls", {}).get(server)
    return url if isinstance(url, str) else None


class Lock:
    """An exclusive hold on a var/ directory, let go by the kernel when its holders die."""

    def __init__(self, var: Path) -> None:
        self._var = var
        try:
            var.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(var / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:
            raise ServerError(
                f"{var} belongs to another user: run as that user, "
                "or set ALPHASTRAT_VAR to a directory of your own."
            ) from None
        except OSError as error:
            raise ServerError(f"{var} cannot be written: {error.strerror}.") from None

    def acquire(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            state = read_state(self._var)
            where = f" at {state['page']}" if state.get("page") else ""
            who = f" (process {state['pid']})" if state.get("pid") else ""
            raise AlreadyRunningError(
                f"AlphaStrat is already running in {self._var}{where}{who}; "
                "stop it with Ctrl-C in its terminal first."
            ) from None

    def release(self) -> None:
        os.close(self._descriptor)
