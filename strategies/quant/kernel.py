"""The simulation kernel: the one definition of what a backtest earns.

A signal is known at the close of its bar and fills no earlier than the next open. At an open,
positions that are to leave are closed first, in column order; then entries are filled, the
strongest first, each from what the ones before left over. Within the bar stops and targets are
checked, also on the bar of the entry. At the close positions are marked.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant import orders
from strategies.quant.compiled import compiled, compiled_bare
from strategies.quant.orders import Terms as Terms
from strategies.quant.signals import WishArray, next_position


class Reason(IntEnum):
    """Why a fill happened."""

    ENTRY = 0
    SIGNAL = 1
    REVERSAL = 2
    TIME = 3
    STOP = 4
    TARGET = 5
    TRAILING = 6
    RUIN = 7


class Market(NamedTuple):
    """Arrays of shape (n_bars, n_assets); prices NaN where an instrument has no bar."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volatility: FloatArray


class Wanted(NamedTuple):
    """Wishes, sizing weights and priorities at each close, shape (n_bars, n_assets)."""

    wishes: WishArray
    weights: FloatArray
    priority: FloatArray


class Outcome(NamedTuple):
    """Arrays that the kernel writes.

    equity and cash (n_bars,); positions (n_bars, n_assets); fills and trips of any capacity,
    rows beyond it are counted but not written; open_trips (n_assets, N_TRIP); book
    (n_assets, N_BOOK) is scratch; counts (N_COUNTS,).
    """

    equity: FloatArray
    cash: FloatArray
    positions: FloatArray
    fills: FloatArray
    trips: FloatArray
    open_trips: FloatArray
    book: FloatArray
    counts: IntArray


STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, MAX_BARS, COOLDOWN = range(5)
QUANTITY, ENTRY_PRICE, ENTRY_BAR, PEAK, HELD, COOL, WORST, BEST = range(8)
PAID, BORROWED, SLIPPED, LAST, TARGET = range(8, 13)
N_BOOK = 13
FILL_COLUMNS = ("bar", "asset", "quantity", "price", "commission", "slippage", "reason")
TRIP_COLUMNS = (
    "asset",
    "side",
    "entry_bar",
    "exit_bar",
    "quantity",
    "entry_price",
    "exit_price",
    "commission",
    "slippage",
    "borrow",
    "pnl",
    "mae",
    "mfe",
    "exit_reason",
)
N_FILLS, N_TRIPS, N_DENIED, N_PARTIAL, IS_RUINED = range(5)
N_COUNTS = 5

# IntEnum members are not numba constants; plain ints are.
_ENTRY, _SIGNAL, _REVERSAL, _TIME, _STOP, _TARGET, _TRAILING, _RUIN = (int(r) for r in Reason)


@compiled
def run(market: Market, wanted: Wanted, terms: Terms, exits: FloatArray, out: Outcome) -> None:
    """Simulate one account over all bars and write what happened to `out`."""
    book, counts, wishes, close = out.book, out.counts, wanted.wishes, market.close
    book[:] = 0.0
    counts[:] = 0
    has_exits = not np.isnan(exits[:MAX_BARS]).all()
    cash = terms.cash
    is_pending, is_held = False, False
    max_bars = exits[MAX_BARS] if exits[MAX_BARS] > 0.0 else np.inf
    # The loop itself touches bare arrays only: it is what a sweep spends its time in.
    for t in range(close.shape[0]):
        if is_pending:
            cash = at_open(t, cash, market, wanted, terms, exits, out)
        if has_exits and (is_held or is_pending):
            cash = within_bar(t, cash, market, terms, exits, out)
        is_pending, is_held = counts[IS_RUINED] != 0, False
        equity = cash
        for j in range(close.shape[1]):
            quantity, mark, wish = book[j, QUANTITY], close[t, j], wishes[t, j]
            if np.isnan(mark):
                last = int(book[j, LAST])
                mark, wish = close[last, j], wishes[last, j]
            else:
                book[j, LAST] = t
                if book[j, COOL] > 0.0:
                    book[j, COOL] -= 1.0
                if quantity != 0.0:
                    borrowed = hold(t, j, market, terms, book)
                    cash -= borrowed
                    equity -= borrowed
            out.positions[t, j] = quantity
            is_pending = _is_due(quantity, wish, book[j, HELD], max_bars) or is_pending
            if quantity != 0.0:
                is_held = True
                equity += quantity * mark
        out.cash[t], out.equity[t] = cash, equity
        if equity <= 0.0:
            counts[IS_RUINED] = 1
            is_pending = True
    _write_open(market, out)


