"""The market as it is followed now: which series the feed extends, and what time it is there.

A replay repeats stored bars into series of its own, so live operation looks at those while the
feed replays, and its present is the newest replayed bar, not the clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max

from alphastrat.marketdata.models import Adjustment, BarSeries, FeedPosition
from alphastrat.quant.types import Timeframe

REPLAY = "replay"


def is_replaying() -> bool:
    """Whether the feed repeats stored bars."""
    return str(settings.FEED_PROVIDER) == REPLAY


def live_series(
    symbols: Iterable[str], timeframe: Timeframe | str, *, adjustment: str = Adjustment.SPLIT
) -> dict[str, BarSeries]:
    """Return by symbol the series that live operation looks at.

    That is the one with the most bars; while the feed replays a timeframe it is the replayed one
    and no other, because the stored ones already hold what is still to come.
    """
    found = BarSeries.objects.filter(
        instrument__symbol__in=list(symbols), timeframe=str(timeframe), adjustment=adjustment
    ).select_related("instrument")
    replays = is_replaying() and _position(timeframe) is not None
    found = found.filter(source=REPLAY) if replays else found.exclude(source=REPLAY)
    return {one.instrument.symbol: one for one in found.order_by("bar_count", "created_at")}


def market_time(timeframe: Timeframe | str, *, at: datetime) -> datetime:
    """Return the present of the market that is followed: `at`, or how far the replay has come.

    Before a replay's first step that is the time it will start from.
    """
    if not is_replaying() or str(timeframe) != settings.FEED_TIMEFRAME:
        return at
    position = _position(timeframe)
    if position is not None:
        return min(at, position.position_at)
    stored = BarSeries.objects.filter(
        timeframe=str(timeframe), adjustment=Adjustment.SPLIT, instrument__is_active=True
    )
    newest: datetime | None = stored.exclude(source=REPLAY).aggregate(at=Max("last_closed_at"))[
        "at"
    ]
    if newest is None:
        return at
    return min(at, newest - timedelta(days=settings.FEED_LIVE_DAYS))


def _position(timeframe: Timeframe | str) -> FeedPosition | None:
    return FeedPosition.objects.filter(name=f"{REPLAY}:{timeframe}").first()
