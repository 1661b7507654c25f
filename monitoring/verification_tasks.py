"""What the workers do for verification: freezing expectations, shadows, verdicts on demand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from monitoring.services import expectations, lifecycle_gates, shadow
from portfolio.models import Account
from strategies.models import Strategy


@job_task
def freeze_expectation(progress: JobProgress, *, strategy_id: str) -> dict[str, Any]:
    """Freeze what a strategy's current version promises."""
    progress.update(0, 1, "Resampling the reference")
    strategy = Strategy.objects.with_version().get(pk=strategy_id)
    made = expectations.freeze(strategy, at=now())
    return {"expectation": str(made.pk), "n_bars": made.n_bars, "n_trades": made.n_trades}


@job_task
def refresh_shadows(progress: JobProgress) -> dict[str, Any]:
    """Bring every shadow up to the newest mark, and judge the strategies that moved."""
    progress.update(0, 2, "Running the shadows")
    followed = shadow.refresh(None, at=now())
    progress.update(1, 2, "Judging")
    accounts = Account.objects.filter(pk__in=followed)
    chosen = list(accounts.values_list("strategy_id", flat=True))
    changed = lifecycle_gates.judge(chosen, at=now()).transitions if chosen else ()
    return {"shadows": len(followed), "changed": len(changed)}


@job_task
def verify_strategy(progress: JobProgress, *, strategy_id: str) -> dict[str, Any]:
    """Compute the shadow of one strategy again and judge it."""
    progress.update(0, 2, "Running the shadow")
    accounts = Account.objects.open().filter(strategy_id=strategy_id)
    shadow.refresh(list(accounts.values_list("pk", flat=True)), at=now())
    progress.update(1, 2, "Judging")
    found = lifecycle_gates.judge([UUID(strategy_id)], at=now())
    (verdict,) = found.verifications
    return {"status": verdict.status, "reason": verdict.reason, "e_value": verdict.e_value}
