"""How far accounts and portfolios are below their peaks, and what the session brought, in bulk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from math import expm1
from uuid import UUID

import numpy as np
from django.db import connection

from alphastrat.core.money import to_decimal
from alphastrat.quant.types import IntArray
from portfolio.services.account_marks import (
    AccountMarks,
    ExactArray,
    day_of,
    exact,
    load_marks,
    moment,
    money,
    total_by,
    units,
)
from portfolio.services.memberships import Membership, load_memberships

RETURN_PLACES = 8
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account or portfolio stands at its newest mark; losses are negative."""

    marked_at: datetime | None = None
    drawdown: Decimal | None = None
    day_return: Decimal | None = None
    total_return: Decimal | None = None


UNKNOWN = Standing()

_TRANSFERS = """
    SELECT account_id, moved_at, amount FROM portfolio_cashmovement
    WHERE kind = 'transfer' AND account_id = ANY(%s)
"""

Transfers = dict[UUID, list[tuple[datetime, Decimal]]]


@dataclass(frozen=True, slots=True)
class PortfolioDay:
    """One session of a portfolio."""

    day: date
    marked_at: datetime
    pnl: Decimal
    # Capital that came before it, from outside or with an account; negative for what was taken.
    net_flow: Decimal
    # Capital that left after its close with an account, negative; or has come with a new one.
    after_close: Decimal = ZERO

    @property
    def capital(self) -> Decimal:
        """Return the capital that came or left around the session."""
        return self.net_flow + self.after_close


@dataclass(slots=True)
class PortfolioHistory:
    """The sessions of a portfolio, and the capital besides that of its marked accounts."""

    days: list[PortfolioDay] = field(default_factory=list)
    idle: Decimal = ZERO

    def equity(self, *, reserve: Decimal) -> tuple[list[Decimal], list[Decimal]]:
        """Return the equity each session started with, flows included, and ended with.

        `reserve` is what it holds now.
        """
        value = reserve + self.idle
        starts, ends = [], []
        for one in self.days:
            starts.append(value + one.net_flow)
            value += one.net_flow + one.pnl + one.after_close
            ends.append(value)
        return starts, ends

    def returns(self, *, reserve: Decimal) -> list[float]:
        """Return the return of each session; 0 while there is no capital."""
        starts, _ = self.equity(reserve=reserve)
        return [
            float(one.pnl / start) if start > 0 else 0.0
            for one, start in zip(self.days, starts, strict=True)
        ]

    def standing(self, *, reserve: Decimal) -> Standing:
        """Return where the portfolio stands after its sessions."""
        if not self.days:
            return UNKNOWN
        wealth, peak, last = 1.0, 1.0, 0.0
        for last in self.returns(reserve=reserve):
            wealth *= max(1.0 + last, 0.0)
            peak = max(peak, wealth)
        return Standing(
            marked_at=self.days[-1].marked_at,
            drawdown=to_decimal(wealth / peak - 1.0, RETURN_PLACES),
            day_return=to_decimal(last, RETURN_PLACES),
            total_return=to_decimal(wealth - 1.0, RETURN_PLACES),
        )


def standings(marks: Mapping[UUID, AccountMarks]) -> dict[UUID, Standing]:
    """Return where each account stands; accounts without a return yet are left out."""
    found = {key: _standing(one) for key, one in marks.items()}
    return {key: standing for key, standing in found.items() if standing is not None}


def portfolio_history(portfolio_id: UUID) -> PortfolioHistory:
    """Return the sessions of one portfolio, in three queries."""
    members = load_memberships([portfolio_id])
    marks = load_marks({one.account_id for one in members})
    return histories(members, marks).get(portfolio_id, PortfolioHistory())


def histories(
    members: Sequence[Membership], marks: Mapping[UUID, AccountMarks]
) -> dict[UUID, PortfolioHistory]:
    """Return the sessions of each portfolio, oldest first, in one query.

    What moves between an account and the reserve stays in the portfolio; it is told apart from
    capital from outside. The reserve at the beginning is what it holds now and what left it since.
    """
    transfers = _transfers({one.account_id for one in members})
    by_portfolio: dict[UUID, list[Membership]] = defaultdict(list)
    for one in members:
        by_portfolio[one.portfolio_id].append(one)
    return {key: _history(ours, marks, transfers) for key, ours in by_portfolio.items()}


