"""What accounts earned and filled, and what that is held against: read once, then what is new.

A bar that closes for a thousand strategies adds a point to each; their years before it need not be
read again. What an account's own row says is trusted: its `revision` grows with every change, and
`past_revision` with every one that is more than an addition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from alphastrat.core.moments import microseconds
from monitoring.services import packing
from monitoring.services.binary import EPOCH_US, binary_rows, moment_of

RecordArray = npt.NDArray[np.void]
POINT = np.dtype([("time", "<i8"), ("bar_return", "<f8"), ("equity", "<f8"), ("exposure", "<f8")])
FILL = np.dtype(
    [("asset", "<i8"), ("time", "<i8"), ("quantity", "<f8"), ("price", "<f8"), ("fee", "<f8")]
)
_NO_POINTS, _NO_FILLS = np.empty(0, POINT), np.empty(0, FILL)
# The same as they are sent: in the byte order of the network, an instrument by its key.
_POINT_SENT = POINT.newbyteorder(">")
_FILL_SENT = np.dtype(
    [("asset", "V16"), ("time", ">i8"), ("quantity", ">f8"), ("price", ">f8"), ("fee", ">f8")]
)

# One look into the index for each account: the cost is that of what is read, not of the table.
_POINTS = """
    SELECT w.account_id, found.points
    FROM unnest(%(accounts)s::uuid[], %(since)s::timestamptz[]) AS w (account_id, since)
    CROSS JOIN LATERAL (
        SELECT string_agg(timestamptz_send(p.marked_at)
            || float8send(coalesce(p.bar_return, 'NaN')) || float8send(p.equity::float8)
            || float8send(p.gross_exposure), '' ORDER BY p.marked_at) AS points
        FROM portfolio_equitypoint p
        WHERE p.account_id = w.account_id AND p.marked_at >= w.since AND p.marked_at <= %(at)s
    ) found WHERE found.points IS NOT NULL
"""
# Without the fills that a later row corrects.
_FILLS = """
    SELECT w.account_id, found.fills
    FROM unnest(%(accounts)s::uuid[], %(since)s::timestamptz[]) AS w (account_id, since)
    CROSS JOIN LATERAL (
        SELECT string_agg(uuid_send(f.instrument_id) || timestamptz_send(f.filled_at)
            || float8send(CASE f.side WHEN 'buy' THEN f.quantity ELSE -f.quantity END::float8)
            || float8send(f.price::float8) || float8send(f.commission::float8),
            '' ORDER BY f.filled_at, f.recorded_at, f.id) AS fills
        FROM portfolio_fill f
        WHERE f.account_id = w.account_id AND f.filled_at >= coalesce(w.since, '-infinity')
            AND f.filled_at <= %(at)s AND NOT f.is_cancelled
            AND NOT EXISTS (SELECT FROM portfolio_fill c WHERE c.corrects_id = f.id)
    ) found WHERE found.fills IS NOT NULL
"""
_ENVELOPES = "SELECT id, envelope FROM monitoring_expectation WHERE id = ANY(%(ids)s::uuid[])"
_SHADOWS = """
    SELECT account_id, computed_at, curves, matched, signals FROM monitoring_shadow
    WHERE account_id = ANY(%(ids)s::uuid[])
"""


class Wanted(NamedTuple):
    """A strategy as its row is now, with its account, and since when its points are looked at."""

    strategy_id: UUID
    account_id: UUID | None
    revision: int
    past_revision: int
    since: datetime
    bar: timedelta
    expectation_id: UUID | None
    shadow_at: datetime | None


class ShadowBlocks(NamedTuple):
    """What is stored of an account's shadow, packed."""

    computed_at: datetime
    curves: bytes
    matched: bytes
    signals: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What one account earned since `since`, and all its fills, at a revision of the account."""

    account_id: UUID
    revision: int
    since: datetime
    points: RecordArray
    fills: RecordArray

    @property
    def marked_to(self) -> datetime | None:
        """Close of the newest point; None without any."""
        return moment_of(self.points["time"][-1]) if len(self.points) else None

    def is_right_for(self, wanted: Wanted) -> bool:
        """Say whether nothing but what came after it is missing."""
        return (
            self.account_id == wanted.account_id
            and self.revision >= wanted.past_revision
            and self.since <= wanted.since
            and len(self.points) > 0
        )


@dataclass(slots=True, eq=False)
class Known:
    """What is known of one strategy: its account's series and shadow, and its expectation."""

    series: Series | None = None
    shadow: ShadowBlocks | None = None
    expectation_id: UUID | None = None
    envelope: bytes | None = None


