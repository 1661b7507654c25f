"""What a portfolio earned: by session, by strategy, realised or not, to the last digit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection
from django.urls import reverse

from alphastrat.quant.measures import measure_all
from alphastrat.quant.types import FloatArray
from portfolio.models import Portfolio
from portfolio.quant.attribution import Attribution, StrategyResult, attribute
from portfolio.quant.benchmark_returns import same_capital
from portfolio.services import benchmarks
from portfolio.services.account_marks import AccountMarks, load_marks
from portfolio.services.benchmarks import Benchmark
from portfolio.services.memberships import Membership, load_memberships
from portfolio.services.risk_standing import PortfolioHistory, histories

DAYS_PER_YEAR = 252.0
ZERO = Decimal(0)
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
SHOWN = ("total_return", "annual_return", "volatility", "sharpe_ratio", "max_drawdown")
AGAINST = ("beta", "alpha", "tracking_error", "information_ratio")
FAR = datetime(9999, 1, 1, tzinfo=UTC)
_ENDS = """
    SELECT before.equity, before.realised, before.unrealised, before.commission,
        after.equity, after.realised, after.unrealised, after.commission, flows.amount
    FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[])
        WITH ORDINALITY AS asked (account_id, since, until, place)
    LEFT JOIN LATERAL (
        SELECT equity, realised, unrealised, commission FROM portfolio_equitypoint p
        WHERE p.account_id = asked.account_id AND p.marked_at <= asked.since
        ORDER BY p.marked_at DESC LIMIT 1
    ) before ON true
    LEFT JOIN LATERAL (
        SELECT equity, realised, unrealised, commission FROM portfolio_equitypoint p
        WHERE p.account_id = asked.account_id
            AND p.marked_at > asked.since AND p.marked_at <= asked.until
        ORDER BY p.marked_at DESC LIMIT 1
    ) after ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(net_flow), 0) AS amount FROM portfolio_equitypoint p
        WHERE p.account_id = asked.account_id
            AND p.marked_at > asked.since AND p.marked_at <= asked.until
    ) flows
    ORDER BY asked.place
"""


class Period(StrEnum):
    """How far an attribution looks back."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"
    ALL = "all"

    @property
    def label(self) -> str:
        return {"day": "Last session", "month": "This month", "year": "This year"}.get(
            self.value, "Since the beginning"
        )

    def first_day(self, last: date) -> date:
        """Return the first session that counts, given the newest one."""
        starts = {
            Period.DAY: last,
            Period.MONTH: last.replace(day=1),
            Period.YEAR: last.replace(month=1, day=1),
        }
        return starts.get(self, date.min)


@dataclass(frozen=True, slots=True)
class Totals:
    """What an account was worth at a mark, and what it had made until then."""

    equity: Decimal
    realised: Decimal
    unrealised: Decimal
    commission: Decimal


@dataclass(frozen=True, slots=True)
class Stay:
    """A strategy in a portfolio; `left_at` says that the stay is over."""

    strategy_id: UUID
    name: str
    left_at: datetime | None = None

    @property
    def url(self) -> str:
        return reverse("strategies:strategy-detail", args=[self.strategy_id])


