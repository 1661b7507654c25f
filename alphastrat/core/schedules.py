"""Every recurring job, as data. `manage.py sync_schedules` brings the scheduler up to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django_q.models import Schedule

from alphastrat.core.jobs import enqueue
from alphastrat.core.models import Job

KEY_PREFIX = "schedule:"
START = "alphastrat.core.schedules.start"
KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Recurring:
    """A task without arguments, and how often it is asked for."""

    name: str
    task: str
    title: str
    every: timedelta


RECURRING = (
    Recurring(
        "compare-books",
        "portfolio.trading_tasks.compare_books",
        "Compare accounts with their brokers",
        timedelta(minutes=5),
    ),
    Recurring(
        "forget-old-bars",
        "alphastrat.marketdata.tasks.forget_old_bars",
        "Forget old intraday bars",
        timedelta(days=1),
    ),
    Recurring(
        "forget-old-deliveries",
        "monitoring.delivery_tasks.forget_old_deliveries",
        "Forget old deliveries",
        timedelta(days=1),
    ),
    Recurring(
        "follow-shadows",
        "monitoring.verification_tasks.refresh_shadows",
        "Follow live strategies with their shadows",
        timedelta(minutes=5),
    ),
    Recurring(
        "watch-portfolios",
        "portfolio.rebalancing_tasks.watch_portfolios",
        "Look at drawdowns and rebalancing triggers",
        timedelta(minutes=5),
    ),
)


@transaction.atomic
def sync(recurring: tuple[Recurring, ...] = RECURRING, *, at: datetime) -> tuple[int, int]:
    """Make the scheduler's rows these and no others; return how many changed and went.

    One that stays as it is keeps its next time, so that a restart does not put it off.
    """
    ours = Schedule.objects.filter(func=START)
    n_gone, _ = ours.exclude(name__in=[one.name for one in recurring]).delete()
    known = {row.name: row for row in ours.select_for_update()}
    n_changed = 0
    for one in recurring:
        minutes = int(one.every.total_seconds() // 60)
        row = known.get(one.name)
        if row is not None and row.minutes == minutes:
            continue
        n_changed += 1
        Schedule.objects.update_or_create(
            func=START,
            name=one.name,
            defaults={
                "args": repr((one.name,)),
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "next_run": at + one.every,
            },
        )
    return n_changed, n_gone


def start(name: str) -> None:
    """Ask for the recurring job `name`; while it is active, nothing is added."""
    found = {one.name: one for one in RECURRING}[name]
    enqueue(found.task, key=f"{KEY_PREFIX}{name}", title=found.title)


def forget(*, before: datetime) -> int:
    """Delete the rows of recurring jobs that succeeded long ago; failures stay to be seen."""
    old = Job.objects.filter(
        key__startswith=KEY_PREFIX, status=Job.Status.SUCCEEDED, finished_at__lt=before
    )
    return old.delete()[0]
