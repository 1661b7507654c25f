"""What a portfolio earned: by session, by strategy, realised or not, to the last digit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from uuid import UUID

import numpy as np
from django.db.models import Sum

from alphastrat.quant.measures import measure_all
from alphastrat.quant.types import FloatArray
from portfolio.models import Account, EquityPoint, Portfolio, PortfolioMember
from portfolio.quant.attribution import Attribution, StrategyResult, attribute
from portfolio.services.risk_facts import joined, memberships
from portfolio.services.risk_standing import PortfolioHistory, portfolio_days

DAYS_PER_YEAR = 252.0
ZERO = Decimal(0)
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
SHOWN = ("total_return", "annual_return", "volatility", "sharpe_ratio", "max_drawdown")
_COLUMNS = ("account_id", "marked_at", "equity", "realised", "unrealised", "commission")


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


@dataclass(frozen=True, eq=False)
class Performance:
    """A portfolio's sessions, and what is derived from them."""

    portfolio: Portfolio
    members: list[PortfolioMember]
    accounts: list[Account]
    history: PortfolioHistory

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


def load_performance(portfolio: Portfolio) -> Performance:
    """Read a portfolio's sessions, in four queries."""
    members = list(portfolio.members.select_related("strategy"))
    accounts = list(
        Account.objects.open().filter(strategy__in=[one.strategy_id for one in members])
    )
    found = portfolio_days(memberships(accounts, members))
    history = found.get(portfolio.pk, PortfolioHistory())
    return Performance(portfolio, members, accounts, history)


def attribution(performance: Performance, period: Period) -> Attribution[PortfolioMember]:
    """Return what each strategy brought in a period, in three queries."""
    last = performance.last_day
    since = BEGINNING if last is None else _start(period.first_day(last))
    members = {one.strategy_id: one for one in performance.members}
    started = {
        one.pk: max(since, joined(one, members[one.strategy_id])) for one in performance.accounts
    }
    before = _newest(started, since=since, is_before=True)
    after = _newest(started, since=since, is_before=False)
    flows = _flows(started, since=since)
    return attribute(
        [
            _result(
                members[account.strategy_id],
                account,
                before.get(account.pk),
                after.get(account.pk),
                flow=flows[account.pk],
            )
            for account in performance.accounts
        ]
    )


def _start(first: date) -> datetime:
    """Return the instant after which a mark belongs to a session or a later one."""
    if first == date.min:
        return BEGINNING
    # A bar that closes at midnight belongs to the session that ends.
    return datetime.combine(first, time(), UTC) + timedelta(microseconds=1)


def _newest(
    accounts: dict[UUID, datetime], *, since: datetime, is_before: bool
) -> dict[UUID, dict[str, Decimal]]:
    points = EquityPoint.objects.filter(account__in=accounts)
    side = {"marked_at__lt": since} if is_before else {"marked_at__gte": since}
    newest = points.filter(**side).order_by("account_id", "-marked_at").distinct("account_id")
    rows = newest.values(*_COLUMNS)
    return {row["account_id"]: row for row in rows}


def _flows(accounts: dict[UUID, datetime], *, since: datetime) -> dict[UUID, Decimal]:
    rows = (
        EquityPoint.objects.filter(account__in=accounts, marked_at__gte=since)
        .values("account_id")
        .annotate(flow=Sum("net_flow"))
    )
    found: dict[UUID, Decimal] = defaultdict(Decimal)
    found.update({row["account_id"]: row["flow"] for row in rows})
    return found


def _result(
    member: PortfolioMember,
    account: Account,
    before: dict[str, Decimal] | None,
    after: dict[str, Decimal] | None,
    *,
    flow: Decimal,
) -> StrategyResult[PortfolioMember]:
    opening = account.opening_cash if before is None else before["equity"]
    end = after or before

    def change(name: str) -> Decimal:
        start = ZERO if before is None else before[name]
        return (ZERO if end is None else end[name]) - start

    return StrategyResult(
        key=member,
        opening=opening,
        closing=opening if end is None else end["equity"],
        net_flow=flow,
        realised=change("realised"),
        unrealised=change("unrealised"),
        commission=change("commission"),
    )
