"""What the workers do for rebalances."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from portfolio.models import Account, Portfolio
from portfolio.services import rebalance_execution, rebalancing, trading_states


@job_task
def execute_rebalance(progress: JobProgress, *, rebalance_id: str) -> dict[str, Any]:
    """Do the trades of a rebalance; killed anywhere, it goes on where it was."""
    rebalance = rebalance_execution.execute(rebalance_id, at=now(), progress=progress)
    return {"rebalance": rebalance_id, "status": rebalance.status}


@job_task
def watch_portfolios(progress: JobProgress) -> dict[str, Any]:
    """Look at all drawdowns and triggers again: what an event may have missed."""
    at = now()
    accounts = list(Account.objects.open().values_list("pk", flat=True))
    watched = trading_states.watch_drawdowns(accounts, at=at)
    resumed = rebalance_execution.resume()
    proposed = 0
    for portfolio in Portfolio.objects.select_related("owner"):
        proposed += rebalancing.check_triggers(portfolio, at=at) is not None
    progress.update(1, 1, "Watched")
    return {"actions": len(watched.actions), "resumed": resumed, "proposed": proposed}
