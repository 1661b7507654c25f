"""What research does when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.live import authorize_topic
from alphastrat.core.models import Job, JobStatus

# Subscribed before what follows: signals wait for nothing that is done with the same bars.
from strategies import search_receivers, signal_receivers  # noqa: F401
from strategies.models import BacktestRun, Strategy
from strategies.services import backtesting, demo, indicator_cache


@receiver(events.job_finished, dispatch_uid="strategies.close_run")
def close_run(*, job_id: str, task: str, status: str, **_: Any) -> None:
    """Give a run whose job was cancelled or broke down the job's reason."""
    if task != backtesting.TASK or status == JobStatus.SUCCEEDED:
        return
    job = Job.objects.get(pk=job_id)
    run = BacktestRun.objects.filter(pk=job.arguments["run_id"], job=job).first()
    if run is not None:
        backtesting.fail_backtest(
            run, reason=job.error, code=job.error_code or job.status, at=now()
        )


@receiver(events.demo_seeded, dispatch_uid="strategies.seed_demo")
def seed_demo(*, user_id: Any, **_: Any) -> None:
    """Give the demo account a strategy and its first backtest."""
    demo.seed(get_user_model().objects.get(pk=user_id), at=now())


@receiver(events.bars_stored, dispatch_uid="strategies.extend_indicators")
@receiver(events.bars_restated, dispatch_uid="strategies.replace_indicators")
def refresh_indicators(*, series_ids: list[str], **_: Any) -> None:
    """Bring the cached indicators of these series up to their bars."""
    indicator_cache.refresh(series_ids)


@authorize_topic("strategy")
def may_watch_strategy(user: Any, strategy_id: str) -> bool:
    """Say whether a person may follow a strategy: whoever may see it."""
    try:
        return Strategy.objects.for_user(user).filter(pk=strategy_id).exists()
    except ValidationError:
        return False
