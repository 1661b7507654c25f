"""Every order is judged by limits, states and what the batch has let through before it."""

from __future__ import annotations

import ast
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from portfolio.brokers import base
from portfolio.models import (
    Order,
    OrderReason,
    OrderStatus,
    RiskAction,
    RiskLimits,
    StrategyStanding,
)
from portfolio.services import risk_manager
from portfolio.services.trading_states import set_trading_state, stops_again, watch_drawdowns
from tests.portfolio.risk_builders import AT, hold, make_portfolio, mark, order

LATER = AT + timedelta(days=1)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def two(alice):
    return make_portfolio(alice, n=2)


def limit(portfolio=None, strategy=None, *, action="deny", owner=None, **values):
    subject = portfolio or strategy
    return RiskLimits.objects.create(
        owner=owner or subject.owner,
        portfolio=portfolio,
        strategy=strategy,
        values={name: str(value) for name, value in values.items()},
        drawdown_action=action,
    )


def remark(account, *returns):
    account.equity_points.all().delete()
    mark(account, *returns)


def codes(orders, at=AT):
    found = risk_manager.review(orders, at=at)
    return [[denial.code for denial in found[one.pk]] for one in orders]


def test_an_order_within_all_limits_passes(two):
    assert codes([order(two[1][0], 10)]) == [[]]


def test_a_denial_has_its_numbers_in_words_and_for_machines(two):
    portfolio, accounts = two
    limit(portfolio, order_quantity=5)
    denial = risk_manager.validate_order(order(accounts[0], 10), at=AT)[0]
    assert denial.as_json() == {
        "code": "ORDER_QUANTITY_EXCEEDED",
        "limit": "order_quantity",
        "value": "10",
        "bound": "5",
        "message": "Quantity of an order would be 10; the limit is 5.",
    }


def test_the_narrowest_limit_decides(two):
    portfolio, accounts = two
    limit(owner=portfolio.owner, order_quantity=1)
    limit(portfolio, order_quantity=20)
    limit(strategy=accounts[1].strategy, order_quantity=5)
    orders = [order(accounts[0], 10), order(accounts[1], 10)]
    assert codes(orders) == [[], ["ORDER_QUANTITY_EXCEEDED"]]


def test_a_batch_cannot_pass_together_what_one_could_not(two):
    portfolio, accounts = two
    # 100 units at 100 are 5 % of 200,000: two pass, the third would make 15 %.
    limit(portfolio, concentration="0.10", heat="0.9", position_heat="0.9")
    orders = [order(accounts[0], 100), order(accounts[1], 100), order(accounts[0], 100)]
    assert codes(orders) == [[], [], ["CONCENTRATION_EXCEEDED"]]


def test_orders_that_work_already_are_counted(two):
    portfolio, accounts = two
    limit(portfolio, concentration="0.10", heat="0.9", position_heat="0.9")
    working = order(accounts[0], 150, status=OrderStatus.PENDING)
    working.save()
    assert codes([order(accounts[1], 51)]) == [["CONCENTRATION_EXCEEDED"]]
    assert codes([order(accounts[1], 50)]) == [[]]


def test_exposure_of_the_other_strategies_counts(two):
    portfolio, accounts = two
    hold(accounts[1], 900)
    limit(portfolio, gross_exposure="0.5", concentration="0.9", heat="0.9", position_heat="0.9")
    assert codes([order(accounts[0], 100)]) == [[]]
    assert codes([order(accounts[0], 101)]) == [["GROSS_EXPOSURE_EXCEEDED"]]


def test_heat_uses_the_stop_that_protects_a_position(two):
    portfolio, accounts = two
    # 500 units, 4 below the mark, with the overnight gap: 2,500 of 200,000.
    hold(accounts[0], 500, protection={"stop": 96})
    limit(portfolio, heat="0.0124")
    check = risk_manager.check_portfolio_heat(portfolio)
    assert check.heat == Decimal("0.0125")
    assert check.is_exceeded
    assert "PORTFOLIO_HEAT_EXCEEDED" in codes([order(accounts[1], 1)])[0]