@compiled_bare
def _is_due(quantity: float, wish: int, held: float, max_bars: float) -> bool:
    if quantity == 0.0:
        return wish != 0 and next_position(0, wish) != 0
    side = 1 if quantity > 0.0 else -1
    return held >= max_bars or (wish != 0 and next_position(side, wish) != side)


@compiled_bare
def _write_open(market: Market, out: Outcome) -> None:
    for j in range(out.book.shape[0]):
        out.open_trips[j, 4] = 0.0
        if out.book[j, QUANTITY] != 0.0:
            price = market.close[int(out.book[j, LAST]), j]
            _write_trip(out.open_trips, j, j, -1, price, 0.0, 0.0, -1, out.book)


@compiled
def at_open(
    t: int,
    cash: float,
    market: Market,
    wanted: Wanted,
    terms: Terms,
    exits: FloatArray,
    out: Outcome,
) -> float:
    """Return the cash after a bar's open: exits first, then entries."""
    book, ruined, n_entries = out.book, out.counts[IS_RUINED], 0
    for j in range(market.open.shape[1]):
        price = market.open[t, j]
        if np.isnan(price):
            continue
        quantity, wish = book[j, QUANTITY], wanted.wishes[int(book[j, LAST]), j]
        side = int(np.sign(quantity))
        target, reason = _side(side, wish, exits[MAX_BARS], book[j, HELD], book[j, COOL], ruined)
        book[j, TARGET] = target
        if target == side:
            continue
        if side != 0:
            cash += leave(t, j, price, reason, market, terms, out)
        if target != 0:
            n_entries += 1
    if n_entries > 0:
        cash = _enter_all(t, cash, n_entries, market, wanted, terms, exits, out)
    return cash


@compiled
def side_wanted(
    side: int, wish: int, exits: FloatArray, book: FloatArray, counts: IntArray
) -> tuple[int, int]:
    """Return the side wanted at the next open, and why a position leaves."""
    return _side(side, wish, exits[MAX_BARS], book[HELD], book[COOL], counts[IS_RUINED])


@compiled_bare
def _side(
    side: int, wish: int, max_bars: float, held: float, cool: float, ruined: int
) -> tuple[int, int]:
    if ruined != 0:
        return 0, _RUIN
    target = next_position(side, wish)
    if target == side and side != 0 and max_bars > 0 and held >= max_bars:
        return 0, _TIME
    if side == 0 and cool > 0:
        return 0, _SIGNAL
    return target, _SIGNAL if target == 0 else _REVERSAL


@compiled
def _enter_all(
    t: int,
    cash: float,
    n_entries: int,
    market: Market,
    wanted: Wanted,
    terms: Terms,
    exits: FloatArray,
    out: Outcome,
) -> float:
    book = out.book
    order, strength, n_found = np.empty(n_entries, np.int64), np.empty(n_entries), 0
    equity, gross = cash, 0.0
    for j in range(market.open.shape[1]):
        quantity, price = book[j, QUANTITY], market.open[t, j]
        if quantity != 0.0:
            if np.isnan(price):
                price = market.close[int(book[j, LAST]), j]
            equity += quantity * price
            gross += abs(quantity * price)
        elif book[j, TARGET] != 0.0 and not np.isnan(price):
            _insert(j, wanted.priority[int(book[j, LAST]), j], n_found, order, strength)
            n_found += 1
    free = terms.leverage * equity - gross
    for k in range(n_found):
        j, before = order[k], cash
        cash += enter(t, j, equity, free, market, wanted, terms, exits, out)
        free -= _spent(before - cash, book[j, QUANTITY], book[j, ENTRY_PRICE])
    return cash


