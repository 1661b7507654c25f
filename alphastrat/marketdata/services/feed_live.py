"""Feeds from the network: a vendor's stream of minute bars, or polling after each close."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Max, Min
from django.utils.timezone import now

from alphastrat.core.errors import InvalidInput
from alphastrat.core.heartbeats import beat
from alphastrat.marketdata.models import BarSeries, Instrument
from alphastrat.marketdata.providers import massive
from alphastrat.marketdata.providers.base import BarBatch, BarRequest, Listing, LiveProvider
from alphastrat.marketdata.providers.massive import MassiveClient
from alphastrat.marketdata.providers.massive_stream import MassiveLiveProvider
from alphastrat.marketdata.providers.rate_limit import RateLimit
from alphastrat.marketdata.services.backfill import closed_bars_only
from alphastrat.marketdata.services.failover import Failover, configured_providers
from alphastrat.marketdata.services.feed import (
    BEAT_SECONDS,
    IDLE_SECONDS,
    PROCESS,
    FeedSource,
    Progress,
    store_delivery,
)
from alphastrat.marketdata.services.feed_replay import ReplayFeed
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.quant.calendars import bar_times, last_bar
from alphastrat.quant.types import Timeframe

FIRST_POLL = timedelta(days=30)
RETRY_POLL = timedelta(minutes=10)


def feed_source(
    name: str, *, timeframe: Timeframe, speed: float, live_days: int, stop: threading.Event
) -> FeedSource:
    """Return the feed that FEED_PROVIDER names.

    Raises
    ------
    InvalidInput
        If there is no such feed, or it lacks its key.
    """
    if name == "replay":
        return ReplayFeed(timeframe, speed=speed, live_days=live_days)
    if name == "polling":
        return PollingFeed(Failover(configured_providers()), timeframe)
    if name == "massive":
        if not settings.MASSIVE_API_KEY:
            raise InvalidInput("The feed needs MASSIVE_API_KEY, or set FEED_PROVIDER=replay.")
        return StreamingFeed(_live_provider(stop), stop)
    raise InvalidInput(f"FEED_PROVIDER was {name!r}; use replay, massive or polling.")


class StreamingFeed:
    """Stores bars as the vendor sends them; one that could not be stored is kept for the next."""

    def __init__(self, provider: LiveProvider, stop: threading.Event) -> None:
        self.name = provider.name
        self._provider = provider
        self._stop = stop
        self._stream: Iterator[BarBatch | None] | None = None
        self._pending: BarBatch | None = None
        self._n_bars = 0
        self._newest: datetime | None = None
        self._exchange = ""

    def advance(self, *, at: datetime) -> Progress:
        """Wait up to a second for a bar and store it."""
        if self._pending is None:
            self._pending = self._next()
        if self._pending is not None:
            target = Target(Timeframe.MINUTE_1, self.name)
            if len(self._pending.rows):
                run = store_delivery(self._pending.rows, target=target, at=now())
                self._n_bars += run.rows_stored
                self._newest = self._pending.rows["time"].max().to_pydatetime()
            self._pending = None
        detail: dict[str, Any] = {
            "n_bars": self._n_bars,
            "timeframe": Timeframe.MINUTE_1.value,
        }
        if self._stream is None:
            return Progress("no instruments to stream", IDLE_SECONDS, detail=detail)
        if self._newest is not None:
            lag = _overdue(self._newest, self._exchange, at=at)
            detail |= {"position_at": self._newest.isoformat(), "lag_s": lag.total_seconds()}
        return Progress("streaming", 0.0, detail=detail)

    def close(self) -> None:
        """End the stream and its thread."""
        self._stop.set()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

    def _next(self) -> BarBatch | None:
        if self._stream is None:
            listings = _active_listings()
            if not listings:
                return None
            self._exchange = listings[0].exchange
            since = _newest_stored(self.name, Timeframe.MINUTE_1)
            self._stream = self._provider.stream_bars(listings, since=since, stop=self._stop)
        try:
            return next(self._stream, None)
        except Exception:
            # A generator that has failed is at its end: the next turn needs another.
            self._stream = None
            raise


class PollingFeed:
    """Asks for each instrument's bars once one of them must have closed."""

    name = "polling"

    def __init__(self, failover: Failover, timeframe: Timeframe) -> None:
        self._failover = failover
        self._timeframe = timeframe
        self._not_before: dict[str, datetime] = {}
        self._forgiven_at: datetime | None = None
        self._n_bars = 0

    def advance(self, *, at: datetime) -> Progress:
        """Fetch the bars of one instrument that lacks its newest."""
        if self._forgiven_at is None or at - self._forgiven_at >= RETRY_POLL:
            self._failover.forgive()
            self._forgiven_at = at
        due = self._due(at=at)
        if due is None:
            return Progress("up to date", IDLE_SECONDS, detail=self._detail(lag=timedelta(0)))
        listing, start, lag = due
        self._not_before[listing.symbol] = at + RETRY_POLL
        request = BarRequest(listing, self._timeframe, start, at)
        run = self._failover.import_bars(closed_bars_only(request, at=at), at=at)
        self._n_bars += run.rows_stored
        return Progress("polling", 0.0, detail=self._detail(lag=lag))

    def close(self) -> None:
        """Nothing is held between turns."""

    def _detail(self, *, lag: timedelta) -> dict[str, object]:
        return {
            "n_bars": self._n_bars,
            "timeframe": self._timeframe.value,
            "lag_s": lag.total_seconds(),
        }

    def _due(self, *, at: datetime) -> tuple[Listing, datetime, timedelta] | None:
        newest = _newest_closed(self._timeframe)
        for listing in _active_listings():
            expected = last_bar(self._timeframe, listing.exchange, at)
            if expected is None or at < self._not_before.get(listing.symbol, at):
                continue
            known = newest.get(listing.symbol)
            if known is None or known[0] < expected[1]:
                # From the day of the newest bar: a bar known already changes nothing.
                start = (known[1] if known else at - FIRST_POLL) - timedelta(days=1)
                return listing, start, at - expected[1]
        return None


