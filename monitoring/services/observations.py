"""What live strategies did, put together for all of them at once.

Six statements whatever the number of strategies: the market's present, standings, expectations,
shadows, equity points and fills; arrays travel as binary aggregates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from alphastrat.core.moments import microseconds
from alphastrat.marketdata.live_market import market_time
from alphastrat.quant.types import BoolArray, FloatArray, IntArray, Timeframe
from monitoring.quant.evidence import Observations
from monitoring.quant.observations import LiveObservations, LiveTrips
from monitoring.quant.signal_tally import SignalTally
from monitoring.quant.trips import round_trips
from monitoring.services import packing
from monitoring.services.account_series import (
    POINT,
    Memory,
    RecordArray,
    Series,
    Wanted,
    concatenated,
)
from monitoring.services.binary import binary_rows

__all__ = [
    "YEAR",
    "Loaded",
    "Standings",
    "evidence_start",
    "load",
    "load_with_standings",
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

    def since(self, start: datetime) -> datetime:
        """Return from when the past is read for evidence from `start` on."""
        return max(start - YEAR, self.market_at - SPANS.get(self.timeframe, LONGEST))

    def wanted(self, since: datetime) -> Wanted:
        """Return what is to be known."""
        return Wanted(
            strategy_id=self.strategy_id,
            account_id=self.account_id,
            revision=self.revision or 0,
            past_revision=self.past_revision or 0,
            since=since,
            bar=Timeframe(self.timeframe).duration or timedelta(days=31),
            expectation_id=self.expectation_id,
            shadow_at=self.shadow_at,
        )


_N_KEY = _Row._fields.index("past_revision")


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
    present = {one.value: microseconds(market_time(one, at=at)) for one in Timeframe}
    rows = [_Row._make(row) for row in binary_rows(_STANDINGS, {"ids": ids, "at": at})]
    memory = memory or Memory()
    key = [row.key for row in rows]
    starts = [row.start for row in rows]
    if memory.assembled is None or memory.assembled[0] != key:
        # What is marked is known, also to a clock that has jumped back.
        known_at = max([at, *(row.market_at for row in rows)])
        memory.assembled = (key, _Assembly(rows, starts, memory, at=known_at).observed())
    assembled, volatility_limits = memory.assembled[1]
    observations = replace(
        assembled, present=np.array([present[row.timeframe] for row in rows], np.int64)
    )
    return Loaded(observations, _standings(rows, starts, observations.times, volatility_limits))


def evidence_start(
    opened_at: datetime | None, evidence_from: datetime | None, *, at: datetime
) -> datetime:
    """Return from when evidence counts: the start or last reset, restarted every year."""
    start = max((moment for moment in (opened_at, evidence_from) if moment is not None), default=at)
    return start + YEAR * max((at - start) // YEAR, 0)


class _Assembly:
    """What is known of many strategies, put together into matrices."""

    def __init__(
        self, rows: list[_Row], starts: list[datetime], memory: Memory, *, at: datetime
    ) -> None:
        self._rows = rows
        since = [row.since(start) for row, start in zip(rows, starts, strict=True)]
        asked = [row.wanted(start) for row, start in zip(rows, since, strict=True)]
        known = memory.read(asked, at=at)
        self._unpacked = memory.unpacked(known)
        self._series, self._shadows = [one.series for one in known], [one.shadow for one in known]
        now_us = microseconds(at)
        points = [
            _seen(one, microseconds(start), now_us)
            for one, start in zip(self._series, since, strict=True)
        ]
        lengths = np.array([len(part) for part in points], np.int64)
        self._shape = (len(rows), int(lengths.max(initial=0)))
        self._points = concatenated([*points, np.empty(0, POINT)])
        row_of = np.repeat(np.arange(len(rows)), lengths)
        column = np.arange(len(self._points)) - (np.cumsum(lengths) - self._shape[1])[row_of]
        self._place = row_of, column
        self._times = np.zeros(self._shape, np.int64)
        self._times[self._place] = self._points["time"]
        self._clock = _Clock(self._times)

    def observed(self) -> tuple[LiveObservations, FloatArray]:
        """Return the observations, and limits of volatility as `Standings` has them."""
        unpacked = self._unpacked
        gaps, matches = self._matched()
        shadow, signals = self._shadow()
        observations = LiveObservations(
            strategies=tuple(row.strategy_id for row in self._rows),
            names=tuple(row.name for row in self._rows),
            owners=tuple(row.owner_id for row in self._rows),
            accounts=tuple(row.account_id for row in self._rows),
            timeframes=tuple(row.timeframe for row in self._rows),
            present=np.zeros(len(self._rows), np.int64),
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

    def _matrix(self, name: str) -> FloatArray:
        matrix = np.full(self._shape, np.nan)
        matrix[self._place] = self._points[name]
        return matrix

    def _shadow(self) -> tuple[FloatArray, SignalTally]:
        """Return what the shadow earned at each bar, and live signals held against its own."""
        returns, compared = np.full(self._shape, np.nan), np.zeros(self._shape, np.int64)
        curves, tallies = [], []
        for i, found in enumerate(self._shadows):
            if found is not None and found.curves:
                times, earned = packing.unpack_curve(found.curves)
                counts, tally = packing.unpack_signals(found.signals, n_bars=len(times))
                curves.append((np.full(len(times), i), times, earned, counts))
                tallies.append((np.full(len(tally), i), tally))
        if not curves:
            return returns, SignalTally.none(self._shape)
        row, times, earned, counts = (np.concatenate(part) for part in zip(*curves, strict=True))
        column, is_there = self._clock.same(row, times)
        returns[row[is_there], column[is_there]] = earned[is_there]
        compared[row[is_there], column[is_there]] = counts[is_there]
        row = np.concatenate([one for one, _ in tallies])
        tally = concatenated([one for _, one in tallies])
        column = self._clock.bar_of(row, tally["time"])
        known = column >= 0
        parts = (tally[name][known].astype(np.int64) for name in _TALLIED)
        return returns, SignalTally(compared, row[known], column[known], *parts)

    def _trips(self) -> LiveTrips:
        parts = [
            (np.full(len(one.fills), i), one.fills)
            for i, one in enumerate(self._series)
            if one is not None and len(one.fills)
        ]
        if not parts or not self._shape[1]:
            return LiveTrips.none()
        row, fill = np.concatenate([one for one, _ in parts]), concatenated([f for _, f in parts])
        past = fill["time"] <= self._times[row, -1]
        row, fill = row[past], fill[past]
        trips = round_trips(
            row,
            fill["asset"],
            self._clock.bar_of(row, fill["time"]),
            fill["quantity"],
            price=fill["price"],
            fee=fill["fee"],
        )
        # Round trips that ended before the first bar that was read are history.
        kept = (trips.exited >= 0) | np.isnan(trips.returns)
        return LiveTrips(
            trips.row[kept],
            trips.entered[kept],
            trips.exited[kept],
            trips.returns[kept],
            trips.pnl[kept],
        )

    def _matched(self) -> tuple[Observations, Observations]:
        found = [
            (i, np.frombuffer(one.matched, packing.MATCHED))
            for i, one in enumerate(self._shadows)
            if one is not None and one.matched
        ]
        if not found:
            return Observations.none(), Observations.none()
        row = np.repeat([i for i, _ in found], [len(part) for _, part in found])
        record = concatenated([part for _, part in found])
        column = self._clock.bar_of(row, record["time"])
        known = column >= 0
        priced = known & ~np.isnan(record["gap_bps"])
        return (
            Observations.sorted(row[priced], column[priced], record["gap_bps"][priced]),
            Observations.sorted(row[known], column[known], record["is_matched"][known]),
        )


class _Clock:
    """Finds moments among the closes of many strategies' bars, all of them at once."""

    def __init__(self, times: IntArray) -> None:
        self._times = times
        n_strategies, self._n_bars = times.shape
        self._n_absent = (times == 0).sum(axis=1)
        self._origin = int(times.min(initial=np.iinfo(np.int64).max, where=times > 0)) - 1
        # One number for strategy and time: the strategies' times lie one behind the other.
        self._span = max(int(times.max(initial=0)) - self._origin, 0) + 2
        shifted = np.maximum(times - self._origin, 0)
        self._keys = (np.arange(n_strategies)[:, None] * self._span + shifted).ravel()

    def bar_of(self, row: IntArray, moments: IntArray) -> IntArray:
        """Return the bar that each moment belongs to: the first that closes at or after it.

        What comes before the first bar that was read, or after the newest, is -1: it counts once
        its bar has closed.
        """
        if not self._n_bars:
            return np.full(len(row), -1)
        place = self._place(row, moments)
        # The very first point is the opening of the account, before any bar.
        first = np.minimum(self._n_absent[row], self._n_bars - 1)
        known = moments > self._times[row, first]
        return np.where(known & (place < self._n_bars), place, -1)

    def same(self, row: IntArray, moments: IntArray) -> tuple[IntArray, BoolArray]:
        """Return the bar that closes at each moment, and whether there is one."""
        if not self._n_bars:
            return np.zeros(len(row), np.int64), np.zeros(len(row), np.bool_)
        place = np.minimum(self._place(row, moments), self._n_bars - 1)
        return place, self._times[row, place] == moments

    def _place(self, row: IntArray, moments: IntArray) -> IntArray:
        shifted = np.clip(moments - self._origin, 0, self._span - 1)
        return np.searchsorted(self._keys, row * self._span + shifted) - row * self._n_bars


def _seen(series: Series | None, since_us: int, now_us: int) -> RecordArray:
    """Return the points of an account in the window that is looked at."""
    if series is None:
        return np.empty(0, POINT)
    return series.points[slice(*series.points["time"].searchsorted([since_us, now_us + 1]))]


def _standings(
    rows: list[_Row], starts: list[datetime], times: IntArray, volatility_limits: FloatArray
) -> Standings:
    first = [
        int(closes.searchsorted(microseconds(start)))
        for closes, start in zip(times, starts, strict=True)
    ]
    first_new = [
        0
        if row.observed_to is None
        else int(closes.searchsorted(microseconds(row.observed_to), side="right"))
        for closes, row in zip(times, rows, strict=True)
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
