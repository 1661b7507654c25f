"""What accounts earned and filled, and what that is held against: read once, then what is new.

A bar that closes for a thousand strategies adds a point to each; their years before it need not be
read again. What an account's own row says is trusted: its `revision` grows with every change, and
`past_revision` with every one that is more than an addition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from monitoring.services.binary import EPOCH_US, binary_rows, microseconds, moment_of

RecordArray = npt.NDArray[np.void]
POINT = np.dtype([("time", "<i8"), ("bar_return", "<f8"), ("equity", "<f8"), ("exposure", "<f8")])
FILL = np.dtype(
    [("asset", "<i8"), ("time", "<i8"), ("quantity", "<f8"), ("price", "<f8"), ("fee", "<f8")]
)
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
    """An account as its row is now, since when its points are looked at, and how long a bar is."""

    account_id: UUID
    revision: int
    past_revision: int
    since: datetime
    bar: timedelta


class ShadowBlocks(NamedTuple):
    """What is stored of an account's shadow, packed."""

    computed_at: datetime
    curves: bytes
    matched: bytes
    signals: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What one account earned since `since`, and all its fills, at a revision of the account."""

    revision: int
    since: datetime
    points: RecordArray
    fills: RecordArray

    @property
    def marked_to(self) -> datetime | None:
        """Close of the newest point; None without any."""
        return moment_of(self.points["time"][-1]) if len(self.points) else None


@dataclass(slots=True, eq=False)
class Memory:
    """What was read so far. It can be lost at any time, and what it holds is then read again."""

    _series: dict[UUID, Series] = field(default_factory=dict)
    _envelopes: dict[UUID, tuple[UUID, bytes]] = field(default_factory=dict)
    _shadows: dict[UUID, ShadowBlocks] = field(default_factory=dict)
    _assets: dict[bytes, int] = field(default_factory=dict)
    # The observations that were put together last, and what they were put together from.
    assembled: tuple[Any, Any] | None = None

    def forget(self, account_ids: Iterable[UUID]) -> None:
        """Read these accounts from the beginning next time."""
        for one in account_ids:
            self._series.pop(one, None)
            self._envelopes.pop(one, None)
            self._shadows.pop(one, None)
        self.assembled = None

    def series(self, wanted: Sequence[Wanted], *, at: datetime) -> list[Series]:
        """Return the series of each account, of which only what is not known is read.

        The newest point may have been written again since, so it is read again.
        """
        known = [self._still_right(one) for one in wanted]
        stale = [
            (one, before)
            for one, before in zip(wanted, known, strict=True)
            if before is None or before.revision != one.revision
        ]
        if stale:
            self._read(stale, at=at)
        return [self._series[one.account_id] for one in wanted]

    def envelopes(self, held: Sequence[tuple[UUID | None, UUID | None]]) -> list[bytes | None]:
        """Return packed expectations, given as accounts with keys: a frozen one never changes."""
        known = dict(self._envelopes.values())
        unknown = [key for _, key in held if key is not None and key not in known]
        if unknown:
            known |= dict(binary_rows(_ENVELOPES, {"ids": unknown}))
        for account, key in held:
            if account is not None and key in known:
                self._envelopes[account] = key, known[key]
        return [None if key is None else known.get(key) for _, key in held]

    def shadows(
        self, computed: Sequence[tuple[UUID | None, datetime | None]]
    ) -> list[ShadowBlocks | None]:
        """Return the shadows of accounts, given when each was computed; None for one without."""
        unknown = [
            account
            for account, moment in computed
            if account is not None and moment is not None and not self._is_of(account, moment)
        ]
        if unknown:
            for account, *blocks in binary_rows(_SHADOWS, {"ids": unknown}):
                self._shadows[account] = ShadowBlocks(*blocks)
        return [
            None if account is None or moment is None else self._shadows.get(account)
            for account, moment in computed
        ]

    def _is_of(self, account: UUID, computed_at: datetime) -> bool:
        known = self._shadows.get(account)
        return known is not None and known.computed_at == computed_at

    def _still_right(self, wanted: Wanted) -> Series | None:
        """Return what is known of an account unless its past changed or is looked at further."""
        known = self._series.get(wanted.account_id)
        if known is None or known.marked_to is None:
            return None
        is_changed = known.revision < wanted.past_revision or wanted.since < known.since
        return None if is_changed else known

    def _read(self, stale: Sequence[tuple[Wanted, Series | None]], *, at: datetime) -> None:
        accounts = [one.account_id for one, _ in stale]
        marks = [None if known is None else known.marked_to for _, known in stale]
        since = [mark or one.since for (one, _), mark in zip(stale, marks, strict=True)]
        # A bar is filled at its open, which may lie before the close of another one.
        filled = [mark and mark - one.bar for (one, _), mark in zip(stale, marks, strict=True)]
        points = dict(binary_rows(_POINTS, {"accounts": accounts, "since": since, "at": at}))
        fills = dict(binary_rows(_FILLS, {"accounts": accounts, "since": filled, "at": at}))
        for (one, known), marked, traded in zip(stale, since, filled, strict=True):
            self._series[one.account_id] = Series(
                one.revision,
                one.since if known is None else known.since,
                _joined(known, "points", self._points(points.get(one.account_id)), marked),
                _joined(known, "fills", self._fills(fills.get(one.account_id)), traded),
            )

    def _points(self, block: bytes | None) -> RecordArray:
        return _native(np.frombuffer(block or b"", _POINT_SENT), POINT)

    def _fills(self, block: bytes | None) -> RecordArray:
        sent = np.frombuffer(block or b"", _FILL_SENT)
        found = _native(sent, FILL)
        assets = self._assets
        found["asset"] = [assets.setdefault(key, len(assets)) for key in sent["asset"].tolist()]
        return found


def _native(sent: RecordArray, kind: np.dtype[np.void]) -> RecordArray:
    """Return what PostgreSQL sent in the byte order and the epoch of this machine."""
    found = np.empty(len(sent), kind)
    for name in kind.names or ():
        if name != "asset":
            found[name] = sent[name]
    found["time"] += EPOCH_US
    return found


def _joined(
    known: Series | None, name: str, fresh: RecordArray, since: datetime | None
) -> RecordArray:
    """Return what is known of before `since`, and what was read from there on."""
    if known is None or since is None:
        return fresh
    before: RecordArray = getattr(known, name)
    return np.concatenate([before[: before["time"].searchsorted(microseconds(since))], fresh])
