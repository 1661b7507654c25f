"""What research does when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.live import authorize_topic
from alphastrat.core.models import Job
from strategies.models import BacktestRun, Strategy
from strategies.services import backtesting


@receiver(events.job_finished, dispatch_uid="strategies.close_run")
def close_run(*, job_id: str, **_: Any) -> None:
    """Give a run whose job was cancelled or broke down the job's reason."""
    job = Job.objects.filter(pk=job_id, task=backtesting.TASK).first()
    if job is None or job.status == Job.Status.SUCCEEDED:
        return
    run = BacktestRun.objects.filter(pk=job.arguments["run_id"], job=job).first()
    if run is not None:
        backtesting.fail_backtest(
            run, reason=job.error, code=job.error_code or job.status, at=now()
        )


@authorize_topic("strategy")
def may_watch_strategy(user: Any, strategy_id: str) -> bool:
    """A person may watch the strategies they may see."""
    try:
        return Strategy.objects.for_user(user).filter(pk=strategy_id).exists()
    except ValueError:
        return False
