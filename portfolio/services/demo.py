"""What a first look at live trading should show: strategies on paper over real bars.

Nothing here is made up: the strategies are backtested on the bars before the replayed period, go
through the ordinary steps of the lifecycle, and trade the replayed bars with the same fill model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from alphastrat.core.errors import AlphaStratError
from alphastrat.marketdata.models import BarSeries, Instrument
from portfolio.models import Portfolio, RiskLimits
from portfolio.services.portfolios import (
    MemberDraft,
    PortfolioDraft,
    create_portfolio,
    set_targets,
)
from strategies.models import BacktestRun, LifecycleState, Strategy
from strategies.services import demo as research_demo
from strategies.services.backtesting import request_backtest
from strategies.services.lifecycle import StrategyDraft, create_strategy, move_strategy
from strategies.services.specification import of_version

logger = logging.getLogger(__name__)

PORTFOLIO = "Demo portfolio"
TITLE = research_demo.TITLE
START = research_demo.START


@dataclass(frozen=True, slots=True)
class DemoStrategy:
    """A strategy of the demo, and why it is there."""

    name: str
    plugin: str
    symbols: tuple[str, ...]
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sizing: Mapping[str, Any] = field(default_factory=dict)
    reduces_on_drawdown: bool = False


DEMO_STRATEGIES = (
    DemoStrategy(
        "Cross-sectional momentum, ten companies",
        "cross_sectional_momentum",
        ("AAPL", "AMZN", "BA", "HD", "JPM", "MCD", "MSFT", "NEE", "NVDA", "UNH"),
        "Holds the strongest of ten companies from several sectors and changes rarely.",
    ),
    DemoStrategy(
        "MACD momentum, the best six",
        "macd_momentum",
        ("AAPL", "CSCO", "DUK", "INTC", "NEM", "NKE"),
        "A lesson in selection: of the 33 companies of the sample these six were chosen because "
        "MACD momentum earned most on them from April 2014 to the middle of August 2016. In the "
        "replayed period it loses what the choice had promised, and the verification has to "
        "notice.",
        sizing={"kind": "fixed_fraction", "fraction": 0.1667},
    ),
    DemoStrategy(
        "RSI mean reversion, Boeing",
        "rsi_mean_reversion",
        ("BA",),
        "Sells short what has risen too fast. From late 2016 Boeing rose without looking back; "
        "the drawdown limit halves the position when 10 % are lost and ends it at 15 %.",
        reduces_on_drawdown=True,
    ),
)


def seed(owner: Any, *, at: datetime) -> None:
    """Make the strategies, their backtests and their portfolio; nothing the second time."""
    until = research_demo.last_day(at=at)
    strategies = [_strategy(owner, planned) for planned in DEMO_STRATEGIES if _has_bars(planned)]
    research = Strategy.objects.filter(owner=owner, name=research_demo.NAME).with_version()
    strategies += list(research)
    for strategy in strategies:
        _backtest(strategy, owner, until=until, at=at)
    _portfolio(owner, strategies, at=at)


def go_live(run: BacktestRun, *, at: datetime) -> None:
    """Put a strategy of the demo on paper once its backtest has been made.

    Its steps are those that a person takes on the page.
    """
    strategy = Strategy.objects.filter(versions=run.strategy_version_id).first()
    if strategy is None or not run.title.startswith(TITLE):
        return
    try:
        if strategy.state == LifecycleState.RESEARCH:
            move_strategy(strategy, LifecycleState.VALIDATED, at=at)
        if strategy.state == LifecycleState.VALIDATED:
            move_strategy(strategy, LifecycleState.PAPER, at=at)
    except AlphaStratError:
        logger.exception("demo strategy not put on paper", extra={"strategy": str(strategy.pk)})


def _has_bars(planned: DemoStrategy) -> bool:
    held = BarSeries.objects.filter(
        instrument__symbol__in=planned.symbols, timeframe="1d", first_opened_at__date__lt=START
    )
    found = Instrument.objects.filter(series__in=held).distinct().count()
    if found < len(planned.symbols):
        logger.warning("demo strategy not made: bars are missing", extra={"strategy": planned.name})
    return found == len(planned.symbols)


def _strategy(owner: Any, planned: DemoStrategy) -> Strategy:
    known = Strategy.objects.filter(owner=owner, name=planned.name).with_version().first()
    if known is not None:
        return known
    made = create_strategy(
        owner,
        StrategyDraft(
            name=planned.name,
            plugin=planned.plugin,
            symbols=list(planned.symbols),
            parameters=planned.parameters,
            sizing=planned.sizing,
            description=planned.description,
        ),
        reason="Demo content",
    )
    if planned.reduces_on_drawdown:
        RiskLimits.objects.create(owner=owner, strategy=made, drawdown_action="reduce")
    return made


def _backtest(strategy: Strategy, owner: Any, *, until: date, at: datetime) -> None:
    version = strategy.current_version
    if version is None or strategy.state != LifecycleState.RESEARCH:
        return
    asked = BacktestRun.objects.filter(strategy_version=version, title__startswith=TITLE)
    if asked.exists():
        return
    try:
        wanted = of_version(
            version,
            start=START,
            end=until,
            costs=research_demo.COSTS,
            title=f"{TITLE}: {strategy.name}",
        )
        request_backtest(owner, wanted, at=at, version=version)
    except AlphaStratError:
        logger.exception("demo backtest not asked for", extra={"strategy": str(strategy.pk)})


def _portfolio(owner: Any, strategies: list[Strategy], *, at: datetime) -> None:
    if not strategies or Portfolio.objects.filter(owner=owner, name=PORTFOLIO).exists():
        return
    members = tuple(MemberDraft(strategy.pk) for strategy in strategies)
    try:
        made = create_portfolio(owner, PortfolioDraft(name=PORTFOLIO, members=members), at=at)
        set_targets(made, {strategy.pk: 1 / len(strategies) for strategy in strategies})
    except AlphaStratError:
        logger.exception("demo portfolio not made")