@pytest.mark.parametrize(
    ("reason", "state", "expected"),
    [
        (OrderReason.SIGNAL, "reducing", []),
        (OrderReason.REVERSAL, "reducing", []),
        (OrderReason.ENTRY, "reducing", ["ONLY_REDUCING"]),
        (OrderReason.SIGNAL, "halted", ["TRADING_HALTED"]),
        (OrderReason.REDUCE, "halted", ["TRADING_HALTED"]),
        # Resting protection was let through with the entry.
        (OrderReason.STOP, "halted", []),
    ],
)
@pytest.mark.parametrize("scope", ["portfolio", "strategy"])
def test_states_let_through_what_they_say(two, reason, state, expected, scope):
    portfolio, accounts = two
    hold(accounts[0], 100)
    subject = portfolio if scope == "portfolio" else accounts[0].strategy
    set_trading_state(subject, state, reason="Test", at=AT)
    size = 10 if reason == OrderReason.ENTRY else None
    side = "buy" if reason == OrderReason.ENTRY else "sell"
    assert codes([order(accounts[0], size, reason=reason, side=side)]) == [expected]


@pytest.mark.parametrize("scope", ["portfolio", "strategy"])
def test_a_halt_that_cancels_everything_stops_protective_exits_too(two, scope):
    portfolio, accounts = two
    for account in accounts:
        hold(account, 100)
    subject = portfolio if scope == "portfolio" else accounts[0].strategy
    action = set_trading_state(subject, "halted", reason="Fire", at=AT, keeps_protection=False)
    assert not action.keeps_protection
    orders = [order(one, None, reason=OrderReason.STOP, side="sell") for one in accounts]
    other = ["TRADING_HALTED"] if scope == "portfolio" else []
    assert codes(orders) == [["TRADING_HALTED"], other]
    set_trading_state(subject, "active", reason="Out", at=AT)
    assert codes(orders) == [[], []]


def test_the_stricter_of_two_halts_decides_over_protection(two):
    portfolio, accounts = two
    hold(accounts[0], 100)
    set_trading_state(portfolio, "halted", reason="Fire", at=AT)
    set_trading_state(
        accounts[0].strategy, "halted", reason="More fire", at=AT, keeps_protection=False
    )
    stop = order(accounts[0], None, reason=OrderReason.STOP, side="sell")
    assert codes([stop]) == [["TRADING_HALTED"]]


def test_the_halt_of_a_strategy_leaves_the_others_alone(two):
    _portfolio, accounts = two
    set_trading_state(accounts[0].strategy, "halted", reason="Test", at=AT)
    orders = [order(accounts[0], 1), order(accounts[1], 1)]
    assert codes(orders) == [["TRADING_HALTED"], []]


def test_the_kill_switch_cancels_what_waits_and_is_on_record(two):
    portfolio, accounts = two
    orders = [order(accounts[0], 1), order(accounts[1], 1)]
    base.submit(orders, at=AT)
    base.store(orders)
    action = set_trading_state(portfolio, "halted", reason="Fire", by=portfolio.owner, at=AT)
    assert set(Order.objects.values_list("status", flat=True)) == {"cancelled"}
    assert (action.code, action.reason, action.taken_by) == ("MANUAL", "Fire", portfolio.owner)
    portfolio.refresh_from_db()
    assert portfolio.trading_state == "halted"


def test_reducing_leaves_exits_waiting(two):
    portfolio, accounts = two
    hold(accounts[0], 100)
    orders = [order(accounts[0], 1), order(accounts[0], -100, reason=OrderReason.SIGNAL)]
    base.submit(orders, at=AT)
    base.store(orders)
    set_trading_state(portfolio, "reducing", reason="Calm down", at=AT)
    found = dict(Order.objects.values_list("reason", "status"))
    assert found == {"entry": "cancelled", "signal": "pending"}