def _live_provider(stop: threading.Event) -> MassiveLiveProvider:
    def wait(seconds: float) -> None:
        """Sleep under the limit on calls without looking dead."""
        remaining = seconds
        while remaining > 0 and not stop.is_set():
            beat(PROCESS, {"provider": massive.NAME, "state": "catching up"})
            stop.wait(min(BEAT_SECONDS, remaining))
            remaining -= BEAT_SECONDS

    limit = RateLimit(massive.NAME, settings.MASSIVE_CALLS_PER_MINUTE, sleep=wait)
    return MassiveLiveProvider(
        MassiveClient(
            settings.MASSIVE_API_KEY, base=settings.MASSIVE_BASE_URL, limit=limit, sleep=wait
        )
    )


def _overdue(newest_opened_at: datetime, exchange: str, *, at: datetime) -> timedelta:
    """Return how long the minute after the newest one has been closed: nothing by night."""
    start = newest_opened_at + timedelta(minutes=1)
    _, closes = bar_times(Timeframe.MINUTE_1, exchange, start, max(start, at))
    return at - closes[0].to_pydatetime() if len(closes) else timedelta(0)


def _active_listings() -> Sequence[Listing]:
    active = Instrument.objects.filter(is_active=True).order_by("symbol")
    return [Listing(one.symbol, one.exchange, one.asset_class) for one in active]


def _newest_stored(source: str, timeframe: Timeframe) -> Mapping[str, datetime]:
    series = BarSeries.objects.filter(source=source, timeframe=timeframe.value, bar_count__gt=0)
    rows = series.values_list("instrument__symbol").annotate(newest=Max("bars__opened_at"))
    return dict(rows)


def _newest_closed(timeframe: Timeframe) -> Mapping[str, tuple[datetime, datetime]]:
    """Return by symbol the newest close of any source, and of the source that is furthest behind.

    A source that was away is given what the others have brought since: none keeps a gap.
    """
    series = BarSeries.objects.filter(
        source__in=settings.MARKET_DATA_PROVIDERS, timeframe=timeframe.value, bar_count__gt=0
    )
    rows = series.values_list("instrument__symbol").annotate(
        newest=Max("last_closed_at"), oldest=Min("last_closed_at")
    )
    return {symbol: (newest, oldest) for symbol, newest, oldest in rows}