@dataclass(frozen=True, slots=True)
class _Part:
    """What one stay of an account brought a portfolio, mark by mark."""

    closed: IntArray
    sessions: IntArray
    pnl: ExactArray
    flow: ExactArray
    # Capital that was there at the end and has left, or that no mark has seen yet.
    left: int
    unseen: int
    transferred: int


def _history(
    members: Sequence[Membership], marks: Mapping[UUID, AccountMarks], transfers: Transfers
) -> PortfolioHistory:
    found = [_part(one, marks.get(one.account_id), transfers) for one in members]
    history = PortfolioHistory(idle=money(sum(part.transferred for part in found)))
    unseen = money(sum(part.unseen for part in found))
    marked = [part for part in found if len(part.closed)]
    if not marked:
        history.idle += unseen
        return history
    days, place = np.unique(np.concatenate([part.sessions for part in marked]), return_inverse=True)
    pnl, flow = (
        total_by(place, len(days), np.concatenate([getattr(part, name) for part in marked]))
        for name in ("pnl", "flow")
    )
    newest = np.zeros(len(days), dtype=np.int64)
    np.maximum.at(newest, place, np.concatenate([part.closed for part in marked]))
    after: dict[int, int] = defaultdict(int)
    for part in marked:
        after[int(part.sessions[-1])] -= part.left
    history.days = [
        PortfolioDay(day_of(day), moment(at), money(p), money(f), money(after.get(int(day), 0)))
        for day, at, p, f in zip(days, newest, pnl, flow, strict=True)
    ]
    last = history.days[-1]
    history.days[-1] = replace(last, after_close=last.after_close + unseen)
    return history


def _part(member: Membership, marks: AccountMarks | None, transfers: Transfers) -> _Part:
    moved = [
        (at, units(amount))
        for at, amount in transfers.get(member.account_id, ())
        if (member.since is None or at > member.since)
        and (member.until is None or at <= member.until)
    ]
    transferred = sum(amount for _, amount in moved)
    opening = units(member.opening_cash)
    begin = 0 if marks is None else marks.before(member.since)
    end = begin if marks is None else max(begin, _end(member, marks))
    base = opening if marks is None or not begin else int(marks.equity[begin - 1])
    if marks is None or begin == end:
        none = np.zeros(0, dtype=np.int64)
        unseen = base if member.until is None else -transferred
        return _Part(none, none, none, none, left=0, unseen=unseen, transferred=transferred)
    equity, flow = marks.equity[begin:end], marks.flow[begin:end]
    flow = flow.astype(np.result_type(equity, flow), copy=True)
    pnl = np.diff(equity, prepend=exact([base])) - flow
    flow[0] += base
    pending = 0
    for at, amount in moved:
        place = marks.first_after(at) - begin
        if place < len(flow):
            flow[place] -= amount
        else:
            pending += amount
    left = 0 if member.until is None else int(equity[-1]) + pending
    chosen = slice(begin, end)
    return _Part(
        marks.closed[chosen],
        marks.sessions[chosen],
        pnl,
        flow,
        left=left,
        unseen=0,
        transferred=transferred,
    )


def _end(member: Membership, marks: AccountMarks) -> int:
    return len(marks.closed) if member.until is None else marks.before(member.until)


def _transfers(account_ids: Iterable[UUID]) -> Transfers:
    found: Transfers = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_TRANSFERS, [list(account_ids)])
        for account, moved_at, amount in cursor.fetchall():
            found[account].append((moved_at, amount))
    return found


def _standing(marks: AccountMarks) -> Standing | None:
    known = np.isfinite(marks.growth)
    if not known.any():
        return None
    growth, sessions = marks.growth[known], marks.sessions[known]
    level = np.cumsum(growth)
    last, peak = float(level[-1]), max(float(level.max()), 0.0)
    return Standing(
        marked_at=moment(marks.closed[known][-1]),
        drawdown=to_decimal(min(0.0, expm1(last - peak)), RETURN_PLACES),
        day_return=to_decimal(expm1(float(growth[sessions == sessions[-1]].sum())), RETURN_PLACES),
        total_return=to_decimal(expm1(last), RETURN_PLACES),
    )
