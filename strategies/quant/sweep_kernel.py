"""The compiled loop of a sweep: simulate one set after the other and keep its metrics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import BoolArray, FloatArray
from strategies.quant import kernel
from strategies.quant.compiled import compiled, compiled_wide
from strategies.quant.signals import WishArray, next_position

METRICS = (
    "total_return",
    "mean_return",
    "volatility",
    "sharpe",
    "max_drawdown",
    "n_trips",
    "win_rate",
    "profit_factor",
    "exposure",
    "turnover",
)

# Bars whose lowest and highest equity are looked at before each of them is.
STRETCH = 32

Float32Array = npt.NDArray[np.float32]


@compiled
def run_all(
    market: kernel.Market,
    wishes: WishArray,
    weights: FloatArray,
    priority: FloatArray,
    terms: kernel.Terms,
    exits: FloatArray,
    out: kernel.Outcome,
    edges: npt.NDArray[np.int64],
    periods_per_year: float,
    metrics: FloatArray,
    sums: FloatArray,
    squares: FloatArray,
    returns: Float32Array,
) -> None:
    """Simulate every set of wishes and write one row of metrics and block sums for each."""
    due = _due_wishes()
    is_plain = market.close.shape[1] == 1 and not np.isnan(market.close).any()
    rows = wishes.reshape(wishes.shape[0], -1)
    for i in range(wishes.shape[0]):
        wanted = kernel.Wanted(wishes[i], weights, priority[i % priority.shape[0]])
        has_exits = not np.isnan(exits[i, : kernel.MAX_BARS]).all() or exits[i, kernel.MAX_BARS] > 0
        if is_plain and not has_exits:
            n_exposed = _run_plain(market, wanted, rows[i], terms, exits[i], due, out)
        else:
            kernel.run(market, wanted, terms, exits[i], out)
            n_exposed = _exposed_bars(out.positions)
        metrics[i, 8] = n_exposed / out.equity.size
        metrics[i, 4] = _deepest_fall(out.equity, terms.cash)
        _blocks(out.equity, terms.cash, edges, sums[i], squares[i])
        _measure(out, terms.cash, periods_per_year, sums[i].sum(), squares[i].sum(), metrics[i])
        if returns.shape[1] > 0:
            before = terms.cash
            for t in range(out.equity.size):
                returns[i, t] = out.equity[t] / before - 1.0
                before = out.equity[t]


@compiled
def _due_wishes() -> BoolArray:
    """Return which wishes change which side: row side + 1, column the wish."""
    due = np.zeros((3, 256), np.bool_)
    for side in range(-1, 2):
        for wish in range(16):
            due[side + 1, wish] = next_position(side, wish) != side
    return due


@compiled
def _run_plain(
    market: kernel.Market,
    wanted: kernel.Wanted,
    wishes: WishArray,
    terms: kernel.Terms,
    exits: FloatArray,
    due: BoolArray,
    out: kernel.Outcome,
) -> int:
    """Do as `kernel.run` for one instrument without gaps whose positions leave by wishes alone.

    Nothing happens between two wishes that are due, so those bars are marked in one go. Returns
    the number of closes with a position; excursions, positions and cash are not written.
    """
    book, counts = out.book, out.counts
    book[:], counts[:] = 0.0, 0
    n_bars, n_exposed, start, cash = wishes.size, 0, 0, terms.cash
    while start < n_bars:
        quantity = book[0, kernel.QUANTITY]
        side = int(np.sign(quantity))
        stop = min(_next_due(wishes, start, due[side + 1]) + 1, n_bars)
        if quantity < 0.0 and terms.borrow_bps > 0.0:
            cash, stop = _mark_borrowed(market.close, start, stop, cash, terms, out)
        else:
            stop = _mark(market.close, start, stop, cash, quantity, out)
        if quantity != 0.0:
            n_exposed += stop - start
        if stop == n_bars:
            break
        book[0, kernel.LAST] = stop - 1
        target, reason = kernel.side_wanted(side, wishes[stop - 1], exits, book[0], counts)
        if side != 0:
            cash += kernel.leave(stop, 0, market.open[stop, 0], reason, market, terms, out)
        if counts[kernel.IS_RUINED] != 0:
            out.equity[stop:] = cash
            break
        if target != 0:
            book[0, kernel.TARGET] = target
            free = terms.leverage * cash
            cash += kernel.enter(stop, 0, cash, free, market, wanted, terms, exits, out)
        start = stop
    return n_exposed


@compiled
def _next_due(wishes: WishArray, start: int, is_due: BoolArray) -> int:
    """Return the first bar from `start` whose wish is due, else the number of bars."""
    n_bars = wishes.size
    while start + 8 <= n_bars:
        eight = wishes[start : start + 8]
        found = False
        for k in range(8):
            found |= is_due[eight[k]]
        if found:
            break
        start += 8
    while start < n_bars and not is_due[wishes[start]]:
        start += 1
    return start


@compiled
def _mark(
    close: FloatArray, start: int, stop: int, cash: float, quantity: float, out: kernel.Outcome
) -> int:
    """Write the equity from `start` to before `stop`; return where that ends, earlier if ruined."""
    if _mark_wide(close, start, stop, cash, quantity, out.equity) > 0.0:
        return stop
    out.counts[kernel.IS_RUINED] = 1
    for t in range(start, stop):
        if out.equity[t] <= 0.0:
            return t + 1
    return stop


@compiled_wide
def _mark_wide(
    close: FloatArray, start: int, stop: int, cash: float, quantity: float, equity: FloatArray
) -> float:
    smallest = np.inf
    for t in range(start, stop):
        value = cash + quantity * close[t, 0]
        equity[t] = value
        smallest = min(smallest, value)
    return smallest


@compiled
def _mark_borrowed(
    close: FloatArray, start: int, stop: int, cash: float, terms: kernel.Terms, out: kernel.Outcome
) -> tuple[float, int]:
    """Do as `_mark` with a position that costs something every bar; returns the cash as well."""
    quantity = out.book[0, kernel.QUANTITY]
    for t in range(start, stop):
        borrowed = kernel.borrow_cost(quantity, close[t, 0], terms.borrow_bps, terms.years_per_bar)
        out.book[0, kernel.BORROWED] += borrowed
        cash -= borrowed
        out.equity[t] = cash + quantity * close[t, 0]
        if out.equity[t] <= 0.0:
            out.counts[kernel.IS_RUINED] = 1
            return cash, t + 1
    return cash, stop


@compiled
def _blocks(
    equity: FloatArray,
    cash: float,
    edges: npt.NDArray[np.int64],
    sums: FloatArray,
    squares: FloatArray,
) -> None:
    """Write block sums of returns and their squares."""
    for b in range(edges.size - 1):
        sums[b], squares[b] = _block(equity, max(edges[b], 1), edges[b + 1])
    change = equity[0] / cash - 1.0
    sums[0] += change
    squares[0] += change * change


@compiled_wide
def _block(equity: FloatArray, start: int, stop: int) -> tuple[float, float]:
    total, square = 0.0, 0.0
    for t in range(start, stop):
        # Once ruined an account may stand at 0, which is no return.
        ratio = equity[t] / equity[t - 1]
        change = 0.0 if equity[t] == equity[t - 1] else ratio - 1.0
        total += change
        square += change * change
    return total, square


@compiled
def _deepest_fall(equity: FloatArray, cash: float) -> float:
    """Return the maximum drawdown, <= 0."""
    peak = low = high = cash
    for start in range(0, equity.size, STRETCH):
        stop = min(start + STRETCH, equity.size)
        bottom, top = _range(equity, start, stop)
        # Most stretches hold no deeper fall than the one known, whatever their order of values.
        if low > 0.0 and bottom * high >= low * max(peak, top):
            peak = max(peak, top)
            continue
        for t in range(start, stop):
            value = equity[t]
            if value > peak:
                peak = value
            elif value * high < low * peak:
                # The pair (low, high) is the deepest fall so far; comparing needs no division.
                low, high = value, peak
    return low / high - 1.0


@compiled_wide
def _range(values: FloatArray, start: int, stop: int) -> tuple[float, float]:
    lowest, highest = np.inf, -np.inf
    for t in range(start, stop):
        lowest, highest = min(lowest, values[t]), max(highest, values[t])
    return lowest, highest


@compiled
def _exposed_bars(positions: FloatArray) -> int:
    n_exposed = 0
    for t in range(positions.shape[0]):
        for j in range(positions.shape[1]):
            if positions[t, j] != 0.0:
                n_exposed += 1
                break
    return n_exposed


@compiled
def _measure(
    out: kernel.Outcome,
    cash: float,
    periods_per_year: float,
    total: float,
    square: float,
    row: FloatArray,
) -> None:
    n_bars = out.equity.size
    mean = total / n_bars
    variance = (square - total * mean) / (n_bars - 1) if n_bars > 1 else np.nan
    volatility = np.sqrt(max(variance, 0.0)) if n_bars > 1 else np.nan
    row[0], row[1], row[2] = out.equity[n_bars - 1] / cash - 1.0, mean, volatility
    # Rounding leaves a deviation of 1e-17 where nothing was traded.
    row[3] = mean / volatility * np.sqrt(periods_per_year) if volatility > 1e-12 else np.nan
    _measure_trips(out, row)
    traded = 0.0
    for k in range(out.counts[kernel.N_FILLS]):
        traded += abs(out.fills[k, 2]) * out.fills[k, 3]
    row[9] = traded / cash


@compiled
def _measure_trips(out: kernel.Outcome, row: FloatArray) -> None:
    n_trips = out.counts[kernel.N_TRIPS]
    n_wins, gained, lost = 0, 0.0, 0.0
    for k in range(n_trips):
        pnl = out.trips[k, 10]
        if pnl > 0.0:
            n_wins += 1
            gained += pnl
        else:
            lost -= pnl
    row[5] = n_trips
    row[6] = n_wins / n_trips if n_trips > 0 else np.nan
    row[7] = gained / lost if lost > 0.0 else np.nan
