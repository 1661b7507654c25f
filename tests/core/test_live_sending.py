"""Frames go out at once while a page reads, in order, and wait, within bounds, if it does not."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.asyncio.client import connect

from alphastrat.core.consumers import CLOSE_SLOW, OUTBOX_LIMIT, LiveConsumer
from alphastrat.servers.sockets import EXTENSION, SocketProtocol

ALICE = SimpleNamespace(is_authenticated=True, pk=1)
KB = "x" * 1024


class Site:
    """A web server whose every page is the live consumer, on a port of its own."""

    def __init__(self) -> None:
        self.pages: list[LiveConsumer] = []
        self.protocols: list[SocketProtocol] = []
        self.ended: list[LiveConsumer] = []
        self.has_extension = True

    async def __call__(self, scope, receive, send) -> None:
        if not self.has_extension:
            del scope["extensions"][EXTENSION]
        page = LiveConsumer()
        self.pages.append(page)
        try:
            await page({**scope, "user": ALICE}, receive, send)
        finally:
            self.ended.append(page)

    def protocol(self, config: uvicorn.Config) -> SocketProtocol:
        made = SocketProtocol(config, ServerState(), {})
        self.protocols.append(made)
        return made

    async def page(self) -> LiveConsumer:
        """Return the page that was opened last, once it can be written to."""
        while not (self.pages and getattr(self.pages[-1], "is_at_rest", False)):
            await asyncio.sleep(0.001)
        return self.pages[-1]


@pytest.fixture
async def site():
    site = Site()
    config = uvicorn.Config(site, ws_per_message_deflate=False, lifespan="off", log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: site.protocol(config), "127.0.0.1", 0)
    (listener,) = server.sockets
    # Little room in the kernel, so that few frames are enough to fill it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    site.address = listener.getsockname()
    site.url = f"ws://127.0.0.1:{site.address[1]}/"
    yield site
    server.close()


def open_deaf(site):
    """Open a page that takes nothing off its connection until it is asked for a frame."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    deaf.connect(site.address)
    return connect(site.url, sock=deaf, max_queue=1, close_timeout=0.1)


def offer(page, *texts: str) -> None:
    for text in texts:
        page.offer("alerts:u1", 1, text)


def fill(page) -> int:
    """Offer frames of a kilobyte until one has to wait; return how many went out."""
    n_written = 0
    while page.outbox.empty():
        offer(page, f"{n_written} {KB}")
        n_written += 1
    return n_written - 1


async def ended(site, page) -> None:
    while page not in site.ended:
        await asyncio.sleep(0.001)


async def test_a_frame_is_written_before_offer_returns(site):
    async with connect(site.url) as client:
        page = await site.page()
        offer(page, "a", "b")
        assert page.outbox.empty()
        assert [await client.recv(), await client.recv()] == ["a", "b"]


@pytest.mark.parametrize("has_extension", [True, False])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
async def test_a_frame_of_any_length_arrives_whole(site, length, has_extension):
    site.has_extension = has_extension
    async with connect(site.url) as client:
        text = ("ü–" * length)[:length]
        offer(await site.page(), text, "next")
        assert [await client.recv(), await client.recv()] == [text, "next"]


async def test_a_frame_never_overtakes_what_is_queued(site):
    async with connect(site.url) as client:
        page = await site.page()
        await page.outbox.put("first")
        offer(page, "second")
        assert [await client.recv(), await client.recv()] == ["first", "second"]


async def test_frames_wait_in_order_while_a_page_does_not_read(site):
    async with open_deaf(site) as client:
        page = await site.page()
        n_frames = fill(page) + 1
        offer(page, *(f"{n_frames + k} {KB}" for k in range(100)))
        for number in range(n_frames + 100):
            assert await client.recv() == f"{number} {KB}"
        offer(page, "at once again")
        assert page.outbox.empty()
        assert await client.recv() == "at once again"


async def test_a_page_that_never_reads_is_let_go_and_costs_a_bounded_amount(site):
    async with open_deaf(site), connect(site.url) as client:
        other, page = await site.page(), site.pages[0]
        transport, number, unwritten, waiting = site.protocols[0].transport, 0, 0, 0
        while not page.is_let_go:
            offer(page, f"{number} {KB}")
            offer(other, f"{number} {KB}")
            unwritten = max(unwritten, transport.get_write_buffer_size())
            waiting = max(waiting, page.outbox.qsize())
            assert await client.recv() == f"{number} {KB}"
            number += 1
        # What a transport takes before it says that it is full, and the frame that fills it.
        assert 0 < unwritten <= 64 * 1024 + 1100
        assert waiting == OUTBOX_LIMIT
        await asyncio.wait_for(ended(site, page), 5)
        assert not other.is_let_go


async def test_what_is_held_back_for_a_replay_is_bounded(site):
    async with open_deaf(site):
        page = await site.page()
        page.replaying["alerts:u1"] = []
        offer(page, *(str(number) for number in range(10 * OUTBOX_LIMIT)))
        assert len(page.replaying["alerts:u1"]) == OUTBOX_LIMIT + 1
        await asyncio.wait_for(ended(site, page), 5)


async def test_a_replay_to_a_page_that_left_comes_to_an_end(site):
    async def replay():
        for number in range(2 * OUTBOX_LIMIT):
            await page.outbox.put(str(number))

    async with open_deaf(site) as client:
        page = await site.page()
        fill(page)
        waiting = asyncio.create_task(replay())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        client.transport.abort()
        await asyncio.wait_for(waiting, 5)


async def test_without_the_extension_a_page_that_never_reads_is_closed_once(site):
    site.has_extension = False
    async with open_deaf(site):
        page = await site.page()
        codes = []

        async def close(code):
            codes.append(code)

        page.close = close
        while not page.is_let_go:
            offer(page, KB)
            await asyncio.sleep(0)
        offer(page, "one more")
        await asyncio.sleep(0)
        assert codes == [CLOSE_SLOW]
        assert page.outbox.qsize() == OUTBOX_LIMIT


async def test_a_page_that_is_gone_hurts_nobody(site):
    async with connect(site.url):
        page = await site.page()
    await asyncio.wait_for(ended(site, page), 5)
    offer(page, "a", "b")
    assert page.outbox.empty()
