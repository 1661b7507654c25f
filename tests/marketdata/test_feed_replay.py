from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from django.db import OperationalError, transaction

from alphastrat.core.events import bars_stored
from alphastrat.core.models import Heartbeat
from alphastrat.marketdata.models import Bar, BarSeries, FeedPosition, ImportRun, Instrument
from alphastrat.marketdata.services import feed as feeds
from alphastrat.marketdata.services import feed_replay
from alphastrat.marketdata.services.feed import pace, run_feed
from alphastrat.marketdata.services.feed_replay import ReplayFeed
from alphastrat.marketdata.services.ingestion import Target, ingest
from alphastrat.quant.calendars import session_times
from alphastrat.quant.types import Timeframe

pytestmark = pytest.mark.django_db(transaction=True)

AT = datetime(2024, 6, 3, 12, 0, tzinfo=UTC)
FIRST, LAST = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
LIVE_DAYS = 14


def store(symbol: str, *, source: str = "files", first: datetime = FIRST, scale: float = 1) -> None:
    days = session_times("XNYS", first, LAST).index
    closes = [scale * (100 + n % 7) for n in range(len(days))]
    rows = pd.DataFrame(
        {
            "row_number": range(1, len(days) + 1),
            "symbol": symbol,
            "time": days,
            "open": closes,
            "high": [close + 1 for close in closes],
            "low": [close - 1 for close in closes],
            "close": closes,
            "volume": 1e6,
        }
    )
    run = ImportRun.objects.create(
        source=source, status="running", requested_at=AT, options={"timeframe": "1d"}
    )
    ingest([rows], run=run, target=Target(Timeframe.DAY_1, source), at=AT)


def bars_of(symbol: str, source: str) -> list[tuple[Any, ...]]:
    bars = Bar.objects.filter(series__instrument__symbol=symbol, series__source=source)
    values = ("opened_at", "closed_at", "open", "high", "low", "close", "volume")
    return list(bars.order_by("opened_at").values_list(*values))


def a_feed(speed: float = float("inf")) -> ReplayFeed:
    return ReplayFeed(Timeframe.DAY_1, speed=speed, live_days=LIVE_DAYS)


def to_the_end(feed: ReplayFeed, *, at: datetime = AT) -> list[str]:
    positions = []
    for _ in range(200):
        progress = feed.advance(at=at)
        if progress.state != "replaying":
            return positions
        positions.append(progress.detail["position_at"])
    raise AssertionError("the replay did not end")


def test_the_replayed_series_ends_equal_to_the_stored_one() -> None:
    store("AAA")
    store("BBB", scale=3)
    steps = to_the_end(a_feed())
    assert steps == sorted(set(steps))
    for symbol in ("AAA", "BBB"):
        assert bars_of(symbol, "replay") == bars_of(symbol, "files") != []


def test_stored_history_is_untouched_and_quiet_deliveries_leave_no_import() -> None:
    store("AAA")
    before, runs = bars_of("AAA", "files"), ImportRun.objects.count()
    to_the_end(a_feed())
    assert bars_of("AAA", "files") == before
    assert ImportRun.objects.count() == runs


def test_only_the_live_period_is_paced_and_the_history_before_it_comes_at_once() -> None:
    store("AAA")
    feed = a_feed()
    feed.advance(at=AT)
    position = FeedPosition.objects.get()
    stored = [bar[1] for bar in bars_of("AAA", "files")]
    assert position.starts_at == stored[-1] - timedelta(days=LIVE_DAYS)
    replayed = [bar[1] for bar in bars_of("AAA", "replay")]
    first_live = next(at for at in stored if at > position.starts_at)
    assert replayed == [at for at in stored if at <= first_live]


def test_a_session_comes_every_three_seconds_and_nobody_waits_for_a_weekend() -> None:
    friday, monday = datetime(2024, 1, 5, 21, tzinfo=UTC), datetime(2024, 1, 8, 21, tzinfo=UTC)
    day = timedelta(days=1)
    assert pace(monday, friday, step=day, speed=28_800) == timedelta(seconds=3)
    assert pace(friday, friday - day, step=day, speed=28_800) == timedelta(seconds=3)
    minute = timedelta(minutes=1)
    assert pace(monday + minute, monday, step=minute, speed=1) == minute


def test_a_step_waits_until_it_is_due_also_in_another_process() -> None:
    store("AAA")
    a_feed(28_800).advance(at=AT)
    before = FeedPosition.objects.get().position_at
    early = a_feed(28_800).advance(at=AT + timedelta(seconds=1))
    assert early.wait_seconds > 0
    assert FeedPosition.objects.get().position_at == before
    a_feed(28_800).advance(at=AT + timedelta(seconds=3))
    assert FeedPosition.objects.get().position_at > before


def test_a_feed_that_was_away_does_not_rush() -> None:
    store("AAA")
    feed = a_feed(28_800)
    late = AT + timedelta(hours=1)
    feed.advance(at=AT)
    feed.advance(at=late)
    assert feed.advance(at=late).wait_seconds == pytest.approx(3)


