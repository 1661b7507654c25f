"""Ask the web process for one page and tell when it has answered."""

from __future__ import annotations

import socket
from collections.abc import Callable

from alphastrat.servers.environment import EVERYWHERE
from alphastrat.servers.supervisor import Supervisor

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class PageProbe:
    """Waits in the queue of the open socket, so asking early costs nothing."""

    def __init__(
        self, supervisor: Supervisor, listener: socket.socket, on_answer: Callable[[], None]
    ) -> None:
        self._supervisor = supervisor
        self._on_answer = on_answer
        host, port = listener.getsockname()[:2]
        self._address = (EVERYWHERE.get(host, host), port)
        self._ask()

    def _ask(self) -> None:
        self._connection = socket.create_connection(self._address, timeout=5)
        self._connection.sendall(REQUEST)
        self._connection.settimeout(0)
        self._supervisor.watch(self._connection.fileno(), self._read)

    def _read(self) -> None:
        try:
            answer = self._connection.recv(64)
        except OSError:
            answer = b""
        self._supervisor.unwatch(self._connection.fileno())
        self._connection.close()
        if answer:
            self._on_answer()
        else:
            # The process took the question and died: ask the next one.
            self._ask()
