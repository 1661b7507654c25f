"""JSON API of portfolios, allocation and correlation."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Field, Query, Router, Schema, Status

from alphastrat.core.errors import NotEnoughData
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from alphastrat.core.schemas import JobOut
from portfolio.api_choice import chosen
from portfolio.models import Optimisation, Portfolio
from portfolio.services import correlation, portfolio_optimizer, portfolios
from portfolio.services.allocation_options import options_of
from portfolio.services.correlation import CorrelationStudy
from portfolio.services.portfolio_state import take_snapshot

router = Router(tags=["portfolio"])
portfolios_router = Router(tags=["portfolio"])


class MemberIn(Schema):
    """A strategy's place in a portfolio; weights are fractions of its equity."""

    strategy_id: UUID
    group: str = ""
    minimum_weight: float | None = None
    maximum_weight: float | None = None
    locked_until: datetime | None = None


class PortfolioIn(Schema):
    """A portfolio and the strategies in it."""

    name: str = Field(max_length=120)
    currency: str = Field("USD", max_length=3)
    reserve: Decimal = Decimal(0)
    members: list[MemberIn] = []

    def draft(self) -> portfolios.PortfolioDraft:
        """Return the portfolio as services take it."""
        members = tuple(portfolios.MemberDraft(**one.dict()) for one in self.members)
        return portfolios.PortfolioDraft(self.name, self.currency, self.reserve, members)


class PortfolioOut(Schema):
    """A portfolio."""

    id: UUID
    name: str
    currency: str
    reserve: Decimal
    trading_state: str
    created_at: datetime
    updated_at: datetime


class AllocationRow(Schema):
    """A strategy's weight against its target."""

    strategy_id: UUID
    name: str
    group: str
    equity: Decimal
    weight: float
    target_weight: float
    drift: float


class AllocationOut(Schema):
    """What every strategy has and should have."""

    portfolio_id: UUID
    at: datetime
    equity: Decimal
    cash_weight: float
    strategies: list[AllocationRow]


class OptimiseIn(Schema):
    """What is asked of the optimiser; options left out have their defaults.

    Without `portfolio_id` it is about the first portfolio of one's own.
    """

    portfolio_id: UUID | None = None
    options: dict[str, Any] = {}


class OptimisationOut(Schema):
    """An answer of the optimiser; `failure_reason` says in words why there is none."""

    id: UUID
    portfolio_id: UUID
    method: str
    options: dict[str, Any]
    status: str
    failure_reason: str
    result: dict[str, Any] | None
    data_fingerprint: str
    requested_at: datetime
    finished_at: datetime | None
    job_id: UUID | None


class PairOut(Schema):
    """Two strategies; `correlation` is null where they share fewer than 30 days."""

    first: UUID
    second: UUID
    correlation: float | None
    band: str
    n_common: int


class CandidateOut(Schema):
    """What adding a strategy would do to the mean correlation."""

    strategy_id: UUID
    name: str
    source: str
    with_portfolio: float | None
    mean_after: float | None
    change: float | None
    n_common: int


class CorrelationOut(Schema):
    """Correlations of a portfolio's strategies."""

    portfolio_id: UUID
    window: str
    regime: str
    n_days: int
    shrinkage: float
    diversification_score: float | None
    effective_bets: float | None
    mean_correlation: float | None
    weighted_mean_correlation: float | None
    order: list[UUID]
    sources: dict[str, str]
    pairs: list[PairOut]
    candidates: list[CandidateOut]


@router.post("/optimize", response={202: JobOut}, summary="Optimise a portfolio")
def optimize_portfolio(request: HttpRequest, payload: OptimiseIn) -> Status[Job | None]:
    """Ask for weights; the job's result names the optimisation."""
    portfolio = chosen(request, payload.portfolio_id)
    asked = portfolio_optimizer.request_optimisation(
        portfolio, options_of(payload.options), at=now()
    )
    return Status(202, asked.job)


@router.get("/optimizations/{optimisation_id}", response=OptimisationOut)
def get_optimisation(request: HttpRequest, optimisation_id: UUID) -> Optimisation:
    """Return an answer of the optimiser."""
    return _find_optimisation(request, optimisation_id)


@router.post("/optimizations/{optimisation_id}/apply", response=AllocationOut)
def apply_optimisation(request: HttpRequest, optimisation_id: UUID) -> dict[str, Any]:
    """Make the weights of an answer the portfolio's targets."""
    optimisation = _find_optimisation(request, optimisation_id)
    portfolio_optimizer.apply_targets(optimisation)
    return _allocation(optimisation.portfolio)


