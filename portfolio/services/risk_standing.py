"""How far accounts and portfolios are below their peaks, and what the session brought, in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from math import expm1
from typing import Any
from uuid import UUID

from django.db import connection

from alphastrat.core.money import to_decimal

RETURN_PLACES = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account or portfolio stands at its newest mark; losses are negative."""

    marked_at: datetime | None = None
    drawdown: Decimal | None = None
    day_return: Decimal | None = None
    total_return: Decimal | None = None


UNKNOWN = Standing()

# A bar that closes at midnight belongs to the session that ends.
_ACCOUNTS = """
    WITH wealth AS (
        SELECT account_id, marked_at,
            sum(ln(greatest(1 + bar_return, 1e-12)))
                OVER (PARTITION BY account_id ORDER BY marked_at) AS level,
            ln(greatest(1 + bar_return, 1e-12)) AS growth,
            (marked_at - interval '1 microsecond')::date AS day,
            (max(marked_at) OVER (PARTITION BY account_id) - interval '1 microsecond')::date
                AS last_day
        FROM portfolio_equitypoint
        WHERE account_id = ANY(%s) AND bar_return IS NOT NULL
    )
    SELECT account_id, max(marked_at), greatest(max(level), 0),
        (array_agg(level ORDER BY marked_at DESC))[1],
        sum(growth) FILTER (WHERE day = last_day)
    FROM wealth GROUP BY account_id
"""

# Profit and loss of every mark of every account, summed by day and portfolio. What moves between
# an account and the reserve stays in the portfolio; it is told apart from capital from outside.
_PORTFOLIOS = """
    WITH belongs AS (
        SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])
            AS b (account_id, portfolio_id, since)
    ), moved AS (
        SELECT m.account_id, sum(m.amount) AS amount,
            (SELECT min(p.marked_at) FROM portfolio_equitypoint p
             WHERE p.account_id = m.account_id AND p.marked_at >= m.moved_at) AS marked_at
        FROM portfolio_cashmovement m JOIN belongs b USING (account_id)
        WHERE m.kind = 'transfer' AND m.moved_at > b.since
        GROUP BY m.account_id, 3
    ), marks AS (
        SELECT b.portfolio_id, (p.marked_at - interval '1 microsecond')::date AS day, p.marked_at,
            p.equity - p.net_flow - coalesce(lag(p.equity) OVER w, a.opening_cash) AS pnl,
            p.net_flow - coalesce(moved.amount, 0)
                + CASE WHEN lag(p.equity) OVER w IS NULL THEN a.opening_cash ELSE 0 END AS flow
        FROM portfolio_equitypoint p
        JOIN belongs b USING (account_id)
        JOIN portfolio_account a ON a.id = p.account_id
        LEFT JOIN moved USING (account_id, marked_at)
        WHERE p.marked_at >= b.since
        WINDOW w AS (PARTITION BY p.account_id ORDER BY p.marked_at)
    )
    SELECT portfolio_id, day, max(marked_at), sum(pnl), sum(flow)
    FROM marks GROUP BY portfolio_id, day ORDER BY portfolio_id, day
"""
# What was in the reserve when the history began is what it holds now and what left it since; an
# account that has never been marked is still worth what it was opened with.
_IDLE = """
    SELECT b.portfolio_id, coalesce(sum(moved.amount), 0) + coalesce(sum(a.opening_cash) FILTER (
        WHERE NOT EXISTS (SELECT 1 FROM portfolio_equitypoint p
            WHERE p.account_id = a.id AND p.marked_at >= b.since)), 0)
    FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[]) AS b (account_id, portfolio_id, since)
    JOIN portfolio_account a ON a.id = b.account_id
    LEFT JOIN LATERAL (
        SELECT sum(m.amount) AS amount FROM portfolio_cashmovement m
        WHERE m.account_id = b.account_id AND m.kind = 'transfer' AND m.moved_at > b.since
    ) moved ON true
    GROUP BY b.portfolio_id
"""


@dataclass(frozen=True, slots=True)
class PortfolioDay:
    """One session of a portfolio."""

    day: date
    marked_at: datetime
    pnl: Decimal
    # Capital from outside, or that joined with an account; negative for capital that left.
    net_flow: Decimal


@dataclass(slots=True)
class PortfolioHistory:
    """The sessions of a portfolio, and the capital besides that of its marked accounts."""

    days: list[PortfolioDay] = field(default_factory=list)
    idle: Decimal = Decimal(0)

    def equity(self, *, reserve: Decimal) -> tuple[list[Decimal], list[Decimal]]:
        """Return the equity each session started with, flows included, and ended with.

        `reserve` is what it holds now.
        """
        value = reserve + self.idle
        starts, ends = [], []
        for one in self.days:
            starts.append(value + one.net_flow)
            value += one.net_flow + one.pnl
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


@dataclass(frozen=True, slots=True)
class Membership:
    """An account in a portfolio, and since when its results count there."""

    account_id: UUID
    portfolio_id: UUID
    since: datetime


def standings(account_ids: Iterable[UUID]) -> dict[UUID, Standing]:
    """Return where each account stands; accounts that were never marked are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_ACCOUNTS, [list(account_ids)])
        return {row[0]: _standing(*row[1:]) for row in cursor.fetchall()}


def portfolio_days(members: Sequence[Membership]) -> dict[UUID, PortfolioHistory]:
    """Return the sessions of each portfolio, oldest first, in two queries."""
    columns: list[Any] = [
        [one.account_id for one in members],
        [one.portfolio_id for one in members],
        [one.since for one in members],
    ]
    found = {one.portfolio_id: PortfolioHistory() for one in members}
    with connection.cursor() as cursor:
        cursor.execute(_PORTFOLIOS, columns)
        for portfolio, *row in cursor.fetchall():
            found[portfolio].days.append(PortfolioDay(*row))
        cursor.execute(_IDLE, columns)
        for portfolio, amount in cursor.fetchall():
            found[portfolio].idle = amount
    return found


def _standing(marked_at: datetime, peak: float, level: float, growth: float) -> Standing:
    return Standing(
        marked_at=marked_at,
        drawdown=to_decimal(min(0.0, expm1(level - peak)), RETURN_PLACES),
        day_return=to_decimal(expm1(growth), RETURN_PLACES),
        total_return=to_decimal(expm1(level), RETURN_PLACES),
    )
