"""Stored bars fed as if live: into series of their own, so that stored history stays untouched."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction

from alphastrat.marketdata.frames import rebuild_blocks
from alphastrat.marketdata.models import Adjustment, BarSeries, FeedPosition
from alphastrat.marketdata.providers.replay import NAME, ReplayStep, StoredBars
from alphastrat.marketdata.services.feed import (
    IDLE_SECONDS,
    Progress,
    merged_rows,
    pace,
    store_bars,
)
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.quant.types import Timeframe

REFRESH = timedelta(seconds=30)
_MONTH = timedelta(days=28)


class ReplayFeed:
    """Feeds the last `live_days` of the stored bars, once, and then says that it has finished.

    What closed before the live period begins is copied first, as the history of each live series,
    so that indicators are warm at the first live bar.
    """

    name = NAME

    def __init__(
        self,
        timeframe: Timeframe,
        *,
        speed: float,
        live_days: int,
        adjustment: str = Adjustment.SPLIT,
    ) -> None:
        self._timeframe = timeframe
        self._speed = speed
        self._live_days = live_days
        self._target = Target(timeframe, NAME, adjustment=adjustment)
        self._bars: StoredBars | None = None
        self._refreshed_at: datetime | None = None

    @property
    def position_name(self) -> str:
        return f"{NAME}:{self._timeframe}"

    def close(self) -> None:
        """Nothing is held between turns."""

    def advance(self, *, at: datetime) -> Progress:
        """Store the bars of the next instant if it is due."""
        try:
            with transaction.atomic():
                return self._advance(at)
        except DatabaseError:
            # What was taken up in the transaction is undone: look again.
            self._bars = None
            raise

    def _advance(self, at: datetime) -> Progress:
        position = self._locked_position(at=at)
        if position is None:
            return Progress("nothing to replay", IDLE_SECONDS)
        if self._bars is None or self._is_stale(at):
            self._bars = self._refreshed(position, at=at)
        step = self._bars.next_after(position.position_at)
        if step is None:
            return self._finish(position, at=at)
        # A clock that was set back must not stop the feed for as long.
        stepped_at = min(position.stepped_at, at)
        due_at = stepped_at + self._gap(step, position)
        if at < due_at:
            return self._progress("replaying", position, wait=due_at - at, lag=timedelta(0))
        # A feed that was away goes on at its pace; it does not rush to make up.
        lag = at - due_at
        keeps_pace = lag < timedelta(seconds=IDLE_SECONDS)
        self._take(step, position, stepped_at=due_at if keeps_pace else at, at=at)
        return self._progress("replaying", position, wait=timedelta(0), lag=lag)

    def _gap(self, step: ReplayStep, position: FeedPosition) -> timedelta:
        return pace(
            step.closed_at,
            position.position_at,
            step=self._timeframe.duration or _MONTH,
            speed=self._speed,
        )

    def _take(
        self, step: ReplayStep, position: FeedPosition, *, stepped_at: datetime, at: datetime
    ) -> None:
        run = store_bars(step.rows, target=self._target, at=at)
        position.position_at, position.stepped_at = step.closed_at, stepped_at
        position.n_bars += run.rows_stored
        position.finished_at = None
        position.save()

    def _finish(self, position: FeedPosition, *, at: datetime) -> Progress:
        if position.finished_at is None:
            position.finished_at = at
            position.save(update_fields=["finished_at"])
        self._bars = None
        wait = timedelta(seconds=IDLE_SECONDS)
        return self._progress("replay finished", position, wait=wait, lag=timedelta(0))

    def _progress(
        self, state: str, position: FeedPosition, *, wait: timedelta, lag: timedelta
    ) -> Progress:
        detail = {
            "timeframe": self._timeframe.value,
            "position_at": position.position_at.isoformat(),
            "starts_at": position.starts_at.isoformat(),
            "n_bars": position.n_bars,
            # JSON has no infinity: None is as fast as can be.
            "speed": self._speed if math.isfinite(self._speed) else None,
            "lag_s": round(lag.total_seconds(), 3),
        }
        return Progress(state, wait.total_seconds(), detail=detail)

    def _is_stale(self, at: datetime) -> bool:
        return self._refreshed_at is None or at - self._refreshed_at > REFRESH

    def _locked_position(self, *, at: datetime) -> FeedPosition | None:
        known = FeedPosition.objects.select_for_update().filter(name=self.position_name).first()
        if known is not None:
            return known
        newest = max(
            (one.last_closed_at for one in self._candidates() if one.last_closed_at), default=None
        )
        if newest is None:
            return None
        starts_at = newest - timedelta(days=self._live_days)
        FeedPosition.objects.bulk_create(
            [
                FeedPosition(
                    name=self.position_name,
                    starts_at=starts_at,
                    position_at=starts_at,
                    stepped_at=at,
                )
            ],
            ignore_conflicts=True,
        )
        return FeedPosition.objects.select_for_update().get(name=self.position_name)

    def _candidates(self) -> list[BarSeries]:
        """Return stored series that could be replayed, the longest last."""
        found = BarSeries.objects.filter(
            timeframe=self._timeframe.value,
            adjustment=self._target.adjustment,
            instrument__is_active=True,
            bar_count__gt=0,
        ).exclude(source=NAME)
        return list(found.select_related("instrument").order_by("bar_count", "created_at", "pk"))

    def _refreshed(self, position: FeedPosition, *, at: datetime) -> StoredBars:
        """Take up instruments that came since; those already fed keep the source they have."""
        candidates = self._candidates()
        best = {one.instrument.symbol: one for one in candidates}
        fresh = {s: one for s, one in best.items() if s not in position.series}
        chosen = set(position.series.values()) | {str(one.pk) for one in fresh.values()}
        bars = StoredBars([one for one in candidates if str(one.pk) in chosen])
        self._refreshed_at = at
        if fresh:
            self._seed(list(fresh.values()), bars, until=position.position_at, at=at)
            position.series |= {symbol: str(one.pk) for symbol, one in fresh.items()}
            position.save(update_fields=["series"])
        return bars

    def _seed(
        self, series: list[BarSeries], bars: StoredBars, *, until: datetime, at: datetime
    ) -> None:
        history = bars.history([one.pk for one in series], until=until)
        if not history:
            return
        store_bars(merged_rows(iter(history)), target=self._target, at=at)
        ids = BarSeries.objects.filter(source=NAME, instrument__in=[s.instrument for s in series])
        rebuild_blocks(list(ids.values_list("pk", flat=True)))
