"""JSON API of rebalances: propose, look, decide; triggers and their laboratory."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Schema, Status

from alphastrat.core.jsonable import jsonable
from alphastrat.core.pagination import paged
from portfolio.api_choice import PortfolioChoice, chosen
from portfolio.models import Optimisation, Portfolio, Rebalance, RebalanceStatus
from portfolio.quant.rebalance_policies import Trigger
from portfolio.rebalancing_tables import laboratory_rows, trigger_rows
from portfolio.services import rebalancing
from portfolio.services.applied_weights import apply_and_propose
from portfolio.services.laboratory import run_laboratory
from portfolio.services.portfolio_state import returns_of, take_snapshot
from portfolio.services.rebalance_settings import settings_of

router = Router(tags=["portfolio"])
TriggerName = Literal["calendar", "band", "risk", "sharpe", "volatility", "status"]


class RebalanceTradeOut(Schema):
    """Capital that comes to a strategy, or leaves it where it is negative."""

    sequence: int
    strategy_id: UUID
    name: str
    weight_before: float
    weight_after: float
    amount: Decimal
    cost: Decimal
    done_at: datetime | None
    note: str

    @staticmethod
    def resolve_name(trade: Any) -> str:
        return str(trade.strategy.name)


class RebalanceOut(Schema):
    """A proposal and what became of it."""

    id: UUID
    portfolio_id: UUID
    optimisation_id: UUID | None
    trigger: str
    reason: str
    status: str
    proposed_at: datetime
    decided_at: datetime | None
    decision_reason: str
    finished_at: datetime | None
    equity: Decimal
    turnover: float
    cost: Decimal
    effect: dict[str, Any]
    checks: list[dict[str, Any]]
    trades: list[RebalanceTradeOut]

    @staticmethod
    def resolve_trades(rebalance: Rebalance) -> list[Any]:
        return list(rebalance.trades.all())


class RebalanceIn(Schema):
    """Why a rebalance is proposed, and whether it is approved at once.

    With `optimisation_id` the weights of that answer become the targets first; asked again, the
    same proposal is answered.
    """

    reason: str = ""
    approve: bool = False
    optimisation_id: UUID | None = None


class DecisionIn(Schema):
    decision: Literal["approve", "reject", "stop"]
    reason: str = ""


class TriggersIn(Schema):
    """Rebalancing settings by name; what is left out gets its default."""

    settings: dict[str, Any]


class SwitchIn(Schema):
    """Whether a trigger may ask; its bounds are kept while it is off."""

    is_on: bool


class TriggersOut(Schema):
    """The settings in force, and what each trigger says now."""

    settings: dict[str, Any]
    triggers: list[dict[str, Any]]


@router.post("/rebalance", response={202: RebalanceOut}, url_name="rebalance_portfolio")
def propose(request: HttpRequest, wanted: Query[PortfolioChoice], given: RebalanceIn) -> Any:
    """Propose a rebalance; with `approve` its movements begin at once if every check passes."""
    at = now()
    if given.optimisation_id is not None:
        answer = _optimisation(request, wanted.portfolio, given.optimisation_id)
        proposal = apply_and_propose(answer, by=request.user, at=at)
    else:
        portfolio = chosen(request, wanted.portfolio)
        proposal = rebalancing.propose(portfolio, at=at, reason=given.reason)
    if given.approve and proposal.status == RebalanceStatus.PROPOSED:
        rebalancing.decide(proposal, is_approved=True, by=request.user, reason=given.reason, at=at)
    return Status(202, _rebalance(request, proposal.pk))


@router.get("/rebalances", response=list[RebalanceOut], url_name="list_rebalances")
@paged
def list_rebalances(request: HttpRequest, wanted: Query[PortfolioChoice]) -> QuerySet[Rebalance]:
    """List the rebalances of a portfolio, newest first."""
    portfolio = chosen(request, wanted.portfolio)
    return portfolio.rebalances.prefetch_related("trades__strategy").order_by("-proposed_at", "pk")


@router.get("/rebalances/{uuid:rebalance_id}", response=RebalanceOut, url_name="get_rebalance")
def get_rebalance(request: HttpRequest, rebalance_id: UUID) -> Rebalance:
    """Show one rebalance with its movements of capital."""
    return _rebalance(request, rebalance_id)


@router.post(
    "/rebalances/{uuid:rebalance_id}/decision",
    response={202: RebalanceOut},
    url_name="decide_rebalance",
)
def decide(request: HttpRequest, rebalance_id: UUID, given: DecisionIn) -> Any:
    """Approve or reject a proposal, or stop a rebalance between two movements."""
    rebalance, at = _rebalance(request, rebalance_id), now()
    if given.decision == "stop":
        rebalancing.abandon(rebalance, by=request.user, reason=given.reason, at=at)
    else:
        rebalancing.decide(
            rebalance,
            is_approved=given.decision == "approve",
            by=request.user,
            reason=given.reason,
            at=at,
        )
    return Status(202, _rebalance(request, rebalance_id))


@router.get("/triggers", response=TriggersOut, url_name="portfolio_triggers")
def read_triggers(request: HttpRequest, wanted: Query[PortfolioChoice]) -> Any:
    """Show the rebalancing settings and what each trigger says now."""
    return _triggers(chosen(request, wanted.portfolio))


@router.put("/triggers", response=TriggersOut, url_name="set_portfolio_triggers")
def set_triggers(request: HttpRequest, wanted: Query[PortfolioChoice], given: TriggersIn) -> Any:
    """Set when and how the portfolio is rebalanced."""
    portfolio = chosen(request, wanted.portfolio)
    rebalancing.set_settings(portfolio, given.settings)
    return _triggers(portfolio)


@router.post("/triggers/{trigger}", response=TriggersOut, url_name="switch_portfolio_trigger")
def switch_trigger(
    request: HttpRequest, trigger: TriggerName, wanted: Query[PortfolioChoice], given: SwitchIn
) -> Any:
    """Switch one trigger on or off, at once."""
    portfolio = chosen(request, wanted.portfolio)
    rebalancing.switch_trigger(portfolio, Trigger(trigger), is_on=given.is_on)
    return _triggers(chosen(request, portfolio.pk))


@router.get("/laboratory", response=list[dict[str, Any]], url_name="trigger_laboratory")
def laboratory(request: HttpRequest, wanted: Query[PortfolioChoice]) -> Any:
    """Compare rebalancing policies over the strategies' history; empty where it is too short."""
    snapshot = take_snapshot(chosen(request, wanted.portfolio), at=now())
    found = run_laboratory(snapshot, returns_of(snapshot))
    return [] if found is None else jsonable(laboratory_rows(found))


def _triggers(portfolio: Portfolio) -> Any:
    snapshot = take_snapshot(portfolio, at=now())
    rows = trigger_rows(rebalancing.trigger_readings(snapshot, returns_of(snapshot)))
    settings = settings_of(portfolio.rebalance_settings).as_json()
    return {"settings": jsonable(settings), "triggers": jsonable(rows)}


def _optimisation(
    request: HttpRequest, portfolio_id: UUID | None, optimisation_id: UUID
) -> Optimisation:
    user: Any = request.user
    mine = Optimisation.objects.filter(portfolio__in=Portfolio.objects.for_user(user))
    if portfolio_id is not None:
        mine = mine.filter(portfolio=portfolio_id)
    return get_object_or_404(mine.select_related("portfolio__owner"), pk=optimisation_id)


def _rebalance(request: HttpRequest, rebalance_id: UUID) -> Rebalance:
    user: Any = request.user
    mine = Rebalance.objects.filter(portfolio__in=Portfolio.objects.for_user(user))
    found = mine.select_related("portfolio__owner").prefetch_related("trades__strategy")
    return get_object_or_404(found, pk=rebalance_id)
