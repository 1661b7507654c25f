"""What live strategies did, read for all of them at once.

Three statements whatever the number of strategies: standings with expectations and shadows,
equity points, and fills; arrays travel as binary aggregates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection
from psycopg import Cursor

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from monitoring.quant.evidence import Observations
from monitoring.quant.observations import LiveObservations, LiveTrips
from monitoring.quant.signal_tally import SignalTally
from monitoring.quant.trips import round_trips
from monitoring.services import packing

# PostgreSQL's binary times count microseconds from 2000-01-01.
_EPOCH = 946_684_800_000_000
YEAR = timedelta(days=365, hours=6)
# How much of the past is read; intraday bars are many.
SPANS = {
    "1m": timedelta(days=20),
    "5m": timedelta(days=90),
    "15m": timedelta(days=200),
    "30m": timedelta(days=300),
}
LONGEST = 2 * YEAR
_TALLIED = ("kind", "reason", "n")

_STANDINGS = """
    SELECT s.id, s.name, s.owner_id, s.timeframe, a.id, a.opened_at, v.strategy_id IS NOT NULL,
        v.false_alarms_per_year, v.tolerance, v.hard_drawdown, v.evidence_from, v.status,
        v.clean_bars, v.observed_to, v.status_since, v.on_degraded, e.id, e.envelope,
        sh.curves, sh.matched, coalesce(a.marked_to, %(at)s), flag.observed_to,
        v.n_trades, v.e_value, v.evaluated_at, sh.signals, sh.computed_at
    FROM strategies s
    LEFT JOIN portfolio_account a ON a.strategy_id = s.id AND a.closed_at IS NULL
    LEFT JOIN monitoring_verification v ON v.strategy_id = s.id
    LEFT JOIN monitoring_expectation e ON e.strategy_id = s.id AND e.is_current
    LEFT JOIN monitoring_shadow sh ON sh.account_id = a.id
    LEFT JOIN LATERAL (
        SELECT t.observed_to FROM monitoring_verificationtransition t
        WHERE t.strategy_id = s.id AND t.after IN ('degraded', 'failed')
            AND v.status IN ('degraded', 'failed')
        ORDER BY t.happened_at DESC LIMIT 1
    ) flag ON true
    WHERE (%(ids)s::uuid[] IS NULL AND a.id IS NOT NULL) OR s.id = ANY(%(ids)s::uuid[])
    ORDER BY s.id
"""
# The equity points of each account since its own start, in order.
_POINTS = """
    SELECT p.account_id,
        string_agg(timestamptz_send(p.marked_at), '' ORDER BY p.marked_at),
        string_agg(float8send(coalesce(p.bar_return, 'NaN')), '' ORDER BY p.marked_at),
        string_agg(float8send(p.equity::float8), '' ORDER BY p.marked_at),
        string_agg(float8send(p.gross_exposure), '' ORDER BY p.marked_at)
    FROM unnest(%(accounts)s::uuid[], %(since)s::timestamptz[]) AS w (account_id, since)
    JOIN portfolio_equitypoint p
        ON p.account_id = w.account_id AND p.marked_at >= w.since AND p.marked_at <= %(at)s
    GROUP BY p.account_id
"""
# The fills of each account that no later row corrects, in order.
_FILLS = """
    SELECT f.account_id,
        string_agg(uuid_send(f.instrument_id), '' ORDER BY f.filled_at, f.recorded_at, f.id),
        string_agg(timestamptz_send(f.filled_at), '' ORDER BY f.filled_at, f.recorded_at, f.id),
        string_agg(float8send(CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END::float8),
            '' ORDER BY f.filled_at, f.recorded_at, f.id),
        string_agg(float8send(f.price::float8), '' ORDER BY f.filled_at, f.recorded_at, f.id),
        string_agg(float8send(f.commission::float8), '' ORDER BY f.filled_at, f.recorded_at, f.id)
    FROM portfolio_fill f
    LEFT JOIN portfolio_fill c ON c.corrects_id = f.id
    WHERE f.account_id = ANY(%(accounts)s::uuid[]) AND f.filled_at <= %(at)s
        AND c.id IS NULL AND NOT f.is_cancelled
    GROUP BY f.account_id
"""


@dataclass(frozen=True, slots=True, eq=False)
class Standings:
    """How each strategy is judged and stands; one entry per row of the observations.

    Attributes
    ----------
    budget, tolerance, hard_drawdown : ndarray
        As in `degradation.Terms`.
    first : ndarray of int
        Column from which evidence counts.
    status : tuple of str
        Verdict so far; empty for a strategy that never had one.
    clean_bars : ndarray of int
        As in `status.advance`.
    first_new : ndarray of int
        Column of the first bar that no verdict has considered.
    may_recover : ndarray of bool
        Whether the evidence was reset after a degraded or failed verdict.
    stored : tuple of tuple
        Round trips, evidence and time of the pass that wrote last; when the shadow was computed.
    actions : tuple of str
        What is to be done by itself about a degraded strategy.
    expectations : tuple of UUID or None
        Current expectations.
    volatility_limits : ndarray of shape (n, n_rates)
        As in `budget.AlarmLevels`.
    """

    budget: FloatArray
    tolerance: FloatArray
    hard_drawdown: FloatArray
    first: IntArray
    status: tuple[str, ...]
    clean_bars: IntArray
    first_new: IntArray
    may_recover: BoolArray
    stored: tuple[tuple[int | None, float | None, datetime | None, datetime | None], ...]
    actions: tuple[str, ...]
    expectations: tuple[UUID | None, ...]
    volatility_limits: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Observations and standings of the same strategies."""

    observations: LiveObservations
    standings: Standings


