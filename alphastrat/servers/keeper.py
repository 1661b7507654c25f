"""Start a server again when it stops by itself."""

from __future__ import annotations

import time

from alphastrat.servers.console import Console
from alphastrat.servers.embedded import EmbeddedServers
from alphastrat.servers.errors import ServerError
from alphastrat.servers.supervisor import FIRST_DELAY, LONGEST_DELAY, how_it_ended


class ServerKeeper:
    """Looks after running embedded servers; call `look()` often."""

    def __init__(self, servers: EmbeddedServers, console: Console) -> None:
        self._servers = servers
        self._console = console
        self._delay = FIRST_DELAY
        self._due: float | None = None

    def look(self) -> None:
        for name, child in list(self._servers.children.items()):
            code = child.poll()
            if code is not None:
                del self._servers.children[name]
                self._plan(f"{name} {how_it_ended(code)}")
        if self._due is not None and time.monotonic() >= self._due:
            self._start_again()

    def _plan(self, what: str) -> None:
        self._console.say(f"{what}; starting it again in {self._delay:.0f} s")
        self._due = time.monotonic() + self._delay

    def _start_again(self) -> None:
        self._due = None
        try:
            self._servers.start()
        except ServerError as error:
            self._delay = min(2 * self._delay, LONGEST_DELAY)
            self._plan(str(error).rstrip("."))
            return
        self._delay = FIRST_DELAY
        self._console.say("the servers answer again")
