"""Frames go out at once while a page reads, in order, and wait where it does not."""

from __future__ import annotations

import asyncio

import pytest

from alphastrat.core.consumers import CLOSE_SLOW, OUTBOX_LIMIT, LiveConsumer


class Wire:
    """The server's side of a page: it can be made to wait, or to be gone."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed: list[int] = []
        self.writable = asyncio.Event()
        self.writable.set()
        self.is_gone = False

    async def send(self, message) -> None:
        await self.writable.wait()
        if self.is_gone:
            raise ConnectionError("gone")
        if message["type"] == "websocket.send":
            self.sent.append(message["text"])
        else:
            self.closed.append(message["code"])


@pytest.fixture
async def wire():
    return Wire()


@pytest.fixture
async def page(wire):
    page = LiveConsumer()
    page.base_send = wire.send
    page.replaying = {}
    page.outbox = asyncio.Queue(OUTBOX_LIMIT)
    page.is_at_rest = True
    sender = asyncio.create_task(page._send_outbox())
    yield page
    sender.cancel()


def offer(page, *texts: str) -> None:
    for text in texts:
        page.offer("alerts:u1", 1, text)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_frame_is_written_before_offer_returns(page, wire):
    offer(page, "a", "b")
    assert wire.sent == ["a", "b"]


async def test_frames_wait_in_order_while_a_page_does_not_read(page, wire):
    offer(page, "a")
    wire.writable.clear()
    offer(page, "b", "c")
    await settle()
    offer(page, "d")
    assert wire.sent == ["a"]
    wire.writable.set()
    await settle()
    assert wire.sent == ["a", "b", "c", "d"]
    offer(page, "e")
    assert wire.sent[-1] == "e"


async def test_a_frame_never_overtakes_what_is_queued(page, wire):
    await page.outbox.put("first")
    offer(page, "second")
    await settle()
    assert wire.sent == ["first", "second"]


async def test_a_page_that_never_reads_is_closed(page, wire):
    wire.writable.clear()
    offer(page, *(str(number) for number in range(OUTBOX_LIMIT + 3)))
    wire.writable.set()
    await settle()
    assert wire.closed
    assert set(wire.closed) == {CLOSE_SLOW}


async def test_a_page_that_is_gone_hurts_nobody(page, wire):
    wire.is_gone = True
    offer(page, "a", "b")
    await settle()
    assert wire.sent == []
