"""Paper trading bar by bar: once, in order, by events or by the sweep, for many at once."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.models import LiveEvent
from alphastrat.marketdata.models import BarSeries
from portfolio.models import (
    Account,
    EquityPoint,
    Fill,
    Order,
    Portfolio,
    PortfolioMember,
    Position,
    StrategyStanding,
)
from portfolio.services import accounts, execution
from strategies.models import Strategy, StrategySignal
from strategies.services import strategy_engine
from strategies.services.lifecycle import move_strategy
from tests.portfolio.trading_builders import (
    Replay,
    content,
    fills_of,
    identity_gap,
    make_account,
    replay_clock,
)
from tests.strategies.builders import make_market, make_prices, make_strategy

pytestmark = pytest.mark.django_db
START = date(2016, 1, 4)


@pytest.fixture(autouse=True)
def stored(db):
    make_market(until=date(2016, 5, 31))


@pytest.fixture
def replay(stored):
    return Replay(start=START)


def opened(owner, name="RSI", **changes) -> Account:
    strategy = make_strategy(owner, name=name, **changes)
    Strategy.objects.filter(pk=strategy.pk).update(state="paper")
    at = BarSeries.objects.order_by("last_closed_at").last().last_closed_at
    return make_account(owner, broker="paper", strategy=strategy, at=at)


def give(account: Account | None = None) -> None:
    chosen = Strategy.objects.active()
    strategy_engine.generate_signals(chosen, at=now(), known_at=now())


def play(replay: Replay, n_bars: int) -> None:
    for _ in range(n_bars):
        replay.step()
        give()
        execution.advance(at=now())


def announce(callbacks) -> None:
    ids = [str(one.pk) for one in BarSeries.objects.all()]
    with callbacks(execute=True):
        events.send_on_commit(events.bars_stored, series_ids=ids, start=now(), end=now())


def test_stored_bars_trade_without_a_queue(alice, replay, django_capture_on_commit_callbacks):
    account = opened(alice)
    for _ in range(40):
        replay.step()
        announce(django_capture_on_commit_callbacks)
    assert EquityPoint.objects.filter(account=account).count() == 40
    assert Fill.objects.exists()
    topics = LiveEvent.objects.filter(topic=f"strategy:{account.strategy_id}")
    assert topics.filter(kind="metrics").count() == 40
    assert topics.filter(kind="equity").latest("sequence").payload["y"] > 0


def test_a_bar_that_is_announced_twice_is_traded_once(alice, replay):
    account = opened(alice)
    play(replay, 60)
    before, fills = content(account), fills_of(account)
    assert fills
    for _ in range(3):
        assert execution.advance(at=now()) == execution.Advanced()
    assert (content(account), fills_of(account)) == (before, fills)


def test_many_bars_at_once_come_to_the_same_as_one_by_one(alice, replay):
    account = opened(alice)
    other = opened(alice, "The same")
    for _ in range(45):
        replay.step()
        give()
        execution.advance([account.pk], at=now())
    execution.advance([other.pk], at=now())
    assert fills_of(account) == fills_of(other)
    assert content(account) == content(other)


def test_an_account_waits_for_the_signals_of_its_newest_mark(alice, replay):
    account = opened(alice)
    replay.step()
    give()
    execution.advance(at=now())
    first = replay.step()
    execution.advance(at=now())
    replay.step()
    execution.advance(at=now())
    account.refresh_from_db()
    assert account.marked_to == first
    assert account.decided_to < first
    assert account.pk in execution.lagging()
    give()
    execution.advance(at=now())
    account.refresh_from_db()
    assert account.marked_to == account.decided_to > first


def test_the_sweep_finds_what_an_event_did_not_bring(alice, replay):
    account = opened(alice)
    for _ in range(3):
        closed_at = replay.step()
        execution.sweep(at=now())
    account.refresh_from_db()
    assert account.marked_to == account.decided_to == closed_at
    assert not execution.lagging()
    assert execution.sweep(at=now()) == execution.Advanced()


def test_a_bar_waits_for_the_other_instruments_a_little(alice, replay):
    account = opened(alice)
    play(replay, 3)
    account.refresh_from_db()
    before = account.marked_to
    closed_at = min(replay.kept)
    replay.kept[closed_at] = [
        bar for bar in replay.kept[closed_at] if bar.series.instrument.symbol != "KO"
    ]
    replay.step()
    execution.advance(at=closed_at + timedelta(seconds=1))
    account.refresh_from_db()
    assert account.marked_to == before
    execution.advance(at=closed_at + timedelta(seconds=30))
    account.refresh_from_db()
    assert account.marked_to == closed_at


def test_a_strategy_moved_to_paper_gets_an_account_in_market_time(
    alice, replay, django_capture_on_commit_callbacks
):
    at = replay.step()
    replay_clock(at)
    strategy = make_strategy(alice)
    for state in ("validated", "paper"):
        with django_capture_on_commit_callbacks(execute=True):
            move_strategy(strategy, state, at=now())
    account = Account.objects.get()
    assert (account.broker, account.opened_at, account.cash) == ("paper", at, 100_000)
    assert account.costs == accounts.DEFAULT_COSTS
    with django_capture_on_commit_callbacks(execute=True):
        events.send_on_commit(events.strategy_changed, strategy_id=str(strategy.pk))
    assert Account.objects.count() == 1


def test_a_suspended_strategy_keeps_its_positions_and_enters_nothing(alice, replay):
    account = opened(alice)
    while not Order.objects.filter(reason="entry", status="pending").exists():
        play(replay, 1)
    Strategy.objects.update(state="suspended")
    play(replay, 5)
    order = Order.objects.filter(reason="entry").latest("decided_at")
    assert order.status == "cancelled"
    assert "suspended" in order.note
    account.refresh_from_db()
    assert account.decided_to == account.marked_to


def test_a_retired_strategy_closes_its_positions_and_then_its_account(alice, replay):
    account = opened(alice)
    while not Position.objects.held().exists():
        play(replay, 1)
    Strategy.objects.update(state="retired")
    play(replay, 3)
    assert not Position.objects.held().exists()
    account.refresh_from_db()
    assert account.closed_at is not None
    assert Order.objects.filter(reason="close", status="filled").exists()


def test_a_halted_portfolio_denies_entries_with_a_code(alice, replay):
    account = opened(alice)
    held = Portfolio.objects.create(owner=alice, name="All", trading_state="halted")
    PortfolioMember.objects.create(portfolio=held, strategy=account.strategy, added_at=now())
    play(replay, 60)
    assert not Fill.objects.exists()
    denied = Order.objects.filter(status="denied")
    assert denied.exists()
    assert {one.denials[0]["code"] for one in denied} == {"TRADING_HALTED"}


def test_a_strategy_that_is_scaled_down_enters_with_less(alice, replay):
    full, half = opened(alice), opened(alice, "Half")
    StrategyStanding.objects.create(strategy=half.strategy, scale=Decimal("0.5"), changed_at=now())
    play(replay, 60)
    whole, part = (Fill.objects.filter(account=one).earliest("filled_at") for one in (full, half))
    assert float(part.quantity / whole.quantity) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("reason", "quantity", "left"), [("reduce", 1, -1), ("close", None, 0), ("rebalance", 3, None)]
)
def test_an_order_that_says_how_much_fills_at_the_next_open(alice, replay, reason, quantity, left):
    from portfolio.brokers import base

    account = opened(alice)
    while not Position.objects.held().exists():
        play(replay, 1)
    position = Position.objects.held().first()
    account.refresh_from_db()
    order = Order(
        account=account,
        instrument=position.instrument,
        client_order_id="by hand",
        side="sell" if position.quantity > 0 else "buy",
        quantity=None if quantity is None else Decimal(quantity),
        reason=reason,
        reference_price=position.mark_price,
        decided_at=account.marked_to,
    )
    base.submit([order], at=account.marked_to)
    base.store([order])
    before = abs(position.quantity)
    replay.step()
    execution.advance(at=now())
    order.refresh_from_db()
    position.refresh_from_db()
    assert order.status == "filled"
    expected = {"reduce": before - 1, "close": 0, "rebalance": before - 3}[reason]
    assert abs(position.quantity) == expected
    assert identity_gap(account) == 0
    fill = order.fills.get()
    assert fill.reference_price is not None


def test_capital_that_comes_is_no_return(alice, replay):
    account = opened(alice)
    play(replay, 2)
    account.refresh_from_db()
    at = account.marked_to + timedelta(hours=1)
    moved = {"moved_at": at, "at": now(), "source": "test", "key": "1"}
    accounts.move_cash(account, "deposit", Decimal(100_000), **moved)
    play(replay, 1)
    newest = EquityPoint.objects.latest("marked_at")
    assert newest.net_flow == 100_000
    assert abs(newest.bar_return) < 0.01
    assert newest.equity > 190_000


def test_a_stop_is_an_order_with_its_reason_and_the_slippage_is_known(alice):
    make_prices(
        "ZZZ",
        [(100, 101, 99, 100)] * 60 + [(100, 100, 70, 70), (70, 71, 50, 50), (50, 51, 30, 30)],
    )
    day = sorted(
        BarSeries.objects.get(instrument__symbol="ZZZ").bars.values_list("opened_at", flat=True)
    )[58]
    replay = Replay(start=day.date())
    account = opened(alice, symbols=["ZZZ"], exit_rules={"stop_loss": 0.1})
    play(replay, 4)
    stop = Order.objects.filter(reason="stop").earliest("decided_at")
    assert stop.status == "filled"
    fill = stop.fills.get()
    assert fill.filled_at == stop.decided_at
    assert identity_gap(account) == 0


@pytest.mark.parametrize("n_accounts", [2, 20])
def test_a_bar_costs_the_same_queries_for_any_number_of_accounts(alice, replay, n_accounts):
    for number in range(n_accounts):
        opened(alice, f"S{number}")
    play(replay, 5)
    while not StrategySignal.objects.filter(signal_type="BUY").exists():
        play(replay, 1)
    replay.step()
    give()
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert execution.advance(at=now()).n_marked == n_accounts
    assert len(captured) <= 45
    n_fills = Fill.objects.count()
    assert n_fills % n_accounts == 0
    assert n_fills > 0
