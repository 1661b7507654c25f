"""The sample market: real prices that come with the product."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from alphastrat.marketdata.frames import rebuild_blocks
from alphastrat.marketdata.models import BarSeries, ImportRun, ImportStatus, Instrument
from alphastrat.marketdata.providers.files import FileFormat, read_file
from alphastrat.marketdata.services.ingestion import OnProgress, Target, ingest
from alphastrat.quant.types import Timeframe

FOLDER = Path(__file__).resolve().parent.parent / "sample"
BARS_FILE = FOLDER / "sample_market.parquet"
INSTRUMENTS_FILE = FOLDER / "instruments.csv"
SOURCE = "sample"


def is_loaded() -> bool:
    """Whether the sample market is there, whole."""
    return ImportRun.objects.filter(source=SOURCE, status=ImportStatus.SUCCEEDED).exists()


def load_sample_market(*, at: datetime, on_progress: OnProgress | None = None) -> ImportRun:
    """Load the sample market; what is there already stays as it is."""
    with INSTRUMENTS_FILE.open(encoding="utf-8", newline="") as file:
        rows = [Instrument(**row) for row in csv.DictReader(file)]
    Instrument.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["symbol"],
        update_fields=["name", "sector", "exchange"],
    )
    run = ImportRun.objects.create(
        source=SOURCE,
        file_name=BARS_FILE.name,
        status=ImportStatus.RUNNING,
        requested_at=at,
        started_at=at,
    )
    form = FileFormat(Timeframe.DAY_1, ZoneInfo("America/New_York"))
    target = Target(Timeframe.DAY_1, SOURCE)
    ingest(read_file(BARS_FILE, form), run=run, target=target, at=at, on_progress=on_progress)
    rebuild_blocks(BarSeries.objects.filter(source=SOURCE).values_list("pk", flat=True))
    return run
