"""Stored live signals held against those of the shadow: in the worker that runs it, and kept.

What has been compared stays compared while its bars stay what they were, so that a run reads the
signals of the last bars only. A bar that was restated makes everything be compared again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.core.moments import microseconds
from alphastrat.marketdata.live_market import live_series
from alphastrat.marketdata.models import Instrument
from alphastrat.quant.types import IntArray
from monitoring.models import Shadow
from monitoring.quant.divergence import (
    DIVERGENCE,
    KIND_WORDS,
    NEVER,
    REASON_WORDS,
    DivergenceArray,
    GivenSignals,
    Kind,
    Reason,
    Rerun,
    compare_signals,
    give_reasons,
)
from monitoring.quant.signal_tally import TALLY, tally
from monitoring.services import packing
from monitoring.services.account_markets import LiveMarket, version_of
from monitoring.services.binary import binary_rows, binary_times, moment_of
from portfolio.models import Account
from strategies.models import Strategy
from strategies.quant.signals import PanelSignals, PositionArray
from strategies.services.strategy_engine import MAX_CATCH_UP

# Differences that are kept one by one; all of them are counted.
MOST_KEPT = 500
TYPE_WORDS = {1: "buy", -1: "sell", 0: "hold"}
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_GIVEN = """
    SELECT w.account_id, w.asset,
        string_agg(timestamptz_send(s.closed_at), '' ORDER BY s.closed_at),
        string_agg(timestamptz_send(s.generated_at), '' ORDER BY s.closed_at),
        string_agg(int2send(CASE s.signal_type WHEN 'BUY' THEN 1 WHEN 'SELL' THEN -1 ELSE 0
            END::int2), '' ORDER BY s.closed_at),
        string_agg(int2send(coalesce((s.metadata->>'from')::int2, 0::int2)), ''
            ORDER BY s.closed_at),
        string_agg(int2send(coalesce((s.metadata->>'wish')::int2, -1::int2)), ''
            ORDER BY s.closed_at),
        string_agg(float8send(s.strength), '' ORDER BY s.closed_at),
        string_agg(float8send(s.price), '' ORDER BY s.closed_at)
    FROM unnest(%(accounts)s::uuid[], %(strategies)s::uuid[], %(versions)s::uuid[],
        %(instruments)s::uuid[], %(assets)s::int[], %(since)s::timestamptz[],
        %(until)s::timestamptz[])
        AS w (account_id, strategy_id, version_id, instrument_id, asset, since, until)
    JOIN strategy_signals s ON s.strategy_id = w.strategy_id
        AND s.instrument_id = w.instrument_id AND s.version_id = w.version_id
        AND s.closed_at > w.since AND s.closed_at <= w.until
    GROUP BY w.account_id, w.asset
"""
# Bars that were stored after a signal that rests on them, and whether they replaced older ones.
_STORED = """
    SELECT w.account_id, w.asset, b.closed_at, b.ingested_at, EXISTS (
        SELECT 1 FROM marketdata_barrevision r
        WHERE r.series_id = b.series_id AND r.opened_at = b.opened_at)
    FROM unnest(%(accounts)s::uuid[], %(assets)s::int[], %(series)s::uuid[],
        %(since)s::timestamptz[], %(until)s::timestamptz[], %(given)s::timestamptz[])
        AS w (account_id, asset, series_id, since, until, given)
    JOIN marketdata_bar b ON b.series_id = w.series_id AND b.opened_at < w.until
        AND b.opened_at > w.since - interval '32 days' AND b.closed_at BETWEEN w.since AND w.until
        AND b.ingested_at > w.given
