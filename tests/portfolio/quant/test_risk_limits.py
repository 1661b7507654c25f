"""Every limit denies at its edge, tells the numbers, and lets reducing orders through."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastrat.quant.types import Side
from portfolio.quant.drawdown_control import allowed_scale
from portfolio.quant.order_checks import (
    AccountFacts,
    OrderFacts,
    PortfolioFacts,
    check_order,
    is_reducing,
)
from portfolio.quant.risk_limits import DenialCode, RiskLimits, TradingState, limits_from

NONE = RiskLimits(**dict.fromkeys(RiskLimits.__dataclass_fields__))
BUY_100 = OrderFacts(
    Side.BUY, Decimal(100), Decimal(50), average_volume=Decimal(10_000), risk=Decimal(500)
)
ACCOUNT = AccountFacts(
    equity=Decimal(10_000),
    position=Decimal(100),
    gross=Decimal(5_000),
    day_return=Decimal("-0.02"),
    drawdown=Decimal("-0.10"),
    n_orders_last_minute=4,
)
PORTFOLIO = PortfolioFacts(
    equity=Decimal(100_000),
    gross=Decimal(80_000),
    net=Decimal(60_000),
    instrument_value=Decimal(20_000),
    group_gross={"Technology": Decimal(40_000)},
    day_return=Decimal("-0.01"),
    drawdown=Decimal("-0.08"),
    position_risk=Decimal(200),
    risk=Decimal(4_000),
)

# Limit, a value that just holds, one that does not, the code, and the value reported.
EDGES = [
    ("order_quantity", "100", "99", DenialCode.ORDER_QUANTITY_EXCEEDED, "100"),
    ("order_notional", "5000", "4999.99", DenialCode.ORDER_NOTIONAL_EXCEEDED, "5000"),
    ("order_volume_share", "0.01", "0.009", DenialCode.VOLUME_SHARE_EXCEEDED, "0.01"),
    ("orders_per_minute", 5, 4, DenialCode.ORDER_RATE_EXCEEDED, "5"),
    ("position_quantity", "200", "199", DenialCode.POSITION_LIMIT_EXCEEDED, "200"),
    ("position_notional", "10000", "9999", DenialCode.POSITION_NOTIONAL_EXCEEDED, "10000"),
    ("leverage", "1", "0.99", DenialCode.LEVERAGE_EXCEEDED, "1"),
    ("concentration", "0.25", "0.24", DenialCode.CONCENTRATION_EXCEEDED, "0.25"),
    ("strategy_exposure", "0.10", "0.09", DenialCode.STRATEGY_EXPOSURE_EXCEEDED, "0.1"),
    ("group_exposure", "0.45", "0.44", DenialCode.GROUP_EXPOSURE_EXCEEDED, "0.45"),
    ("gross_exposure", "0.85", "0.84", DenialCode.GROSS_EXPOSURE_EXCEEDED, "0.85"),
    ("net_exposure", "0.65", "0.64", DenialCode.NET_EXPOSURE_EXCEEDED, "0.65"),
    ("strategy_daily_loss", "-0.021", "-0.02", DenialCode.STRATEGY_DAILY_LOSS, "-0.02"),
    ("strategy_drawdown", "-0.11", "-0.10", DenialCode.STRATEGY_DRAWDOWN, "-0.1"),
    ("daily_loss", "-0.011", "-0.01", DenialCode.PORTFOLIO_DAILY_LOSS, "-0.01"),
    ("drawdown", "-0.081", "-0.08", DenialCode.PORTFOLIO_DRAWDOWN, "-0.08"),
    ("position_heat", "0.005", "0.0049", DenialCode.POSITION_HEAT_EXCEEDED, "0.005"),
    ("heat", "0.043", "0.0429", DenialCode.PORTFOLIO_HEAT_EXCEEDED, "0.043"),
]


def with_limit(name, value):
    return replace(NONE, **{name: value if isinstance(value, int) else Decimal(value)})


def codes(denials):
    return [denial.code for denial in denials]


@pytest.mark.parametrize(("name", "holds", "broken", "code", "value"), EDGES)
def test_a_limit_denies_just_beyond_its_edge(name, holds, broken, code, value):
    assert check_order(BUY_100, ACCOUNT, with_limit(name, holds), portfolio=PORTFOLIO) == []
    denials = check_order(BUY_100, ACCOUNT, with_limit(name, broken), portfolio=PORTFOLIO)
    assert codes(denials) == [code]
    assert denials[0].value == Decimal(value)
    assert denials[0].bound == Decimal(str(broken))
    assert denials[0].limit == name


def test_every_limit_has_an_edge_in_the_table():
    assert {row[0] for row in EDGES} == set(RiskLimits.__dataclass_fields__)


def test_a_denial_says_its_numbers():
    denial = check_order(BUY_100, ACCOUNT, with_limit("order_quantity", "30.0"))[0]
    assert str(denial) == "ORDER_QUANTITY_EXCEEDED: value=100, limit=30"


@pytest.mark.parametrize(
    ("side", "quantity", "position", "expected"),
    [
        (Side.SELL, 100, 100, True),
        (Side.SELL, 101, 100, False),
        (Side.BUY, 1, 100, False),
        (Side.BUY, 50, -50, True),
        (Side.BUY, 51, -50, False),
        (Side.SELL, 1, 0, False),
    ],
)
def test_reducing_is_against_the_position_and_not_beyond_it(side, quantity, position, expected):
    order = OrderFacts(side, Decimal(quantity), Decimal(1))
    assert is_reducing(order, Decimal(position)) is expected


@pytest.mark.parametrize(
    ("of_account", "of_portfolio", "side", "expected"),
    [
        ("active", "active", Side.BUY, []),
        ("reducing", "active", Side.BUY, [DenialCode.ONLY_REDUCING]),
        ("active", "reducing", Side.BUY, [DenialCode.ONLY_REDUCING]),
        ("active", "reducing", Side.SELL, []),
        ("reducing", "halted", Side.SELL, [DenialCode.TRADING_HALTED]),
        ("halted", "active", Side.SELL, [DenialCode.TRADING_HALTED]),
    ],
)
def test_the_stricter_trading_state_decides(of_account, of_portfolio, side, expected):
    denials = check_order(
        replace(BUY_100, side=side),
        replace(ACCOUNT, state=TradingState(of_account)),
        NONE,
        portfolio=replace(PORTFOLIO, state=TradingState(of_portfolio)),
    )
    assert codes(denials) == expected


def test_a_reducing_order_passes_where_everything_is_exceeded():
    tight = replace(
        NONE,
        leverage=Decimal("0.1"),
        gross_exposure=Decimal("0.1"),
        strategy_drawdown=Decimal("-0.01"),
        heat=Decimal("0.001"),
    )
    sell = replace(BUY_100, side=Side.SELL)
    assert check_order(sell, ACCOUNT, tight, portfolio=PORTFOLIO) == []
    assert check_order(replace(sell, price=None), ACCOUNT, tight, portfolio=PORTFOLIO) == []


def test_what_lowers_a_number_is_not_denied_for_it():
    # Short 5,000 more of an instrument of which the portfolio is long 20,000: net falls.
    flat = replace(ACCOUNT, position=Decimal(0), gross=Decimal(0))
    sell = replace(BUY_100, side=Side.SELL)
    limits = replace(NONE, net_exposure=Decimal("0.5"), concentration=Decimal("0.1"))
    assert check_order(sell, flat, limits, portfolio=PORTFOLIO) == []


def test_an_order_without_a_price_is_denied_unless_it_reduces():
    assert codes(check_order(replace(BUY_100, price=None), ACCOUNT, NONE)) == [DenialCode.NO_PRICE]


def test_an_account_without_equity_opens_nothing():
    ruined = replace(ACCOUNT, equity=Decimal(-1))
    assert codes(check_order(BUY_100, ruined, NONE)) == [DenialCode.NO_EQUITY]


def test_unknown_numbers_deny_nothing():
    unknown = replace(ACCOUNT, day_return=None, drawdown=None)
    order = replace(BUY_100, average_volume=None, risk=None)
    assert check_order(order, unknown, RiskLimits()) == []


def test_limits_of_the_wrong_sign_are_refused():
    with pytest.raises(ValueError, match="drawdown is a loss"):
        RiskLimits(drawdown=Decimal("0.15"))
    with pytest.raises(ValueError, match="heat must be positive"):
        RiskLimits(heat=Decimal(0))


def test_the_narrowest_scope_wins_and_none_takes_a_limit_away():
    limits = limits_from({"heat": "0.05", "drawdown": "-0.2"}, {"heat": 0.04, "drawdown": None})
    assert (limits.heat, limits.drawdown) == (Decimal("0.04"), None)
    assert limits.leverage == RiskLimits().leverage


@pytest.mark.parametrize(
    "values", [{"speed": "1"}, {"heat": "much"}, {"heat": "NaN"}, {"drawdown": "0.1"}]
)
def test_stored_limits_are_checked(values):
    with pytest.raises(ValueError):
        limits_from(values)


@given(
    quantity=st.integers(1, 500),
    position=st.integers(-500, 500),
    side=st.sampled_from(list(Side)),
    limit=st.integers(1, 400),
)
def test_nothing_that_passes_leaves_a_larger_position_than_the_limit(
    quantity, position, side, limit
):
    order = OrderFacts(side, Decimal(quantity), Decimal(1))
    account = replace(ACCOUNT, position=Decimal(position), gross=Decimal(abs(position)))
    denials = check_order(order, account, with_limit("position_quantity", str(limit)))
    after = abs(position + side.sign * quantity)
    assert bool(denials) is (after > limit and after > abs(position))


@pytest.mark.parametrize(
    ("drawdown", "previous", "expected"),
    [
        ("0", "1", "1"),
        ("-0.0999", "1", "1"),
        ("-0.10", "1", "0.5"),
        ("-0.1349", "1", "0.5"),
        ("-0.135", "1", "0"),
        ("-0.30", "1", "0"),
        # A little better is not yet well: the size stays until half of the way is healed.
        ("-0.09", "0.5", "0.5"),
        ("-0.051", "0.5", "0.5"),
        ("-0.049", "0.5", "1"),
        ("-0.12", "0", "0"),
    ],
)
def test_size_shrinks_before_the_limit_and_returns_late(drawdown, previous, expected):
    scale = allowed_scale(Decimal(drawdown), Decimal("-0.15"), previous=Decimal(previous))
    assert scale == Decimal(expected)
