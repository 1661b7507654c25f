"""The indicator cache: filled in bulk, extended as bars arrive, never a mixture.

A row names the revision of the bars that it was computed from, and readers take it only while the
series is at that revision. A row is replaced whole, or extended where it can be proved that all
that happened to the bars since is an append.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from django.db import connection, transaction
from psycopg import Cursor
from psycopg.types.json import Jsonb

from alphastrat.core.errors import ConflictError
from alphastrat.marketdata.frames import NewestBars, load_frames, load_newest
from alphastrat.marketdata.models import BarSeries
from alphastrat.quant.types import FloatArray
from strategies.models import TechnicalIndicator
from strategies.quant.memo import memo
from strategies.services import indicator_rows
from strategies.services.indicator_requests import IndicatorRequest, indicator_request

# So many series are held in memory at once while the cache is filled.
SERIES_AT_ONCE = 128
# Values in a tail before it joins the history; up to then an append leaves the history alone.
MAX_TAIL = 512
# A series may move on between the reading of its revision and of its bars.
MAX_TRIES = 5

_COLUMNS = (
    "series_id, symbol, indicator_type, timeframe, parameters, time, value, outputs, n_bars,"
    " history, tail, revision"
)
_STAGE = f"""
    CREATE TEMPORARY TABLE staged_indicators
    (LIKE technical_indicators INCLUDING STORAGE) ON COMMIT DROP;
    ALTER TABLE staged_indicators DROP COLUMN id;
    COPY staged_indicators ({_COLUMNS}) FROM STDIN (FORMAT binary)
"""
_REPLACE = f"""
    INSERT INTO technical_indicators ({_COLUMNS})
    SELECT {_COLUMNS} FROM staged_indicators ORDER BY series_id, indicator_type
    ON CONFLICT (series_id, indicator_type, parameters) DO UPDATE SET
        symbol = excluded.symbol, timeframe = excluded.timeframe, time = excluded.time,
        value = excluded.value, outputs = excluded.outputs, n_bars = excluded.n_bars,
        history = excluded.history, tail = excluded.tail, revision = excluded.revision
    WHERE technical_indicators.revision <= excluded.revision
"""
_STAGE_APPENDED = """
    CREATE TEMPORARY TABLE appended_indicators (
        id bigint, known_revision bigint, revision bigint, time timestamptz, value jsonb,
        n_bars bigint, tail float8[]
    ) ON COMMIT DROP;
    COPY appended_indicators FROM STDIN (FORMAT binary)
"""
_APPEND = """
    UPDATE technical_indicators t SET
        revision = a.revision, time = a.time, value = a.value, n_bars = a.n_bars,
        history = CASE WHEN cardinality(t.tail) < %(most)s THEN t.history
            ELSE t.history || t.tail || a.tail END,
        tail = CASE WHEN cardinality(t.tail) < %(most)s THEN t.tail || a.tail ELSE '{}' END
    FROM appended_indicators a WHERE t.id = a.id AND t.revision = a.known_revision
"""
_READ = """
    SELECT t.series_id, t.time, t.outputs, t.history || t.tail
    FROM technical_indicators t
    JOIN marketdata_barseries s ON s.id = t.series_id AND s.revision = t.revision
    WHERE t.series_id = ANY(%s) AND t.indicator_type = %s AND t.parameters = %s
