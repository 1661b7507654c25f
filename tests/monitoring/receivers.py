"""A web server on this machine that takes webhooks and behaves as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What arrived; `behaviour` is a status, "hang", or "drop": take it and say nothing."""

    behaviour: int | str = 204
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hang_seconds: float = 30.0
    origin: str = ""
    # Keys being taken at this moment, and how often two senders sent the same one at once.
    under_way: set[str] = field(default_factory=set)
    n_overlapping: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    seconds: float = 0.0

    @property
    def keys(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.requests]


@contextmanager
def receiver(behaviour: int | str = 204, **options: Any) -> Iterator[Receiver]:
    """Run a receiver on a free port of this machine."""
    state = Receiver(behaviour, **options)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            key = headers.get("webhook-id", "")
            with state.lock:
                state.n_overlapping += key in state.under_way
                state.under_way.add(key)
                state.requests.append((self.path, headers, body))
            time.sleep(state.seconds)
            self.answer()
            with state.lock:
                state.under_way.discard(key)

        def answer(self) -> None:
            if state.behaviour == "hang":
                state.released.wait(state.hang_seconds)
            if isinstance(state.behaviour, str):
                self.close_connection = True
                return
            self.send_response(state.behaviour)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return

    return Handler
