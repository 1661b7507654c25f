"""How far the work and the data are behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, Q

from alphastrat.core.models import Job
from alphastrat.marketdata.models import BarSeries


@dataclass(frozen=True, slots=True)
class Queue:
    """Work waiting and under way, and how the last day went."""

    n_queued: int
    n_running: int
    n_failed: int
    n_succeeded: int
    oldest_wait: timedelta | None


@dataclass(frozen=True, slots=True)
class BarLag:
    """How old the newest bar of a timeframe and source is."""

    timeframe: str
    source: str
    n_series: int
    newest_at: datetime
    lag: timedelta


def queue(*, at: datetime) -> Queue:
    """Count everybody's jobs."""
    recent = Q(finished_at__gt=at - timedelta(days=1))
    counts = Job.objects.aggregate(
        n_queued=Count("pk", filter=Q(status="queued")),
        n_running=Count("pk", filter=Q(status="running")),
        n_failed=Count("pk", filter=Q(status="failed") & recent),
        n_succeeded=Count("pk", filter=Q(status="succeeded") & recent),
        oldest=Min("due_at", filter=Q(status="queued", due_at__lte=at)),
    )
    oldest = counts.pop("oldest")
    return Queue(**counts, oldest_wait=at - oldest if oldest else None)


def bar_lags(*, at: datetime) -> list[BarLag]:
    """Return the age of the newest bar of each timeframe and source."""
    rows = (
        BarSeries.objects.filter(bar_count__gt=0)
        .values("timeframe", "source")
        .annotate(n_series=Count("pk"), newest_at=Max("last_closed_at"))
        .order_by("timeframe", "source")
    )
    return [BarLag(**row, lag=at - row["newest_at"]) for row in rows]
