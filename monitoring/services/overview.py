"""What the first page says: is anything wrong, and what came out last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Q, Sum

from alphastrat.core import heartbeats
from alphastrat.core.models import Heartbeat, Job, JobStatus
from alphastrat.marketdata.models import BarSeries, QualityFinding
from strategies.models import BacktestRun

RECENT_RUNS = 8
PROCESSES = ("worker", "monitor", "feed")


@dataclass(frozen=True, slots=True)
class Market:
    """What is stored, how new it is, and what was found wrong with it."""

    n_instruments: int
    n_bars: int
    newest_at: datetime | None
    n_findings: int


@dataclass(frozen=True, slots=True)
class Process:
    """A long-running process and whether it has been heard of lately."""

    name: str
    status: str
    detail: str
    beat_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobCounts:
    """The user's jobs of the last day."""

    n_active: int
    n_failed: int


def market() -> Market:
    """Count what is stored, without the series that only repeat it."""
    series = BarSeries.objects.exclude(source="replay").filter(bar_count__gt=0)
    totals = series.aggregate(
        n_instruments=Count("instrument", distinct=True),
        n_bars=Sum("bar_count"),
        newest_at=Max("last_closed_at"),
    )
    findings = QualityFinding.objects.filter(resolved_at__isnull=True)
    findings = findings.exclude(series__source="replay")
    return Market(
        n_instruments=totals["n_instruments"],
        n_bars=totals["n_bars"] or 0,
        newest_at=totals["newest_at"],
        n_findings=findings.count(),
    )


def processes(*, at: datetime) -> list[Process]:
    """Return the processes an installation needs, each with its last sign of life."""
    newest = heartbeats.newest(at=at)
    return [_process(name, newest.get(name), at=at) for name in PROCESSES]


def _process(name: str, beat: Heartbeat | None, *, at: datetime) -> Process:
    if beat is None:
        return Process(name, "stopped", "No sign of life in the last hour", None)
    is_fresh = at - beat.beat_at <= heartbeats.FRESH_FOR
    said = beat.detail.get("state", "")
    return Process(name, "active" if is_fresh else "stale", str(said), beat.beat_at)


def job_counts(user: Any, *, at: datetime) -> JobCounts:
    """Count the user's running jobs and the day's failures."""
    recent = Q(finished_at__gt=at - timedelta(days=1), status=JobStatus.FAILED)
    counts = Job.objects.for_user(user).aggregate(
        n_active=Count("pk", filter=Q(status__in=["queued", "running"])),
        n_failed=Count("pk", filter=recent),
    )
    return JobCounts(**counts)


def recent_runs(user: Any) -> list[BacktestRun]:
    """Return the user's newest backtests, without their arrays."""
    return list(BacktestRun.objects.for_user(user).listed()[:RECENT_RUNS])


def newest_result(user: Any, runs: Sequence[BacktestRun]) -> BacktestRun | None:
    """Return the newest successful backtest, with its arrays."""
    newest = next((run.pk for run in runs if run.status == "succeeded"), None)
    found = BacktestRun.objects.for_user(user).succeeded()
    return found.filter(pk=newest).first() if newest else None