@router.get("/allocation", response=AllocationOut)
def get_allocation(request: HttpRequest, portfolio_id: UUID | None = None) -> dict[str, Any]:
    """Return weights against targets."""
    return _allocation(chosen(request, portfolio_id))


@router.get("/correlation", response=CorrelationOut)
def get_correlation(
    request: HttpRequest,
    portfolio_id: UUID | None = None,
    window: str = Query("250", pattern="^(60|120|250|all)$"),
    regime: str = Query("all", pattern="^(all|recent|stress|calm)$"),
) -> dict[str, Any]:
    """Return the correlations of a portfolio's strategies, and who could join."""
    portfolio = chosen(request, portfolio_id)
    gathered = correlation.gather(portfolio, at=now())
    found = correlation.study(gathered, window=window, regime=regime)
    if not found.names:
        raise NotEnoughData("This portfolio has no strategies yet.", needed=2, available=0)
    document = _correlation(found) | {
        "portfolio_id": portfolio.pk,
        "window": window,
        "regime": regime,
        "candidates": [
            {
                "strategy_id": one.strategy_id,
                "name": one.name,
                "source": one.source,
                "with_portfolio": one.found.with_portfolio,
                "mean_after": one.found.mean_after,
                "change": one.found.change,
                "n_common": one.found.n_common,
            }
            for one in correlation.candidates(gathered)
        ],
    }
    return dict(jsonable(document))


@portfolios_router.get("", response=list[PortfolioOut])
def list_portfolios(request: HttpRequest) -> list[Portfolio]:
    """Return the portfolios that you may see."""
    return list(Portfolio.objects.for_user(request.user))


@portfolios_router.post("", response={201: PortfolioOut})
def create_portfolio(request: HttpRequest, payload: PortfolioIn) -> Status[Portfolio]:
    """Make a portfolio."""
    return Status(201, portfolios.create_portfolio(request.user, payload.draft(), at=now()))


@portfolios_router.put("/{portfolio_id}", response=PortfolioOut)
def change_portfolio(request: HttpRequest, portfolio_id: UUID, payload: PortfolioIn) -> Portfolio:
    """Change a portfolio and its members; targets of those that stay are kept."""
    portfolio = _find(request, portfolio_id)
    portfolios.change_portfolio(portfolio, payload.draft(), at=now())
    portfolio.refresh_from_db()
    return portfolio


@portfolios_router.delete("/{portfolio_id}", response={204: None})
def remove_portfolio(request: HttpRequest, portfolio_id: UUID) -> Status[None]:
    """Remove a portfolio that has no history."""
    portfolios.remove_portfolio(_find(request, portfolio_id))
    return Status(204, None)


def _find(request: HttpRequest, portfolio_id: UUID) -> Portfolio:
    visible = Portfolio.objects.for_user(request.user).select_related("owner")
    return get_object_or_404(visible, pk=portfolio_id)


def _find_optimisation(request: HttpRequest, optimisation_id: UUID) -> Optimisation:
    visible = Optimisation.objects.filter(portfolio__in=Portfolio.objects.for_user(request.user))
    return get_object_or_404(visible.select_related("portfolio"), pk=optimisation_id)


def _allocation(portfolio: Portfolio) -> dict[str, Any]:
    snapshot = take_snapshot(portfolio, at=now())
    return {
        "portfolio_id": portfolio.pk,
        "at": snapshot.at,
        "equity": snapshot.equity,
        "cash_weight": float(snapshot.weights[-1]),
        "strategies": [
            {
                "strategy_id": line.strategy_id,
                "name": line.name,
                "group": line.member.group,
                "equity": line.equity,
                "weight": line.weight,
                "target_weight": line.target,
                "drift": line.drift,
            }
            for line in snapshot.lines
        ],
    }


def _correlation(found: CorrelationStudy) -> dict[str, Any]:
    n = len(found.names)
    return {
        "n_days": found.n_used,
        "shrinkage": found.shrinkage,
        "diversification_score": found.score,
        "effective_bets": found.bets,
        "mean_correlation": found.mean,
        "weighted_mean_correlation": found.weighted_mean,
        "order": [found.strategy_ids[i] for i in found.order],
        "sources": {
            str(key): source for key, source in zip(found.strategy_ids, found.sources, strict=True)
        },
        "pairs": [
            {
                "first": found.strategy_ids[i],
                "second": found.strategy_ids[j],
                "correlation": float(found.matrix[i, j]),
                "band": found.band_of(i, j).value,
                "n_common": int(found.n_common[i, j]),
            }
            for i in range(n)
            for j in range(i + 1, n)
        ],
    }
