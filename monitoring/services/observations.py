"""What live strategies did, put together for all of them at once.

Five statements whatever the number of strategies: standings, expectations, shadows, equity points
and fills; arrays travel as binary aggregates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray, Timeframe
from monitoring.quant.evidence import Observations
from monitoring.quant.observations import LiveObservations, LiveTrips
from monitoring.quant.signal_tally import SignalTally
from monitoring.quant.trips import round_trips
from monitoring.services import packing
from monitoring.services.account_series import POINT, Memory, RecordArray, Series, Wanted
from monitoring.services.binary import binary_rows, binary_times, microseconds, moment_of

__all__ = [
    "YEAR",
    "Loaded",
    "Standings",
    "binary_rows",
    "binary_times",
    "evidence_start",
    "load",
    "load_with_standings",
    "microseconds",
    "moment_of",
]

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
    SELECT s.id, s.name, s.owner_id, s.timeframe, a.id, a.revision, e.id, sh.computed_at,
        a.opened_at, v.evidence_from, coalesce(a.marked_to, %(at)s), a.past_revision,
        v.false_alarms_per_year, v.tolerance, v.hard_drawdown, v.status, v.clean_bars,
        v.observed_to, v.on_degraded, flag.observed_to, v.n_trades, v.e_value, v.evaluated_at
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


class _Row(NamedTuple):
    """One strategy as `_STANDINGS` has it; its observations rest on what comes first."""

    strategy_id: UUID
    name: str
    owner_id: int
    timeframe: str
    account_id: UUID | None
    revision: int | None
    expectation_id: UUID | None
    shadow_at: datetime | None
    opened_at: datetime | None
    evidence_from: datetime | None
    market_at: datetime
    past_revision: int | None
    budget: float | None
    tolerance: float | None
    hard_drawdown: float | None
    status: str | None
    clean_bars: int | None
    observed_to: datetime | None
    action: str | None
    flagged_to: datetime | None
    n_trades: int | None
    e_value: float | None
    evaluated_at: datetime | None

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what changes when the observations do."""
        return self[:_N_KEY]

    @property
    def start(self) -> datetime:
        """Return from when evidence counts; time is that of the market, which a replay repeats."""
        return evidence_start(self.opened_at, self.evidence_from, at=self.market_at)

    @property
    def since(self) -> datetime:
        """Return from when the past is read."""
        return max(self.start - YEAR, self.market_at - SPANS.get(self.timeframe, LONGEST))

    def wanted(self) -> Wanted | None:
        """Return what is to be known of the account."""
        if self.account_id is None:
            return None
        bar = Timeframe(self.timeframe).duration or timedelta(days=31)
        revisions = self.revision or 0, self.past_revision or 0
        return Wanted(self.account_id, *revisions, self.since, bar)


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


_N_KEY = _Row._fields.index("past_revision")


def load(
    strategy_ids: Sequence[UUID] | None, *, at: datetime, memory: Memory | None = None
) -> LiveObservations:
    """Return what is known at `at` about these strategies, or about all with an open account."""
    return load_with_standings(strategy_ids, at=at, memory=memory).observations


def load_with_standings(
    strategy_ids: Sequence[UUID] | None, *, at: datetime, memory: Memory | None = None
) -> Loaded:
    """Return observations together with how each strategy is judged and stands.

    What `memory` holds is not read again.
    """
    ids = None if strategy_ids is None else list(strategy_ids)
    rows = [_Row._make(row) for row in binary_rows(_STANDINGS, {"ids": ids, "at": at})]
    memory = memory or Memory()
    key = [row.key for row in rows]
    if memory.assembled is None or memory.assembled[0] != key:
        memory.assembled = (key, _Assembly(rows, memory, at=at).observed())
    observations, volatility_limits = memory.assembled[1]
    return Loaded(observations, _standings(rows, observations.times, volatility_limits))


