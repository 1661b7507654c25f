"""Bars from CSV and Parquet files, streamed, whatever the columns are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.providers.file_times import read_times
from alphastrat.quant.types import Timeframe

BATCH_ROWS = 200_000
PARQUET_MARK = b"PAR1"

SPELLINGS: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "sym", "instrument", "asset", "secid", "name", "act_symbol"),
    "time": (
        "date",
        "datetime",
        "timestamp",
        "time",
        "opened_at",
        "open_time",
        "date_time",
        "t",
        "ts",
        "window_start",
        "session_date",
        "day",
    ),
    "open": ("open", "o", "open_price", "px_open"),
    "high": ("high", "h", "high_price", "px_high", "max"),
    "low": ("low", "l", "low_price", "px_low", "min"),
    "close": ("close", "c", "close_price", "last", "px_last", "close_last"),
    "volume": ("volume", "v", "vol", "vol.", "px_volume", "turnover_shares", "tick_volume"),
}
REQUIRED = ("time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What a file does not say of itself.

    `symbol` is for files of one instrument without a symbol column; `zone` is where naive times
    are meant.
    """

    timeframe: Timeframe
    zone: ZoneInfo
    symbol: str = ""


def count_rows(path: Path) -> int | None:
    """Return how many rows a file has, or about; None where that is not known cheaply."""
    try:
        if _is_parquet(path):
            return _parquet_rows(path)
        with path.open("rb") as file:
            sample = file.read(2**16)
    except OSError:
        return None
    lines = sample.count(b"\n")
    return int(path.stat().st_size / len(sample) * lines) if lines else None


def _parquet_rows(path: Path) -> int | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowInvalid:
        return None


def read_file(path: Path, form: FileFormat) -> Iterator[pd.DataFrame]:
    """Read a file in batches of rows as `ingest` takes them.

    Raises
    ------
    InvalidInput
        If it is neither CSV nor Parquet, or lacks a column; the message says which were found.
    """
    batches = _parquet_batches(path) if _is_parquet(path) else _csv_batches(path)
    first_row = 1
    for raw in batches:
        yield _normalise(raw, form, first_row)
        first_row += len(raw)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == PARQUET_MARK


def _parquet_batches(path: Path) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _columns(file.schema_arrow.names, symbol_known=True)
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield batch.to_pandas(date_as_object=False)
    except pa.ArrowInvalid as error:
        raise _unreadable("Parquet", str(error)) from None


def _csv_batches(path: Path) -> Iterator[pd.DataFrame]:
    with path.open("rb") as file:
        head = file.read(2**14)
    if not head.strip():
        raise InvalidInput("The file is empty.", fields={"file": "Choose a file with bars."})
    if b"\x00" in head:
        raise InvalidInput(
            "The file is neither CSV nor Parquet.",
            fields={"file": "Save it as CSV or Parquet; spreadsheets cannot be read."},
        )
    try:
        reader = pd.read_csv(
            path,
            sep=_delimiter(head),
            chunksize=BATCH_ROWS,
            skipinitialspace=True,
            dtype_backend="numpy_nullable",
            encoding="utf-8-sig",
            low_memory=False,
        )
        with reader:
            yield from reader
    except UnicodeDecodeError:
        raise _unreadable("CSV", "it is not in UTF-8") from None
    except pd.errors.ParserError as error:
        raise _unreadable("CSV", str(error).split("C error: ")[-1]) from None
    except pd.errors.EmptyDataError:
        raise _unreadable("CSV", "it has no columns") from None


def _delimiter(head: bytes) -> str:
    """Return the delimiter that the heading line has most of."""
    heading = head.splitlines()[0]
    return max(",;\t|", key=lambda mark: heading.count(mark.encode()))


def _unreadable(kind: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"The file could not be read as {kind}: {reason}.",
        fields={"file": f"Check the file in another program and save it again as {kind}."},
    )


def _normalise(raw: pd.DataFrame, form: FileFormat, first_row: int) -> pd.DataFrame:
    columns = _columns(list(raw.columns), symbol_known=bool(form.symbol))
    rows = pd.DataFrame({"row_number": np.arange(first_row, first_row + len(raw))})
    if "symbol" in columns:
        symbols = raw[columns["symbol"]].astype("string").str.strip().str.upper()
        rows["symbol"] = symbols.astype(object).where(symbols.notna(), None).to_numpy()
    else:
        rows["symbol"] = form.symbol
    times = raw[columns["time"]].reset_index(drop=True)
    if columns["time"].strip().lower() == "date" and form.timeframe.is_intraday:
        times = _with_clock(raw, times)
    rows["time"] = read_times(times, form.timeframe, form.zone)
    for name in ("open", "high", "low", "close", "volume"):
        values = pd.to_numeric(raw[columns[name]], errors="coerce")
        rows[name] = values.to_numpy(np.float64, na_value=np.nan)
    return rows


def _with_clock(raw: pd.DataFrame, dates: pd.Series) -> pd.Series:
    """Join a date column with the clock column beside it, where there is one."""
    clock = next((name for name in raw.columns if str(name).strip().lower() == "time"), None)
    if clock is None:
        return dates
    return dates.astype("string") + " " + raw[clock].astype("string").reset_index(drop=True)


def _columns(names: Sequence[object], *, symbol_known: bool) -> dict[str, str]:
    """Return the file's own name of each column we need."""
    spelled = {_plain(str(name)): str(name) for name in names}
    found = {
        ours: next((spelled[theirs] for theirs in options if theirs in spelled), "")
        for ours, options in SPELLINGS.items()
    }
    missing = [name for name in REQUIRED if not found[name]]
    if missing:
        wanted = ", ".join(missing)
        example = ", ".join(SPELLINGS[missing[0]][:4])
        raise InvalidInput(
            f"The file has no column for {wanted}. It has: {', '.join(map(str, names))}.",
            fields={"file": f"Name the {missing[0]} column one of: {example}."},
        )
    if not found["symbol"] and not symbol_known:
        raise InvalidInput(
            "The file names no instrument: it has no symbol column.",
            fields={"symbol": "Give the symbol the file is about, or add a symbol column."},
        )
    return {ours: theirs for ours, theirs in found.items() if theirs}


def _plain(name: str) -> str:
    return name.strip().strip("<>").lower().replace(" ", "_").replace("/", "_")
