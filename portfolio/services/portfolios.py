"""Portfolios and their members: made, changed, and given targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from alphastrat.core import live
from alphastrat.core.errors import ConflictError, InvalidInput
from portfolio.models import Portfolio, PortfolioMember
from portfolio.services import memberships
from strategies.models import LifecycleState, Strategy

MAX_MEMBERS = 1000


@dataclass(frozen=True, slots=True)
class MemberDraft:
    """A strategy's place as somebody asks for it."""

    strategy_id: UUID
    group: str = ""
    minimum_weight: float | None = None
    maximum_weight: float | None = None
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PortfolioDraft:
    """A portfolio as somebody asks for it."""

    name: str
    currency: str = "USD"
    reserve: Decimal = Decimal(0)
    members: tuple[MemberDraft, ...] = ()


def create_portfolio(owner: Any, draft: PortfolioDraft, *, at: datetime) -> Portfolio:
    """Make a portfolio with its members.

    Raises InvalidInput naming what is wrong: a name taken, a strategy that is not the owner's,
    has been retired or is in another portfolio.
    """
    _check(owner, draft, own=None)
    try:
        with transaction.atomic():
            portfolio = Portfolio.objects.create(
                owner=owner, name=draft.name, currency=draft.currency, reserve=draft.reserve
            )
            _set_members(portfolio, draft.members, at=at)
    except IntegrityError as error:
        raise _taken(draft, error) from None
    return portfolio


@transaction.atomic
def change_portfolio(portfolio: Portfolio, draft: PortfolioDraft, *, at: datetime) -> None:
    """Give a portfolio another name, reserve and members; targets of those that stay are kept."""
    portfolio = Portfolio.objects.select_for_update().get(pk=portfolio.pk)
    _check(portfolio.owner, draft, own=portfolio)
    portfolio.name, portfolio.currency = draft.name, draft.currency
    portfolio.reserve = draft.reserve
    try:
        with transaction.atomic():
            portfolio.save()
            _set_members(portfolio, draft.members, at=at)
    except IntegrityError as error:
        raise _taken(draft, error) from None
    announce(portfolio)


@transaction.atomic
def remove_portfolio(portfolio: Portfolio) -> None:
    """Remove a portfolio that has no history; one that has been rebalanced is kept."""
    if portfolio.rebalances.exists() or portfolio.allocations.exists():
        raise ConflictError(
            "This portfolio has been rebalanced: its history is kept. Take its strategies out "
            "instead."
        )
    portfolio.delete()


@transaction.atomic
def set_targets(portfolio: Portfolio, weights: Mapping[UUID, float]) -> None:
    """Make weights the targets of the members; a member without one gets none.

    Raises ConflictError if a strategy with a weight has left the portfolio.
    """
    portfolio = Portfolio.objects.select_for_update().get(pk=portfolio.pk)
    members = {member.strategy_id: member for member in portfolio.members.all()}
    gone = [key for key, weight in weights.items() if key not in members and weight > 0]
    if gone:
        raise ConflictError("A strategy has left the portfolio since; optimise it again.")
    for member in members.values():
        member.target_weight = weights.get(member.strategy_id, 0.0)
    PortfolioMember.objects.bulk_update(members.values(), ["target_weight"])
    announce(portfolio)


def announce(portfolio: Portfolio) -> None:
    """Tell open pages that the portfolio has changed."""
    live.publish(f"portfolio:{portfolio.pk}", "invalidate", {"fragment": "portfolio"})


def may_watch(user: Any, portfolio_id: str) -> bool:
    """Say whether a person may follow a portfolio: who may see it."""
    try:
        return bool(Portfolio.objects.for_user(user).filter(pk=UUID(portfolio_id)).exists())
    except ValueError:
        return False


def available_strategies(owner: Any, *, portfolio: Portfolio | None = None) -> list[Strategy]:
    """Return the owner's strategies that could be members: in no other portfolio, not retired."""
    found = Strategy.objects.filter(owner=owner).exclude(state=LifecycleState.RETIRED)
    taken = PortfolioMember.objects.all()
    if portfolio is not None:
        taken = taken.exclude(portfolio=portfolio)
    return list(found.exclude(pk__in=taken.values("strategy")).order_by("name"))


def _check(owner: Any, draft: PortfolioDraft, *, own: Portfolio | None) -> None:
    problems: dict[str, str] = {}
    if not draft.name.strip():
        problems["name"] = "Give the portfolio a name."
    if draft.reserve < 0:
        problems["reserve"] = "The reserve is not negative."
    if len(draft.members) > MAX_MEMBERS:
        problems["members"] = f"At most {MAX_MEMBERS:,} strategies fit into a portfolio."
    wanted = [member.strategy_id for member in draft.members]
    available = {one.pk for one in available_strategies(owner, portfolio=own)}
    if len(set(wanted)) != len(wanted):
        problems["members"] = "A strategy is named twice."
    elif not set(wanted) <= available:
        problems["members"] = (
            "A strategy is not yours, has been retired or is in another portfolio."
        )
    for member in draft.members:
        low, high = member.minimum_weight or 0.0, member.maximum_weight
        if not 0 <= low <= (1.0 if high is None else high) <= 1:
            problems["members"] = "Limits of a strategy lie between 0 and 100 %, low to high."
    if problems:
        raise InvalidInput("The portfolio cannot be stored like this.", fields=problems)


def _set_members(portfolio: Portfolio, drafts: Sequence[MemberDraft], *, at: datetime) -> None:
    kept = {member.strategy_id: member for member in portfolio.members.all()}
    wanted = {draft.strategy_id for draft in drafts}
    with_past = not memberships.has_history(portfolio)
    memberships.leave([one for key, one in kept.items() if key not in wanted], at=at)
    joining: list[PortfolioMember] = []
    for draft in drafts:
        member = kept.get(draft.strategy_id) or PortfolioMember(
            portfolio=portfolio, strategy_id=draft.strategy_id
        )
        member.group = draft.group.strip()
        member.minimum_weight = draft.minimum_weight
        member.maximum_weight = draft.maximum_weight
        member.locked_until = draft.locked_until
        if member.pk is None:
            joining.append(member)
        else:
            member.save()
    memberships.join(joining, with_past=with_past, at=at)


def _taken(draft: PortfolioDraft, error: IntegrityError) -> InvalidInput:
    if "one_portfolio" in str(error):
        return InvalidInput(
            "A strategy has joined another portfolio in the meantime.",
            fields={"members": "Its capital can be in one portfolio only."},
        )
    return InvalidInput(
        f"You already have a portfolio called {draft.name!r}.",
        fields={"name": "Choose another name."},
    )