@compiled_bare
def _insert(j: int, own: float, place: int, order: IntArray, strength: FloatArray) -> None:
    """Put an asset behind those that are as strong; `place` of them are in order already."""
    own = -np.inf if np.isnan(own) else own
    # Few enter at one open: numba's own sort takes longer to compile than the rest of this.
    while place > 0 and strength[place - 1] < own:
        order[place], strength[place] = order[place - 1], strength[place - 1]
        place -= 1
    order[place], strength[place] = j, own


@compiled_bare
def _spent(paid: float, quantity: float, entry_price: float) -> float:
    # A short sale brings cash in, yet it ties up as much as a purchase would.
    return paid - 2.0 * quantity * entry_price if quantity < 0 else paid


@compiled_bare
def enter(
    t: int,
    j: int,
    equity: float,
    free: float,
    market: Market,
    wanted: Wanted,
    terms: Terms,
    exits: FloatArray,
    out: Outcome,
) -> float:
    """Open the position that the book wants and return what that brings in, below 0 for a long."""
    book, counts = out.book, out.counts
    side, last, price = int(book[j, TARGET]), int(book[j, LAST]), market.open[t, j]
    quantity, fill, paid, is_partial = orders.entry(
        price,
        side,
        equity,
        free,
        market.volatility[last, j],
        wanted.weights[last, j],
        exits[STOP_LOSS],
        terms,
    )
    if quantity == 0.0:
        counts[N_DENIED] += 1
        return 0.0
    if is_partial:
        counts[N_PARTIAL] += 1
    slippage = abs(fill - price) * quantity
    book[j, QUANTITY] = side * quantity
    book[j, ENTRY_PRICE] = book[j, PEAK] = book[j, WORST] = book[j, BEST] = fill
    book[j, ENTRY_BAR], book[j, HELD], book[j, COOL] = t, 0.0, 0.0
    book[j, PAID], book[j, SLIPPED], book[j, BORROWED] = paid, slippage, 0.0
    _write_fill(t, j, side * quantity, fill, paid, slippage, _ENTRY, out.fills, counts)
    return -side * quantity * fill - paid


@compiled_bare
def leave(
    t: int, j: int, price: float, reason: int, market: Market, terms: Terms, out: Outcome
) -> float:
    """Close a position and return what that brings in."""
    book, counts = out.book, out.counts
    quantity = book[j, QUANTITY]
    # A limit order fills at its price; everything else is a market order once triggered.
    fill = price
    if reason != _TARGET:
        side = -1 if quantity > 0 else 1
        fill = orders.market_fill(price, side, market.volatility[int(book[j, LAST]), j], terms)
    paid = orders.commission(quantity, fill, terms)
    slippage = abs(fill - price) * abs(quantity)
    _excursion(book, j, fill)
    if counts[N_TRIPS] < out.trips.shape[0]:
        _write_trip(out.trips, counts[N_TRIPS], j, t, fill, paid, slippage, reason, book)
    counts[N_TRIPS] += 1
    _write_fill(t, j, -quantity, fill, paid, slippage, reason, out.fills, counts)
    book[j, QUANTITY] = 0.0
    return quantity * fill - paid


@compiled_bare
def within_bar(
    t: int, cash: float, market: Market, terms: Terms, exits: FloatArray, out: Outcome
) -> float:
    """Return the cash after stops and targets within a bar."""
    for j in range(market.open.shape[1]):
        book = out.book[j]
        if book[QUANTITY] == 0.0 or np.isnan(market.open[t, j]):
            continue
        price, reason = _exit(t, j, market, exits, book)
        if reason == 0:
            continue
        if book[ENTRY_BAR] != t:
            _excursion(out.book, j, market.open[t, j])
        cash += leave(t, j, price, reason, market, terms, out)
        if reason != _TARGET and exits[COOLDOWN] > 0:
            book[COOL] = exits[COOLDOWN] + 1
    return cash