def test_a_strategy_is_halved_at_ten_per_cent_and_closed_before_fifteen(two):
    portfolio, accounts = two
    account = accounts[0]
    limit(portfolio, action="reduce")
    hold(account, 500)
    mark(account, -0.099)
    assert watch_drawdowns([account.pk], at=AT).orders == []
    remark(account, -0.099, -0.005)
    watched = watch_drawdowns([account.pk], at=AT)
    assert [(one.side, one.quantity, one.reason) for one in watched.orders] == [
        ("sell", Decimal(250), "reduce")
    ]
    assert watched.orders[0].status == OrderStatus.PENDING
    # Asked again, nothing more is sold.
    assert watch_drawdowns([account.pk], at=AT).orders == []
    account.positions.update(quantity=250)
    Order.objects.update(status=OrderStatus.FILLED, ended_at=AT)
    remark(account, -0.099, -0.005, -0.038)
    watched = watch_drawdowns([account.pk], at=AT)
    assert [one.quantity for one in watched.orders] == [Decimal(250)]
    standing = StrategyStanding.objects.get(strategy=account.strategy)
    assert (standing.trading_state, standing.scale) == ("reducing", 0)
    assert codes([order(account, 1)]) == [["ONLY_REDUCING"]]
    actions = RiskAction.objects.filter(strategy=account.strategy).order_by("taken_at", "pk")
    assert {action.code for action in actions} == {"STRATEGY_DRAWDOWN"}
    assert all(action.evidence["limit"] == "-0.15" for action in actions)


def test_with_halt_a_strategy_is_closed_and_then_halted(two):
    portfolio, accounts = two
    account = accounts[0]
    limit(portfolio, action="halt", drawdown="-0.9")
    hold(account, 500)
    mark(account, -0.14)
    watched = watch_drawdowns([account.pk], at=AT)
    assert [one.quantity for one in watched.orders] == [Decimal(500)]
    standing = StrategyStanding.objects.get(strategy=account.strategy)
    assert (standing.trading_state, standing.scale) == ("reducing", 0)
    # Its sale waits: it is not flat yet.
    assert watch_drawdowns([account.pk], at=AT).actions == []
    account.positions.update(quantity=0)
    Order.objects.update(status=OrderStatus.FILLED, ended_at=AT)
    (action,) = watch_drawdowns([account.pk], at=AT).actions
    standing.refresh_from_db()
    assert (standing.trading_state, action.code) == ("halted", "STRATEGY_DRAWDOWN")
    assert "until a person lets it trade again" in action.reason
    assert codes([order(account, 1)])[0][0] == "TRADING_HALTED"
    assert watch_drawdowns([account.pk], at=AT).actions == []


def test_with_halt_a_strategy_that_holds_nothing_is_halted_at_once(two):
    portfolio, accounts = two
    limit(portfolio, action="halt", drawdown="-0.9")
    mark(accounts[0], -0.14)
    (action,) = watch_drawdowns([accounts[0].pk], at=AT).actions
    assert action.trading_state == "halted"


def test_a_healed_drawdown_takes_back_no_halt_of_a_person(two):
    portfolio, accounts = two
    account = accounts[0]
    limit(portfolio, action="reduce")
    mark(account, -0.11)
    watch_drawdowns([account.pk], at=AT)
    for state in ("halted", "reducing"):
        set_trading_state(account.strategy, state, reason="Mine", by=portfolio.owner, at=LATER)
        remark(account, -0.11, 0.09)
        assert watch_drawdowns([account.pk], at=LATER).actions == []
        assert StrategyStanding.objects.get(strategy=account.strategy).trading_state == state
        remark(account, -0.14)
        if state == "halted":
            # A deeper drawdown does not loosen it to a reduction either.
            assert watch_drawdowns([account.pk], at=LATER).actions == []


def test_who_resumes_into_a_drawdown_is_told_that_the_limit_stops_it_again(two):
    portfolio, accounts = two
    account = accounts[0]
    limit(portfolio, action="halt", drawdown="-0.9")
    mark(account, -0.14)
    watch_drawdowns([account.pk], at=AT)
    set_trading_state(account.strategy, "active", reason="Again", at=AT)
    assert "stops it again" in stops_again(account.strategy)
    assert stops_again(portfolio) == ""
    assert stops_again(accounts[1].strategy) == ""
    RiskLimits.objects.update(values={"drawdown": "-0.01", "strategy_drawdown": "-0.9"})
    assert stops_again(account.strategy) == ""
    assert "stops it again" in stops_again(portfolio)


