"""Which accounts count in which portfolios, and from when until when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection
from django.db.models import Max

from portfolio.models import (
    Account,
    CashMovement,
    EquityPoint,
    FormerMember,
    Portfolio,
    PortfolioMember,
)

INSTANT = timedelta(microseconds=1)

_MEMBERSHIPS = """
    WITH stays AS (
        SELECT portfolio_id, strategy_id, counts_from, NULL::timestamptz AS counts_until,
            NULL::timestamptz AS left_at
        FROM portfolio_portfoliomember WHERE portfolio_id = ANY(%(portfolios)s)
        UNION ALL
        SELECT portfolio_id, strategy_id, counts_from, counts_until, left_at
        FROM portfolio_formermember WHERE portfolio_id = ANY(%(portfolios)s)
    )
    SELECT a.id, stays.portfolio_id, strategy_id, s.name, a.opening_cash, counts_from,
        least(counts_until, a.closed_at), left_at
    FROM stays JOIN portfolio_account a USING (strategy_id) JOIN strategies s ON s.id = strategy_id
    ORDER BY s.name, left_at, a.opened_at, a.id
"""


@dataclass(frozen=True, slots=True)
class Membership:
    """An account's stay in a portfolio, by the market's time, which in a replay is long past.

    Marks after `since` and up to `until` count; None is from its opening, and until now.
    """

    account_id: UUID
    portfolio_id: UUID
    strategy_id: UUID
    strategy_name: str
    opening_cash: Decimal
    since: datetime | None = None
    until: datetime | None = None
    # When the strategy left, by the clock; None while it is a member.
    left_at: datetime | None = None


def load_memberships(portfolio_ids: Iterable[UUID]) -> list[Membership]:
    """Return every stay of an account in these portfolios, those that are over included."""
    with connection.cursor() as cursor:
        cursor.execute(_MEMBERSHIPS, {"portfolios": list(portfolio_ids)})
        return [Membership(*row) for row in cursor.fetchall()]


def has_history(portfolio: Portfolio) -> bool:
    """Say whether the portfolio has sessions that a newcomer's past must not change."""
    return (
        portfolio.former_members.exists()
        or EquityPoint.objects.filter(
            account__strategy__portfolio_members__portfolio=portfolio
        ).exists()
    )


def counted_from(strategy_ids: Collection[UUID], *, with_past: bool) -> dict[UUID, datetime | None]:
    """Return from which mark on strategies count that join a portfolio.

    `with_past` counts them from the opening of the account they trade in, as those a portfolio
    begins with. What counted in another portfolio before never counts a second time.
    """
    accounts: dict[UUID, Account] = {}
    for account in Account.objects.filter(strategy__in=strategy_ids).order_by("opened_at"):
        accounts[account.strategy_id] = account
    counted: dict[UUID, datetime] = dict(
        FormerMember.objects.filter(strategy__in=strategy_ids)
        .values("strategy")
        .annotate(last=Max("counts_until"))
        .values_list("strategy", "last")
    )
    found: dict[UUID, datetime | None] = dict.fromkeys(strategy_ids)
    for key, account in accounts.items():
        known = [counted[key]] if key in counted else []
        found[key] = max([_start(account, with_past=with_past), *known])
    return found


def join(members: Collection[PortfolioMember], *, with_past: bool, at: datetime) -> None:
    """Let strategies that are not stored yet become members from now on."""
    starts = counted_from({one.strategy_id for one in members}, with_past=with_past)
    for one in members:
        one.added_at, one.counts_from = at, starts[one.strategy_id]
        one.save()


def leave(members: Collection[PortfolioMember], *, at: datetime) -> None:
    """Let members leave; what they did until now stays the portfolio's."""
    remember(members, at=at)
    PortfolioMember.objects.filter(pk__in=[one.pk for one in members]).delete()


def remember(leaving: Iterable[PortfolioMember], *, at: datetime) -> None:
    """Keep the stays of members that leave, up to the newest mark or movement of their accounts.

    One that never had an account leaves nothing behind.
    """
    members = list(leaving)
    ids = [one.strategy_id for one in members]
    accounts: dict[UUID, list[datetime]] = defaultdict(list)
    for account in Account.objects.filter(strategy__in=ids):
        accounts[account.strategy_id].append(account.marked_to or account.opened_at)
    moved = CashMovement.objects.filter(account__strategy__in=ids).values("account__strategy")
    for key, last in moved.annotate(last=Max("moved_at")).values_list("account__strategy", "last"):
        accounts[key].append(last)
    FormerMember.objects.bulk_create(
        FormerMember(
            portfolio_id=one.portfolio_id,
            strategy_id=one.strategy_id,
            group=one.group,
            added_at=one.added_at,
            left_at=at,
            counts_from=one.counts_from,
            counts_until=max([*accounts[one.strategy_id], *_known(one.counts_from)]),
        )
        for one in members
        if one.strategy_id in accounts
    )


def _start(account: Account, *, with_past: bool) -> datetime:
    if account.closed_at is not None:
        return account.closed_at
    opening = account.opened_at - INSTANT
    return opening if with_past else account.marked_to or opening


def _known(at: datetime | None) -> list[datetime]:
    return [] if at is None else [at]
