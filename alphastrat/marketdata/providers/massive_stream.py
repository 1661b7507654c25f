"""Massive's minute bars over its WebSocket; what a lost connection missed comes over REST."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.timezone import now
from massive import WebSocketClient
from massive.exceptions import AuthError

from alphastrat.core.errors import ProviderError
from alphastrat.marketdata.models import AssetClass
from alphastrat.marketdata.providers.base import (
    BarBatch,
    BarRequest,
    Listing,
    ProviderRefused,
    to_batch,
)
from alphastrat.marketdata.providers.massive import NAME, MassiveProvider, vendor_symbol
from alphastrat.quant.types import Timeframe

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
FIRST_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 30.0
IDLE_SECONDS = 1.0
MINUTE = timedelta(minutes=1)
_FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
_MARKETS = {AssetClass.EQUITY: "stocks", AssetClass.CRYPTO: "crypto", AssetClass.FX: "forex"}
_CHANNELS = {"stocks": "AM", "crypto": "XA", "forex": "CA"}


class MassiveLiveProvider(MassiveProvider):
    """The REST provider and the stream."""

    def stream_bars(
        self,
        listings: Sequence[Listing],
        *,
        since: Mapping[str, datetime],
        stop: threading.Event,
        clock: Callable[[], datetime] = now,
    ) -> Iterator[BarBatch | None]:
        """Yield minute bars as they close, none twice; None about once a second when idle.

        `since` holds the opening time of the newest stored bar. After each connect, the bars
        between the newest one seen and now are fetched first, within the limit on calls.
        """
        newest = dict(since)
        by_name = {vendor_symbol(listing): listing for listing in listings}
        socket = _Socket(listings)
        socket.start()
        try:
            while not stop.is_set():
                message = socket.take()
                if isinstance(message, ProviderError):
                    raise message
                if message is None:
                    yield None
                elif message == "connected":
                    for listing in listings:
                        yield from self._missed(listing, newest, at=clock())
                else:
                    yield from _received(message, by_name, newest)
        finally:
            socket.stop()

    def _missed(
        self, listing: Listing, newest: dict[str, datetime], *, at: datetime
    ) -> Iterator[BarBatch]:
        start = newest.get(listing.symbol)
        # The minute that is still open comes over the socket.
        end = at.replace(second=0, microsecond=0)
        if start is None or start + MINUTE >= end:
            return
        request = BarRequest(listing, Timeframe.MINUTE_1, start + MINUTE, end)
        for batch in self.fetch_bars(request):
            if len(batch.rows):
                newest[listing.symbol] = batch.rows["time"].max().to_pydatetime()
                yield batch


class _Socket:
    """The official client in a thread of its own, connecting again for as long as it takes."""

    def __init__(self, listings: Sequence[Listing]) -> None:
        markets = {_MARKETS.get(AssetClass(listing.asset_class)) for listing in listings}
        if len(markets) != 1 or None in markets:
            raise ProviderError("Massive streams one market at a time.", permanent=True)
        self._market = str(markets.pop())
        channel = _CHANNELS[self._market]
        self._topics = [f"{channel}.{_pair(listing)}" for listing in listings]
        self._stop = threading.Event()
        self._is_subscribed = False
        self._messages: queue.Queue[Any] = queue.Queue(maxsize=10_000)
        self._thread = threading.Thread(target=self._work, name="massive-stream", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def take(self) -> Any:
        """Return a list of events, "connected", an error, or None after a quiet second."""
        try:
            return self._messages.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            return None

    def _work(self) -> None:
        asyncio.run(self._keep_connected())

    async def _keep_connected(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while not self._stop.is_set():
            started_at = time.monotonic()
            try:
                await self._connect_once()
            except AuthError:
                self._messages.put(ProviderRefused("Massive does not accept the API key."))
                return
            # The client reads what the server says without checking it: an answer in another
            # form is one more reason to connect again, and must not end this thread unheard.
            except Exception as error:
                logger.warning("stream lost", extra={"reason": type(error).__name__})
            if time.monotonic() - started_at > MAX_BACKOFF_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            await self._rest(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)

    async def _connect_once(self) -> None:
        self._is_subscribed = False
        address = urlsplit(settings.MASSIVE_WEBSOCKET_URL)
        is_secure = address.scheme == "wss"
        client = WebSocketClient(
            api_key=settings.MASSIVE_API_KEY,
            feed=address.netloc,
            market=self._market,
            raw=True,
            secure=is_secure,
            subscriptions=self._topics,
            max_reconnects=0,
        )
        # An explicit host makes the client refuse a redirect to another one, which would be
        # given the key.
        host, port = address.hostname, address.port or (443 if is_secure else 80)
        work = asyncio.ensure_future(client.connect(self._receive, host=host, port=port))
        try:
            await self._watch(client, work)
        finally:
            if client.websocket is not None:
                # One left open would count as a second connection, which the vendor refuses.
                await client.close()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _watch(self, client: WebSocketClient, work: asyncio.Future[None]) -> None:
        """Wait for the end of the connection, and give up one that does not come about.

        The client retries a failing handshake for ever and without a word.
        """
        waited = 0.0
        while not self._stop.is_set():
            done, _ = await asyncio.wait([work], timeout=0.2)
            if done:
                work.result()
                return
            waited += 0.2
            if client.websocket is None and waited > CONNECT_SECONDS:
                raise TimeoutError

    async def _receive(self, raw: str | bytes) -> None:
        events = json.loads(raw)
        bars = [event for event in events if event.get("ev") in _CHANNELS.values()]
        # Every topic is confirmed by itself; what was missed is fetched once per connection.
        if not self._is_subscribed and any(map(_confirms, events)):
            self._is_subscribed = True
            self._messages.put("connected")
        if bars:
            self._messages.put(bars)

    async def _rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stop.is_set() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)


def _confirms(event: Mapping[str, Any]) -> bool:
    return (
        event.get("ev") == "status"
        and event.get("status") == "success"
        and "subscribed" in str(event.get("message", ""))
    )


def _pair(listing: Listing) -> str:
    """Return the name in a subscription: pairs are written with a dash or slash there."""
    if listing.asset_class == AssetClass.CRYPTO:
        return listing.symbol.replace("/", "-")
    if listing.asset_class == AssetClass.FX:
        return listing.symbol.replace("-", "/")
    return listing.symbol


def _received(
    events: Sequence[Mapping[str, Any]],
    by_name: Mapping[str, Listing],
    newest: dict[str, datetime],
) -> Iterator[BarBatch]:
    """Yield the bars of a message that are new; a reconnect may deliver some again."""
    for event in events:
        listing = by_name.get(_vendor_name(event))
        millis = event.get("s")
        if listing is None or not isinstance(millis, int):
            continue
        opened_at = datetime.fromtimestamp(millis / 1000, UTC)
        known = newest.get(listing.symbol)
        if known is not None and opened_at <= known:
            continue
        record = {"time": opened_at, **{name: event.get(key) for name, key in _FIELDS.items()}}
        request = BarRequest(listing, Timeframe.MINUTE_1, opened_at, opened_at + MINUTE)
        batch = to_batch(NAME, request, [record], n_before=0)
        newest[listing.symbol] = opened_at
        if len(batch.rows):
            yield batch


def _vendor_name(event: Mapping[str, Any]) -> str:
    if "sym" in event:
        return str(event["sym"])
    prefix = "X:" if event.get("ev") == "XA" else "C:"
    return prefix + str(event.get("pair", "")).replace("-", "").replace("/", "")