"""


@dataclass(frozen=True, slots=True, eq=False)
class CachedHistory:
    """The values of an indicator at every bar of a series, up to the bar that closed at `time`."""

    time: datetime
    values: dict[str, FloatArray]

    @property
    def n_bars(self) -> int:
        return len(next(iter(self.values.values())))


@dataclass(frozen=True, slots=True)
class NewestValue:
    """What an indicator says at the newest bar of a symbol, by output; None where undefined."""

    symbol: str
    time: datetime
    value: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class _Outdated:
    """A cached row whose series has moved on."""

    id: int
    request: IndicatorRequest
    revision: int
    n_bars: int
    time: datetime


def fill(series: Iterable[BarSeries], requests: Sequence[IndicatorRequest]) -> int:
    """Compute and store indicators of many series; return the number of rows written."""
    return _replace(dict.fromkeys(series, requests))


def newest(series_ids: Sequence[UUID], request: IndicatorRequest) -> dict[UUID, NewestValue]:
    """Return the cached and current value at the newest bar, by series, in one query."""
    rows = TechnicalIndicator.objects.current().filter(
        series__in=series_ids, indicator_type=request.spec.name, parameters=request.parameters
    )
    found = rows.values_list("series_id", "symbol", "time", "value")
    return {series_id: NewestValue(*rest) for series_id, *rest in found}


def read(series_ids: Sequence[UUID], request: IndicatorRequest) -> dict[UUID, CachedHistory]:
    """Return what is cached of an indicator and current, by series, in one query."""
    connection.ensure_connection()
    with Cursor(connection.connection) as cursor:
        indicator_rows.read_arrays_as_numpy(cursor)
        values = [list(series_ids), request.spec.name, Jsonb(request.parameters)]
        cursor.execute(_READ, values, binary=True)
        return {
            series_id: CachedHistory(
                time, dict(zip(outputs, flat.reshape(-1, len(outputs)).T, strict=True))
            )
            for series_id, time, outputs, flat in cursor
        }


def refresh(series_ids: Sequence[Any]) -> None:
    """Bring what is cached of these series up to their bars: by extension where bars were appended.

    Whatever is left undone, because the series moved on again or the process was killed, stays
    marked by its older revision, and no reader takes it.
    """
    outdated, appended = _outdated(series_ids)
    if appended:
        outdated = _extend(outdated, appended)
    if outdated:
        found = BarSeries.objects.filter(pk__in=outdated).select_related("instrument")
        _replace({one: [row.request for row in outdated[one.pk]] for one in found})


def forget(series_ids: Sequence[UUID] | None = None) -> int:
    """Drop what is cached, of these series or of all; return the number of rows."""
    rows = TechnicalIndicator.objects.all()
    if series_ids is not None:
        rows = rows.filter(series__in=series_ids)
    return rows.delete()[0]


def _outdated(series_ids: Sequence[Any]) -> tuple[dict[UUID, list[_Outdated]], set[UUID]]:
    """Return the rows to bring up to date by series, and the series that took one step since."""
    rows: dict[UUID, list[_Outdated]] = defaultdict(list)
    one_step: set[UUID] = set()
    found = TechnicalIndicator.objects.outdated(series_ids).values_list(
        "series_id", "series__revision", "indicator_type", "parameters",
        "id", "revision", "n_bars", "time",
    )  # fmt: skip
    for series_id, series_revision, name, parameters, key, revision, n_bars, time in found:
        request = indicator_request(name, parameters)
        rows[series_id].append(_Outdated(key, request, revision, n_bars, time))
        if revision == series_revision - 1:
            one_step.add(series_id)
    return rows, one_step


def _extend(
    outdated: Mapping[UUID, Sequence[_Outdated]], appended: Iterable[UUID]
) -> dict[UUID, list[_Outdated]]:
    """Extend the rows that only lack new bars; return those that must be computed again.

    Every change of a series is one step of its revision. One step that left the number of bars up
    to `time` as it was can only have been an append: a restatement adds no bars.
    """
    left = {key: list(rows) for key, rows in outdated.items()}
    wanted = {key: _reach(left[key]) for key in appended}
    extended: list[bytes] = []
    for series_id, newest in load_newest(wanted).items():
        with memo():  # the bars are checked once for all indicators
            left[series_id] = [
                row for row in left[series_id] if not _append_row(row, newest, to=extended)
            ]
    if extended:
        with transaction.atomic(), connection.cursor() as cursor:
            indicator_rows.copy(cursor, _STAGE_APPENDED, extended)
            cursor.execute(_APPEND, {"most": MAX_TAIL})
            cursor.execute("DROP TABLE appended_indicators")
    return {key: rows for key, rows in left.items() if rows}


def _reach(rows: Sequence[_Outdated]) -> tuple[int, int]:
    """Return the bars known already, and how many of them the indicators must see again."""
    warmups = [row.request.warmup_bars or 0 for row in rows]
    return max(row.n_bars for row in rows), max(warmups) + 1


def _append_row(row: _Outdated, newest: NewestBars, *, to: list[bytes]) -> bool:
    """Add the row's new values to what will be stored; say no where that would not be true."""
    n_new = int((newest.opened_at >= pd.Timestamp(row.time)).sum())
    warmup = row.request.warmup_bars
    n_read = len(newest.bars)
    is_append = (
        newest.revision == row.revision + 1 and n_new > 0 and newest.bar_count - n_new == row.n_bars
    )
    is_enough = n_read == newest.bar_count or (warmup is not None and n_read - n_new >= warmup)
    if not (is_append and is_enough):
        return False
    values = row.request.compute(newest.bars)
    to.append(
        indicator_rows.row(
            indicator_rows.whole(row.id),
            indicator_rows.whole(row.revision),
            indicator_rows.whole(newest.revision),
            indicator_rows.time(newest.bars.index[-1]),
            indicator_rows.json(_last(values)),
            indicator_rows.whole(newest.bar_count),
            indicator_rows.floats(_by_bar(values)[-n_new:]),
        )
    )
    return True


