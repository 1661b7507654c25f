"""Signals when a bar is stored, and a second look when bars are restated."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.jobs import enqueue
from alphastrat.core.live import authorize_topic
from strategies.services import standing, strategy_engine
from strategies.services.trials import configuration_key

RECHECK_TASK = "strategies.signal_tasks.recheck_signals"


@receiver(events.bars_stored, dispatch_uid="strategies.signals_at_bar_close")
def give_signals(*, series_ids: list[str], **_: Any) -> None:
    """Give the signals of every active strategy that looks at the stored bars.

    In the process that stored them: the way from a bar to its signal goes through no queue.
    """
    strategy_engine.generate_at_close(series_ids, at=now())


@receiver(events.bars_restated, dispatch_uid="strategies.look_again")
def look_again(*, series_ids: list[str], start: Any, **_: Any) -> None:
    """Ask a worker to compute the signals since the first restated bar again."""
    look = standing.at_close(series_ids, known_at=now())
    ids = sorted(one.strategy for one in look.strategies)
    if not ids:
        return
    since = start.isoformat() if isinstance(start, datetime) else str(start)
    enqueue(
        RECHECK_TASK,
        key=f"recheck:{configuration_key(ids=ids, since=since)}",
        title="Look at signals again after a restatement",
        strategy_ids=ids,
        since=since,
        reason="Bars were restated",
    )


@authorize_topic("signals")
def may_watch_signals(user: Any, owner: str) -> bool:
    """Say whether a person may follow these signals: everyone their own."""
    return owner == f"u{user.pk}"
