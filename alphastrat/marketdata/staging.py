"""A table of its own for each delivery: filled by binary COPY, merged in one transaction.

It is temporary: a killed worker's connection takes it along, and nothing is left to clear up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pandas as pd
from django.db import connection
from psycopg import sql

# PostgreSQL's binary time counts microseconds from 2000-01-01.
_EPOCH_MICROSECONDS = 946_684_800_000_000
_TIMES = ("opened_at", "closed_at")
_NUMBERS = ("open", "high", "low", "close", "volume")

# COPY's binary form: a header, then for each row a field count, and the length and content of
# each field, all big-endian. Every field here has a fixed length, so a batch is one array.
_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_FIELDS = [("series_id", "V16", 16)]
_FIELDS += [(name, ">i8", 8) for name in _TIMES] + [(name, ">f8", 8) for name in _NUMBERS]
_ROW = np.dtype(
    [("n_fields", ">i2")]
    + [part for name, kind, _ in _FIELDS for part in ((f"{name}_size", ">i4"), (name, kind))]
)

_CREATE = """
    CREATE TEMPORARY TABLE {table} (
        series_id uuid NOT NULL, opened_at timestamptz NOT NULL, closed_at timestamptz NOT NULL,
        open float8 NOT NULL, high float8 NOT NULL, low float8 NOT NULL, close float8 NOT NULL,
        volume float8 NOT NULL
    )
"""
_RENAME = """
    UPDATE {table} s SET series_id = renamed.theirs
    FROM unnest(%(ours)s::uuid[], %(theirs)s::uuid[]) AS renamed (ours, theirs)
    WHERE s.series_id = renamed.ours
"""
_SPANS = """
    SELECT series_id, count(*), min(opened_at), max(closed_at) FROM {table} GROUP BY series_id
"""
_LOCK_SERIES = """
    SELECT id, first_opened_at, last_closed_at FROM marketdata_barseries
    WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
"""
_BAR_COLUMNS = "series_id, opened_at, closed_at, open, high, low, close, volume"
_APPEND = f"""
    INSERT INTO marketdata_bar ({_BAR_COLUMNS}, ingested_at)
    SELECT {_BAR_COLUMNS}, %(at)s FROM {{table}} ORDER BY series_id, opened_at
"""
# One pass over both tables; what is stored as it was delivered, mostly all of it, ends here.
_COMPARE = """
    CREATE TEMPORARY TABLE {changes} AS
    SELECT s.*, b.series_id IS NOT NULL AS is_stored
    FROM {table} s LEFT JOIN marketdata_bar b USING (series_id, opened_at)
    WHERE b.series_id IS NULL
        OR (b.closed_at, b.open, b.high, b.low, b.close, b.volume)
        IS DISTINCT FROM (s.closed_at, s.open, s.high, s.low, s.close, s.volume)
"""
_RECORD_RESTATED = """
    INSERT INTO marketdata_barrevision
        (series_id, opened_at, old_values, new_values, import_run_id, recorded_at)
    SELECT series_id, opened_at,
        jsonb_build_object('open', b.open, 'high', b.high, 'low', b.low, 'close', b.close,
            'volume', b.volume),
        jsonb_build_object('open', c.open, 'high', c.high, 'low', c.low, 'close', c.close,
            'volume', c.volume),
        %(run)s, %(at)s
    FROM {changes} c JOIN marketdata_bar b USING (series_id, opened_at)
"""
_RESTATE = """
    WITH restated AS (
        UPDATE marketdata_bar b SET closed_at = c.closed_at, open = c.open, high = c.high,
            low = c.low, close = c.close, volume = c.volume, ingested_at = %(at)s
        FROM {changes} c WHERE b.series_id = c.series_id AND b.opened_at = c.opened_at
        RETURNING b.series_id, b.opened_at, b.closed_at
    ), totals AS (
        SELECT series_id, count(*) AS n_bars, min(opened_at) AS first, max(closed_at) AS last
        FROM restated GROUP BY series_id
    )
    UPDATE marketdata_barseries series SET revision = revision + 1, updated_at = %(at)s,
        last_closed_at = greatest(series.last_closed_at, totals.last)
    FROM totals WHERE series.id = totals.series_id
    RETURNING series.id, totals.n_bars, totals.first, totals.last
"""
_INSERT_ABSENT = f"""
    WITH fresh AS (
        INSERT INTO marketdata_bar ({_BAR_COLUMNS}, ingested_at)
        SELECT {_BAR_COLUMNS}, %(at)s FROM {{changes}} WHERE NOT is_stored
        ORDER BY series_id, opened_at
        RETURNING series_id, opened_at, closed_at
    )
    SELECT series_id, count(*), min(opened_at), max(closed_at) FROM fresh GROUP BY series_id
"""
_COUNT_NEW = """
    UPDATE marketdata_barseries series SET
        bar_count = series.bar_count + new.n_bars,
        first_opened_at = least(series.first_opened_at, new.first),
        last_closed_at = greatest(series.last_closed_at, new.last),
        revision = series.revision + 1,
        updated_at = %(at)s
    FROM unnest(%(ids)s::uuid[], %(counts)s::bigint[], %(starts)s::timestamptz[],
        %(ends)s::timestamptz[]) AS new (id, n_bars, first, last)
    WHERE series.id = new.id