@dataclass(frozen=True, eq=False)
class Performance:
    """A portfolio's sessions, and what is derived from them."""

    portfolio: Portfolio
    memberships: list[Membership]
    history: PortfolioHistory
    benchmark: Benchmark | None = None
    marks: Mapping[UUID, AccountMarks] = field(default_factory=dict)

    @property
    def days(self) -> list[date]:
        return [one.day for one in self.history.days]

    @property
    def last_day(self) -> date | None:
        return self.days[-1] if self.days else None

    @property
    def marked_at(self) -> datetime | None:
        return self.history.days[-1].marked_at if self.history.days else None

    @cached_property
    def returns(self) -> FloatArray:
        return np.array(self.history.returns(reserve=self.portfolio.reserve))

    @cached_property
    def equity(self) -> list[Decimal]:
        return self.history.equity(reserve=self.portfolio.reserve)[1]

    @cached_property
    def drawdowns(self) -> FloatArray:
        wealth = np.cumprod(np.concatenate([[1.0], 1.0 + self.returns]))
        return np.asarray((wealth / np.maximum.accumulate(wealth) - 1.0)[1:])

    @property
    def measures(self) -> dict[str, float | None]:
        """Return the headline numbers of the sessions; None where they are undefined."""
        if len(self.returns) < 2:
            return dict.fromkeys(SHOWN)
        found = measure_all(self.returns, periods_per_year=DAYS_PER_YEAR)
        values = {name: float(found[name]) for name in SHOWN if name in found}
        return {name: value if np.isfinite(value) else None for name, value in values.items()}

    @property
    def against(self) -> dict[str, float | None]:
        """Return the measures against the benchmark, over the sessions both have."""
        if self.benchmark is None or len(self.returns) < 2:
            return dict.fromkeys(AGAINST)
        found = measure_all(
            self.returns, periods_per_year=DAYS_PER_YEAR, benchmark=self.benchmark.returns
        )
        values = {name: float(found[name]) for name in AGAINST if name in found}
        return {name: value if np.isfinite(value) else None for name, value in values.items()}

    @cached_property
    def in_benchmark(self) -> FloatArray | None:
        """Return what the same capital would be worth in the benchmark at each session."""
        if self.benchmark is None:
            return None
        days = self.history.days
        return same_capital(
            float(self.portfolio.reserve + self.history.idle),
            np.array([float(one.net_flow) for one in days]),
            np.array([float(one.after_close) for one in days]),
            self.benchmark.returns,
        )

    def benchmark_return(self, period: Period) -> float | None:
        """Return what the benchmark made in a period; None where no price of it is known."""
        if self.benchmark is None or self.last_day is None:
            return None
        first = period.first_day(self.last_day)
        chosen = self.benchmark.returns[[day >= first for day in self.days]]
        known = chosen[np.isfinite(chosen)]
        return float(np.prod(1.0 + known) - 1.0) if known.size else None

    def stays_in(self, period: Period) -> list[tuple[Membership, datetime]]:
        """Return the stays that reach into a period, and after which mark each counts there."""
        last = self.last_day
        since = BEGINNING if last is None else _start(period.first_day(last))
        return [
            (one, max(since, one.since or BEGINNING))
            for one in self.memberships
            if one.until is None or one.until > since
        ]

    def pnl(self, period: Period) -> Decimal:
        """Return the profit and loss of a period."""
        if self.last_day is None:
            return ZERO
        first = period.first_day(self.last_day)
        return sum((one.pnl for one in self.history.days if one.day >= first), ZERO)

    def period_return(self, period: Period) -> float | None:
        """Return the compounded return of a period."""
        if self.last_day is None:
            return None
        first = period.first_day(self.last_day)
        chosen = [r for r, day in zip(self.returns, self.days, strict=True) if day >= first]
        return float(np.prod(1.0 + np.array(chosen)) - 1.0)


def load_performance(portfolio: Portfolio, *, benchmark: str = benchmarks.NONE) -> Performance:
    """Read a portfolio's sessions, those of former members included, in three queries.

    A benchmark takes two more.
    """
    stays = load_memberships([portfolio.pk])
    marks = load_marks({one.account_id for one in stays})
    history = histories(stays, marks).get(portfolio.pk, PortfolioHistory())
    days = [one.day for one in history.days]
    until = history.days[-1].marked_at if history.days else None
    against = benchmarks.load(portfolio, benchmark, days, until=until)
    return Performance(portfolio, stays, history, against, marks)


def attribution(performance: Performance, period: Period) -> Attribution[Stay]:
    """Return what each strategy brought in a period, in one query.

    One that left before the period is left out; one that came back has a line for each stay.
    """
    asked = performance.stays_in(period)
    parts: dict[Stay, list[StrategyResult[Stay]]] = defaultdict(list)
    for (member, _), (before, after, flow) in zip(asked, _ends(asked), strict=True):
        if after is None and member.until is not None:
            continue
        stay = Stay(member.strategy_id, member.strategy_name, member.left_at)
        parts[stay].append(_result(stay, member, before, after, flow=flow))
    return attribute([_together(stay, results) for stay, results in parts.items()])


def _start(first: date) -> datetime:
    """Return the instant after which a mark belongs to a session or a later one."""
    # A bar that closes at midnight belongs to the session that ends.
    return BEGINNING if first == date.min else datetime.combine(first, time(), UTC)


def _ends(
    asked: Sequence[tuple[Membership, datetime]],
) -> list[tuple[Totals | None, Totals | None, Decimal]]:
    """Return the newest mark before each period and in it, and the capital that came in it."""
    columns: list[list[Any]] = [
        [member.account_id for member, _ in asked],
        [since for _, since in asked],
        [member.until or FAR for member, _ in asked],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_ENDS, columns)
        rows = cursor.fetchall()
    return [(_totals(row[:4]), _totals(row[4:8]), row[8]) for row in rows]


def _totals(row: Sequence[Any]) -> Totals | None:
    return None if row[0] is None else Totals(*row)


def _result(
    stay: Stay, member: Membership, before: Totals | None, after: Totals | None, *, flow: Decimal
) -> StrategyResult[Stay]:
    start = before or Totals(member.opening_cash, ZERO, ZERO, ZERO)
    end = after or start
    return StrategyResult(
        key=stay,
        opening=start.equity,
        closing=end.equity,
        net_flow=flow,
        realised=end.realised - start.realised,
        unrealised=end.unrealised - start.unrealised,
        commission=end.commission - start.commission,
    )


def _together(stay: Stay, parts: Sequence[StrategyResult[Stay]]) -> StrategyResult[Stay]:
    """Return what the accounts of one stay brought together."""
    sums = {
        name: sum((getattr(part, name) for part in parts), ZERO)
        for name in ("opening", "closing", "net_flow", "realised", "unrealised", "commission")
    }
    return StrategyResult(key=stay, **sums)