def test_by_default_a_drawdown_only_denies_entries(two):
    _portfolio, accounts = two
    hold(accounts[0], 500)
    mark(accounts[0], -0.16)
    mark(accounts[1], 0.16)
    assert watch_drawdowns([accounts[0].pk], at=AT).actions == []
    assert codes([order(accounts[0], 1)]) == [["STRATEGY_DRAWDOWN"]]
    check = risk_manager.validate_strategy_drawdown(accounts[0])
    assert (check.is_exceeded, check.drawdown) == (True, Decimal("-0.16"))


def test_a_healed_strategy_trades_again(two):
    portfolio, accounts = two
    account = accounts[0]
    limit(portfolio, action="reduce")
    mark(account, -0.11)
    watch_drawdowns([account.pk], at=AT)
    remark(account, -0.11, 0.09)
    actions = watch_drawdowns([account.pk], at=AT).actions
    assert [action.trading_state for action in actions] == ["active"]
    assert codes([order(account, 1)]) == [[]]


def test_a_portfolio_beyond_its_drawdown_is_reduced_or_halted(two):
    portfolio, accounts = two
    limit(portfolio, action="halt", strategy_drawdown="-0.9")
    mark(accounts[0], -0.20)
    mark(accounts[1], -0.11)
    watched = watch_drawdowns([accounts[0].pk], at=AT)
    portfolio.refresh_from_db()
    assert portfolio.trading_state == "halted"
    assert watched.actions[-1].code == "PORTFOLIO_DRAWDOWN"
    assert Decimal(watched.actions[-1].evidence["drawdown"]) == Decimal("-0.155")
    assert watch_drawdowns([accounts[0].pk], at=AT).actions == []


def test_position_size_is_validated_by_the_same_rules(two):
    portfolio, accounts = two
    limit(portfolio, position_quantity=100)
    found = risk_manager.validate_position_size(
        accounts[0], order(accounts[0]).instrument, Decimal(101), price=Decimal(10), at=AT
    )
    assert [denial.code for denial in found] == ["POSITION_LIMIT_EXCEEDED"]


def test_a_review_asks_the_same_number_of_queries_for_two_and_for_twenty(
    alice, django_assert_num_queries
):
    # Members, accounts, stays, marks, standings, transfers, limits, instruments,
    # positions, where the replay is, series and their blocks, working orders.
    counts = []
    for n in (2, 20):
        _, accounts = make_portfolio(alice, n=n)
        for account in accounts:
            hold(account, 1)
            mark(account, 0.01)
        orders = [order(account, 1) for account in accounts]
        with django_assert_num_queries(12) as captured:
            risk_manager.review(orders, at=AT)
        counts.append(len(captured))
    assert counts[0] == counts[1]


def written_in(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.unparse(call) for call in calls}


def test_nothing_goes_around_the_risk_manager():
    """Only the door hands orders to brokers, and whoever writes new ones has been through it."""
    door = ROOT / "portfolio/brokers/base.py"
    for module in [*(ROOT / "portfolio").rglob("*.py"), *(ROOT / "monitoring").rglob("*.py")]:
        if module == door or "migrations" in module.parts:
            continue
        found = written_in(module)
        assert "Order.objects.create" not in found, module
        # To accept a difference of books is no order.
        takers = {name for name in found if name.endswith(".accept")}
        assert takers <= {"reconciliation.accept"}, module
        if "Order.objects.bulk_create" in found:
            # Orders that have been through the door already, with the fills of a bar.
            assert module.name == "paper_writing.py", module
    assert "risk_manager.review" in written_in(door)


def test_what_is_denied_reaches_no_broker(two, monkeypatch):
    portfolio, accounts = two
    set_trading_state(portfolio, "halted", reason="Test", at=AT)
    taken = []
    monkeypatch.setattr(
        type(base.broker("paper")), "accept", lambda self, orders, *, at: taken.extend(orders)
    )
    submitted = base.submit([order(accounts[0], 1)], at=AT)
    assert taken == []
    assert [one.status for one in submitted.denied] == ["denied"]
    assert submitted.denied[0].denials[0]["code"] == "TRADING_HALTED"