@dataclass(slots=True, eq=False)
class Memory:
    """What was read so far. It can be lost at any time, and what it holds is then read again."""

    _known: dict[UUID, Known] = field(default_factory=dict)
    _assets: dict[bytes, int] = field(default_factory=dict)
    _unpacked: tuple[list[UUID | None], packing.Unpacked] | None = None
    # The observations that were put together last, and what they were put together from.
    assembled: tuple[Any, Any] | None = None

    def forget(self, strategy_ids: Iterable[UUID]) -> None:
        """Read these strategies from the beginning next time."""
        for one in strategy_ids:
            self._known.pop(one, None)
        self.assembled = None

    def keep(self, strategy_ids: Collection[UUID]) -> None:
        """Forget all others for good."""
        self._known = {key: one for key, one in self._known.items() if key in strategy_ids}

    def read(self, wanted: Sequence[Wanted], *, at: datetime) -> list[Known]:
        """Return what is known of each strategy; only what is not known yet is read."""
        held = [(self._known.setdefault(one.strategy_id, Known()), one) for one in wanted]
        self._read_series(held, at=at)
        self._read_shadows(held)
        self._read_envelopes(held)
        return [known for known, _ in held]

    def unpacked(self, known: Sequence[Known]) -> packing.Unpacked:
        """Return the expectations of strategies as arrays: a frozen one never changes."""
        keys = [one.expectation_id for one in known]
        if self._unpacked is None or self._unpacked[0] != keys:
            self._unpacked = (keys, packing.unpack_many([one.envelope for one in known]))
        return self._unpacked[1]

    def _read_series(self, held: Sequence[tuple[Known, Wanted]], *, at: datetime) -> None:
        """Read new points and fills; the newest point may have been written again since."""
        asked: list[tuple[Known, Wanted, Series, datetime | None]] = []
        for known, one in held:
            if one.account_id is None:
                known.series = None
                continue
            before = known.series
            if before is None or not before.is_right_for(one):
                before = Series(one.account_id, 0, one.since, _NO_POINTS, _NO_FILLS)
            elif before.revision == one.revision:
                continue
            asked.append((known, one, before, before.marked_to))
        if not asked:
            return
        accounts = [one.account_id for _, one, _, _ in asked]
        since = [newest or one.since for _, one, _, newest in asked]
        # A bar is filled at its open, which may lie before the close of another one.
        filled = [newest and newest - one.bar for _, one, _, newest in asked]
        points = binary_rows(_POINTS, {"accounts": accounts, "since": since, "at": at})
        fills = binary_rows(_FILLS, {"accounts": accounts, "since": filled, "at": at})
        fresh_points = self._records(points, _POINT_SENT, POINT)
        fresh_fills = self._records(fills, _FILL_SENT, FILL)
        for (known, one, before, _), marked, traded in zip(asked, since, filled, strict=True):
            account = before.account_id
            known.series = Series(
                account,
                one.revision,
                before.since,
                _joined(before.points, fresh_points.get(account), marked),
                _joined(before.fills, fresh_fills.get(account), traded),
            )

    def _read_shadows(self, held: Sequence[tuple[Known, Wanted]]) -> None:
        stale = {}
        for known, one in held:
            if one.shadow_at is None:
                known.shadow = None
            elif known.shadow is None or known.shadow.computed_at != one.shadow_at:
                stale[one.account_id] = known
        if stale:
            for account, *blocks in binary_rows(_SHADOWS, {"ids": list(stale)}):
                stale[account].shadow = ShadowBlocks(*blocks)

    def _read_envelopes(self, held: Sequence[tuple[Known, Wanted]]) -> None:
        stale = {}
        for known, one in held:
            if known.expectation_id != one.expectation_id:
                known.expectation_id, known.envelope = one.expectation_id, None
                if one.expectation_id is not None:
                    stale[one.expectation_id] = known
        if stale:
            for key, block in binary_rows(_ENVELOPES, {"ids": list(stale)}):
                stale[key].envelope = block

    def _records(
        self, rows: Sequence[tuple[UUID, bytes]], sent: np.dtype[Any], kind: np.dtype[Any]
    ) -> dict[UUID, RecordArray]:
        """Return what PostgreSQL sent in the byte order and the epoch of this machine."""
        received = np.frombuffer(b"".join(block for _, block in rows), sent)
        found = np.empty(len(received), kind)
        for name in kind.names or ():
            if name != "asset":
                found[name] = received[name]
        found["time"] += EPOCH_US
        if "asset" in (kind.names or ()):
            codes = self._assets
            keys = received["asset"].tolist()
            found["asset"] = [codes.setdefault(key, len(codes)) for key in keys]
        ends = np.cumsum([len(block) // sent.itemsize for _, block in rows]).tolist()
        return {
            account: found[start:end]
            for (account, _), start, end in zip(rows, [0, *ends], ends, strict=False)
        }


def _joined(known: RecordArray, fresh: RecordArray | None, since: datetime | None) -> RecordArray:
    """Return what is known of before `since`, and what was read from there on."""
    kept = known if since is None else known[: known["time"].searchsorted(microseconds(since))]
    return kept if fresh is None else concatenated([kept, fresh])


def concatenated(parts: Sequence[RecordArray]) -> RecordArray:
    """Return records one after the other; numpy itself would compare their fields every time."""
    (kind,) = {part.dtype for part in parts}
    return np.concatenate([part.view(f"V{kind.itemsize}") for part in parts]).view(kind)
