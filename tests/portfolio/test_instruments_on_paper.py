"""What instruments brought explains all that paper trading made, in every period."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.utils.timezone import now

from alphastrat.marketdata.models import BarSeries
from portfolio.models import Fill, Portfolio, PortfolioMember
from portfolio.services import execution
from portfolio.services.instrument_results import by_instrument
from portfolio.services.portfolio_performance import Period, attribution, load_performance
from strategies.models import Strategy
from strategies.services import strategy_engine
from tests.portfolio.trading_builders import Replay, make_account
from tests.strategies.builders import make_market, make_strategy


@pytest.fixture
def traded(alice):
    """Two strategies on paper over three months of real bars."""
    make_market(until=date(2016, 3, 31))
    replay = Replay(start=date(2016, 1, 4))
    at = BarSeries.objects.order_by("last_closed_at").last().last_closed_at
    portfolio = Portfolio.objects.create(owner=alice, name="On paper")
    costs = {"commission_minimum": 1.0, "slippage_bps": 2.0}
    for name, symbols in (("First", ["AAPL", "JPM"]), ("Second", ["AAPL"])):
        strategy = make_strategy(alice, name=name, symbols=symbols)
        Strategy.objects.filter(pk=strategy.pk).update(state="paper")
        make_account(alice, broker="paper", strategy=strategy, at=at, costs=costs)
        PortfolioMember.objects.create(
            portfolio=portfolio, strategy=strategy, target_weight=0.5, added_at=at
        )
    while replay.kept:
        replay.step()
        strategy_engine.generate_signals(Strategy.objects.active(), at=now(), known_at=now())
        execution.advance(at=now())
    return portfolio


def test_no_result_is_left_without_an_instrument(traded):
    assert Fill.objects.count() > 3
    performance = load_performance(traded)
    assert len(performance.days) > 55
    for period in Period:
        lines, whole = by_instrument(performance, period), attribution(performance, period).total
        assert "" not in {one.symbol for one in lines}
        summed = sum(one.pnl for one in lines)
        assert summed == pytest.approx(whole.pnl, abs=Decimal("0.01"))
        paid = sum(one.commission for one in lines)
        assert paid == pytest.approx(whole.commission, abs=Decimal("0.01"))
    held = sum(one.value for one in by_instrument(performance, Period.ALL))
    marked = [one.equity_points.latest("marked_at").position_value for one in accounts_of(traded)]
    assert held == pytest.approx(sum(marked), abs=Decimal("0.01"))


def accounts_of(portfolio: Portfolio) -> list:
    return [one.strategy.accounts.get() for one in portfolio.members.all()]