def load(strategy_ids: Sequence[UUID] | None, *, at: datetime) -> LiveObservations:
    """Return what is known at `at` about these strategies, or about all with an open account."""
    return load_with_standings(strategy_ids, at=at).observations


def load_with_standings(strategy_ids: Sequence[UUID] | None, *, at: datetime) -> Loaded:
    """Return observations together with how each strategy is judged and stands."""
    ids = None if strategy_ids is None else list(strategy_ids)
    rows = binary_rows(_STANDINGS, {"ids": ids, "at": at})
    # Time is that of the market, which a replay repeats.
    starts = [evidence_start(row[5], row[10], at=row[20]) for row in rows]
    accounts = [row[4] for row in rows if row[4] is not None]
    since = [
        max(start - YEAR, row[20] - SPANS.get(row[3], LONGEST))
        for row, start in zip(rows, starts, strict=True)
        if row[4] is not None
    ]
    points: dict[UUID, tuple[Any, ...]] = {}
    fills: dict[UUID, tuple[Any, ...]] = {}
    if accounts:
        window = {"accounts": accounts, "since": since, "at": at}
        points = {row[0]: row[1:] for row in binary_rows(_POINTS, window)}
        fills = {row[0]: row[1:] for row in binary_rows(_FILLS, window)}
    return _Assembly(rows, starts, points, fills).loaded()


