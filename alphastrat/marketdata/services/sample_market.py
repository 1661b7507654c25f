"""The sample market: real prices that come with the product."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

from alphastrat.marketdata.models import ImportRun, ImportStatus, Instrument
from alphastrat.marketdata.services.imports import import_file, unfinished_run
from alphastrat.marketdata.services.ingestion import OnProgress
from alphastrat.quant.types import Timeframe

FOLDER = Path(__file__).resolve().parent.parent / "sample"
BARS_FILE = FOLDER / "sample_market.parquet"
INSTRUMENTS_FILE = FOLDER / "instruments.csv"
SOURCE = "sample"


def is_loaded() -> bool:
    """Whether the sample market is there, whole and looked over."""
    return ImportRun.objects.filter(
        source=SOURCE, status=ImportStatus.SUCCEEDED, report__has_key="gaps"
    ).exists()


def load_sample_market(
    *, at: datetime, on_progress: OnProgress = lambda _n_rows, _step: None
) -> ImportRun:
    """Load the sample market; what is there already stays as it is."""
    with INSTRUMENTS_FILE.open(encoding="utf-8", newline="") as file:
        rows = [Instrument(**row) for row in csv.DictReader(file)]
    Instrument.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["symbol"],
        update_fields=["name", "sector", "exchange"],
    )
    options = {"timeframe": Timeframe.DAY_1.value, "exchange": "XNYS"}
    run = unfinished_run(SOURCE, BARS_FILE, options=options, at=at)
    return import_file(run, at=at, on_progress=on_progress)
