"""Import of the 619,040-bar file end to end against a bare COPY of the same rows, in one run.

python -m benchmarks.import_bars [FILE]
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from benchmarks.scratch import scratch_database, seconds

FILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "sp500_daily.parquet"
REPEATS = 3
COLUMNS = "series_id, opened_at, closed_at, open, high, low, close, volume"


TABLES = {"bare": "without keys", "alike": "like ours"}
FORMS = ("text", "binary")


def bare_copies(source: str) -> dict[str, float]:
    """Copy the bars of a source, encoded beforehand, into a bare heap and a table like theirs."""
    from django.db import connection

    times = {}
    with connection.cursor() as cursor:
        for table, definition in (
            ("bare", f"AS SELECT {COLUMNS} FROM marketdata_bar LIMIT 0"),
            ("alike", "(LIKE marketdata_bar INCLUDING ALL)"),
        ):
            cursor.execute(f"DROP TABLE IF EXISTS {table}")
            cursor.execute(f"CREATE TABLE {table} {definition}")
        cursor.execute("ALTER TABLE alike ALTER ingested_at SET DEFAULT now()")
        for form in FORMS:
            with cursor.copy(
                f"COPY (SELECT {COLUMNS} FROM marketdata_bar b JOIN marketdata_barseries s"
                " ON s.id = b.series_id WHERE s.source = %s ORDER BY series_id, opened_at)"
                f" TO STDOUT (FORMAT {form})",
                [source],
            ) as copy:
                content = b"".join(bytes(part) for part in copy)
            for table in TABLES:
                cursor.execute(f"TRUNCATE {table}")
                began = time.perf_counter()
                with cursor.copy(f"COPY {table} ({COLUMNS}) FROM STDIN (FORMAT {form})") as copy:
                    copy.write(content)
                times[f"{form} COPY into a table {TABLES[table]}"] = time.perf_counter() - began
    return times


def forget_everything() -> None:
    """Empty the tables of market data, so that every import is a first one."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE marketdata_bar, marketdata_instrument CASCADE")


def main(path: Path) -> None:
    """Print rates, their ratios and the peak of memory."""
    from django.utils.timezone import now

    from alphastrat.marketdata.models import ImportRun, QualityFinding
    from alphastrat.marketdata.providers.files import FileFormat, read_file
    from alphastrat.marketdata.services.imports import look_over
    from alphastrat.marketdata.services.ingestion import Target, ingest
    from alphastrat.quant.types import Timeframe

    def deliver(source: str) -> ImportRun:
        run = ImportRun.objects.create(source=source, requested_at=now())
        form = FileFormat(Timeframe.DAY_1, ZoneInfo("America/New_York"))
        target = Target(Timeframe.DAY_1, source)
        return ingest(read_file(path, form), run=run, target=target, at=now())

    times: dict[str, list[float]] = {}
    source = "sp500"
    deliver(source)
    for _ in range(REPEATS):
        forget_everything()
        for label in ("import", "import again"):
            began = time.perf_counter()
            run = deliver(source)
            times.setdefault(label, []).append(time.perf_counter() - began)
            print(
                f"{label}: {times[label][-1]:.2f} s, {run.rows_stored:,} new, "
                f"{run.rows_unchanged:,} unchanged, {run.rows_quarantined} quarantined"
            )
        times.setdefault("arrays, gaps, splits", []).append(
            seconds(lambda run=run: look_over(run, at=now()))
        )
        for label, taken in bare_copies(source).items():
            times.setdefault(label, []).append(taken)
    imported = median(times["import"])
    for label, taken in times.items():
        rate, ratio = run.rows_read / median(taken), median(taken) / imported
        print(f"{label}: median {median(taken):.2f} s, {rate:,.0f} rows/s, import at {ratio:.2f}")
    jumps = QualityFinding.objects.filter(
        kind=QualityFinding.Kind.SUSPECTED_SPLIT, series__source=source
    )
    print(f"{jumps.count()} suspected splits:")
    for finding in jumps.select_related("series__instrument"):
        print(f"  {finding.series.instrument} {finding.start_at:%Y-%m-%d} {finding.detail}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MB")


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    if file.is_file():
        with scratch_database():
            main(file)
    else:
        print(f"not measured: there is no {file}; name the file to import")
