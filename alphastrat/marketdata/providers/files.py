"""Bars from CSV and Parquet files, streamed, whatever the columns are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.providers.csv_dialect import dialect_of
from alphastrat.marketdata.providers.file_columns import NUMBERS, find_columns
from alphastrat.marketdata.providers.file_times import find_date_order, read_times
from alphastrat.quant.types import Timeframe

BATCH_ROWS = 200_000
PARQUET_MARK = b"PAR1"

# What stands for no value in a column of numbers.
ABSENT = ("", "-", "N/A", "n/a", "NA", "NaN", "nan", "null", "NULL", "None")
UNREAD = "unread"
_TOO_WIDE = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")


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


def check_file(path: Path, *, symbol: str) -> None:
    """Look whether a file can be read at all: its kind, and the names of its columns.

    Raises
    ------
    InvalidInput
        If it cannot; the message says what it has and lacks.
    """
    find_columns(_source(path).names(), symbol_known=bool(symbol))


def _source(path: Path) -> _Source:
    return _ParquetFile(path) if _is_parquet(path) else _CsvFile(path)


def read_file(path: Path, form: FileFormat) -> Iterator[pd.DataFrame]:
    """Read a file in batches of rows as `ingest` takes them.

    Raises
    ------
    InvalidInput
        If it is neither CSV nor Parquet, or lacks a column; the message says which were found.
    """
    source = _source(path)
    columns = find_columns(source.names(), symbol_known=bool(form.symbol))
    day_first = find_date_order(source.column(columns["time"]))
    first_row = 1
    for raw in source.batches(columns):
        yield _normalise(raw, columns, form, first_row=first_row, day_first=day_first)
        first_row += len(raw)


def tidy_symbol(symbol: str) -> str:
    """Return a symbol as we write it: ETH/BTC is ETH-BTC."""
    return re.sub(r"[\s/]+", "-", symbol.strip().upper())


def _tidy_symbols(written: pd.Series) -> pd.Series:
    """Tidy each symbol once, however many rows it has; None where there is none."""
    codes, names = pd.factorize(written.astype("string"))
    tidy = np.array([*(tidy_symbol(str(name)) for name in names), None], dtype=object)
    return pd.Series(tidy[codes], dtype=object)


class _Source(Protocol):
    """A file of columns."""

    def names(self) -> list[str]: ...

    def column(self, name: str) -> Iterator[pd.Series]:
        """Read one column as it is written, in batches."""
        ...

    def batches(self, columns: Mapping[str, str]) -> Iterator[pd.DataFrame]: ...


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == PARQUET_MARK


class _ParquetFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        with self._open() as file:
            return list(file.schema_arrow.names)

    def column(self, name: str) -> Iterator[pd.Series]:
        for frame in self._read([name]):
            yield frame[name]

    def batches(self, columns: Mapping[str, str]) -> Iterator[pd.DataFrame]:
        yield from self._read(list(columns.values()))

    def _read(self, names: list[str]) -> Iterator[pd.DataFrame]:
        with self._open() as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names):
                # A frame's index is a column like any other to us.
                yield batch.to_pandas(date_as_object=False, ignore_metadata=True)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._path) as file:
                yield file
        except (pa.ArrowInvalid, OSError):
            raise _unreadable("Parquet", "it is damaged or incomplete") from None


class _CsvFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            head = file.read(2**14)
        if not head.strip():
            raise InvalidInput("The file is empty.", fields={"file": "Choose a file with bars."})
        if b"\x00" in head:
            raise InvalidInput(
                "The file is neither CSV nor Parquet.",
                fields={"file": "Save it as CSV or Parquet; spreadsheets cannot be read."},
            )
        self._dialect = dialect_of(head.lstrip())

    def names(self) -> list[str]:
        with self._reader(nrows=0) as reader:
            return [str(name) for name in reader.read().columns]

    def column(self, name: str) -> Iterator[pd.Series]:
        with self._reader(usecols=[name], dtype="string") as reader:
            for frame in reader:
                yield frame[name]

    def batches(self, columns: Mapping[str, str]) -> Iterator[pd.DataFrame]:
        # As text: NA is a symbol, and 03.01.2018 is no number of three million.
        texts = [columns[name] for name in ("symbol", "time", "clock") if name in columns]
        numbers = [columns[name] for name in NUMBERS]
        with self._reader(
            usecols=list(columns.values()),
            dtype=dict.fromkeys(texts, "string"),
            decimal=self._dialect.decimal,
            thousands=self._dialect.thousands,
            keep_default_na=False,
            na_values={name: list(ABSENT) for name in numbers},
        ) as reader:
            for frame in reader:
                tidy = {name: self._dialect.numbers(frame[name]) for name in numbers}
                yield frame.assign(**tidy, **{UNREAD: _unread(frame, tidy)})

    @contextmanager
    def _reader(self, **options: Any) -> Iterator[Any]:
        try:
            with pd.read_csv(
                self._path,
                sep=self._dialect.delimiter,
                chunksize=BATCH_ROWS,
                index_col=False,
                skipinitialspace=True,
                encoding="utf-8-sig",
                low_memory=False,
                # A name may say .zip; what is inside an upload is bounded only as it is.
                compression=None,
                **options,
            ) as reader:
                yield reader
        except UnicodeDecodeError:
            raise _unreadable("CSV", "it is not in UTF-8") from None
        except pd.errors.ParserError as error:
            raise _unreadable("CSV", _reason(error)) from None
        except pd.errors.EmptyDataError:
            raise _unreadable("CSV", "it has no columns") from None


def _unread(frame: pd.DataFrame, numbers: Mapping[str, pd.Series]) -> pd.Series:
    """Return, for each row, the texts that stand where numbers should."""
    unread = np.full(len(frame), None, dtype=object)
    for name, values in numbers.items():
        failed = np.flatnonzero(frame[name].notna() & values.isna())
        for row, text in zip(failed, frame[name].iloc[failed], strict=True):
            said = f"{name.strip()} is {str(text)[:40]!r}"
            unread[row] = f"{unread[row]}, {said}" if unread[row] else said
    return pd.Series(unread, index=frame.index, dtype=object)


def _reason(error: Exception) -> str:
    too_wide = _TOO_WIDE.search(str(error))
    if too_wide is None:
        return str(error).split("C error: ")[-1].strip().rstrip(".")
    expected, line, found = too_wide.groups()
    return f"line {line} has {found} values where the heading has {expected}"


def _unreadable(kind: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"The file could not be read as {kind}: {reason}.",
        fields={"file": f"Check the file in another program and save it again as {kind}."},
    )


def _normalise(
    raw: pd.DataFrame,
    columns: Mapping[str, str],
    form: FileFormat,
    *,
    first_row: int,
    day_first: bool | None,
) -> pd.DataFrame:
    raw = raw.reset_index(drop=True)
    rows = pd.DataFrame({"row_number": np.arange(first_row, first_row + len(raw))})
    if "symbol" in columns:
        rows["symbol"] = _tidy_symbols(raw[columns["symbol"]])
    else:
        rows["symbol"] = tidy_symbol(form.symbol)
    times = raw[columns["time"]]
    if "clock" in columns and form.timeframe.is_intraday:
        times = times.astype("string") + " " + raw[columns["clock"]].astype("string")
    rows["time"] = read_times(times, form.timeframe, form.zone, day_first=day_first)
    for name in NUMBERS:
        values = pd.to_numeric(raw[columns[name]], errors="coerce")
        rows[name] = values.to_numpy(np.float64, na_value=np.nan)
    if UNREAD in raw:
        rows[UNREAD] = raw[UNREAD]
    return rows
