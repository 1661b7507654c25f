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

from alphastrat.quant import execution
from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.compiled import compiled
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


class Terms(NamedTuple):
    """Scalars of the account and its costs; units as in `execution.CostModel`."""

    cash: float
    mode: int
    granularity: float
    leverage: float
    slippage_bps: float
    slippage_volatility: float
    per_share: float
    commission_bps: float
    minimum: float
    borrow_bps: float
    years_per_bar: float


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
DUST = 1e-9

# IntEnum members are not numba constants; plain ints are.
_ENTRY, _SIGNAL, _REVERSAL, _TIME, _STOP, _TARGET, _TRAILING, _RUIN = (int(r) for r in Reason)
_EQUITY, _CASH, _QUANTITY_MODE, _RISK = range(4)

_fill_price = compiled(execution.fill_price)
_commission = compiled(execution.commission)
borrow_cost = compiled(execution.borrow_cost)
_affordable = compiled(execution.affordable_quantity)
_stop_fill = compiled(execution.stop_fill)


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


@compiled
def _is_due(quantity: float, wish: int, held: float, max_bars: float) -> bool:
    if quantity == 0.0:
        return wish != 0 and next_position(0, wish) != 0
    side = 1 if quantity > 0.0 else -1
    return held >= max_bars or (wish != 0 and next_position(side, wish) != side)


@compiled
def _write_open(market: Market, out: Outcome) -> None:
    for j in range(out.book.shape[0]):
        out.open_trips[j, 4] = 0.0
        if out.book[j, QUANTITY] != 0.0:
            price = market.close[int(out.book[j, LAST]), j]
            _write_trip(out.open_trips[j], j, -1, price, 0.0, 0.0, -1, out.book[j])


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
    n_entries = 0
    for j in range(market.open.shape[1]):
        price = market.open[t, j]
        if np.isnan(price):
            continue
        side = int(np.sign(out.book[j, QUANTITY]))
        target, reason = side_wanted(
            side, wanted.wishes[int(out.book[j, LAST]), j], exits, out.book[j], out.counts
        )
        out.book[j, TARGET] = target
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
    if counts[IS_RUINED] != 0:
        return 0, _RUIN
    target = next_position(side, wish)
    if target == side and side != 0 and exits[MAX_BARS] > 0 and book[HELD] >= exits[MAX_BARS]:
        return 0, _TIME
    if side == 0 and book[COOL] > 0:
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
    n_assets = market.open.shape[1]
    equity, gross = cash, 0.0
    for j in range(n_assets):
        price = market.open[t, j]
        if np.isnan(price):
            price = market.close[int(out.book[j, LAST]), j]
        if out.book[j, QUANTITY] == 0.0:
            continue
        value = out.book[j, QUANTITY] * price
        equity += value
        gross += abs(value)
    free = terms.leverage * equity - gross
    for j in _entering(t, n_entries, market, wanted.priority, out.book):
        before = cash
        cash += enter(t, j, equity, free, market, wanted, terms, exits, out)
        free -= _spent(before - cash, out.book[j])
    return cash


@compiled
def _entering(
    t: int, n_entries: int, market: Market, priority: FloatArray, book: FloatArray
) -> IntArray:
    """Return the assets to be entered, the strongest first, equal ones in their own order."""
    order, strength = np.empty(n_entries, np.int64), np.empty(n_entries)
    n = 0
    for j in range(book.shape[0]):
        is_wanted = book[j, TARGET] != 0 and book[j, QUANTITY] == 0.0
        if not is_wanted or np.isnan(market.open[t, j]):
            continue
        own = priority[int(book[j, LAST]), j]
        own = -np.inf if np.isnan(own) else own
        place = n
        # Few enter at one open: numba's own sort takes longer to compile than the rest of this.
        while place > 0 and strength[place - 1] < own:
            order[place], strength[place] = order[place - 1], strength[place - 1]
            place -= 1
        order[place], strength[place] = j, own
        n += 1
    return order[:n]


@compiled
def _spent(paid: float, book: FloatArray) -> float:
    # A short sale brings cash in, yet it ties up as much as a purchase would.
    if book[QUANTITY] < 0:
        return paid - 2.0 * book[QUANTITY] * book[ENTRY_PRICE]
    return paid


@compiled
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
    book = out.book[j]
    side, last, price = int(book[TARGET]), int(book[LAST]), market.open[t, j]
    fill = _slipped(price, side, market.volatility[int(book[LAST]), j], terms)
    full = _wanted_quantity(fill, equity, terms, exits, wanted.weights[last, j])
    possible = _affordable(
        max(free, 0.0), fill, terms.per_share, terms.commission_bps, terms.minimum
    )
    quantity = _whole_lots(min(full, possible), terms.granularity)
    # Rounding leaves a trace of cash after everything was spent; it is not worth a position.
    if not quantity * fill > DUST * abs(equity):
        out.counts[N_DENIED] += 1
        return 0.0
    if quantity < _whole_lots(full, terms.granularity) * (1.0 - 1e-9):
        out.counts[N_PARTIAL] += 1
    paid = _commission(quantity, fill, terms.per_share, terms.commission_bps, terms.minimum)
    slippage = abs(fill - price) * quantity
    book[QUANTITY] = side * quantity
    book[ENTRY_PRICE] = book[PEAK] = book[WORST] = book[BEST] = fill
    book[ENTRY_BAR], book[HELD], book[COOL] = t, 0.0, 0.0
    book[PAID], book[SLIPPED], book[BORROWED] = paid, slippage, 0.0
    _write_fill(t, j, side * quantity, fill, paid, slippage, _ENTRY, out)
    return -side * quantity * fill - paid


