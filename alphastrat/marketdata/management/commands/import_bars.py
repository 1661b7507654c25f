"""Import bars from a CSV or Parquet file."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from alphastrat.core.errors import AlphaStratError
from alphastrat.core.jsonable import jsonable
from alphastrat.core.terminal import TerminalProgress
from alphastrat.marketdata.models import Adjustment, AssetClass, ImportRun
from alphastrat.marketdata.providers.files import count_rows
from alphastrat.marketdata.quality import REASONS
from alphastrat.marketdata.services.imports import digest_of, import_file, unfinished_run
from alphastrat.quant.calendars import calendar
from alphastrat.quant.types import Timeframe

OPTIONS = ("timeframe", "adjustment", "exchange", "asset_class", "currency", "symbol", "zone")


class Command(BaseCommand):
    help = "Import bars from a CSV or Parquet file; the same file twice adds nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--timeframe", choices=[t.value for t in Timeframe], default="1d")
        parser.add_argument("--source", default="file", help="name of where the bars come from")
        parser.add_argument("--adjustment", choices=Adjustment.values, default=Adjustment.SPLIT)
        parser.add_argument("--symbol", default="", help="for a file without a symbol column")
        parser.add_argument(
            "--exchange", default="XNYS", help="calendar of symbols not known yet, default XNYS"
        )
        parser.add_argument("--asset-class", choices=AssetClass.values, default=AssetClass.EQUITY)
        parser.add_argument("--currency", default="USD")
        parser.add_argument(
            "--zone", default="", help="where naive times are meant; by default the exchange's zone"
        )
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"].resolve()
        self._check(path, options)
        run = unfinished_run(
            options["source"],
            path,
            options={name: options[name] for name in OPTIONS}
            | {"symbol": options["symbol"].upper()},
            at=now(),
        )
        run.sha256 = digest_of(path)
        progress = TerminalProgress(self.stderr, total=count_rows(path), unit="rows")
        try:
            import_file(run, at=now(), on_progress=progress.update)
        except AlphaStratError as error:
            progress.close()
            self._refuse(run, error, as_json=options["json"])
        progress.close()
        run.finished_at = now()
        run.save(update_fields=["finished_at", "sha256"])
        self._answer(run, as_json=options["json"])

    def _check(self, path: Path, options: dict[str, Any]) -> None:
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        try:
            calendar(options["exchange"])
            ZoneInfo(options["zone"] or "UTC")
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise CommandError(str(error)) from None

    def _answer(self, run: ImportRun, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(jsonable(summary(run)), indent=2))
            return
        self.stdout.write(
            f"{run.rows_read:,} rows read: {run.rows_stored:,} bars new, "
            f"{run.rows_unchanged:,} unchanged, {run.rows_restated:,} restated, "
            f"{run.rows_quarantined:,} rows quarantined."
        )
        for reason, n_rows in run.report["reasons"].items():
            self.stdout.write(f"  {n_rows:,} {reason}: {REASONS[reason]}")
        self.stdout.write(
            f"{run.report['suspected_splits']:,} suspected splits and {run.report['gaps']:,} gaps "
            "in these series."
        )

    def _refuse(self, run: ImportRun, error: AlphaStratError, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(jsonable(summary(run)), indent=2))
        raise CommandError(" ".join([str(error), *error.fields.values()])) from None


def summary(run: ImportRun) -> dict[str, Any]:
    """Return what became of an import, for programs."""
    return {
        "import": run.pk,
        "file": run.file_name,
        "sha256": run.sha256,
        "status": run.status,
        "read": run.rows_read,
        "stored": run.rows_stored,
        "unchanged": run.rows_unchanged,
        "restated": run.rows_restated,
        "quarantined": run.rows_quarantined,
        "error": run.error,
        **run.report,
    }
