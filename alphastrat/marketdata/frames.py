"""Bars as frames and arrays: the only place that turns rows into numbers.

The rows are the truth. A block holds the same bars of a series as arrays, one value per column,
and is rebuilt inside the database whenever the series has moved on; a universe is read from its
blocks in one query.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
import pandas as pd
from django.db import connection
from psycopg import Cursor, sql

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.marketdata.models import Adjustment, BarSeries, Instrument
from alphastrat.quant.bars import COLUMNS
from alphastrat.quant.types import FloatArray, IntArray, Timeframe

# PostgreSQL's binary time counts microseconds from 2000-01-01; its binary numbers are big-endian.
_EPOCH_MICROSECONDS = 946_684_800_000_000

# A series may move on between the rebuilding of its block and the reading of it.
MAX_REBUILDS = 5

_REBUILD = """
    INSERT INTO marketdata_barblock
        (series_id, revision, n_bars, opened_at, closed_at, open, high, low, close, volume)
    SELECT s.id, s.revision, count(b.opened_at),
        coalesce(string_agg(timestamptz_send(b.opened_at), '' ORDER BY b.opened_at), ''),
        coalesce(string_agg(timestamptz_send(b.closed_at), '' ORDER BY b.opened_at), ''),
        coalesce(string_agg(float8send(b.open), '' ORDER BY b.opened_at), ''),
        coalesce(string_agg(float8send(b.high), '' ORDER BY b.opened_at), ''),
        coalesce(string_agg(float8send(b.low), '' ORDER BY b.opened_at), ''),
        coalesce(string_agg(float8send(b.close), '' ORDER BY b.opened_at), ''),
        coalesce(string_agg(float8send(b.volume), '' ORDER BY b.opened_at), '')
    FROM marketdata_barseries s LEFT JOIN marketdata_bar b ON b.series_id = s.id
    WHERE s.id = ANY(%s)
    GROUP BY s.id, s.revision
    ON CONFLICT (series_id) DO UPDATE SET
        revision = excluded.revision, n_bars = excluded.n_bars,
        opened_at = excluded.opened_at, closed_at = excluded.closed_at,
        open = excluded.open, high = excluded.high, low = excluded.low,
        close = excluded.close, volume = excluded.volume
    WHERE marketdata_barblock.revision <= excluded.revision
"""
_READ = """
    SELECT block.series_id, {columns}
    FROM marketdata_barblock block JOIN marketdata_barseries series ON series.id = block.series_id
    WHERE block.series_id = ANY(%s) AND block.revision = series.revision
"""
# The bars a series has more than `n_known`, and `n_before` before them.
_NEWEST = """
    SELECT s.id, s.revision, s.bar_count, newest.*
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS wanted (id, n_known, n_before)
    JOIN marketdata_barseries s ON s.id = wanted.id
    CROSS JOIN LATERAL (
        SELECT string_agg(timestamptz_send(b.opened_at), '' ORDER BY b.opened_at),
            string_agg(timestamptz_send(b.closed_at), '' ORDER BY b.opened_at),
            string_agg(float8send(b.open), '' ORDER BY b.opened_at),
            string_agg(float8send(b.high), '' ORDER BY b.opened_at),
            string_agg(float8send(b.low), '' ORDER BY b.opened_at),
            string_agg(float8send(b.close), '' ORDER BY b.opened_at),
            string_agg(float8send(b.volume), '' ORDER BY b.opened_at)
        FROM (
            SELECT * FROM marketdata_bar WHERE series_id = s.id ORDER BY opened_at DESC
            LIMIT wanted.n_before + greatest(s.bar_count - wanted.n_known, 0)
        ) b
    ) newest
    WHERE s.bar_count > 0
