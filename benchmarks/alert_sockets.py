"""One alert to 1,000 open sockets of one web process, and 5,000 sockets held.

python -m benchmarks.alert_sockets

The real web process against Channels' own way, a group that every socket joins, in the same
server on the same layer. Limits: the last socket within 200 ms of the first byte sent, and four
times as fast as the group.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks.scratch import scratch_database

N_FIRST = 20
N_SOCKETS = 1_000
N_HELD = 5_000
ROUNDS = 15
GROUP = "bench.group"
PING, PONG, CLOSE = 0x9, 0xA, 0x8


def group_application() -> Any:
    """Return an application in which every socket is a member of one group of the layer."""
    import django

    django.setup()
    from channels.generic.websocket import AsyncWebsocketConsumer

    class Member(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            await self.channel_layer.group_add(GROUP, self.channel_name)
            await self.accept()

        async def disconnect(self, code: int) -> None:
            await self.channel_layer.group_discard(GROUP, self.channel_name)

        async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
            await self.send(json.dumps({"t": "welcome"}))

        async def news(self, message: dict[str, Any]) -> None:
            await self.send(message["text"])

    from channels.routing import ProtocolTypeRouter

    return ProtocolTypeRouter({"websocket": Member.as_asgi()})


def _frame(opcode: int, payload: bytes) -> bytes:
    # A mask of zeros leaves the payload as it is.
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else b""
    head = head or bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class Pages(threading.Thread):
    """Open sockets, all read by one thread, which notes when a marked frame arrives."""

    def __init__(self, port: int, cookie: str) -> None:
        super().__init__(daemon=True)
        self._address = ("127.0.0.1", port)
        self._cookie = cookie
        self._sockets: dict[int, socket.socket] = {}
        self._buffers: dict[int, bytes] = {}
        self._poll = select.epoll()
        self._welcomed: set[int] = set()
        self.markers: tuple[bytes, ...] = ()
        # When each socket first had each marker.
        self.arrived: dict[tuple[int, bytes], float] = {}
        self.n_closed = 0

    @property
    def n_ready(self) -> int:
        return len(self._welcomed)

    def open(self, n_sockets: int) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._open, range(n_sockets)))
        deadline = time.monotonic() + 60
        while self.n_ready < len(self._sockets) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _open(self, _: int) -> None:
        one = socket.create_connection(self._address, timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        origin = f"http://127.0.0.1:{self._address[1]}"
        lines = ["GET /ws/live/ HTTP/1.1", f"Host: 127.0.0.1:{self._address[1]}"]
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}"]
        lines += ["Sec-WebSocket-Version: 13", f"Origin: {origin}", f"Cookie: {self._cookie}"]
        # As browsers do; whether it is used is for the server to say.
        lines += ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]
        one.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += one.recv(4096)
        assert b" 101 " in answer, answer
        assert b"permessage-deflate" not in answer.lower(), "frames would be compressed"
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        number = one.fileno()
        self._buffers[number] = answer.partition(b"\r\n\r\n")[2]
        self._sockets[number] = one
        self._poll.register(number, select.EPOLLIN)
        hello = {"t": "hello", "v": 1, "build": "", "topics": [{"n": "alerts"}]}
        one.send(_frame(1, json.dumps(hello).encode()))

    def run(self) -> None:
        while True:
            for number, _ in self._poll.poll(1.0):
                self._read(number, time.perf_counter())

    def _read(self, number: int, at: float) -> None:
        try:
            received = self._sockets[number].recv(65536)
        except BlockingIOError:
            return
        if not received:
            self._poll.unregister(number)
            self.n_closed += 1
            return
        content = self._buffers[number] + received
        for marker in self.markers:
            if marker in content:
                self.arrived.setdefault((number, marker), at)
        while (size := _size(content)) and len(content) >= size:
            opcode, frame, content = content[0] & 0xF, content[:size], content[size:]
            if opcode == PING:
                self._sockets[number].send(_frame(PONG, frame[2:]))
            elif b'"welcome"' in frame:
                self._welcomed.add(number)
        self._buffers[number] = content

    def close(self) -> None:
        for one in list(self._sockets.values()):
            one.close()


def _size(content: bytes) -> int:
    """Return the length of the first frame; 0 while its head has not arrived."""
    if len(content) < 4:
        return 2 + (content[1] & 0x7F) if len(content) >= 2 and content[1] & 0x7F < 126 else 0
    size = content[1] & 0x7F
    return 4 + int.from_bytes(content[2:4], "big") if size == 126 else 2 + size


@contextmanager
def server(environment: dict[str, str], *arguments: str) -> Iterator[tuple[int, int]]:
    """Start a server on an open socket; give its port and process id."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    command = [sys.executable, "-m", *arguments, str(listener.fileno())]
    process = subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])
    port = listener.getsockname()[1]
    listener.close()
    try:
        time.sleep(6)
        assert process.poll() is None, "the server ended by itself"
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def memory(pid: int) -> float:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rounds(pages: Pages, publish: Any, n_rounds: int) -> list[tuple[float, float, int]]:
    """Return for each round: publish to last, first to last, and how many got it."""
    measured = []
    for number in range(n_rounds):
        marker = f"marker-{number}-{os.getpid()}-"
        pages.arrived, pages.markers = {}, (marker.encode(),)
        began = time.perf_counter()
        publish(marker)
        deadline = time.monotonic() + 15
        while len(pages.arrived) < pages.n_ready and time.monotonic() < deadline:
            time.sleep(0.02)
        times = sorted(pages.arrived.values())
        measured.append((times[-1] - began, times[-1] - times[0], len(times)))
        time.sleep(0.3)
    return measured


