"""Fills into positions, profit and loss and cash, exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphastrat.quant.ledger import Ledger, LedgerFill, LedgerPosition
from alphastrat.quant.types import Side

D = Decimal


def fill(side, quantity, price, commission="0", symbol="AAPL"):
    return LedgerFill(symbol, Side(side), D(quantity), D(price), D(commission))


@pytest.mark.parametrize(
    ("fills", "quantity", "average", "realised"),
    [
        ([("buy", "10", "100")], "10", "100", "0"),
        ([("buy", "10", "100"), ("buy", "30", "120")], "40", "115", "0"),
        ([("buy", "10", "100"), ("sell", "4", "110")], "6", "100", "40"),
        ([("buy", "10", "100"), ("sell", "10", "90")], "0", None, "-100"),
        # Reversal: the long ten close at 110, five short open there.
        ([("buy", "10", "100"), ("sell", "15", "110")], "-5", "110", "100"),
        ([("sell", "10", "100"), ("buy", "4", "90")], "-6", "100", "40"),
        ([("sell", "10", "100"), ("buy", "12", "105")], "2", "105", "-50"),
    ],
)
def test_positions_follow_average_cost(fills, quantity, average, realised):
    position = LedgerPosition()
    for row in fills:
        position = position.after(fill(*row))
    assert position.quantity == D(quantity)
    assert position.average_price == (None if average is None else D(average))
    assert position.realised == D(realised)


def test_commission_leaves_cash_and_not_the_cost_of_the_position():
    ledger = Ledger.of(D(1000), [fill("buy", "2", "100", "1.50")])
    assert ledger.cash == D("798.50")
    assert ledger.position("AAPL").cost == D(200)
    assert ledger.commission == D("1.50")
    assert ledger.equity({"AAPL": D(100)}) == D("998.50")


def test_record_returns_what_the_fill_realised():
    ledger = Ledger.of(D(1000), [fill("buy", "5", "10")])
    assert ledger.record(fill("sell", "5", "8")) == D(-10)


def test_income_and_borrow_costs_change_equity():
    ledger = Ledger.of(D(100))
    ledger.receive(D("-0.25"))
    assert ledger.equity({}) == D("99.75")
    assert ledger.other_income == D("-0.25")


def test_a_held_instrument_without_price_has_no_equity():
    ledger = Ledger.of(D(1000), [fill("buy", "1", "10")])
    with pytest.raises(ValueError, match="AAPL"):
        ledger.equity({})


def test_a_flat_instrument_needs_no_price():
    ledger = Ledger.of(D(1000), [fill("buy", "1", "10"), fill("sell", "1", "12")])
    assert ledger.equity({}) == D(1002)


@pytest.mark.parametrize(
    ("quantity", "price"), [("0", "1"), ("-1", "1"), ("1", "-1"), ("NaN", "1")]
)
def test_impossible_fills_are_refused(quantity, price):
    with pytest.raises(ValueError):
        fill("buy", quantity, price)


AMOUNT = st.decimals(min_value=D("0.00000001"), max_value=D(1_000_000), places=8)
# Sixty such values and their sum stay within the 28 digits of the decimal context.
PRICE = st.decimals(min_value=D("0.000001"), max_value=D(10_000), places=6)
FILL = st.builds(
    LedgerFill,
    symbol=st.sampled_from(["AAPL", "MSFT", "SPY"]),
    side=st.sampled_from(Side),
    quantity=AMOUNT,
    price=PRICE,
    commission=st.decimals(min_value=0, max_value=100, places=4),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(FILL, max_size=60), st.lists(PRICE, min_size=3, max_size=3))
def test_cash_and_positions_equal_equity_to_the_last_digit(fills, marks):
    """Average cost, reversals and rounding lose nothing over thousands of random fills."""
    prices = dict(zip(["AAPL", "MSFT", "SPY"], marks, strict=True))
    ledger = Ledger.of(D(100_000), fills)
    earned = ledger.realised + ledger.unrealised(prices) - ledger.commission
    assert ledger.cash + ledger.position_value(prices) == ledger.deposits + earned
    assert ledger.equity(prices) == ledger.cash + ledger.position_value(prices)
    for symbol in prices:
        net = sum((f.signed_quantity for f in fills if f.symbol == symbol), D(0))
        assert ledger.position(symbol).quantity == net
        if net == 0:
            assert ledger.position(symbol).cost == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(FILL, min_size=1, max_size=30), AMOUNT)
def test_closing_everything_realises_the_unrealised(fills, price):
    fills = [f for f in fills if f.symbol == "AAPL"]
    ledger = Ledger.of(D(0), fills)
    quantity = ledger.position("AAPL").quantity
    if quantity == 0:
        return
    before = ledger.realised + ledger.unrealised({"AAPL": price})
    side = Side.SELL if quantity > 0 else Side.BUY
    ledger.record(LedgerFill("AAPL", side, abs(quantity), price))
    assert ledger.realised == before
    assert ledger.position("AAPL").cost == 0
