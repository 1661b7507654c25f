"""Work for the workers: imports and backfills."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from alphastrat.marketdata.models import ImportRun
from alphastrat.marketdata.providers.files import count_rows
from alphastrat.marketdata.services import backfill as backfills
from alphastrat.marketdata.services import imports
from alphastrat.marketdata.services.failover import Failover, configured_providers
from alphastrat.marketdata.services.retention import forget_intraday_bars


@job_task
def import_file(progress: JobProgress, *, import_run_id: str) -> dict[str, Any]:
    """Import an uploaded file."""
    run = ImportRun.objects.get(pk=import_run_id)
    total = count_rows(Path(run.stored_path))
    imports.import_file(
        run, at=now(), on_progress=lambda n_rows, step: progress.update(n_rows, total, step)
    )
    run.finished_at = now()
    run.save(update_fields=["finished_at"])
    return {"stored": run.rows_stored, "quarantined": run.rows_quarantined}


@job_task
def backfill(progress: JobProgress, *, plan: dict[str, Any]) -> dict[str, Any]:
    """Bring history from the network providers; after a crash, go on with the next symbol."""
    wanted = backfills.BackfillPlan.from_arguments(plan)
    result = backfills.BackfillResult(**progress.checkpoint)
    total = len(wanted.symbols)

    def on_symbol(result: backfills.BackfillResult, symbol: str) -> None:
        progress.save_checkpoint(result.as_json())
        progress.update(len(result.sources) + len(result.failures), total, f"{symbol} is done")

    progress.update(len(result.sources) + len(result.failures), total, "Asking the providers")
    failover = Failover(configured_providers())
    backfills.backfill(wanted, failover, at=now(), result=result, on_symbol=on_symbol)
    return result.as_json()


@job_task
def forget_old_bars(progress: JobProgress) -> dict[str, Any]:
    """Delete intraday bars older than INTRADAY_RETENTION_DAYS; 0 keeps them for ever."""
    days = settings.INTRADAY_RETENTION_DAYS
    if days <= 0:
        return {"deleted": 0}
    at = now()
    return {"deleted": forget_intraday_bars(before=at - timedelta(days=days), at=at)}
