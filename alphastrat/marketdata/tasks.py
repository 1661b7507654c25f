"""Work for the workers: imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from alphastrat.marketdata.models import ImportRun
from alphastrat.marketdata.providers.files import count_rows
from alphastrat.marketdata.services import imports


@job_task
def import_file(progress: JobProgress, *, import_run_id: str) -> dict[str, Any]:
    """Import an uploaded file."""
    run = ImportRun.objects.get(pk=import_run_id)
    total = count_rows(Path(run.stored_path))
    progress.update(0, total, "Reading and checking rows")
    imports.import_file(run, at=now(), on_progress=lambda n_rows: progress.update(n_rows, total))
    return {"stored": run.rows_stored, "quarantined": run.rows_quarantined}