"""


@dataclass(slots=True, eq=False)
class Followed:
    """The comparison of one account as far as it has come."""

    account: Account
    compared: IntArray
    tallied: Any
    kept: DivergenceArray
    found: DivergenceArray
    # Close of the oldest bar that each of those found rests on.
    reach: IntArray
    settled_to: datetime | None
    sides: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """Return what the shadow keeps of it."""
        counts = np.concatenate([self.tallied, tally(self.found)])
        kept = np.concatenate([self.kept, self.found])[-MOST_KEPT:]
        return {
            "signals": packing.pack_signals(self.compared, counts),
            "divergences": kept.tobytes(),
            "signals_to": self.settled_to,
            "sides": self.sides,
        }


@dataclass(frozen=True, slots=True)
class DivergenceEntry:
    """One signal that differs from the re-run, for people."""

    time: datetime | None
    symbol: str
    kind: str
    live: str
    again: str
    live_strength: float | None
    again_strength: float | None
    reason: str

    @property
    def kind_label(self) -> str:
        return KIND_WORDS[Kind[self.kind.upper()]]

    @property
    def reason_label(self) -> str:
        return REASON_WORDS[Reason[self.reason.upper()]]


def read_given(
    accounts: Sequence[Account], *, from_start: bool = False
) -> dict[UUID, GivenSignals]:
    """Return the live signals of each account's version that its comparison still needs.

    One statement besides the instruments' keys, whatever the number of accounts.
    """
    symbols = {symbol for one in accounts for symbol in version_of(one).symbols}
    instruments = dict(Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "pk"))
    asked = [
        (
            one.pk,
            one.strategy_id,
            version_of(one).pk,
            instruments[symbol],
            asset,
            _BEGINNING if from_start else _since(one),
            one.marked_to or one.opened_at,
        )
        for one in accounts
        for asset, symbol in enumerate(version_of(one).symbols)
        if symbol in instruments
    ]
    if not asked:
        return {}
    names = ("accounts", "strategies", "versions", "instruments", "assets", "since", "until")
    columns = dict(zip(names, map(list, zip(*asked, strict=True)), strict=True))
    parts: dict[UUID, list[tuple[Any, ...]]] = {}
    for account_id, asset, *blocks in binary_rows(_GIVEN, columns):
        parts.setdefault(account_id, []).append((asset, blocks))
    return {account_id: _given(found) for account_id, found in parts.items()}


def follow(
    account: Account, market: LiveMarket, answer: PanelSignals, given: GivenSignals | None
) -> Followed:
    """Compare the live signals of an account with the answer of its version on all its bars."""
    before = _kept(account)
    if before is not None and market.fingerprint(before.computed_to) != before.data_fingerprint:
        before = None
        given = read_given([account], from_start=True).get(account.pk)
    times, known = market.times, _Known.of(before)
    first = len(known.compared)
    rows = slice(market.offset + first, None)
    again = Rerun(
        times[first:], answer.wishes[rows], answer.strength[rows], market.history.close[rows]
    )
    found = compare_signals(given or _given([]), again, sides=known.sides)
    # Signals of the newest bars can still be caught up with.
    settled = len(times) - 1 - MAX_CATCH_UP
    followed = Followed(
        account=account,
        compared=np.concatenate([known.compared, found.compared]),
        tallied=known.tallied,
        kept=known.kept,
        found=found.found,
        reach=_reach(market, found.found),
        settled_to=known.settled_to,
        sides=b"" if known.sides is None else known.sides.tobytes(),
    )
    if settled >= first and followed.compared.any():
        followed.settled_to = moment_of(int(times[settled]))
        followed.sides = found.sides[settled - first].tobytes()
    return followed


def explain(followed: Sequence[Followed]) -> None:
    """Tell of all differences what was stored after the live signal had been given."""
    open_reasons = (Reason.REPAINT, Reason.OUTAGE)
    unexplained = [one for one in followed if np.isin(one.found["reason"], open_reasons).any()]
    if not unexplained:
        return
    asked = list(_asked(unexplained))
    stored: dict[UUID, list[tuple[Any, ...]]] = {}
    if asked:
        names = ("accounts", "assets", "series", "since", "until", "given")
        columns = dict(zip(names, map(list, zip(*asked, strict=True)), strict=True))
        for account_id, *row in binary_rows(_STORED, columns):
            stored.setdefault(account_id, []).append(tuple(row))
    for one in unexplained:
        rows = stored.get(one.account.pk, [])
        give_reasons(
            one.found,
            reach=one.reach,
            stored=(
                np.array([row[0] for row in rows], np.int64),
                np.array([microseconds(row[1]) for row in rows], np.int64),
                np.array([microseconds(row[2]) for row in rows], np.int64),
                np.array([row[3] for row in rows], np.bool_),
            ),
        )


def facts(signals: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return how many signals differ in what and why, in words, as `Judgement.signals` counts."""
    kinds = signals.get("kinds", {}).items()
    reasons = signals.get("reasons", {}).items()
    return [(KIND_WORDS[Kind[key.upper()]], n) for key, n in kinds] + [
        (REASON_WORDS[Reason[key.upper()]], n) for key, n in reasons
    ]


