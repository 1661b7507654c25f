"""Fill prices, commission and borrow cost."""

from __future__ import annotations

import math

import numba
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastrat.quant import execution
from alphastrat.quant.execution import CostModel, affordable_quantity, commission, exit_fill
from alphastrat.quant.types import Side

NAN = math.nan


@pytest.mark.parametrize(
    ("side", "bps", "scale", "volatility", "expected"),
    [
        (1, 0.0, 0.0, NAN, 100.0),  # an unknown volatility is not needed
        (1, 5.0, 0.0, 0.0, 100.05),
        (-1, 5.0, 0.0, 0.0, 99.95),
        (1, 0.0, 0.1, 0.02, 100.2),
        (-1, 10.0, 0.1, 0.02, 99.7),
        (-1, 20_000.0, 0.0, 0.0, 0.0),  # a price cannot be negative
    ],
)
def test_slippage_moves_the_price_against_the_order(side, bps, scale, volatility, expected):
    price = execution.fill_price(100.0, side, bps, scale, volatility)
    assert price == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [(0.0, 0.0), (10.0, 1.0), (-10.0, 1.0), (1000.0, 1000 * (0.005 + 50 * 2e-4))],
)
def test_commission_is_charged_on_both_sides_with_a_minimum(quantity, expected):
    assert commission(quantity, 50.0, 0.005, 2.0, 1.0) == pytest.approx(expected)


def test_only_short_positions_pay_to_borrow():
    assert execution.borrow_cost(100.0, 20.0, 50.0, 1 / 252) == 0.0
    assert execution.borrow_cost(-100.0, 20.0, 50.0, 1.0) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("direction", "stop", "target", "bar", "expected"),
    [
        (1, 95.0, 110.0, (100, 104, 96), (NAN, 0)),
        (1, 95.0, 110.0, (100, 104, 94), (95.0, 1)),
        (1, 95.0, 110.0, (90, 92, 89), (90.0, 1)),  # gapped through the stop
        (1, 95.0, 110.0, (100, 111, 99), (110.0, 2)),
        (1, 95.0, 110.0, (112, 113, 94), (112.0, 2)),  # opened beyond the target
        (1, 95.0, 110.0, (100, 111, 94), (95.0, 1)),  # both in one bar: the stop
        (-1, 105.0, 90.0, (100, 106, 89), (105.0, 1)),
        (-1, 105.0, 90.0, (108, 109, 107), (108.0, 1)),
        (-1, 105.0, 90.0, (100, 104, 90), (90.0, 2)),
        (1, NAN, NAN, (100, 200, 1), (NAN, 0)),
    ],
)
def test_exits_are_pessimistic_within_a_bar(direction, stop, target, bar, expected):
    price, reason = exit_fill(direction, stop, target, *map(float, bar))
    assert reason == expected[1]
    assert price == pytest.approx(expected[0], nan_ok=True)


@pytest.mark.parametrize(
    ("function", "side", "level", "bar", "expected"),
    [
        (execution.stop_fill, 1, 105.0, (100, 106, 99), 105.0),
        (execution.stop_fill, 1, 105.0, (107, 108, 106), 107.0),
        (execution.stop_fill, 1, 105.0, (100, 104, 99), NAN),
        (execution.limit_fill, 1, 95.0, (100, 101, 94), 95.0),
        (execution.limit_fill, 1, 95.0, (93, 101, 92), 93.0),
        (execution.limit_fill, -1, 105.0, (100, 106, 99), 105.0),
        (execution.limit_fill, -1, 105.0, (100, 104, 99), NAN),
    ],
)
def test_stop_and_limit_orders_fill_at_their_level_or_the_open(
    function, side, level, bar, expected
):
    assert function(side, level, *map(float, bar)) == pytest.approx(expected, nan_ok=True)


@given(
    cash=st.floats(0, 1e7),
    price=st.floats(0.01, 1e4),
    per_share=st.floats(0, 1),
    bps=st.floats(0, 100),
    minimum=st.floats(0, 50),
)
def test_affordable_quantity_spends_the_cash_and_no_more(cash, price, per_share, bps, minimum):
    quantity = affordable_quantity(cash, price, per_share, bps, minimum)
    spent = quantity * price + commission(quantity, price, per_share, bps, minimum)
    assert spent <= cash * (1 + 1e-9) + 1e-9
    if quantity > 0:
        assert spent == pytest.approx(cash, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fill_price", (100.0, 1, 5.0, 0.5, 0.01)),
        ("commission", (100.0, 10.0, 0.01, 3.0, 1.0)),
        ("borrow_cost", (-100.0, 10.0, 50.0, 0.004)),
        ("affordable_quantity", (1000.0, 10.0, 0.0, 10.0, 1.0)),
        ("stop_fill", (-1, 95.0, 90.0, 99.0, 89.0)),
        ("limit_fill", (1, 95.0, 96.0, 99.0, 89.0)),
        ("exit_fill", (1, 95.0, 110.0, 100.0, 111.0, 94.0)),
    ],
)
def test_the_fill_model_compiles_to_the_same_numbers(name, arguments):
    function = getattr(execution, name)
    assert numba.njit(function)(*arguments) == function(*arguments)


def test_cost_model_applies_its_terms():
    costs = CostModel(commission_bps=10.0, slippage_bps=5.0, borrow_bps_per_year=100.0)
    assert costs.fill_price(100.0, Side.SELL) == pytest.approx(99.95)
    assert costs.commission(-10, 100.0) == pytest.approx(1.0)
    assert costs.borrow_cost(-10, 100.0, years=0.5) == pytest.approx(5.0)
    assert costs.affordable_quantity(1001.0, 100.0) == pytest.approx(10.0)


@pytest.mark.parametrize("bad", [-1.0, NAN, math.inf])
def test_cost_model_refuses_terms_that_are_not_costs(bad):
    with pytest.raises(ValueError, match="slippage_bps"):
        CostModel(slippage_bps=bad)
