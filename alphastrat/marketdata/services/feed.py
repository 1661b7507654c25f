"""The feed: bars as they close, stored through the one ingestion path.

The position of a replay moves in the transaction that stores the bars, so a feed that is killed
at any line goes on with the same bar, and two of them take turns instead of doubling it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import pandas as pd
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.errors import InvalidInput, ProviderError
from alphastrat.core.heartbeats import beat
from alphastrat.marketdata.models import ImportRun, ImportStatus
from alphastrat.marketdata.services.ingestion import Target, ingest

logger = logging.getLogger(__name__)

PROCESS = "feed"
BEAT_SECONDS = 3.0
RECOVER_SECONDS = 1.0
SWEEP_SECONDS = 3.0
IDLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What the last turn of a feed came to, and when the next one is due."""

    state: str
    wait_seconds: float
    is_failure: bool = False
    detail: dict[str, Any] = field(default_factory=dict)


class FeedSource(Protocol):
    """Where a feed's bars come from."""

    name: str

    def advance(self, *, at: datetime) -> Progress:
        """Store what is due by `at`, if anything, and say when to ask again."""
        ...

    def close(self) -> None:
        """Give back threads and connections."""
        ...


def run_feed(
    source: FeedSource,
    *,
    stop: threading.Event,
    clock: Callable[[], datetime] = now,
    say: Callable[[Progress], None] | None = None,
) -> None:
    """Advance `source` until stopped; a database that is away is waited for."""
    said, swept = "", -math.inf
    try:
        while not stop.is_set():
            progress = _turn(source, at=clock())
            # After the turn: before a replay's first one the stored bars lie in the future.
            if time.monotonic() - swept >= SWEEP_SECONDS:
                _sweep(is_first=math.isinf(swept))
                swept = time.monotonic()
            if say is not None and progress.state != said:
                said = progress.state
                say(progress)
            _rest(source, progress, stop)
    finally:
        source.close()
        _beat(source, Progress("stopped", 0.0))


def _rest(source: FeedSource, progress: Progress, stop: threading.Event) -> None:
    """Wait for the next turn, for the whole time after a failure, with signs of life."""
    remaining = progress.wait_seconds
    while not stop.wait(min(remaining, BEAT_SECONDS)):
        remaining -= BEAT_SECONDS
        if not progress.is_failure or remaining <= 0:
            return
        _beat(source, progress)


def store_bars(rows: pd.DataFrame, *, target: Target, at: datetime) -> ImportRun:
    """Store bars in the surrounding transaction.

    The import run is kept only if it has something to tell: a quarantined or restated row.
    """
    run = ImportRun.objects.create(
        source=target.source,
        status=ImportStatus.RUNNING,
        options={"timeframe": target.timeframe.value, "feed": True},
        requested_at=at,
        started_at=at,
    )
    try:
        ingest([rows], run=run, target=target, at=at)
    except InvalidInput as error:
        run.status, run.error, run.finished_at = ImportStatus.FAILED, str(error), at
        run.save(update_fields=["status", "error", "finished_at"])
        logger.warning("bars refused", extra={"import": str(run.pk)})
        return run
    if not run.rows_quarantined and not run.rows_restated:
        ImportRun.objects.filter(pk=run.pk).delete()
    return run


def pace(closed_at: datetime, before: datetime, *, step: timedelta, speed: float) -> timedelta:
    """Return how long after the bar of `before` the one of `closed_at` is due.

    The time between them is divided by `speed`, but is never more than the length of one bar:
    nobody waits for a closed market.
    """
    return timedelta(0) if math.isinf(speed) else min(closed_at - before, step) / speed


def _sweep(*, is_first: bool) -> None:
    """Let the apps above look for what no event told them of."""
    try:
        events.send_now(events.feed_turned, is_first=is_first)
    finally:
        # A receiver that met a lost database leaves a connection that cannot be used.
        if connection.errors_occurred:
            connection.close()


def _turn(source: FeedSource, *, at: datetime) -> Progress:
    try:
        progress = source.advance(at=at)
    except (OperationalError, InterfaceError) as error:
        logger.warning("database lost", extra={"reason": str(error)[:200]})
        connection.close()
        return Progress("waiting for the database", RECOVER_SECONDS)
    except ProviderError as error:
        logger.warning("provider failed", extra={"reason": str(error)[:200]})
        pause = IDLE_SECONDS * (12 if error.permanent else 1)
        progress = Progress(f"provider failed: {error}", pause, is_failure=True)
    _beat(source, progress)
    return progress


def _beat(source: FeedSource, progress: Progress) -> None:
    try:
        beat(PROCESS, {"provider": source.name, "state": progress.state, **progress.detail})
    except (OperationalError, InterfaceError):
        connection.close()


def merged_rows(batches: Iterator[pd.DataFrame]) -> pd.DataFrame:
    """Return several deliveries as one, its rows numbered through."""
    rows = pd.concat(list(batches), ignore_index=True)
    return rows.assign(row_number=range(1, len(rows) + 1))


@transaction.atomic
def store_delivery(rows: pd.DataFrame, *, target: Target, at: datetime) -> ImportRun:
    """Store bars in a transaction of their own."""
    return store_bars(rows, target=target, at=at)