def entries(strategy: Strategy) -> list[DivergenceEntry]:
    """Return the newest differences of a strategy's live signals, the newest first."""
    shadows = Shadow.objects.filter(account__strategy=strategy).select_related("version")
    found = shadows.order_by("-account__opened_at").first()
    if found is None or not found.divergences:
        return []
    records = np.frombuffer(found.divergences, DIVERGENCE)[::-1]
    return [_entry(record, found.version.symbols) for record in records]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What of an earlier comparison stays."""

    compared: IntArray
    tallied: Any
    kept: DivergenceArray
    settled_to: datetime | None
    sides: PositionArray | None

    @classmethod
    def of(cls, before: Shadow | None) -> _Known:
        if before is None or before.signals_to is None:
            empty = np.empty(0, np.int64)
            return cls(empty, np.empty(0, TALLY), np.empty(0, DIVERGENCE), None, None)
        limit = microseconds(before.signals_to)
        times, _ = packing.unpack_curve(before.curves)
        compared, tallied = packing.unpack_signals(before.signals, n_bars=len(times))
        kept = np.frombuffer(before.divergences, DIVERGENCE)
        return cls(
            compared[: np.searchsorted(times, limit, side="right")],
            tallied[tallied["time"] <= limit],
            kept[kept["time"] <= limit],
            before.signals_to,
            np.frombuffer(before.sides, np.int8),
        )


def _kept(account: Account) -> Shadow | None:
    """Return the shadow whose comparison need not be made again, unless bars have changed."""
    found: Shadow | None = getattr(account, "shadow", None)
    if found is None or found.version_id != version_of(account).pk or found.signals_to is None:
        return None
    # A revision of 0 says that bars were restated.
    return found if found.revision else None


def _since(account: Account) -> datetime:
    before = _kept(account)
    return (before.signals_to if before is not None else None) or _BEGINNING


def _given(parts: list[tuple[Any, ...]]) -> GivenSignals:
    columns = [
        (
            np.full(len(blocks[0]) // 8, asset),
            binary_times(blocks[0]),
            binary_times(blocks[1]),
            *(np.frombuffer(block, ">i2").astype(np.int64) for block in blocks[2:5]),
            *(np.frombuffer(block, ">f8").astype(np.float64) for block in blocks[5:]),
        )
        for asset, blocks in parts
    ]
    if not columns:
        whole, real = np.empty(0, np.int64), np.empty(0)
        return GivenSignals(whole, whole, whole, whole, whole, whole, real, real)
    parts_of: list[Any] = [np.concatenate(part) for part in zip(*columns, strict=True)]
    return GivenSignals(*parts_of)


def _reach(market: LiveMarket, found: DivergenceArray) -> IntArray:
    history = np.asarray(market.history.index.as_unit("us").asi8, np.int64)
    return history[np.searchsorted(market.times, found["time"])]


def _asked(unexplained: Sequence[Followed]) -> Iterator[tuple[Any, ...]]:
    held: dict[str, dict[str, Any]] = {}
    for timeframe in {one.account.strategy.timeframe for one in unexplained}:
        group = [one for one in unexplained if one.account.strategy.timeframe == timeframe]
        symbols = {name for one in group for name in version_of(one.account).symbols}
        held[timeframe] = live_series(symbols, timeframe)
    for one in unexplained:
        series = held[one.account.strategy.timeframe]
        since = moment_of(int(one.reach.min()))
        until = moment_of(int(one.found["time"].max()))
        given = one.found["given_at"].min()
        if given == NEVER:
            continue
        for asset, symbol in enumerate(version_of(one.account).symbols):
            if symbol in series:
                yield one.account.pk, asset, series[symbol].pk, since, until, moment_of(int(given))


def _entry(record: Any, symbols: Sequence[str]) -> DivergenceEntry:
    def strength(name: str) -> float | None:
        value = float(record[name])
        return None if np.isnan(value) else value

    live_strength, again_strength = strength("live_strength"), strength("again_strength")
    return DivergenceEntry(
        time=moment_of(int(record["time"])),
        symbol=symbols[int(record["asset"])],
        kind=Kind(int(record["kind"])).name.lower(),
        live="" if live_strength is None else TYPE_WORDS[int(record["live"])],
        again="" if again_strength is None else TYPE_WORDS[int(record["again"])],
        live_strength=live_strength,
        again_strength=again_strength,
        reason=Reason(int(record["reason"])).name.lower(),
    )
