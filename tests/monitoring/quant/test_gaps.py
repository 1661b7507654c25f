"""Injected differences between live and shadow come back under their own names."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphastrat.quant.ledger import Ledger, LedgerFill
from alphastrat.quant.types import Side
from monitoring.quant.gaps import (
    Cause,
    FillColumns,
    GapWindow,
    combine_fills,
    explain_gap,
    fill_gaps_bps,
    match_fills,
)

CAPITAL = 100_000.0
SYMBOLS = ("AAA", "BBB", "CCC")


def columns(rows):
    asset, bar, quantity, price, fee, reference = (
        np.array(part) for part in zip(*rows, strict=True)
    )
    return FillColumns(
        asset.astype(np.int64),
        bar.astype(np.int64),
        quantity.astype(float),
        price.astype(float),
        fee.astype(float),
        reference.astype(float),
    )


def opens(rng, n_bars=200):
    return 100.0 * np.exp(np.cumsum(rng.normal(0, 0.01, (n_bars, 3)), axis=0))


def make_shadow(prices):
    """Buy and sell 50 units of each instrument in turn, 5 bp of slippage and 1 of commission."""
    rows = []
    for bar in range(5, 190, 5):
        for asset in range(3):
            quantity = 50.0 if (bar // 5) % 2 else -50.0
            reference = round(prices[bar, asset], 4)
            price = round(reference * (1 + np.sign(quantity) * 5e-4), 4)
            rows.append((asset, bar, quantity, price, 1.0, reference))
    return columns(rows)


def pnl(fills, marks):
    """The change of equity by the exact ledger of the product, which knows nothing of causes."""
    ledger = Ledger.of(Decimal(1_000_000))
    for k in range(len(fills)):
        ledger.record(
            LedgerFill(
                symbol=SYMBOLS[fills.asset[k]],
                side=Side.BUY if fills.quantity[k] > 0 else Side.SELL,
                quantity=Decimal(str(abs(fills.quantity[k]))),
                price=Decimal(str(fills.price[k])),
                commission=Decimal(str(fills.fee[k])),
            )
        )
    prices = {SYMBOLS[code]: Decimal(str(mark)) for code, mark in marks.items()}
    return float(ledger.equity(prices)) - 1_000_000


def explained(live, shadow, marks, **more):
    window = GapWindow(CAPITAL, CAPITAL, pnl(live, marks), pnl(shadow, marks), marks)
    return explain_gap(live, shadow, window=window, **more)


@pytest.fixture
def market():
    prices = opens(np.random.default_rng(1))
    marks = {asset: round(float(prices[-1, asset]), 4) for asset in range(3)}
    return prices, make_shadow(prices), marks


def keep(fills, mask):
    return FillColumns(*(getattr(fills, name)[mask] for name in FillColumns.__slots__))


def with_column(fills, name, values):
    return replace(fills, **{name: values})


def test_identical_fills_leave_no_gap(market):
    _, shadow, marks = market
    ledger = explained(shadow, shadow, marks)
    assert ledger.gap_bps == 0.0
    assert all(abs(value) < 1e-9 for value in ledger.bps.values())


def test_every_injected_cause_comes_back_with_its_amount(market):
    prices, shadow, marks = market
    n = len(shadow)
    at = np.arange(n)
    price, fee = shadow.price.copy(), shadow.fee.copy()
    quantity, bar, reference = shadow.quantity.copy(), shadow.bar.copy(), shadow.reference.copy()
    injected = dict.fromkeys(Cause, 0.0)

    worse = at % 11 == 1
    price[worse] *= 1 + np.sign(quantity[worse]) * 8e-4
    injected[Cause.PRICE] = -(quantity * (price - shadow.price))[worse].sum()
    dear = at % 11 == 2
    fee[dear] += 2.5
    injected[Cause.FEE] = -2.5 * dear.sum()
    small = at % 11 == 3
    quantity[small] *= 0.8
    mark = np.array([marks[code] for code in shadow.asset.tolist()])
    injected[Cause.SIZE] = ((quantity - shadow.quantity) * (mark - shadow.price))[small].sum()
    late = at % 11 == 4
    bar[late] += 2
    moved = prices[bar[late], shadow.asset[late]].round(4) - shadow.reference[late]
    price[late] += moved
    reference[late] += moved
    injected[Cause.LATE] = -(quantity[late] * moved).sum()
    missed = at % 11 == 5
    injected[Cause.MISSED] = -((shadow.quantity * (mark - shadow.price) - shadow.fee)[missed].sum())
    live = keep(FillColumns(shadow.asset, bar, quantity, price, fee, reference), ~missed)
    extra = columns([(1, 192, 30.0, round(prices[192, 1], 4), 1.0, prices[192, 1])])
    injected[Cause.EXTRA] = 30.0 * (marks[1] - extra.price[0]) - 1.0
    live = FillColumns(
        *(
            np.concatenate([getattr(live, name), getattr(extra, name)])
            for name in FillColumns.__slots__
        )
    )
    ledger = explained(live, shadow, marks)
    for cause in Cause:
        expected = injected[cause] / CAPITAL * 1e4
        assert ledger.bps[cause] == pytest.approx(expected, abs=0.05), cause
    assert abs(ledger.bps[Cause.RESIDUAL]) < 1.0
    assert sum(ledger.bps.values()) == pytest.approx(ledger.gap_bps)
    assert abs(ledger.gap_bps) > 10


def test_restated_bars_are_a_cause_of_their_own(market):
    _, shadow, marks = market
    restated = with_column(
        shadow, "price", np.where(shadow.bar == 50, shadow.price * 1.01, shadow.price)
    )
    ledger = explained(shadow, restated, marks, known_shadow=shadow)
    changed = (restated.quantity * (restated.price - shadow.price)).sum() / CAPITAL * 1e4
    assert ledger.bps[Cause.RESTATED] == pytest.approx(changed, abs=1e-6)
    assert abs(ledger.bps[Cause.RESIDUAL]) < 1e-6
    assert ledger.bps[Cause.PRICE] == pytest.approx(0.0, abs=1e-9)


def test_cash_that_no_fill_brought_is_the_residual(market):
    _, shadow, marks = market
    earned = pnl(shadow, marks)
    window = GapWindow(CAPITAL, CAPITAL, earned + 120.0, earned, marks)
    ledger = explain_gap(shadow, shadow, window=window)
    assert ledger.bps[Cause.RESIDUAL] == pytest.approx(12.0)


def test_an_account_of_another_size_is_compared_at_its_own_size(market):
    _, shadow, marks = market
    half = shadow.scaled(0.5)
    window = GapWindow(CAPITAL / 2, CAPITAL, pnl(half, marks), pnl(shadow, marks), marks)
    ledger = explain_gap(half, shadow, window=window)
    assert all(abs(value) < 1e-6 for value in ledger.bps.values())


def test_parts_of_one_order_are_one_fill():
    parts = columns(
        [(0, 3, 10, 100.0, 1, 99.0), (0, 3, 30, 104.0, 1, 99.0), (0, 3, -5, 90.0, 1, 99.0)]
    )
    whole = combine_fills(parts)
    assert whole.quantity.tolist() == [-5, 40]
    assert whole.price.tolist() == [90.0, 103.0]
    assert whole.fee.tolist() == [1.0, 2.0]


def test_fills_match_within_their_instrument_and_side_in_order():
    shadow = columns([(0, 10, 5, 1, 0, 1), (0, 20, 5, 1, 0, 1), (1, 20, 5, 1, 0, 1)])
    live = columns(
        [(0, 12, 5, 1, 0, 1), (0, 19, 5, 1, 0, 1), (1, 30, 5, 1, 0, 1), (1, 20, -5, 1, 0, 1)]
    )
    found = match_fills(live, shadow)
    assert found.live.tolist() == [0, 1]
    assert found.late_bars.tolist() == [2, -1]
    assert found.missed.tolist() == [2]
    assert found.extra.tolist() == [2, 3]


def test_a_gap_is_positive_when_the_fill_was_worse():
    shadow = columns([(0, 1, 10, 100.0, 0, 100), (0, 2, -10, 100.0, 0, 100)])
    live = columns([(0, 1, 10, 100.1, 1.001, 100), (0, 2, -10, 99.9, 0, 100)])
    gaps = fill_gaps_bps(live, shadow, match_fills(live, shadow))
    np.testing.assert_allclose(gaps, [20.0, 10.0])


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_causes_add_up_whatever_happened(seed):
    rng = np.random.default_rng(seed)
    prices = opens(rng)
    marks = {asset: round(float(prices[-1, asset]), 4) for asset in range(3)}
    shadow = make_shadow(prices)
    kept = rng.random(len(shadow)) < 0.8
    live = keep(
        FillColumns(
            shadow.asset,
            shadow.bar + rng.integers(0, 4, len(shadow)),
            (shadow.quantity * rng.choice([0.5, 1, 1.2], len(shadow))).round(4),
            (shadow.price * (1 + rng.normal(0, 1e-3, len(shadow)))).round(4),
            shadow.fee,
            shadow.reference,
        ),
        kept,
    )
    ledger = explained(live, shadow, marks)
    assert abs(ledger.bps[Cause.RESIDUAL]) < 1e-6
    by_row = sum(row.total_bps for row in ledger.rows)
    assert by_row == pytest.approx(ledger.gap_bps, abs=1e-6)
