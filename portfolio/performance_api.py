"""JSON API of what a portfolio earned."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.timezone import now
from ninja import Query, Router, Schema

from alphastrat.core.schemas import PDF_RESPONSE
from portfolio.api_choice import PortfolioChoice, chosen
from portfolio.performance_report import report_response
from portfolio.performance_tables import sessions
from portfolio.services import benchmarks
from portfolio.services.instrument_results import by_instrument
from portfolio.services.portfolio_performance import (
    Performance,
    Period,
    attribution,
    load_performance,
)

router = Router(tags=["portfolio"])


class PerformanceChoice(PortfolioChoice):
    """Which period, and what it is compared with: a symbol, "universe" or "none"."""

    period: Period = Period.ALL
    benchmark: str = benchmarks.NONE


class StrategyResultOut(Schema):
    """What one strategy brought; `pnl` of all strategies sums to the portfolio's.

    `left_at` is set where the strategy is no longer a member.
    """

    strategy_id: UUID
    name: str
    left_at: datetime | None
    pnl: Decimal
    share: Decimal | None
    opening: Decimal
    closing: Decimal
    net_flow: Decimal
    realised: Decimal
    unrealised: Decimal
    commission: Decimal
    other: Decimal


class InstrumentResultOut(Schema):
    """What one instrument brought; those of all sum to the portfolio's result.

    `symbol` is empty for dividends, interest, borrow costs and what fills do not explain.
    """

    symbol: str
    pnl: Decimal
    commission: Decimal
    value: Decimal


class BenchmarkOut(Schema):
    """What the benchmark made over the same sessions, and the measures against it."""

    name: str
    period_return: float | None
    measures: dict[str, float | None]


class SessionOut(Schema):
    """One session: profit and loss, capital that came or left, and the portfolio after it."""

    day: date
    pnl: Decimal
    net_flow: Decimal
    equity: Decimal
    session_return: float
    drawdown: float
    benchmark_return: float | None


class PortfolioPerformanceOut(Schema):
    """A portfolio's result; returns are fractions, losses negative."""

    portfolio_id: UUID
    name: str
    period: Period
    marked_at: datetime | None
    equity: Decimal | None
    pnl: Decimal
    period_return: float | None
    measures: dict[str, float | None]
    benchmark: BenchmarkOut | None
    strategies: list[StrategyResultOut]
    instruments: list[InstrumentResultOut]
    sessions: list[SessionOut]


@router.get("/performance", response=PortfolioPerformanceOut, url_name="portfolio_performance")
def performance(request: HttpRequest, wanted: Query[PerformanceChoice]) -> dict[str, Any]:
    """Show what a portfolio earned, by session, strategy and instrument."""
    portfolio = chosen(request, wanted.portfolio)
    found = load_performance(portfolio, benchmark=wanted.benchmark)
    parts = attribution(found, wanted.period)
    names = ("pnl", "opening", "closing", "net_flow", "realised", "unrealised", "commission")
    document: dict[str, Any] = {
        "portfolio_id": portfolio.pk,
        "name": portfolio.name,
        "period": wanted.period,
        "marked_at": found.marked_at,
        "equity": found.equity[-1] if found.equity else None,
        "pnl": parts.total.pnl,
        "period_return": found.period_return(wanted.period),
        "measures": found.measures,
        "benchmark": _benchmark(found, wanted.period),
        "strategies": [
            {name: getattr(line.result, name) for name in (*names, "other")}
            | {
                "strategy_id": line.result.key.strategy_id,
                "name": line.result.key.name,
                "left_at": line.result.key.left_at,
                "share": line.share,
            }
            for line in parts.lines
        ],
        "instruments": [asdict(one) for one in by_instrument(found, wanted.period)],
        "sessions": sessions(found),
    }
    return document


@router.get(
    "/performance/report", url_name="portfolio_performance_report", openapi_extra=PDF_RESPONSE
)
def report(request: HttpRequest, wanted: Query[PerformanceChoice]) -> HttpResponse:
    """Answer the P&L report as PDF: headline numbers, curves, attribution, sessions."""
    portfolio = chosen(request, wanted.portfolio)
    found = load_performance(portfolio, benchmark=wanted.benchmark)
    return report_response(found, wanted.period, at=now())


def _benchmark(found: Performance, period: Period) -> dict[str, Any] | None:
    if found.benchmark is None:
        return None
    return {
        "name": found.benchmark.name,
        "period_return": found.benchmark_return(period),
        "measures": found.against,
    }