def evidence_start(
    opened_at: datetime | None, evidence_from: datetime | None, *, at: datetime
) -> datetime:
    """Return from when evidence counts: the start or last reset, restarted every year."""
    start = max((moment for moment in (opened_at, evidence_from) if moment is not None), default=at)
    return start + YEAR * max((at - start) // YEAR, 0)


class _Assembly:
    """Rows of the three statements put together into matrices."""

    def __init__(
        self,
        rows: list[Any],
        starts: list[datetime],
        points: dict[UUID, tuple[Any, ...]],
        fills: dict[UUID, tuple[Any, ...]],
    ) -> None:
        self._rows = rows
        self._starts = starts
        self._fills = fills
        self._series = [points.get(row[4]) for row in rows]
        lengths = [len(part[0]) // 8 if part else 0 for part in self._series]
        self._shape = (len(rows), max(lengths, default=0))
        self._times = np.zeros(self._shape, np.int64)
        for i, (part, length) in enumerate(zip(self._series, lengths, strict=True)):
            if part and length:
                self._times[i, -length:] = binary_times(part[0])

    def loaded(self) -> Loaded:
        unpacked = packing.unpack_many([row[17] for row in self._rows])
        gaps, matches = self._matched()
        shadow, signals = self._shadow()
        observations = LiveObservations(
            strategies=tuple(row[0] for row in self._rows),
            names=tuple(row[1] for row in self._rows),
            owners=tuple(row[2] for row in self._rows),
            accounts=tuple(row[4] for row in self._rows),
            timeframes=tuple(row[3] for row in self._rows),
            times=self._times,
            returns=self._matrix(1),
            equity=self._matrix(2),
            exposure=self._matrix(3),
            shadow=shadow,
            trips=self._trips(),
            matches=matches,
            fill_gaps_bps=gaps,
            trip_gaps=Observations(gaps.row, gaps.column, -1e-4 * gaps.value),
            signals=signals,
            promise=unpacked.promise,
            envelopes=unpacked.envelopes,
            levels=unpacked.levels,
            has_shadow=np.array([row[18] is not None for row in self._rows], np.bool_),
        )
        return Loaded(observations, self._standings(unpacked.volatility_limits))

    def _matrix(self, place: int) -> FloatArray:
        matrix = np.full(self._shape, np.nan)
        for i, part in enumerate(self._series):
            if part:
                values = np.frombuffer(part[place], ">f8")
                matrix[i, self._shape[1] - len(values) :] = values
        return matrix

    def _shadow(self) -> tuple[FloatArray, SignalTally]:
        """Return what the shadow earned at each bar, and live signals held against its own."""
        returns, compared = np.full(self._shape, np.nan), np.zeros(self._shape, np.int64)
        differing: list[tuple[IntArray, ...]] = []
        for i, row in enumerate(self._rows):
            if not row[18] or not self._shape[1]:
                continue
            times, earned = packing.unpack_curve(row[18])
            place, is_there = _at_times(times, self._times[i])
            returns[i] = np.where(is_there, earned[place], np.nan)
            counts, tally = packing.unpack_signals(row[25], n_bars=len(times))
            compared[i] = np.where(is_there, counts[place], 0)
            if len(tally):
                column = self._columns(i, tally["time"])
                parts = (np.full(len(tally), i), column, *(tally[one] for one in _TALLIED))
                differing.append(tuple(part[column >= 0] for part in parts))
        if not differing:
            return returns, replace(SignalTally.none(self._shape), compared=compared)
        columns = (np.concatenate(part).astype(np.int64) for part in zip(*differing, strict=True))
        return returns, SignalTally(compared, *columns)

    def _columns(self, i: int, moments: IntArray) -> IntArray:
        """Return the bar that each moment belongs to: the first that closes at or after it.

        What comes before the first bar that was read, or after the newest, is -1: it counts once
        its bar has closed.
        """
        n_bars = self._shape[1]
        place = np.searchsorted(self._times[i], moments, side="left")
        first = int(np.searchsorted(self._times[i], 1))
        # The very first point is the opening of the account, before any bar.
        known = moments > (self._times[i, first] if first < n_bars else 0)
        return np.where(known & (place < n_bars), place, -1)

    def _trips(self) -> LiveTrips:
        parts: list[tuple[Any, ...]] = []
        for i, row in enumerate(self._rows):
            found = self._fills.get(row[4])
            if found and self._shape[1]:
                moments = binary_times(found[1])
                past = moments <= self._times[i, -1]
                columns = self._columns(i, moments[past])
                asset = np.frombuffer(found[0], "V16")[past]
                numbers = [np.frombuffer(part, ">f8")[past] for part in found[2:]]
                parts.append((np.full(len(columns), i), asset, columns, *numbers))
        if not parts:
            return LiveTrips.none()
        row_of, asset, column, quantity, price, fee = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        _, codes = np.unique(asset.view("S16"), return_inverse=True)
        trips = round_trips(row_of, codes.ravel(), column, quantity, price=price, fee=fee)
        # Round trips that ended before the first bar that was read are history.
        kept = (trips.exited >= 0) | np.isnan(trips.returns)
        return LiveTrips(
            trips.row[kept], trips.entered[kept], trips.exited[kept], trips.returns[kept]
        )

    def _matched(self) -> tuple[Observations, Observations]:
        rows, columns, records = [], [], []
        for i, row in enumerate(self._rows):
            if row[19] and self._shape[1]:
                found = np.frombuffer(row[19], packing.MATCHED)
                rows.append(np.full(len(found), i))
                columns.append(self._columns(i, found["time"]))
                records.append(found)
        if not records:
            return Observations.none(), Observations.none()
        row_of, column, record = (np.concatenate(part) for part in (rows, columns, records))
        known = column >= 0
        priced = known & ~np.isnan(record["gap_bps"])
        return (
            Observations.sorted(row_of[priced], column[priced], record["gap_bps"][priced]),
            Observations.sorted(row_of[known], column[known], record["is_matched"][known]),
        )

    def _standings(self, volatility_limits: FloatArray) -> Standings:
        rows, n_bars = self._rows, self._shape[1]
        first = [
            int(np.searchsorted(self._times[i], microseconds(start)))
            for i, start in enumerate(self._starts)
        ]
        first_new = [
            n_bars
            if not n_bars
            else int(np.searchsorted(self._times[i], microseconds(row[13]), side="right"))
            if row[13] is not None
            else 0
            for i, row in enumerate(rows)
        ]
        return Standings(
            budget=_numbers([row[7] for row in rows], 0.5),
            tolerance=_numbers([row[8] for row in rows], 0.1),
            hard_drawdown=_numbers([row[9] for row in rows], np.nan),
            first=np.array(first, np.int64),
            status=tuple(row[11] or "" for row in rows),
            clean_bars=np.array([row[12] or 0 for row in rows], np.int64),
            first_new=np.array(first_new, np.int64),
            may_recover=np.array(
                [bool(row[10] and row[21] and row[10] > row[21]) for row in rows], np.bool_
            ),
            stored=tuple((row[22], row[23], row[24], row[26]) for row in rows),
            actions=tuple(row[15] or "none" for row in rows),
            expectations=tuple(row[16] for row in rows),
            volatility_limits=volatility_limits,
        )


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970 UTC."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment_of(value: int) -> datetime | None:
    """Return the moment of microseconds since 1970 UTC; None for 0."""
    if not value:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(value))


def binary_rows(statement: str, parameters: dict[str, Any]) -> list[Any]:
    """Return the rows of a statement whose columns may be binary aggregates."""
    connection.ensure_connection()
    with Cursor(connection.connection) as cursor:
        return list(cursor.execute(statement, parameters, binary=True))


def binary_times(raw: bytes | memoryview) -> IntArray:
    """Return binary times as microseconds since 1970 UTC."""
    return np.frombuffer(raw, ">i8").astype(np.int64) + _EPOCH


def _numbers(values: list[Any], missing: float) -> FloatArray:
    return np.array([missing if value is None else value for value in values], np.float64)


def _at_times(times: IntArray, wanted: IntArray) -> tuple[IntArray, BoolArray]:
    """Return where each wanted time is, and whether it is there at all."""
    place = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    return place, times[place] == wanted
