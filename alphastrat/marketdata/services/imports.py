"""Deliveries from people: keep the upload, ask for the job, run it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from alphastrat.core import jobs
from alphastrat.core.errors import AlphaStratError, InvalidInput
from alphastrat.marketdata.models import Adjustment, AssetClass, ImportRun, ImportStatus
from alphastrat.marketdata.providers.files import FileFormat, check_file, read_file
from alphastrat.marketdata.services.ingestion import OnProgress, Target, ingest
from alphastrat.marketdata.services.inspection import inspect_series
from alphastrat.quant.calendars import calendar
from alphastrat.quant.types import Timeframe


def request_import(
    content: Iterable[bytes],
    *,
    owner: Any,
    file_name: str,
    target: Target,
    symbol: str,
    zone: str,
    at: datetime,
) -> ImportRun:
    """Keep an uploaded file and ask a worker to import it.

    Raises
    ------
    InvalidInput
        If the file is empty, larger than IMPORT_MAX_BYTES, or no file of bars; nothing is kept
        then.
    """
    run = ImportRun(
        owner=owner,
        source=target.source,
        file_name=Path(file_name).name[:255],
        requested_at=at,
        options={
            "timeframe": target.timeframe.value,
            "adjustment": target.adjustment,
            "exchange": target.exchange,
            "asset_class": target.asset_class,
            "currency": target.currency,
            "symbol": symbol,
            "zone": zone,
        },
    )
    path = settings.UPLOAD_DIR / f"{run.pk}{Path(file_name).suffix.lower()[:10]}"
    run.stored_path, run.sha256 = str(path), _keep(content, path)
    try:
        check_file(path, symbol=symbol)
    except InvalidInput:
        path.unlink()
        raise
    with transaction.atomic():
        run.save()
        run.job = jobs.enqueue(
            "alphastrat.marketdata.tasks.import_file",
            key=f"import:{run.pk}",
            title=f"Import {run.file_name}",
            owner=owner,
            result_url=run.get_absolute_url(),
            import_run_id=str(run.pk),
        )
        run.save(update_fields=["job"])
    return run


def unfinished_run(source: str, path: Path, *, options: dict[str, Any], at: datetime) -> ImportRun:
    """Return the run for a file on this machine: the one that was broken off, or a new one."""
    left = ImportRun.objects.filter(
        job=None,
        source=source,
        stored_path=str(path),
        options=options,
        status=ImportStatus.RUNNING,
    ).first()
    return left or ImportRun.objects.create(
        source=source,
        file_name=path.name[:255],
        stored_path=str(path),
        options=options,
        requested_at=at,
    )


def import_file(
    run: ImportRun, *, at: datetime, on_progress: OnProgress = lambda _n_rows, _step: None
) -> ImportRun:
    """Import the file of `run`; a second time it adds nothing.

    An expected failure is written on the run, with its reason, and raised.
    """
    # A worker that was killed after the merge has only the looking over left to do.
    if run.status != ImportStatus.SUCCEEDED:
        run.start(at=at)
        try:
            _ingest_file(run, at=at, on_progress=on_progress)
        except AlphaStratError as error:
            run.fail(error, fields=error.fields, at=at)
            raise
    on_progress(run.rows_read, "Looking for gaps and splits")
    look_over(run, at=at)
    return run


def look_over(run: ImportRun, *, at: datetime) -> None:
    """Look over the series that a delivery brought bars of, and note on `run` what was found."""
    inspection = inspect_series(list(run.series.values_list("pk", flat=True)), at=at)
    run.report = {
        **run.report,
        "gaps": inspection.n_gaps,
        "suspected_splits": inspection.n_suspected_splits,
    }
    run.save(update_fields=["report"])


def _ingest_file(run: ImportRun, *, at: datetime, on_progress: OnProgress) -> None:
    target = target_of(run.options, source=run.source)
    zone = zone_of(run.options, target.exchange)
    form = FileFormat(target.timeframe, zone, run.options.get("symbol", ""))
    path = Path(run.stored_path)
    if not path.is_file():
        raise InvalidInput(
            "The uploaded file is no longer there.", fields={"file": "Upload it again."}
        )
    ingest(read_file(path, form), run=run, target=target, at=at, on_progress=on_progress)


def target_of(options: dict[str, Any], *, source: str) -> Target:
    """Return what the options of an import say of its series."""
    return Target(
        timeframe=Timeframe(options["timeframe"]),
        source=source,
        adjustment=options.get("adjustment", Adjustment.SPLIT),
        exchange=options.get("exchange", "XNYS"),
        asset_class=options.get("asset_class", AssetClass.EQUITY),
        currency=options.get("currency", "USD"),
    )


def zone_of(options: dict[str, Any], exchange: str) -> ZoneInfo:
    """Return the zone that naive times are meant in: the one named, or the exchange's."""
    return ZoneInfo(options.get("zone") or str(calendar(exchange).tz))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(content: Iterable[bytes], path: Path) -> str:
    """Write the upload beside its name, then under it; return its digest."""
    digest, size = hashlib.sha256(), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    try:
        with draft.open("wb") as file:
            for chunk in content:
                size += len(chunk)
                if size > settings.IMPORT_MAX_BYTES:
                    raise InvalidInput(
                        f"The file is larger than {settings.IMPORT_MAX_BYTES // 2**20} MB.",
                        fields={"file": "Split it, or save it as Parquet."},
                    )
                digest.update(chunk)
                file.write(chunk)
        if not size:
            raise InvalidInput("The file is empty.", fields={"file": "Choose a file with bars."})
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return digest.hexdigest()
