from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alphastrat.marketdata.providers import massive_stream
from alphastrat.marketdata.providers.base import BarBatch, Listing, ProviderRefused
from alphastrat.marketdata.providers.massive import MassiveClient
from alphastrat.marketdata.providers.massive_stream import MassiveLiveProvider
from tests.marketdata.providers.vendor_server import Answer, Asked, VendorServer, VendorSocket

pytestmark = pytest.mark.django_db

AAPL = Listing("AAPL")
OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def bar(n: int, symbol: str = "AAPL") -> dict[str, Any]:
    start = int((OPEN + n * MINUTE).timestamp() * 1000)
    values = {"o": 100.0, "h": 101.0, "l": 99.0, "c": 100.5, "v": 500}
    return {"ev": "AM", "sym": symbol, "s": start, "e": start + 60_000, **values}


def rest_minutes(asked: Asked) -> Answer:
    """Answer with a bar for each whole minute that the request spans."""
    first, last = (int(part) for part in asked.path.split("/")[-2:])
    stamps = range(first + -first % 60_000, last + 1, 60_000)
    values = {"o": 100.0, "h": 101.0, "l": 99.0, "c": 100.5, "v": 500}
    return Answer({"results": [{"t": t, **values} for t in stamps]})


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(massive_stream, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(massive_stream, "IDLE_SECONDS", 0.05)
    settings.MASSIVE_API_KEY = "secret"


@pytest.fixture
def provider(vendor: VendorServer, clock: Any) -> MassiveLiveProvider:
    vendor.otherwise = rest_minutes
    return MassiveLiveProvider(
        MassiveClient("secret", base=vendor.url, limit=clock.limit(0), sleep=clock.sleep)
    )


def minutes(batches: Iterator[BarBatch | None], n_bars: int) -> list[int]:
    """Return which minutes since the open came, until `n_bars` of them have."""
    found: list[int] = []
    for batch in batches:
        if batch is not None:
            found += [int((at - OPEN) / MINUTE) for at in batch.rows["time"]]
        if len(found) >= n_bars:
            break
    return found


def stream(
    provider: MassiveLiveProvider, socket: VendorSocket, settings: Any, **arguments: Any
) -> Iterator[BarBatch | None]:
    settings.MASSIVE_WEBSOCKET_URL = socket.url
    return provider.stream_bars([AAPL], stop=threading.Event(), **arguments)


def test_bars_come_as_sent_after_a_subscription_to_minutes(
    provider: MassiveLiveProvider, settings: Any
) -> None:
    socket = VendorSocket([[[bar(0)], [bar(1), bar(2)]]])
    bars = stream(provider, socket, settings, since={})
    assert minutes(bars, 3) == [0, 1, 2]
    bars.close()  # type: ignore[attr-defined]
    socket.close()
    assert socket.subscriptions == ["AM.AAPL"]


def test_a_lost_connection_loses_no_bar_and_doubles_none(
    provider: MassiveLiveProvider, settings: Any
) -> None:
    # Minutes 2 and 3 pass while it is away; minute 1 is sent again after it.
    socket = VendorSocket([[[bar(0)], [bar(1)]], [[bar(1)], [bar(4)], [bar(4)], [bar(5)]]])
    bars = stream(provider, socket, settings, since={}, clock=lambda: OPEN + 4 * MINUTE)
    found = minutes(bars, 6)
    bars.close()  # type: ignore[attr-defined]
    socket.close()
    assert found == [0, 1, 2, 3, 4, 5]


def test_what_was_missed_before_the_first_connection_is_fetched(
    provider: MassiveLiveProvider, settings: Any
) -> None:
    socket = VendorSocket([[[bar(3)]]])
    bars = stream(provider, socket, settings, since={"AAPL": OPEN}, clock=lambda: OPEN + 3 * MINUTE)
    found = minutes(bars, 3)
    bars.close()  # type: ignore[attr-defined]
    socket.close()
    assert found == [1, 2, 3]


def test_a_refused_key_ends_the_stream(provider: MassiveLiveProvider, settings: Any) -> None:
    socket = VendorSocket([[]], key="another")
    with pytest.raises(ProviderRefused):
        minutes(stream(provider, socket, settings, since={}), 1)
    socket.close()


def test_strangers_and_hours_outside_the_session_are_left_out(
    provider: MassiveLiveProvider, settings: Any
) -> None:
    socket = VendorSocket([[[bar(-5), bar(0, "XYZ"), bar(0)]]])
    bars = stream(provider, socket, settings, since={})
    assert minutes(bars, 1) == [0]
    bars.close()  # type: ignore[attr-defined]
    socket.close()


def test_silence_is_told_so_that_the_feed_can_show_life(
    provider: MassiveLiveProvider, settings: Any
) -> None:
    socket = VendorSocket([[]])
    bars = stream(provider, socket, settings, since={})
    assert next(bars) is None
    bars.close()  # type: ignore[attr-defined]
    socket.close()
