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
from alphastrat.marketdata.frames import rebuild_blocks
from alphastrat.marketdata.models import Adjustment, AssetClass, BarSeries, ImportRun, ImportStatus
from alphastrat.marketdata.providers.files import FileFormat, read_file
from alphastrat.marketdata.services.gaps import find_gaps
from alphastrat.marketdata.services.ingestion import OnProgress, Target, ingest
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
        If the file is empty or larger than IMPORT_MAX_BYTES; nothing is kept then.
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


def import_file(
    run: ImportRun, *, at: datetime, on_progress: OnProgress | None = None
) -> ImportRun:
    """Import the file of `run`; a second time it adds nothing.

    An expected failure is written on the run, with its reason, and raised.
    """
    run.status, run.started_at = ImportStatus.RUNNING, at
    run.save(update_fields=["status", "started_at"])
    try:
        target = target_of(run.options, source=run.source)
        form = FileFormat(
            target.timeframe, zone_of(run.options, target.exchange), run.options.get("symbol", "")
        )
        path = Path(run.stored_path)
        ingest(read_file(path, form), run=run, target=target, at=at, on_progress=on_progress)
    except AlphaStratError as error:
        run.status, run.error, run.finished_at = ImportStatus.FAILED, str(error), at
        run.report = {**run.report, "fields": error.fields}
        run.save(update_fields=["status", "error", "finished_at", "report"])
        raise
    finish_series(run, at=at)
    return run


def finish_series(run: ImportRun, *, at: datetime) -> None:
    """Derive what readers want from the series that the run has touched."""
    touched = BarSeries.objects.filter(
        source=run.source, timeframe=run.options["timeframe"], updated_at__gte=at
    )
    ids = list(touched.values_list("pk", flat=True))
    rebuild_blocks(ids)
    find_gaps(ids, at=at)


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
