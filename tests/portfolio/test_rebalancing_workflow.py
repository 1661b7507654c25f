"""From a drift through approval, sales at the next bar and transfers to the new weights."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.utils.timezone import now

from portfolio.models import (
    Account,
    Fill,
    Order,
    Portfolio,
    PortfolioAllocation,
    PortfolioMember,
    RiskLimits,
    StrategyStanding,
)
from portfolio.services import execution, rebalance_execution, rebalancing
from portfolio.services.portfolio_performance import Period, attribution, load_performance
from portfolio.services.portfolio_state import take_snapshot
from portfolio.services.trading_states import watch_drawdowns
from strategies.models import Strategy
from strategies.services import strategy_engine
from tests.portfolio.trading_builders import Replay, identity_gap, make_account
from tests.strategies.builders import make_market, make_prices, make_strategy

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Let stored bars of years ago be the present."""
    monkeypatch.setattr(
        "portfolio.services.rebalance_checks.market_time",
        lambda timeframe, *, at: Account.objects.order_by("-marked_to").first().marked_to,
    )


def opened(owner, name, symbols, replay) -> Account:
    strategy = make_strategy(owner, name=name, symbols=symbols, plugin="rsi_mean_reversion")
    Strategy.objects.filter(pk=strategy.pk).update(state="paper")
    start = min(replay.kept) - timedelta(hours=12)
    return make_account(owner, broker="paper", strategy=strategy, at=start)


def play(replay: Replay, n_bars: int) -> None:
    for _ in range(n_bars):
        replay.step()
        strategy_engine.generate_signals(Strategy.objects.active(), at=now(), known_at=now())
        execution.advance(at=now())


def test_portfolio_rebalancing_workflow(alice):
    make_market(until=date(2016, 5, 31))
    replay = Replay(start=date(2016, 1, 4))
    accounts = [opened(alice, f"On {one}", [one], replay) for one in ("AAPL", "JPM")]
    portfolio = Portfolio.objects.create(owner=alice, name="Two")
    for account, target in zip(accounts, (0.25, 0.75), strict=True):
        PortfolioMember.objects.create(
            portfolio=portfolio,
            strategy=account.strategy,
            target_weight=target,
            added_at=account.opened_at,
        )
    # Two strategies that hold one instrument each are more than the usual limits allow.
    values = {"concentration": "0.9", "strategy_exposure": "0.9", "heat": "0.5"}
    RiskLimits.objects.create(
        owner=alice, portfolio=portfolio, values={**values, "position_heat": "0.5"}
    )
    while not accounts[0].positions.held().exists():
        play(replay, 1)
    proposal = rebalancing.check_triggers(portfolio, at=now())
    assert proposal.trigger == "band"
    rebalancing.decide(proposal, is_approved=True, by=alice, at=now())
    waiting = rebalance_execution.execute(str(proposal.pk), at=now())
    assert waiting.status == "running"
    sold = Order.objects.get(reason="rebalance", account=accounts[0])
    assert sold.status == "pending"
    play(replay, 1)
    sold.refresh_from_db()
    assert sold.status == "filled"
    assert Fill.objects.filter(order=sold).exists()
    assert rebalance_execution.resume([accounts[0].pk]) == 1
    done = rebalance_execution.execute(str(proposal.pk), at=now())
    assert done.status == "done"
    snapshot = take_snapshot(Portfolio.objects.get(), at=now())
    assert abs(snapshot.weights[0] - 0.25) < 0.01
    assert abs(snapshot.weights[1] - 0.75) < 0.01
    assert PortfolioAllocation.objects.filter(rebalance=done).count() == 2
    play(replay, 5)
    assert [identity_gap(account) for account in accounts] == [0, 0]
    performance = load_performance(Portfolio.objects.get())
    parts = attribution(performance, Period.ALL)
    assert parts.total.pnl == performance.pnl(Period.ALL)
    value = sum(account.equity_points.latest("marked_at").equity for account in accounts)
    assert performance.equity[-1] == value + Portfolio.objects.get().reserve


def test_a_falling_strategy_is_reduced_before_it_has_lost_fifteen_per_cent(alice):
    # Thirty quiet bars, an oversold dip that is bought, and then one per cent down every day.
    quiet = [100.0 + (number % 3) * 0.2 for number in range(30)]
    dip = [99.0, 98.0, 97.0, 96.0, 95.0]
    slide = [95.0 * 0.99**number for number in range(1, 40)]
    closes = quiet + dip + slide
    make_prices("FALL", [(one, one + 0.3, one - 0.3, one) for one in closes])
    replay = Replay(start=date(2016, 1, 20))
    account = opened(alice, "Knife", ["FALL"], replay)
    RiskLimits.objects.create(owner=alice, strategy=account.strategy, drawdown_action="reduce")
    deepest = Decimal(0)
    for _ in range(len(replay.kept)):
        play(replay, 1)
        watch_drawdowns([account.pk], at=now())
        account.refresh_from_db()
        deepest = min(deepest, account.equity / account.opening_cash - 1)
    assert deepest < Decimal("-0.10")
    assert deepest > Decimal("-0.15")
    reduced = Order.objects.filter(account=account, reason="reduce")
    assert [order.status for order in reduced] == ["filled", "filled"]
    assert not account.positions.held().exists()
    standing = StrategyStanding.objects.get(strategy=account.strategy)
    assert (standing.trading_state, standing.scale) == ("reducing", 0)