"""

_SERIES_FIELDS = [field.attname for field in BarSeries._meta.concrete_fields]
_INSTRUMENT_FIELDS = [field.attname for field in Instrument._meta.concrete_fields]
_N_SERIES_FIELDS = len(_SERIES_FIELDS)
# Every backtest asks this; composing it anew takes longer than answering it.
_HELD = f"""
    SELECT {", ".join(f"s.{name}" for name in _SERIES_FIELDS)},
        {", ".join(f"i.{name}" for name in _INSTRUMENT_FIELDS)}
    FROM marketdata_barseries s JOIN marketdata_instrument i ON i.id = s.instrument_id
    WHERE i.symbol = ANY(%(symbols)s) AND s.timeframe = %(timeframe)s
        AND s.adjustment = %(adjustment)s
        AND CASE WHEN %(source)s::text IS NULL THEN s.source <> 'replay'
            ELSE s.source = %(source)s END
    ORDER BY s.bar_count, s.created_at
"""


@dataclass(frozen=True, slots=True, eq=False)
class BarArrays:
    """Bars of several symbols on the union of their close times; NaN where one has no bar.

    `index` holds UTC close times; the arrays have shape (n_bars, n_symbols).
    """

    index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


def find_series(
    symbols: Sequence[str],
    timeframe: Timeframe | str,
    *,
    adjustment: str = Adjustment.SPLIT,
    source: str | None = None,
) -> list[BarSeries]:
    """Return one series per symbol, in order: of `source`, or the one with the most bars.

    A replayed series is only returned when `source` asks for it: it repeats stored bars.

    Raises
    ------
    InvalidInput
        If a symbol is unknown or has no such bars.
    """
    held = held_series(symbols, timeframe, adjustment=adjustment, source=source)
    return in_order(held, symbols, timeframe=timeframe)


def held_series(
    symbols: Iterable[str],
    timeframe: Timeframe | str,
    *,
    adjustment: str = Adjustment.SPLIT,
    source: str | None = None,
) -> dict[str, BarSeries]:
    """Return by symbol what `find_series` finds, without the symbols that have no such bars."""
    terms = {
        "symbols": list(symbols),
        "timeframe": str(timeframe),
        "adjustment": adjustment,
        "source": source or None,
    }
    with connection.cursor() as cursor:
        cursor.execute(_HELD, terms)
        rows = cursor.fetchall()
    held = {}
    for row in rows:
        series = BarSeries.from_db(connection.alias, _SERIES_FIELDS, row[:_N_SERIES_FIELDS])
        series.instrument = Instrument.from_db(
            connection.alias, _INSTRUMENT_FIELDS, row[_N_SERIES_FIELDS:]
        )
        held[series.instrument.symbol] = series
    return held


def in_order(
    held: Mapping[str, BarSeries], symbols: Sequence[str], *, timeframe: Timeframe | str
) -> list[BarSeries]:
    """Return the series of each symbol; raises InvalidInput naming those that have none."""
    missing = [symbol for symbol in symbols if symbol not in held]
    if missing:
        names = ", ".join(missing[:5]) + ("…" if len(missing) > 5 else "")
        raise InvalidInput(
            f"There are no {timeframe} bars of {names}.",
            fields={"symbols": "Import bars for it, or choose another symbol or timeframe."},
        )
    return [held[symbol] for symbol in symbols]


def load_bars(
    series: BarSeries,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    known_at: datetime | None = None,
) -> pd.DataFrame:
    """Return the bars of one series that close in [start, end) and were known at `known_at`.

    The frame satisfies `alphastrat.quant.bars.check_bars`.
    """
    (frame,) = load_frames([series], start=start, end=end, known_at=known_at).values()
    return frame


def load_frames(
    series: Sequence[BarSeries],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    known_at: datetime | None = None,
) -> dict[str, pd.DataFrame]:
    """Return one frame per symbol, read in one query."""
    blocks = _fresh_blocks([one.pk for one in series])
    frames = {}
    for one in series:
        block = blocks[one.pk]
        closed_at = _times(block["closed_at"])
        span = _span(closed_at, start=start, end=end, known_at=known_at)
        values = {name: _floats(block[name])[span] for name in COLUMNS}
        frame = pd.DataFrame(values, index=closing_index(closed_at[span]))
        frame.attrs["symbol"] = one.instrument.symbol
        frames[one.instrument.symbol] = frame
    return frames


def load_arrays(
    series: Sequence[BarSeries],
    *,
    columns: Sequence[str] = COLUMNS,
    start: datetime | None = None,
    end: datetime | None = None,
    known_at: datetime | None = None,
) -> BarArrays:
    """Return the bars of many series on one time axis, read in one query.

    Columns that were not asked for are empty arrays.
    """
    blocks = _fresh_blocks([one.pk for one in series], columns)
    ordered = [blocks[one.pk] for one in series]
    axis, places = _place([block["closed_at"] for block in ordered])
    span = _span(axis, start=start, end=end, known_at=known_at)
    arrays = {name: np.empty((span.stop - span.start, 0)) for name in COLUMNS}
    for name in columns:
        filled = np.full((len(ordered), len(axis)), np.nan)
        for row, (block, place) in enumerate(zip(ordered, places, strict=True)):
            filled[row, place] = np.frombuffer(block[name], dtype=">f8")
        arrays[name] = filled[:, span].T
    symbols = tuple(one.instrument.symbol for one in series)
    return BarArrays(closing_index(axis[span]), symbols, **arrays)


def load_closes(
    series: Sequence[BarSeries],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    known_at: datetime | None = None,
) -> pd.DataFrame:
    """Return closes by close time and symbol; NaN where a symbol has no bar."""
    arrays = load_arrays(series, columns=("close",), start=start, end=end, known_at=known_at)
    return pd.DataFrame(arrays.close, index=arrays.index, columns=list(arrays.symbols), copy=False)


def load_close_times(series_ids: Sequence[UUID]) -> dict[UUID, pd.DatetimeIndex]:
    """Return the close times of each series, read in one query."""
    blocks = _fresh_blocks(series_ids, columns=())
    return {key: closing_index(_times(block["closed_at"])) for key, block in blocks.items()}


@dataclass(frozen=True, slots=True, eq=False)
class CloseSeries:
    """The closes of one series, each with when its bar opened and closed in UTC."""

    opened_at: pd.DatetimeIndex
    closed_at: pd.DatetimeIndex
    values: FloatArray


def load_close_series(series_ids: Sequence[UUID]) -> dict[UUID, CloseSeries]:
    """Return the closes of each series, read in one query."""
    blocks = _fresh_blocks(series_ids, columns=("opened_at", "close"))
    return {
        key: CloseSeries(
            closing_index(_times(block["opened_at"])),
            closing_index(_times(block["closed_at"])),
            _floats(block["close"]),
        )
        for key, block in blocks.items()
    }


@dataclass(frozen=True, slots=True, eq=False)
class NewestBars:
    """The last bars of a series, and what the series was when they were read."""

    revision: int
    bar_count: int
    opened_at: pd.DatetimeIndex
    bars: pd.DataFrame


def load_newest(wanted: Mapping[UUID, tuple[int, int]]) -> dict[UUID, NewestBars]:
    """Return the end of each series, read from its rows in one query.

    `wanted` gives by series the number of bars known already, and how many of those to read
    along with the new ones.
    """
    connection.ensure_connection()
    numbers = [list(column) for column in zip(*wanted.values(), strict=True)]
    with Cursor(connection.connection) as cursor:
        cursor.execute(_NEWEST, [list(wanted), *numbers], binary=True)
        return {row[0]: _newest(*row[1:]) for row in cursor}


def _newest(revision: int, bar_count: int, *raw: bytes) -> NewestBars:
    opened_at, closed_at, *columns = raw
    values = {name: _floats(one) for name, one in zip(COLUMNS, columns, strict=True)}
    bars = pd.DataFrame(values, index=closing_index(_times(closed_at)))
    return NewestBars(revision, bar_count, closing_index(_times(opened_at)), bars)


def data_fingerprint(frames: dict[str, pd.DataFrame]) -> str:
    """Return a digest that changes when any time or value of the frames does."""
    digest = hashlib.sha256()
    for symbol in sorted(frames):
        frame = frames[symbol]
        digest.update(symbol.encode() + b"\0")
        digest.update(pd.DatetimeIndex(frame.index).as_unit("us").asi8.astype("<i8").tobytes())
        digest.update(frame[list(COLUMNS)].to_numpy(np.float64).astype("<f8").tobytes())
    return digest.hexdigest()


def rebuild_blocks(series_ids: Iterable[UUID]) -> None:
    """Derive the arrays of these series from their rows, inside the database."""
    with connection.cursor() as cursor:
        cursor.execute(_REBUILD, [list(series_ids)])


Block = dict[str, bytes]


def _fresh_blocks(
    series_ids: Sequence[UUID], columns: Sequence[str] = COLUMNS
) -> dict[UUID, Block]:
    """Return the arrays of each series, deriving again those that its rows have outrun."""
    blocks = _read_blocks(series_ids, columns)
    for _ in range(MAX_REBUILDS):
        stale = set(series_ids) - blocks.keys()
        if not stale:
            return blocks
        rebuild_blocks(stale)
        blocks |= _read_blocks(list(stale), columns)
    raise ConflictError("The bars change faster than they can be read; try again.")


def _read_blocks(series_ids: Sequence[UUID], columns: Sequence[str]) -> dict[UUID, Block]:
    names = ("closed_at", *columns)
    statement = sql.SQL(_READ).format(
        columns=sql.SQL(", ").join(sql.Identifier("block", name) for name in names)
    )
    connection.ensure_connection()
    # Binary results: as text every byte would travel as two hexadecimal digits.
    with Cursor(connection.connection) as cursor:
        cursor.execute(statement, [list(series_ids)], binary=True)
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor}


def _times(raw: bytes | memoryview) -> IntArray:
    return np.frombuffer(raw, dtype=">i8").astype(np.int64) + _EPOCH_MICROSECONDS


def _floats(raw: bytes | memoryview) -> FloatArray:
    return np.frombuffer(raw, dtype=">f8").astype(np.float64)


def closing_index(times: IntArray) -> pd.DatetimeIndex:
    """Return close times, microseconds since 1970 in UTC, as the index of bars."""
    return pd.DatetimeIndex(times.view("datetime64[us]"), name="closed_at").tz_localize("UTC")


def _span(
    closed_at: IntArray,
    *,
    start: datetime | None,
    end: datetime | None,
    known_at: datetime | None,
) -> slice:
    first = 0 if start is None else int(np.searchsorted(closed_at, _microseconds(start), "left"))
    last = len(closed_at)
    if end is not None:
        last = int(np.searchsorted(closed_at, _microseconds(end), "left"))
    if known_at is not None:
        last = min(last, int(np.searchsorted(closed_at, _microseconds(known_at), "right")))
    return slice(first, max(first, last))


def _microseconds(at: datetime) -> int:
    # Timestamp.value counts nanoseconds whatever the unit.
    return int(pd.Timestamp(at).as_unit("us").asm8.view("i8"))


def _place(raw_times: Sequence[bytes]) -> tuple[IntArray, list[slice | IntArray]]:
    """Return the union of all times, and where on it each series lies."""
    distinct = {raw: _times(raw) for raw in set(raw_times)}
    if len(distinct) == 1:
        return next(iter(distinct.values())), [slice(None)] * len(raw_times)
    axis = np.unique(np.concatenate([*distinct.values(), np.empty(0, np.int64)]))
    rows = {raw: np.searchsorted(axis, times) for raw, times in distinct.items()}
    return axis, [rows[raw] for raw in raw_times]
