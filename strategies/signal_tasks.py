"""What the workers do about signals: checks of a strategy, and looking at signals again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from strategies.models import Strategy
from strategies.quant.checks import CheckName
from strategies.services import strategy_checks, strategy_engine


@job_task
def check_strategy(progress: JobProgress, *, version_id: str) -> dict[str, Any]:
    """Run the look-ahead, warm-up and determinism checks of a strategy's version."""
    total = len(CheckName)
    found = strategy_checks.run_checks(
        version_id, report=lambda done, step: progress.update(done, total, step), at=now()
    )
    return {"passed": all(one["passed"] for one in found), "checks": found}


@job_task
def recheck_signals(
    progress: JobProgress, *, strategy_ids: list[str], since: str, reason: str
) -> dict[str, Any]:
    """Compute stored signals again and record those that come out differently."""
    progress.update(0, 1, "Computing signals again")
    found = strategy_engine.recheck_signals(
        Strategy.objects.filter(pk__in=strategy_ids),
        since=datetime.fromisoformat(since),
        at=now(),
        reason=reason,
    )
    return {"strategies": found.n_strategies, "repaints": found.n_repaints}