"""


@dataclass(frozen=True, slots=True)
class Span:
    """How many bars of a series changed, and from when to when."""

    series_id: UUID
    n_bars: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did to the stored bars."""

    n_staged: int
    new: tuple[Span, ...]
    restated: tuple[Span, ...]

    @property
    def n_new(self) -> int:
        return sum(span.n_bars for span in self.new)

    @property
    def n_restated(self) -> int:
        return sum(span.n_bars for span in self.restated)


class StagingTable:
    """The bars of one delivery before they count."""

    def __init__(self, run_id: UUID) -> None:
        self.run_id = run_id
        self._table = sql.Identifier(f"marketdata_staged_{run_id.hex}")
        self._changes = sql.Identifier(f"marketdata_changes_{run_id.hex}")
        self._n_staged = 0

    def create(self) -> None:
        """Start empty."""
        self.drop()
        self._execute(_CREATE)

    def drop(self) -> None:
        """Forget the delivery; its bars are merged or given up."""
        self._execute("DROP TABLE IF EXISTS {table}, {changes}")

    def add(self, rows: pd.DataFrame, series_ids: Mapping[str, UUID]) -> None:
        """Copy checked rows in; `series_ids` names the series of each symbol."""
        content = encode(rows, series_ids)
        statement = sql.SQL(
            "COPY {table} (series_id, opened_at, closed_at, open, high, low, close, volume)"
            " FROM STDIN (FORMAT binary)"
        ).format(table=self._table)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(content)
        self._n_staged += len(rows)

    def rename(self, series_ids: Mapping[UUID, UUID]) -> None:
        """Give rows to other series than they were copied in for."""
        if series_ids:
            pairs = {"ours": list(series_ids), "theirs": list(series_ids.values())}
            self._execute(_RENAME, pairs)

    def merge(self, *, at: datetime) -> Merged:
        """Store what is new, restate what differs and leave the rest; inside a transaction.

        The series are locked first, so that two deliveries of one series follow each other.
        """
        staged = self._spans(_SPANS)
        if self._lie_beyond_stored(staged):
            self._execute(_APPEND, {"at": at})
            self._count_new(staged, at=at)
            return Merged(self._n_staged, staged, ())
        self._execute("ANALYZE {table} (series_id, opened_at)")
        self._execute(_COMPARE)
        parameters = {"run": self.run_id, "at": at}
        restated: tuple[Span, ...] = ()
        if self._execute(_RECORD_RESTATED, parameters).rowcount:
            restated = self._spans(_RESTATE, parameters)
        new = self._spans(_INSERT_ABSENT, parameters)
        self._count_new(new, at=at)
        return Merged(self._n_staged, new, restated)

    def _lie_beyond_stored(self, staged: Sequence[Span]) -> bool:
        """Lock the series; whether no staged bar lies within what they have."""
        spans = {span.series_id: span for span in staged}
        stored = self._execute(_LOCK_SERIES, {"ids": list(spans)}).fetchall()
        return all(
            first is None or spans[pk].start >= last or spans[pk].end <= first
            for pk, first, last in stored
        )

    def _count_new(self, new: Sequence[Span], *, at: datetime) -> None:
        columns = {
            "ids": [span.series_id for span in new],
            "counts": [span.n_bars for span in new],
            "starts": [span.start for span in new],
            "ends": [span.end for span in new],
        }
        self._execute(_COUNT_NEW, {**columns, "at": at})

    def _spans(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> tuple[Span, ...]:
        return tuple(Span(*row) for row in self._execute(statement, parameters).fetchall())

    def _execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
        cursor = connection.cursor()
        cursor.execute(
            sql.SQL(statement).format(table=self._table, changes=self._changes), parameters
        )
        return cursor


def encode(rows: pd.DataFrame, series_ids: Mapping[str, UUID]) -> bytes:
    """Return rows in COPY's binary form; columns as in the table, symbol for the series."""
    batch = np.empty(len(rows), _ROW)
    batch["n_fields"] = len(_FIELDS)
    for name, _, size in _FIELDS:
        batch[f"{name}_size"] = size
    batch["series_id"] = _series_column(rows["symbol"], series_ids)
    for name in _TIMES:
        micros = pd.DatetimeIndex(rows[name]).as_unit("us").asi8
        batch[name] = micros - _EPOCH_MICROSECONDS
    for name in _NUMBERS:
        batch[name] = rows[name].to_numpy(np.float64)
    return _HEADER + batch.tobytes() + _TRAILER


def _series_column(symbols: pd.Series, series_ids: Mapping[str, UUID]) -> npt.NDArray[np.void]:
    codes, names = pd.factorize(symbols)
    known = np.frombuffer(b"".join(series_ids[str(name)].bytes for name in names), dtype="V16")
    return known[codes]
