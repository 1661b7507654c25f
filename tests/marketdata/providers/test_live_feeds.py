"""Feeds from the network lose and double nothing, whatever fails between the vendor and us."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from alphastrat.core.errors import InvalidInput, ProviderError
from alphastrat.core.models import Heartbeat
from alphastrat.marketdata.models import Bar, BarSeries, Instrument
from alphastrat.marketdata.providers import massive_stream
from alphastrat.marketdata.providers.base import BarBatch, BarRequest, Listing, to_batch
from alphastrat.marketdata.providers.massive import TRIES, MassiveClient
from alphastrat.marketdata.providers.massive_stream import MassiveLiveProvider
from alphastrat.marketdata.services import feed as feeds
from alphastrat.marketdata.services import feed_live
from alphastrat.marketdata.services.failover import GIVE_UP_AFTER, Failover
from alphastrat.marketdata.services.feed import run_feed
from alphastrat.marketdata.services.feed_live import PollingFeed, StreamingFeed, feed_source
from alphastrat.quant.calendars import session_times
from alphastrat.quant.types import Timeframe
from tests.marketdata.providers.vendor_server import Answer, Asked, VendorServer, VendorSocket

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
VALUES = {"o": 100.0, "h": 101.0, "l": 99.0, "c": 100.5, "v": 500}


def minutes_stored() -> list[int]:
    opened = Bar.objects.order_by("opened_at").values_list("opened_at", flat=True)
    return [int((at - OPEN) / MINUTE) for at in opened]


def minute_batch(n: int, symbol: str = "AAPL") -> BarBatch:
    start = OPEN + n * MINUTE
    request = BarRequest(Listing(symbol), Timeframe.MINUTE_1, start, start + MINUTE)
    values = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 500.0}
    return to_batch("vendor", request, [{"time": start, **values}], n_before=0)


class ScriptedStream:
    """Streams what the script says: a minute, None for silence, or a fault that ends it."""

    name = "vendor"

    def __init__(self, *scripts: Sequence[int | Exception | None]) -> None:
        self.scripts = list(scripts)
        self.since: list[dict[str, datetime]] = []

    def stream_bars(
        self, listings: Sequence[Listing], *, since: Any, stop: threading.Event
    ) -> Iterator[BarBatch | None]:
        self.since.append(dict(since))
        for one in self.scripts.pop(0):
            if isinstance(one, Exception):
                raise one
            yield None if one is None else minute_batch(one)


@pytest.fixture(autouse=True)
def apple() -> Instrument:
    return Instrument.objects.create(symbol="AAPL")


def test_a_bar_that_could_not_be_stored_is_stored_on_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = StreamingFeed(ScriptedStream([0, 1, 2]), threading.Event())  # type: ignore[arg-type]
    feed.advance(at=OPEN)
    with monkeypatch.context() as patch:
        patch.setattr(feed_live, "store_delivery", _database_is_away)
        for _ in range(3):
            with pytest.raises(OperationalError):
                feed.advance(at=OPEN)
    feed.advance(at=OPEN)
    feed.advance(at=OPEN)
    assert minutes_stored() == [0, 1, 2]


def _database_is_away(*_args: Any, **_options: Any) -> None:
    raise OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("fault", [ProviderError("away"), OperationalError("away")])
def test_a_stream_that_failed_is_opened_again_after_the_newest_stored_bar(fault: Exception) -> None:
    stop = threading.Event()
    provider = ScriptedStream([0, fault], [1])
    feed = StreamingFeed(provider, stop)  # type: ignore[arg-type]
    feed.advance(at=OPEN)
    with pytest.raises(type(fault)):
        feed.advance(at=OPEN)
    feed.advance(at=OPEN)
    assert minutes_stored() == [0, 1]
    assert provider.since == [{}, {"AAPL": OPEN}]
    assert not stop.is_set()


@pytest.mark.parametrize(
    ("at", "lag"),
    [
        (OPEN + MINUTE, 0),
        (OPEN + 2 * MINUTE, 0),
        (OPEN + 2.5 * MINUTE, 30),
        (OPEN + 4 * MINUTE, 120),
    ],
)
def test_the_lag_counts_from_the_close_of_the_missing_minute(at: datetime, lag: float) -> None:
    feed = StreamingFeed(ScriptedStream([0]), threading.Event())  # type: ignore[arg-type]
    assert feed.advance(at=at).detail["lag_s"] == lag


def test_there_is_no_lag_while_the_market_is_closed() -> None:
    last = 6 * 60 + 29  # 15:59 in New York
    feed = StreamingFeed(ScriptedStream([last]), threading.Event())  # type: ignore[arg-type]
    assert feed.advance(at=OPEN + timedelta(hours=15)).detail["lag_s"] == 0


def test_a_failed_provider_is_rested_and_the_feed_shows_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(feeds, "IDLE_SECONDS", 0.05)
    beats: list[str] = []
    really_beat = feeds.beat

    def beat(process: str, detail: dict[str, Any]) -> None:
        beats.append(detail["state"])
        really_beat(process, detail)

    monkeypatch.setattr(feeds, "beat", beat)
    stop, asked = threading.Event(), [0]

    class Failing:
        name = "vendor"

        def advance(self, *, at: datetime) -> feeds.Progress:
            asked[0] += 1
            if asked[0] == 3:
                stop.set()
            raise ProviderError("HTTP 500")

        def close(self) -> None: ...

    run_feed(Failing(), stop=stop)
    assert asked == [3]
    assert beats.count("provider failed: HTTP 500") > asked[0]
    assert Heartbeat.objects.get(process="feed").detail["state"] == "stopped"


def test_a_vendor_in_trouble_costs_no_bar(
    vendor: VendorServer, clock: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catch-up after the reconnect fails for good; the next connection makes up for it."""
    monkeypatch.setattr(massive_stream, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(massive_stream, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(feeds, "IDLE_SECONDS", 0.01)

    def sent(n: int, **more: Any) -> dict[str, Any]:
        start = int((OPEN + n * MINUTE).timestamp() * 1000)
        return {"ev": "AM", "sym": "AAPL", "s": start, "e": start + 60_000, **VALUES, **more}

    def missed(asked: Asked) -> Answer:
        first, last = (int(part) for part in asked.path.split("/")[-2:])
        stamps = range(first + -first % 60_000, last + 1, 60_000)
        return Answer({"results": [{"t": t, **VALUES} for t in stamps]})

    vendor.otherwise = missed
    vendor.answers.extend([Answer({}, status=500)] * TRIES)
    scripts: list[Any] = [
        [[sent(0)], [sent(0), sent(1)]],
        [[{"ev": "AM", "sym": "AAPL"}], {"not": "a list"}],
        [[sent(1), sent(4)], [sent(4)]],
    ]
    socket = VendorSocket([*scripts, [[sent(5)]]])

    def clock_of_the_vendor() -> datetime:
        """A minute is sent once it has passed."""
        return OPEN + {0: 6, 1: 5}.get(len(socket.scripts), 4) * MINUTE

    streaming = {"clock": clock_of_the_vendor}
    monkeypatch.setattr(MassiveLiveProvider.stream_bars, "__kwdefaults__", streaming)
    settings.MASSIVE_WEBSOCKET_URL = socket.url
    settings.MASSIVE_API_KEY = "secret"
    client = MassiveClient("secret", base=vendor.url, limit=clock.limit(0), sleep=clock.sleep)
    stop = threading.Event()
    deadline = threading.Timer(20, stop.set)
    deadline.start()

    class UntilTheLast(StreamingFeed):
        def advance(self, *, at: datetime) -> feeds.Progress:
            progress = super().advance(at=at)
            if 5 in minutes_stored():
                stop.set()
            return progress

    run_feed(UntilTheLast(MassiveLiveProvider(client), stop), stop=stop)
    deadline.cancel()
    socket.close()
    assert minutes_stored() == [0, 1, 2, 3, 4, 5]


class DailyVendor:
    """Knows every session up to the end of the request; may be away."""

    timeframes = frozenset({Timeframe.DAY_1})
    adjustments = frozenset({"split"})

    def __init__(self, name: str, *, is_away: bool = False) -> None:
        self.name = name
        self.is_away = is_away
        self.asked = 0

    def fetch_bars(self, request: BarRequest) -> Iterator[BarBatch]:
        self.asked += 1
        if self.is_away:
            raise ProviderError("away")
        start = request.start.replace(hour=0, minute=0)
        values = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.0, "volume": 5.0}
        days = session_times("XNYS", start, request.end).index
        yield to_batch(self.name, request, [{"time": day, **values} for day in days], n_before=0)

    def fetch_corporate_actions(self, *_args: Any, **_options: Any) -> list[Any]:
        return []


EVENING = datetime(2024, 1, 10, 22, 0, tzinfo=UTC)


@pytest.fixture
def two_vendors(settings: Any) -> tuple[DailyVendor, DailyVendor]:
    settings.MARKET_DATA_PROVIDERS = ["first", "second"]
    return DailyVendor("first"), DailyVendor("second")


def closes(source: str) -> list[datetime]:
    bars = Bar.objects.filter(series__source=source).order_by("closed_at")
    return list(bars.values_list("closed_at", flat=True))


def test_polling_asks_once_a_bar_must_have_closed(
    two_vendors: tuple[DailyVendor, DailyVendor],
) -> None:
    first, _ = two_vendors
    feed = PollingFeed(Failover(two_vendors), Timeframe.DAY_1)
    assert feed.advance(at=EVENING).state == "polling"
    for hours in (0, 1, 2, 15):
        assert feed.advance(at=EVENING + timedelta(hours=hours)).state == "up to date"
    assert first.asked == 1
    assert feed.advance(at=EVENING + timedelta(days=1)).state == "polling"
    assert closes("first")[-1] == EVENING + timedelta(days=1, hours=-1)
    assert BarSeries.objects.get().bar_count == len(set(closes("first")))


def test_a_source_that_was_away_is_given_what_it_missed(
    two_vendors: tuple[DailyVendor, DailyVendor],
) -> None:
    first, _ = two_vendors
    feed = PollingFeed(Failover(two_vendors), Timeframe.DAY_1)
    feed.advance(at=EVENING)
    first.is_away = True
    for days in range(1, GIVE_UP_AFTER + 2):
        feed.advance(at=EVENING + timedelta(days=days))
    first.is_away = False
    feed.advance(at=EVENING + timedelta(days=6))
    held = closes("first")
    expected = session_times("XNYS", held[0] - timedelta(days=1), held[-1])["closed_at"]
    assert held == list(expected)
    assert held[-1] > EVENING + timedelta(days=5)


@pytest.mark.parametrize(("name", "message"), [("massive", "MASSIVE_API_KEY"), ("x", "'x'")])
def test_a_feed_that_cannot_run_says_what_to_set(settings: Any, name: str, message: str) -> None:
    settings.MASSIVE_API_KEY = ""
    with pytest.raises(InvalidInput, match=message):
        feed_source(name, timeframe=Timeframe.DAY_1, speed=1.0, live_days=1, stop=threading.Event())
