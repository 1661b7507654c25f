"""A vendor on this machine: answers HTTP as scripted and speaks the documented WebSocket."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.sync.server import Server, ServerConnection, serve


@dataclass
class Answer:
    """One HTTP answer; `cut` promises more bytes than are sent."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int = 0

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Asked:
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class VendorServer:
    """Gives the scripted answers in order, then those of `otherwise`; keeps what was asked."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.otherwise: Callable[[Asked], Answer] = lambda _: Answer({"results": []})
        self.asked: list[Asked] = []
        handler = type("Handler", (_Handler,), {"vendor": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.answers.popleft() if self.answers else self.otherwise(asked)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    vendor: VendorServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(parts.path, parse_qs(parts.query), dict(self.headers.items()))
        answer = self.vendor.answer(asked)
        time.sleep(answer.delay)
        body = answer.encoded()
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + answer.cut))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass
        self.close_connection = bool(answer.cut)

    def log_message(self, *args: Any) -> None: ...


class VendorSocket:
    """The vendor's WebSocket: greets, checks the key, confirms the subscription, sends bars.

    `scripts` holds one list of messages per connection; after it the connection is cut, and the
    last connection stays open.
    """

    def __init__(self, scripts: list[list[list[dict[str, Any]]]], *, key: str = "secret") -> None:
        self.scripts = deque(scripts)
        self.key = key
        self.subscriptions: list[str] = []
        self._closing = threading.Event()
        self._server: Server = serve(self._talk, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()

    def _talk(self, peer: ServerConnection) -> None:
        self._say(peer, "connected", "Connected Successfully")
        if json.loads(peer.recv())["params"] != self.key:
            self._say(peer, "auth_failed", "authentication failed")
            return
        self._say(peer, "auth_success", "authenticated")
        topics = json.loads(peer.recv())["params"]
        self.subscriptions.append(topics)
        self._say(peer, "success", f"subscribed to: {topics}")
        for events in self.scripts.popleft() if self.scripts else []:
            peer.send(json.dumps(events))
        if self.scripts:
            peer.socket.close()
        else:
            self._closing.wait(30)

    @staticmethod
    def _say(peer: ServerConnection, status: str, message: str) -> None:
        peer.send(json.dumps([{"ev": "status", "status": status, "message": message}]))
