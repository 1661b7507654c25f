"""Verification follows what happens: expectations on validation, shadows at every mark."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.dispatch import receiver
from django.urls import reverse
from django.utils.timezone import now

from alphastrat.core import events, schedules
from alphastrat.core.jobs import enqueue
from alphastrat.core.live import authorize_topic
from alphastrat.core.models import Job
from monitoring.models import Expectation, Shadow
from strategies.models import LifecycleState, Strategy

FREEZE_TASK = "monitoring.verification_tasks.freeze_expectation"
SHADOWS = "follow-shadows"
VERIFY_TASK = "monitoring.verification_tasks.verify_strategy"
# Shadows follow no more often than this; the recurring run picks up what came last.
INTERVAL = timedelta(seconds=15)
PROMISING = (LifecycleState.VALIDATED, LifecycleState.PAPER, LifecycleState.LIVE)


@receiver(events.strategy_changed, dispatch_uid="monitoring.freeze_expectation")
def freeze_when_validated(*, strategy_id: str, **_: Any) -> None:
    """Ask a worker to freeze the expectation of a version that has been validated."""
    strategy = Strategy.objects.filter(pk=strategy_id, state__in=PROMISING).first()
    if strategy is None or strategy.current_version_id is None:
        return
    current = Expectation.objects.filter(strategy=strategy, is_current=True)
    if current.filter(version=strategy.current_version_id).exists():
        return
    enqueue(
        FREEZE_TASK,
        key=f"freeze:{strategy.current_version_id}",
        title=f"Freeze what {strategy.name} promises",
        owner=strategy.owner,
        result_url=strategy.get_absolute_url(),
        strategy_id=str(strategy.pk),
    )


@receiver(events.equity_marked, dispatch_uid="monitoring.refresh_shadows")
def follow_with_shadows(**_: Any) -> None:
    """Ask a worker to run the shadows up to the new mark."""
    refresh_soon()


@receiver(events.bars_restated, dispatch_uid="monitoring.restated_shadows")
def follow_restated_bars(**_: Any) -> None:
    """Run every shadow again: what its bars were then is kept in its first-seen fills."""
    Shadow.objects.update(revision=0)
    refresh_soon()


def refresh_soon() -> None:
    """Queue one run over all stale shadows; those asked for at short intervals are one."""
    recent = Job.objects.filter(
        key=f"{schedules.KEY_PREFIX}{SHADOWS}", created_at__gte=now() - INTERVAL
    )
    if not recent.exists():
        schedules.start(SHADOWS)


def verify_now(strategy: Strategy) -> Any:
    """Ask a worker to judge one strategy; returns the job."""
    return enqueue(
        VERIFY_TASK,
        key=f"verify:{strategy.pk}",
        title=f"Verify {strategy.name}",
        owner=strategy.owner,
        result_url=reverse("monitoring:verification-detail", args=[strategy.pk]),
        strategy_id=str(strategy.pk),
    )


@authorize_topic("verification")
def may_watch_verdicts(user: Any, owner: str) -> bool:
    """Say whether a person may follow these verdicts: everyone their own."""
    return owner == f"u{user.pk}"