def evidence_start(
    opened_at: datetime | None, evidence_from: datetime | None, *, at: datetime
) -> datetime:
    """Return from when evidence counts: the start or last reset, restarted every year."""
    start = max((moment for moment in (opened_at, evidence_from) if moment is not None), default=at)
    return start + YEAR * max((at - start) // YEAR, 0)


class _Assembly:
    """What is known of many strategies, put together into matrices."""

    def __init__(self, rows: list[_Row], memory: Memory, *, at: datetime) -> None:
        self._rows, self._memory = rows, memory
        self._shadows = memory.shadows([(row.account_id, row.shadow_at) for row in rows])
        asked = [row.wanted() for row in rows]
        found = iter(memory.series([one for one in asked if one is not None], at=at))
        self._series = [None if one is None else next(found) for one in asked]
        points = [_seen(one, row.since, at) for one, row in zip(self._series, rows, strict=True)]
        lengths = np.array([len(part) for part in points], np.int64)
        self._shape = (len(rows), int(lengths.max(initial=0)))
        self._points = np.concatenate([*points, np.empty(0, POINT)])
        row_of = np.repeat(np.arange(len(rows)), lengths)
        ends = np.cumsum(lengths)
        column = np.arange(len(self._points)) - (ends - self._shape[1])[row_of]
        self._place = row_of, column
        self._times = self._matrix("time", np.zeros(self._shape, np.int64))

    def observed(self) -> tuple[LiveObservations, FloatArray]:
        """Return the observations, and limits of volatility as `Standings` has them."""
        unpacked = packing.unpack_many(
            self._memory.envelopes([(row.account_id, row.expectation_id) for row in self._rows])
        )
        gaps, matches = self._matched()
        shadow, signals = self._shadow()
        observations = LiveObservations(
            strategies=tuple(row.strategy_id for row in self._rows),
            names=tuple(row.name for row in self._rows),
            owners=tuple(row.owner_id for row in self._rows),
            accounts=tuple(row.account_id for row in self._rows),
            timeframes=tuple(row.timeframe for row in self._rows),
            times=self._times,
            returns=self._matrix("bar_return"),
            equity=self._matrix("equity"),
            exposure=self._matrix("exposure"),
            shadow=shadow,
            trips=self._trips(),
            matches=matches,
            fill_gaps_bps=gaps,
            trip_gaps=Observations(gaps.row, gaps.column, -1e-4 * gaps.value),
            signals=signals,
            promise=unpacked.promise,
            envelopes=unpacked.envelopes,
            levels=unpacked.levels,
            has_shadow=np.array([one is not None for one in self._shadows], np.bool_),
        )
        return observations, unpacked.volatility_limits

    def _matrix(self, name: str, empty: Any = None) -> Any:
        matrix = np.full(self._shape, np.nan) if empty is None else empty
        matrix[self._place] = self._points[name]
        return matrix

    def _shadow(self) -> tuple[FloatArray, SignalTally]:
        """Return what the shadow earned at each bar, and live signals held against its own."""
        returns, compared = np.full(self._shape, np.nan), np.zeros(self._shape, np.int64)
        differing: list[tuple[IntArray, ...]] = []
        for i, found in enumerate(self._shadows):
            if found is None or not found.curves or not self._shape[1]:
                continue
            times, earned = packing.unpack_curve(found.curves)
            place, is_there = _at_times(times, self._times[i])
            returns[i] = np.where(is_there, earned[place], np.nan)
            counts, tally = packing.unpack_signals(found.signals, n_bars=len(times))
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
        rows, columns, parts = [], [], []
        for i, series in enumerate(self._series):
            if series is not None and len(series.fills) and self._shape[1]:
                fills = series.fills
                past = fills[: fills["time"].searchsorted(self._times[i, -1], side="right")]
                rows.append(np.full(len(past), i))
                columns.append(self._columns(i, past["time"]))
                parts.append(past)
        if not parts:
            return LiveTrips.none()
        fill = np.concatenate(parts)
        trips = round_trips(
            np.concatenate(rows),
            fill["asset"],
            np.concatenate(columns),
            fill["quantity"],
            price=fill["price"],
            fee=fill["fee"],
        )
        # Round trips that ended before the first bar that was read are history.
        kept = (trips.exited >= 0) | np.isnan(trips.returns)
        return LiveTrips(
            trips.row[kept], trips.entered[kept], trips.exited[kept], trips.returns[kept]
        )

    def _matched(self) -> tuple[Observations, Observations]:
        rows, columns, records = [], [], []
        for i, shadow in enumerate(self._shadows):
            if shadow is not None and shadow.matched and self._shape[1]:
                found = np.frombuffer(shadow.matched, packing.MATCHED)
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


def _seen(series: Series | None, since: datetime, at: datetime) -> RecordArray:
    """Return the points of an account in the window that is looked at."""
    if series is None:
        return np.empty(0, POINT)
    bounds = [microseconds(since), microseconds(at) + 1]
    return series.points[slice(*series.points["time"].searchsorted(bounds))]


def _standings(rows: list[_Row], times: IntArray, volatility_limits: FloatArray) -> Standings:
    first = [int(times[i].searchsorted(microseconds(row.start))) for i, row in enumerate(rows)]
    first_new = [
        0
        if row.observed_to is None
        else int(times[i].searchsorted(microseconds(row.observed_to), side="right"))
        for i, row in enumerate(rows)
    ]
    return Standings(
        budget=_numbers([row.budget for row in rows], 0.5),
        tolerance=_numbers([row.tolerance for row in rows], 0.1),
        hard_drawdown=_numbers([row.hard_drawdown for row in rows], np.nan),
        first=np.array(first, np.int64),
        status=tuple(row.status or "" for row in rows),
        clean_bars=np.array([row.clean_bars or 0 for row in rows], np.int64),
        first_new=np.array(first_new, np.int64),
        may_recover=np.array([_was_acknowledged(row) for row in rows], np.bool_),
        stored=tuple((row.n_trades, row.e_value, row.evaluated_at, row.shadow_at) for row in rows),
        actions=tuple(row.action or "none" for row in rows),
        expectations=tuple(row.expectation_id for row in rows),
        volatility_limits=volatility_limits,
    )


def _was_acknowledged(row: _Row) -> bool:
    """Say whether the evidence was reset since the bar that a standing flag was given at."""
    if row.evidence_from is None or row.flagged_to is None:
        return False
    return row.evidence_from > row.flagged_to


def _numbers(values: list[Any], missing: float) -> FloatArray:
    return np.array([missing if value is None else value for value in values], np.float64)


def _at_times(times: IntArray, wanted: IntArray) -> tuple[IntArray, BoolArray]:
    """Return where each wanted time is, and whether it is there at all."""
    place = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    return place, times[place] == wanted