@compiled
def _wanted_quantity(
    fill: float, equity: float, terms: Terms, exits: FloatArray, weight: float
) -> float:
    if not weight > 0.0 or not equity > 0.0:
        return 0.0
    if terms.mode == _QUANTITY_MODE:
        return weight
    if terms.mode == _RISK:
        return equity * weight / (fill * exits[STOP_LOSS])
    budget = weight if terms.mode == _CASH else weight * equity
    return _affordable(budget, fill, terms.per_share, terms.commission_bps, terms.minimum)


@compiled
def _whole_lots(quantity: float, granularity: float) -> float:
    if granularity <= 0.0:
        return quantity
    # The tolerance keeps 3 x 0.1 from becoming 2 lots of 0.1.
    return np.floor(quantity / granularity + 1e-9) * granularity


@compiled
def _slipped(price: float, side: int, volatility: float, terms: Terms) -> float:
    volatility = 0.0 if np.isnan(volatility) else volatility
    return _fill_price(price, side, terms.slippage_bps, terms.slippage_volatility, volatility)


@compiled
def leave(
    t: int, j: int, price: float, reason: int, market: Market, terms: Terms, out: Outcome
) -> float:
    """Close a position and return what that brings in."""
    book = out.book[j]
    quantity = book[QUANTITY]
    side = -1 if quantity > 0 else 1
    # A limit order fills at its price; everything else is a market order once triggered.
    fill = (
        price
        if reason == _TARGET
        else _slipped(price, side, market.volatility[int(book[LAST]), j], terms)
    )
    paid = _commission(quantity, fill, terms.per_share, terms.commission_bps, terms.minimum)
    slippage = abs(fill - price) * abs(quantity)
    _excursion(book, fill)
    if out.counts[N_TRIPS] < out.trips.shape[0]:
        row = out.trips[out.counts[N_TRIPS]]
        _write_trip(row, j, t, fill, paid, slippage, reason, book)
    out.counts[N_TRIPS] += 1
    _write_fill(t, j, -quantity, fill, paid, slippage, reason, out)
    book[QUANTITY] = 0.0
    return quantity * fill - paid


@compiled
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
            _excursion(book, market.open[t, j])
        cash += leave(t, j, price, reason, market, terms, out)
        if reason != _TARGET and exits[COOLDOWN] > 0:
            book[COOL] = exits[COOLDOWN] + 1
    return cash


@compiled
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
    stopped = _stop_fill(-side, stop, price, high, low)
    reached = _stop_fill(side, target, price, high, low)
    if reached == price and stopped != price:
        return reached, _TARGET
    if not np.isnan(stopped):
        return stopped, _TRAILING if trails else _STOP
    if not np.isnan(reached):
        return reached, _TARGET
    return np.nan, 0


@compiled
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
    borrow = borrow_cost(
        book[j, QUANTITY], market.close[t, j], terms.borrow_bps, terms.years_per_bar
    )
    book[j, BORROWED] += borrow
    return borrow


@compiled
def _excursion(book: FloatArray, price: float) -> None:
    if book[QUANTITY] > 0:
        book[WORST], book[BEST] = min(book[WORST], price), max(book[BEST], price)
    else:
        book[WORST], book[BEST] = max(book[WORST], price), min(book[BEST], price)


@compiled
def _write_fill(
    t: int,
    j: int,
    quantity: float,
    price: float,
    paid: float,
    slippage: float,
    reason: int,
    out: Outcome,
) -> None:
    if out.counts[N_FILLS] < out.fills.shape[0]:
        row = out.fills[out.counts[N_FILLS]]
        row[0], row[1], row[2], row[3] = t, j, quantity, price
        row[4], row[5], row[6] = paid, slippage, reason
    out.counts[N_FILLS] += 1


@compiled
def _write_trip(
    row: FloatArray,
    j: int,
    t: int,
    price: float,
    paid: float,
    slippage: float,
    reason: int,
    book: FloatArray,
) -> None:
    quantity = book[QUANTITY]
    side = 1.0 if quantity > 0 else -1.0
    entry = book[ENTRY_PRICE]
    row[0], row[1], row[2], row[3], row[4] = j, side, book[ENTRY_BAR], t, abs(quantity)
    row[5], row[6], row[7] = entry, price, book[PAID] + paid
    row[8], row[9] = book[SLIPPED] + slippage, book[BORROWED]
    row[10] = quantity * (price - entry) - row[7] - row[9]
    row[11] = side * (book[WORST] / entry - 1.0)
    row[12] = side * (book[BEST] / entry - 1.0)
    row[13] = reason