def test_the_end_is_said_once_and_for_all_and_nothing_loops() -> None:
    store("AAA")
    feed = a_feed()
    to_the_end(feed)
    n_bars = Bar.objects.count()
    for _ in range(3):
        assert feed.advance(at=AT).state == "replay finished"
    assert Bar.objects.count() == n_bars
    assert FeedPosition.objects.get().finished_at is not None


def test_with_no_bars_the_feed_idles_and_says_so() -> None:
    progress = a_feed().advance(at=AT)
    assert (progress.state, progress.wait_seconds > 0) == ("nothing to replay", True)
    assert not FeedPosition.objects.exists()


class Killed(BaseException):
    """Stands for kill -9: nothing in the process runs after it but the database's roll-back."""


@pytest.mark.parametrize("moment", ["before storing", "after storing", "after moving"])
def test_a_feed_killed_at_any_step_goes_on_with_the_same_bar(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    store("AAA")
    store("BBB", scale=3)
    expected = {symbol: bars_of(symbol, "files") for symbol in ("AAA", "BBB")}
    really_store, really_save = feed_replay.store_bars, FeedPosition.save
    is_armed = [False]

    def storing(*args: Any, **kwargs: Any) -> Any:
        if is_armed[0] and moment == "before storing":
            raise Killed
        run = really_store(*args, **kwargs)
        if is_armed[0] and moment == "after storing":
            raise Killed
        return run

    def saving(self: FeedPosition, *args: Any, **kwargs: Any) -> None:
        really_save(self, *args, **kwargs)
        if is_armed[0] and moment == "after moving":
            raise Killed

    monkeypatch.setattr(feed_replay, "store_bars", storing)
    monkeypatch.setattr(FeedPosition, "save", saving)
    told: list[Any] = []
    receiver = lambda **news: told.append((news["start"], news["end"]))  # noqa: E731
    bars_stored.connect(receiver, weak=False)
    try:
        for turn in range(40):
            is_armed[0] = turn % 2 == 0  # every step is killed once and then repeated
            try:
                if a_feed().advance(at=AT).state == "replay finished":
                    break
            except Killed:
                continue
    finally:
        bars_stored.disconnect(receiver)
    assert {symbol: bars_of(symbol, "replay") for symbol in expected} == expected
    assert len(told) == len(set(told))


def test_two_feeds_at_once_never_double_a_step() -> None:
    store("AAA")
    feeds_ = [a_feed(), a_feed()]
    positions: list[str] = []
    for turn in range(60):
        progress = feeds_[turn % 2].advance(at=AT)
        if progress.state == "replay finished":
            break
        positions.append(progress.detail["position_at"])
    assert len(positions) == len(set(positions))
    assert bars_of("AAA", "replay") == bars_of("AAA", "files")


def test_an_instrument_that_comes_later_joins_with_its_history() -> None:
    store("AAA")
    feed = a_feed()
    feed.advance(at=AT)
    store("CCC", scale=2)
    to_the_end(feed, at=AT + timedelta(minutes=5))
    assert bars_of("CCC", "replay") == bars_of("CCC", "files")


def test_a_longer_source_that_comes_later_is_not_mixed_in() -> None:
    store("AAA", first=datetime(2024, 1, 16, tzinfo=UTC))
    feed = a_feed()
    feed.advance(at=AT)
    store("AAA", source="other", scale=50)
    to_the_end(feed, at=AT + timedelta(minutes=5))
    assert bars_of("AAA", "replay") == bars_of("AAA", "files")


def test_a_retired_instrument_is_not_replayed() -> None:
    store("AAA")
    store("OLD")
    Instrument.objects.filter(symbol="OLD").update(is_active=False)
    to_the_end(a_feed())
    assert not BarSeries.objects.filter(instrument__symbol="OLD", source="replay").exists()


def test_the_loop_survives_a_lost_database_beats_and_stops_when_told() -> None:
    store("AAA")
    stop, states = threading.Event(), []
    feed = a_feed()
    really_advance, turns = feed.advance, [0]

    def advance(*, at: datetime) -> feeds.Progress:
        turns[0] += 1
        if turns[0] == 2:
            raise OperationalError("server closed the connection unexpectedly")
        return really_advance(at=at)

    feed.advance = advance  # type: ignore[method-assign]

    def say(progress: feeds.Progress) -> None:
        states.append(progress.state)
        if progress.state == "replay finished":
            stop.set()

    run_feed(feed, stop=stop, clock=lambda: AT, say=say)
    assert states == ["replaying", "waiting for the database", "replaying", "replay finished"]
    assert bars_of("AAA", "replay") == bars_of("AAA", "files")
    assert Heartbeat.objects.get(process="feed").detail["state"] == "stopped"


def test_a_refused_bar_is_kept_as_an_import_and_does_not_stop_the_feed() -> None:
    rows = pd.DataFrame(
        {
            "row_number": [1],
            "symbol": ["AAA"],
            "time": [pd.Timestamp("2024-01-06")],  # a Saturday
            "open": [1.0],
            "high": [1.0],
            "low": [1.0],
            "close": [1.0],
            "volume": [1.0],
        }
    )
    with transaction.atomic():
        run = feeds.store_bars(rows, target=Target(Timeframe.DAY_1, "replay"), at=AT)
    kept = ImportRun.objects.get(pk=run.pk)
    assert (kept.status, kept.rows_quarantined) == ("failed", 1)
