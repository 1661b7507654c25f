"""JSON API of signals, checks and performance of a strategy."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from ninja import Query, Router, Schema, Status

from alphastrat.core.models import Job
from alphastrat.core.pagination import paged
from alphastrat.core.schemas import JobOut, Moment
from strategies.models import Strategy, StrategyCheck, StrategyPerformance, StrategySignal
from strategies.models.performance import PerformanceSource
from strategies.models.signal import SignalKind, StrategySignalQuerySet
from strategies.services.strategy_checks import request_checks
from strategies.services.strategy_engine import generate_signals

router = Router(tags=["strategies"])


class SignalOut(Schema):
    """A signal as it was given; never changed. `target` is the side wanted after the next open."""

    strategy_id: UUID
    version: int
    symbol: str
    signal_type: SignalKind
    target: int
    strength: float
    price: float
    closed_at: datetime
    generated_at: datetime
    metadata: dict[str, Any]
    n_repaints: int

    @staticmethod
    def resolve_version(signal: StrategySignal) -> int:
        return signal.version.number

    @staticmethod
    def resolve_symbol(signal: StrategySignal) -> str:
        return signal.instrument.symbol


class SignalFilter(Schema):
    signal_type: SignalKind | None = None
    symbol: str | None = None
    since: Moment | None = None


class GeneratedOut(Schema):
    """How many signals were new."""

    n_signals: int


class CheckOut(Schema):
    """The outcome of a check, with the first difference and a minimal reproduction."""

    name: str
    passed: bool
    message: str
    difference: dict[str, Any] | None
    reproduction: str
    checked_at: datetime


class PerformanceOut(Schema):
    """Headline numbers of a strategy up to a time; fractions, losses negative."""

    source: PerformanceSource
    measured_at: datetime
    run_id: UUID | None
    total_return: float | None
    annual_return: float | None
    volatility: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    calmar_ratio: float | None
    max_drawdown: float | None
    win_rate: float | None
    profit_factor: float | None
    total_trades: int | None


class PerformanceFilter(Schema):
    source: PerformanceSource | None = None


@router.get("/{uuid:strategy_id}/signals", response=list[SignalOut], url_name="list_signals")
@paged
def list_signals(
    request: HttpRequest, strategy_id: UUID, wanted: Query[SignalFilter]
) -> StrategySignalQuerySet:
    """List the signals of a strategy, newest first."""
    signals = StrategySignal.objects.filter(strategy=_strategy(request, strategy_id)).listed()
    if wanted.signal_type:
        signals = signals.filter(signal_type=wanted.signal_type)
    if wanted.symbol:
        signals = signals.filter(instrument__symbol=wanted.symbol)
    return signals.filter(closed_at__gte=wanted.since) if wanted.since else signals


@router.post("/{uuid:strategy_id}/signals", response=GeneratedOut, url_name="generate_signals")
def generate(request: HttpRequest, strategy_id: UUID) -> GeneratedOut:
    """Give the signals of every bar that closed since the last one; twice adds nothing."""
    strategy = _strategy(request, strategy_id)
    found = generate_signals(Strategy.objects.filter(pk=strategy.pk), at=now())
    return GeneratedOut(n_signals=found.n_signals)


@router.get("/{uuid:strategy_id}/checks", response=list[CheckOut], url_name="list_checks")
def list_checks(request: HttpRequest, strategy_id: UUID) -> QuerySet[StrategyCheck]:
    """Show the checks of the current version."""
    strategy = _strategy(request, strategy_id)
    return StrategyCheck.objects.filter(version=strategy.current_version)


@router.post("/{uuid:strategy_id}/checks", response={202: JobOut}, url_name="check_strategy")
def check(request: HttpRequest, strategy_id: UUID) -> Status[Job]:
    """Run the look-ahead, warm-up and determinism checks on the current version."""
    return Status(202, request_checks(_strategy(request, strategy_id)))


@router.get(
    "/{uuid:strategy_id}/performance", response=list[PerformanceOut], url_name="list_performance"
)
@paged
def list_performance(
    request: HttpRequest, strategy_id: UUID, wanted: Query[PerformanceFilter]
) -> QuerySet[StrategyPerformance]:
    """List the headline numbers of a strategy, newest first."""
    found = StrategyPerformance.objects.filter(strategy=_strategy(request, strategy_id))
    return found.filter(source=wanted.source) if wanted.source else found


def _strategy(request: HttpRequest, strategy_id: UUID) -> Strategy:
    found = Strategy.objects.for_user(request.user).with_version()
    return get_object_or_404(found, pk=strategy_id)