def say(name: str, measured: list[tuple[float, float, int]], n_sockets: int) -> tuple[float, float]:
    """Print the figures; return the medians: publish to last, first byte to last."""
    complete = sum(n == n_sockets for _, _, n in measured)
    whole, spread = ([one[i] * 1e3 for one in measured] for i in (0, 1))
    print(
        f"{name}: {n_sockets} sockets, {complete} of {len(measured)} rounds complete; first byte "
        f"to last socket median {median(spread):.0f} ms, worst {max(spread):.0f} ms; publish to "
        f"last median {median(whole):.0f} ms, worst {max(whole):.0f} ms"
    )
    return median(whole), median(spread)


def main() -> None:
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client

    from alphastrat.core import live, messenger
    from tests.browser.processes import environment

    user = get_user_model().objects.create_user("bench", password="bench", role="trader")
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    variables = environment(dict(connection.settings_dict))

    def through_hub(marker: str) -> None:
        live.publish(f"alerts:u{user.pk}", "alert", {"title": marker, "level": "critical"})

    def through_group(marker: str) -> None:
        text = json.dumps({"t": "evt", "topic": "alerts", "d": {"title": marker}})
        messenger.send(GROUP, {"type": "news", "text": text})

    with server(variables, "alphastrat.servers.web", "--fd") as (port, pid):
        pages = Pages(port, cookie)
        pages.start()
        # The first ones bring in what the process loads once.
        pages.open(N_FIRST)
        before = memory(pid)
        pages.open(N_SOCKETS - N_FIRST)
        after = memory(pid)
        ours = say("hub", rounds(pages, through_hub, ROUNDS), N_SOCKETS)
        pages.open(N_HELD - N_SOCKETS)
        held = memory(pid)
        say("hub", rounds(pages, through_hub, 5), N_HELD)
        print(f"closed by the server meanwhile: {pages.n_closed}")
        each = (after - before) / (N_SOCKETS - N_FIRST), (held - before) / (N_HELD - N_FIRST)
        print(
            f"memory per socket: {each[0] / 1024:.0f} KB at {N_SOCKETS}, "
            f"{each[1] / 1024:.0f} KB at {N_HELD}; "
            f"web process {held / 2**20:.0f} MB"
        )
        pages.close()
    arguments = ("uvicorn", "--factory", "benchmarks.alert_sockets:group_application")
    options = ("--ws-per-message-deflate", "false", "--log-level", "warning", "--fd")
    with server(variables, *arguments, *options) as (port, _):
        pages = Pages(port, cookie)
        pages.start()
        pages.open(N_SOCKETS)
        theirs = say("Channels group", rounds(pages, through_group, ROUNDS), N_SOCKETS)
        pages.close()
    whole, spread = (theirs[i] / ours[i] for i in (0, 1))
    print(
        f"hub against group: publish to last {whole:.1f} times as fast, first byte to last "
        f"{spread:.1f} times; limits 200 ms and 4 times"
    )


if __name__ == "__main__":
    with scratch_database():
        main()