@compiled_bare
def _exit(t: int, j: int, market: Market, exits: FloatArray, book: FloatArray) -> tuple[float, int]:
    """`execution.exit_fill` with two stops: the nearer one binds."""
    side = 1 if book[QUANTITY] > 0 else -1
    fixed = book[ENTRY_PRICE] * (1.0 - side * exits[STOP_LOSS])
    # The open comes before the rest of the bar, so the trail may follow it.
    peak = side * max(side * book[PEAK], side * market.open[t, j])
    trail = peak * (1.0 - side * exits[TRAILING_STOP])
    trails = not np.isnan(trail) and not side * (trail - fixed) <= 0.0
    stop = trail if trails else fixed
    target = book[ENTRY_PRICE] * (1.0 + side * exits[TAKE_PROFIT])
    price, high, low = market.open[t, j], market.high[t, j], market.low[t, j]
    stopped = orders.stop_fill(-side, stop, price, high, low)
    reached = orders.stop_fill(side, target, price, high, low)
    if reached == price and stopped != price:
        return reached, _TARGET
    if not np.isnan(stopped):
        return stopped, _TRAILING if trails else _STOP
    if not np.isnan(reached):
        return reached, _TARGET
    return np.nan, 0


@compiled_bare
def hold(t: int, j: int, market: Market, terms: Terms, book: FloatArray) -> float:
    """Follow a position through a bar and return what borrowing it costs."""
    high, low = market.high[t, j], market.low[t, j]
    book[j, HELD] += 1.0
    if book[j, QUANTITY] > 0.0:
        book[j, WORST], book[j, BEST] = min(book[j, WORST], low), max(book[j, BEST], high)
        book[j, PEAK] = max(book[j, PEAK], high)
        return 0.0
    book[j, WORST], book[j, BEST] = max(book[j, WORST], high), min(book[j, BEST], low)
    book[j, PEAK] = min(book[j, PEAK], low)
    borrow = orders.borrow_cost(
        book[j, QUANTITY], market.close[t, j], terms.borrow_bps, terms.years_per_bar
    )
    book[j, BORROWED] += borrow
    return borrow


@compiled_bare
def _excursion(book: FloatArray, j: int, price: float) -> None:
    if book[j, QUANTITY] > 0:
        book[j, WORST], book[j, BEST] = min(book[j, WORST], price), max(book[j, BEST], price)
    else:
        book[j, WORST], book[j, BEST] = max(book[j, WORST], price), min(book[j, BEST], price)


@compiled_bare
def _write_fill(
    t: int,
    j: int,
    quantity: float,
    price: float,
    paid: float,
    slippage: float,
    reason: int,
    fills: FloatArray,
    counts: IntArray,
) -> None:
    k = counts[N_FILLS]
    if k < fills.shape[0]:
        fills[k, 0], fills[k, 1], fills[k, 2], fills[k, 3] = t, j, quantity, price
        fills[k, 4], fills[k, 5], fills[k, 6] = paid, slippage, reason
    counts[N_FILLS] = k + 1


@compiled_bare
def _write_trip(
    trips: FloatArray,
    k: int,
    j: int,
    t: int,
    price: float,
    paid: float,
    slippage: float,
    reason: int,
    book: FloatArray,
) -> None:
    quantity, entry = book[j, QUANTITY], book[j, ENTRY_PRICE]
    side = 1.0 if quantity > 0 else -1.0
    commission, borrowed = book[j, PAID] + paid, book[j, BORROWED]
    trips[k, 0], trips[k, 1], trips[k, 2], trips[k, 3] = j, side, book[j, ENTRY_BAR], t
    trips[k, 4], trips[k, 5], trips[k, 6] = abs(quantity), entry, price
    trips[k, 7], trips[k, 8], trips[k, 9] = commission, book[j, SLIPPED] + slippage, borrowed
    trips[k, 10] = orders.trip_pnl(quantity, entry, price, commission, borrowed)
    trips[k, 11] = side * (book[j, WORST] / entry - 1.0)
    trips[k, 12] = side * (book[j, BEST] / entry - 1.0)
    trips[k, 13] = reason