def _replace(wanted: Mapping[BarSeries, Sequence[IndicatorRequest]]) -> int:
    # Frames come by symbol, which is unique among the series of one kind only.
    kinds: dict[tuple[str, ...], list[BarSeries]] = defaultdict(list)
    for one in wanted:
        kinds[one.timeframe, one.adjustment, one.source].append(one)
    n_rows = 0
    for alike in kinds.values():
        for start in range(0, len(alike), SERIES_AT_ONCE):
            part = alike[start : start + SERIES_AT_ONCE]
            n_rows += _replace_part({one: wanted[one] for one in part})
    return n_rows


def _replace_part(wanted: Mapping[BarSeries, Sequence[IndicatorRequest]]) -> int:
    revisions, frames = _frames_at_revision(list(wanted))
    empty = [one.pk for one in wanted if frames[one.instrument.symbol].empty]
    if empty:
        forget(empty)
    with transaction.atomic(), connection.cursor() as cursor:
        indicator_rows.copy(cursor, _STAGE, _rows(wanted, revisions, frames))
        cursor.execute(_REPLACE)
        n_rows: int = cursor.rowcount
        cursor.execute("DROP TABLE staged_indicators")
    return n_rows


def _frames_at_revision(
    series: Sequence[BarSeries],
) -> tuple[dict[UUID, int], dict[str, pd.DataFrame]]:
    """Return bars and the revision they belong to: revisions only grow."""
    before = _revisions(series)
    for _ in range(MAX_TRIES):
        frames = load_frames(series)
        after = _revisions(series)
        if after == before:
            return before, frames
        before = after
    raise ConflictError("The bars change faster than they can be read; try again.")


def _revisions(series: Sequence[BarSeries]) -> dict[UUID, int]:
    keys = [one.pk for one in series]
    return dict(BarSeries.objects.filter(pk__in=keys).values_list("pk", "revision"))


def _rows(
    wanted: Mapping[BarSeries, Sequence[IndicatorRequest]],
    revisions: Mapping[UUID, int],
    frames: Mapping[str, pd.DataFrame],
) -> Iterator[bytes]:
    for one, requests in wanted.items():
        bars = frames[one.instrument.symbol]
        if bars.empty:
            continue
        with memo():  # the bars are checked once for all indicators
            for request in requests:
                yield _row(one, request, revisions[one.pk], bars)


def _row(one: BarSeries, request: IndicatorRequest, revision: int, bars: pd.DataFrame) -> bytes:
    values = request.compute(bars)
    return indicator_rows.row(
        one.pk.bytes,
        one.instrument.symbol.encode(),
        request.spec.name.encode(),
        one.timeframe.encode(),
        indicator_rows.json(request.parameters),
        indicator_rows.time(bars.index[-1]),
        indicator_rows.json(_last(values)),
        indicator_rows.texts(list(values)),
        indicator_rows.whole(len(bars)),
        indicator_rows.floats(_by_bar(values)),
        indicator_rows.floats(np.empty(0)),
        indicator_rows.whole(revision),
    )


def _last(values: Mapping[str, FloatArray]) -> dict[str, float]:
    return {name: float(array[-1]) for name, array in values.items()}


def _by_bar(values: Mapping[str, FloatArray]) -> FloatArray:
    """Return shape (n_bars, n_outputs), so that an append is an append."""
    return np.column_stack(list(values.values()))
