"""JSON API of a portfolio's risk, its limits and its kill switch."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Schema

from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from portfolio.api_choice import PortfolioChoice, chosen
from portfolio.models import Portfolio, RiskLimits
from portfolio.quant.risk_limits import limits_from
from portfolio.services import portfolio_beta, trading_states
from portfolio.services.risk_metrics import (
    as_json,
    measure_risk,
    measure_tail,
    strategy_weights,
)
from strategies.models import Strategy

router = Router(tags=["portfolio"])


class RiskChoice(PortfolioChoice):
    """Which portfolio, and what its beta is measured against over how many days."""

    benchmark: str = portfolio_beta.USUAL
    window: int | None = None


class TradingStateIn(Schema):
    """What may be traded from now on, and why; of one strategy where it is named.

    A halt lets stops, targets and trailing stops of what is held act, unless `keeps_protection`
    is false.
    """

    trading_state: Literal["active", "reducing", "halted"]
    reason: str
    strategy: UUID | None = None
    keeps_protection: bool = True


class RiskActionOut(Schema):
    """A change of what may be traded."""

    id: UUID
    trading_state: str
    keeps_protection: bool
    code: str
    reason: str
    taken_at: datetime


class LimitsIn(Schema):
    """Limits by name, null to take one away; names that are left out keep their default."""

    values: dict[str, float | str | None]
    drawdown_action: Literal["deny", "reduce", "halt"] = "deny"


class LimitsOut(Schema):
    """The limits in force: given ones over the owner's over the defaults."""

    values: dict[str, Decimal | None]
    given: dict[str, Any]
    drawdown_action: str


@router.get("/risk", response=dict[str, Any], url_name="portfolio_risk")
def risk(request: HttpRequest, wanted: Query[RiskChoice]) -> Any:
    """Show exposure, heat, limits in use, value at risk by four methods, and beta."""
    portfolio, at = chosen(request, wanted.portfolio), now()
    window = portfolio_beta.window_of(wanted.window)
    tail = measure_tail(strategy_weights(portfolio), at=at)
    document = as_json(measure_risk(portfolio, at=at), tail) | {"beta": None}
    if tail is not None:
        found = portfolio_beta.portfolio_beta(
            portfolio,
            tail.returns.dates,
            tail.portfolio_returns,
            benchmark=wanted.benchmark,
            window=window,
            at=at,
        )
        document["beta"] = portfolio_beta.as_json(found)
    return jsonable(document)


@router.get("/limits", response=LimitsOut, url_name="portfolio_limits")
def read_limits(request: HttpRequest, wanted: Query[PortfolioChoice]) -> dict[str, Any]:
    """Show the limits of a portfolio."""
    return _limits(chosen(request, wanted.portfolio))


@router.put("/limits", response=LimitsOut, url_name="set_portfolio_limits")
def set_limits(
    request: HttpRequest, wanted: Query[PortfolioChoice], given: LimitsIn
) -> dict[str, Any]:
    """Set the limits of a portfolio; they judge the next order."""
    portfolio = chosen(request, wanted.portfolio)
    try:
        limits_from(given.values)
    except ValueError as error:
        raise InvalidInput(f"These limits cannot be used: {error}.") from error
    stored = {name: None if value is None else str(value) for name, value in given.values.items()}
    RiskLimits.objects.update_or_create(
        portfolio=portfolio,
        defaults={
            "owner": portfolio.owner,
            "values": stored,
            "drawdown_action": given.drawdown_action,
        },
    )
    return _limits(portfolio)


@router.post("/trading-state", response=RiskActionOut, url_name="set_trading_state")
def set_trading_state(
    request: HttpRequest, wanted: Query[PortfolioChoice], given: TradingStateIn
) -> Any:
    """Halt, reduce or resume trading: the kill switch."""
    user: Any = request.user
    subject: Portfolio | Strategy
    if given.strategy is None:
        subject = chosen(request, wanted.portfolio)
    else:
        subject = get_object_or_404(Strategy.objects.for_user(user), pk=given.strategy)
    return trading_states.set_trading_state(
        subject,
        given.trading_state,
        reason=given.reason,
        by=user,
        at=now(),
        keeps_protection=given.keeps_protection,
    )


def _limits(portfolio: Portfolio) -> dict[str, Any]:
    rows = RiskLimits.objects.filter(portfolio=portfolio) | RiskLimits.objects.filter(
        owner=portfolio.owner, portfolio__isnull=True, strategy__isnull=True
    )
    # The owner's defaults first, the portfolio's own last.
    layers = sorted(rows, key=lambda row: row.portfolio_id is not None)
    limits = limits_from(*[row.values for row in layers])
    own = next((row for row in layers if row.portfolio_id is not None), None)
    return {
        "values": {name: getattr(limits, name) for name in limits.__dataclass_fields__},
        "given": {} if own is None else own.values,
        "drawdown_action": layers[-1].drawdown_action if layers else "deny",
    }
