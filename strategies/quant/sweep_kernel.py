"""The compiled loop of a sweep: simulate one set after the other and keep its metrics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant import kernel, orders
from strategies.quant.compiled import compiled, compiled_bare, compiled_elementwise, compiled_wide
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
STRETCH = 64
# Wishes that are looked at together for one that matters.
SCANNED = 32

Float32Array = npt.NDArray[np.float32]


class Tally(NamedTuple):
    """What an account did, summed up: closes with a position, closed round trips, value traded."""

    n_exposed: int
    n_trips: int
    n_wins: int
    gained: float
    lost: float
    traded: float


class Series(NamedTuple):
    """One instrument without gaps and the sizing weights, arrays of shape (n_bars,)."""

    open: FloatArray
    close: FloatArray
    volatility: FloatArray
    weights: FloatArray


@compiled
def run_all(
    market: kernel.Market,
    wishes: WishArray,
    weights: FloatArray,
    priority: FloatArray,
    terms: kernel.Terms,
    exits: FloatArray,
    out: kernel.Outcome,
    edges: IntArray,
    periods_per_year: float,
    metrics: FloatArray,
    sums: FloatArray,
    squares: FloatArray,
    returns: Float32Array,
) -> None:
    """Simulate every set of wishes and write one row of metrics and block sums for each."""
    is_plain = market.close.shape[1] == 1 and not np.isnan(market.close).any()
    series = Series(
        market.open.ravel(), market.close.ravel(), market.volatility.ravel(), weights.ravel()
    )
    rows = wishes.reshape(wishes.shape[0], -1)
    bits, limits = out.equity.view(np.int64), np.empty(2)
    limit_bits = limits.view(np.int64)
    for i in range(wishes.shape[0]):
        if is_plain and not _acts_within_bars(exits, i):
            tally = _walk(series, rows[i], terms, exits[i, kernel.MAX_BARS], out.equity)
        else:
            wanted = kernel.Wanted(wishes[i], weights, priority[i % priority.shape[0]])
            kernel.run(market, wanted, terms, exits[i], out)
            tally = _tally(out)
        _blocks(out.equity, terms.cash, edges, sums[i], squares[i])
        _measure(tally, out.equity, terms, periods_per_year, sums[i], squares[i], metrics[i])
        metrics[i, 4] = _deepest_fall(out.equity, bits, limits, limit_bits, terms.cash)
        if returns.shape[1] > 0:
            _keep_returns(out.equity, terms.cash, returns[i])


@compiled_bare
def _acts_within_bars(exits: FloatArray, i: int) -> bool:
    n_rules = 0
    for k in range(kernel.MAX_BARS):
        n_rules += int(not np.isnan(exits[i, k]))
    return n_rules > 0


@compiled_bare
def _walk(
    series: Series, wishes: WishArray, terms: kernel.Terms, max_bars: float, equity: FloatArray
) -> Tally:
    """Do as `kernel.run` for one instrument without gaps and without stops within bars.

    Nothing happens between two wishes that are due, so those bars are marked in one go.
    """
    n_bars, start, cash, quantity = wishes.size, 0, terms.cash, 0.0
    n_exposed, n_trips, n_wins = 0, 0, 0
    gained, lost, traded, price, paid = 0.0, 0.0, 0.0, 0.0, 0.0
    longest = int(max_bars) if max_bars > 0.0 else n_bars
    while start < n_bars:
        side = int(np.sign(quantity))
        due = _next_due(wishes, start, side)
        if side != 0:
            due = min(due, start + longest - 1)
        stop, borrowed = min(due + 1, n_bars), 0.0
        if side < 0 and terms.borrow_bps > 0.0:
            cash, borrowed, stop = _mark_borrowed(
                series.close, start, stop, cash, quantity, terms, equity
            )
        else:
            _mark(series.close[start:stop], cash, quantity, equity[start:stop])
            stop = start + _first_ruined(equity[start:stop])
        n_exposed += (stop - start) * abs(side)
        if stop == n_bars:
            break
        last, is_ruined = stop - 1, equity[stop - 1] <= 0.0
        if side != 0:
            fill = orders.market_fill(series.open[stop], -side, series.volatility[last], terms)
            fee = orders.commission(quantity, fill, terms)
            pnl = orders.trip_pnl(quantity, price, fill, paid + fee, borrowed)
            cash += quantity * fill - fee
            traded += abs(quantity) * fill
            n_trips, n_wins = n_trips + 1, n_wins + int(pnl > 0.0)
            gained, lost = gained + max(pnl, 0.0), lost + max(-pnl, 0.0)
            quantity = 0.0
        if is_ruined:
            equity[stop:] = cash
            break
        target = next_position(side, wishes[last])
        # A side that is wanted still has been held for as long as it may be.
        if target != 0 and target != side:
            size, price, paid, _ = orders.entry(
                series.open[stop],
                target,
                cash,
                terms.leverage * cash,
                series.volatility[last],
                series.weights[last],
                np.nan,
                terms,
            )
            quantity = target * size
            if size != 0.0:
                cash += -quantity * price - paid
                traded += size * price
        start = stop
    return Tally(n_exposed, n_trips, n_wins, gained, lost, traded)


@compiled_bare
def _next_due(wishes: WishArray, start: int, side: int) -> int:
    """Return the first bar from `start` whose wish changes the side, else the number of bars."""
    # The bits without which nothing changes: entries; or exits of this side, entries of the other.
    acting = 5 if side == 0 else 6 if side > 0 else 9
    for first in range(start, wishes.size, SCANNED):
        scanned, found = wishes[first : first + SCANNED], np.uint8(0)
        if scanned.size == SCANNED:
            for k in range(SCANNED):
                found |= scanned[k]
            if found & acting == 0:
                continue
        for k in range(scanned.size):
            if scanned[k] & acting != 0 and next_position(side, scanned[k]) != side:
                return first + k
    return wishes.size


@compiled_elementwise
def _mark(close: FloatArray, cash: float, quantity: float, equity: FloatArray) -> None:
    for t in range(close.size):
        equity[t] = cash + quantity * close[t]


@compiled_elementwise
def _first_ruined(equity: FloatArray) -> int:
    """Return how many bars pass until the account is ruined, that bar included."""
    is_ruined = False
    for t in range(equity.size):
        is_ruined |= equity[t] <= 0.0
    if is_ruined:
        for t in range(equity.size):
            if equity[t] <= 0.0:
                return t + 1
    return equity.size


@compiled_bare
def _mark_borrowed(
    close: FloatArray,
    start: int,
    stop: int,
    cash: float,
    quantity: float,
    terms: kernel.Terms,
    equity: FloatArray,
) -> tuple[float, float, int]:
    """Mark a position that costs something every bar; return cash, cost and where that ends."""
    total = 0.0
    for t in range(start, stop):
        cost = orders.borrow_cost(quantity, close[t], terms.borrow_bps, terms.years_per_bar)
        total += cost
        cash -= cost
        equity[t] = cash + quantity * close[t]
        if equity[t] <= 0.0:
            return cash, total, t + 1
    return cash, total, stop


@compiled_bare
def _blocks(
    equity: FloatArray, cash: float, edges: IntArray, sums: FloatArray, squares: FloatArray
) -> None:
    """Write block sums of returns and their squares."""
    for b in range(edges.size - 1):
        start, stop = max(edges[b], 1), edges[b + 1]
        sums[b], squares[b] = _block(equity[start:stop], equity[start - 1 : stop - 1])
    change = equity[0] / cash - 1.0
    sums[0] += change
    squares[0] += change * change


@compiled_wide
def _block(equity: FloatArray, before: FloatArray) -> tuple[float, float]:
    total, square = 0.0, 0.0
    for t in range(equity.size):
        # Once ruined an account may stand at 0, which is no return.
        ratio = equity[t] / before[t]
        change = 0.0 if equity[t] == before[t] else ratio - 1.0
        total += change
        square += change * change
    return total, square


@compiled_bare
def _deepest_fall(
    equity: FloatArray, bits: IntArray, limits: FloatArray, limit_bits: IntArray, cash: float
) -> float:
    """Return the maximum drawdown, <= 0.

    `bits` is `equity`, its bytes read as whole numbers, and so are `limit_bits` and `limits`, two
    numbers of scratch. Positive numbers keep their order, and whole ones are compared several at
    a time. A number that is not positive comes out as such, and is looked into.
    """
    peak = low = high = cash
    for start in range(0, equity.size, STRETCH):
        _find_limits(bits[start : start + STRETCH], limit_bits)
        bottom, top = limits[0], limits[1]
        # Most stretches hold no deeper fall than the one known, whatever their order of values.
        if low > 0.0 and bottom * high >= low * max(peak, top):
            peak = max(peak, top)
        else:
            peak, low, high = _fall_within(equity[start : start + STRETCH], peak, low, high)
    return low / high - 1.0


@compiled_elementwise
def _find_limits(bits: IntArray, limits: IntArray) -> None:
    lowest, highest = bits[0], bits[0]
    for t in range(bits.size):
        value = bits[t]
        if value < lowest:
            lowest = value
        if value > highest:
            highest = value
    limits[0], limits[1] = lowest, highest


@compiled_bare
def _fall_within(
    equity: FloatArray, peak: float, low: float, high: float
) -> tuple[float, float, float]:
    """Return the peak, and the pair (low, high) that is the deepest fall so far."""
    for t in range(equity.size):
        value = equity[t]
        if value > peak:
            peak = value
        elif value * high < low * peak:
            low, high = value, peak
    return peak, low, high


@compiled_bare
def _tally(out: kernel.Outcome) -> Tally:
    """Sum up what the kernel wrote."""
    n_trips, n_wins, gained, lost, traded = out.counts[kernel.N_TRIPS], 0, 0.0, 0.0, 0.0
    for k in range(n_trips):
        pnl = out.trips[k, 10]
        n_wins += int(pnl > 0.0)
        gained, lost = gained + max(pnl, 0.0), lost + max(-pnl, 0.0)
    for k in range(out.counts[kernel.N_FILLS]):
        traded += abs(out.fills[k, 2]) * out.fills[k, 3]
    return Tally(_exposed_bars(out.positions), n_trips, n_wins, gained, lost, traded)


@compiled_bare
def _exposed_bars(positions: FloatArray) -> int:
    n_exposed = 0
    for t in range(positions.shape[0]):
        for j in range(positions.shape[1]):
            if positions[t, j] != 0.0:
                n_exposed += 1
                break
    return n_exposed


@compiled_bare
def _measure(
    tally: Tally,
    equity: FloatArray,
    terms: kernel.Terms,
    periods_per_year: float,
    sums: FloatArray,
    squares: FloatArray,
    row: FloatArray,
) -> None:
    """Write all metrics but the drawdown."""
    n_bars, total, square = equity.size, sums.sum(), squares.sum()
    mean = total / n_bars
    variance = (square - total * mean) / (n_bars - 1) if n_bars > 1 else np.nan
    volatility = np.sqrt(max(variance, 0.0)) if n_bars > 1 else np.nan
    row[0], row[1], row[2] = equity[n_bars - 1] / terms.cash - 1.0, mean, volatility
    # Rounding leaves a deviation of 1e-17 where nothing was traded.
    row[3] = mean / volatility * np.sqrt(periods_per_year) if volatility > 1e-12 else np.nan
    row[5] = tally.n_trips
    row[6] = tally.n_wins / tally.n_trips if tally.n_trips > 0 else np.nan
    row[7] = tally.gained / tally.lost if tally.lost > 0.0 else np.nan
    row[8], row[9] = tally.n_exposed / n_bars, tally.traded / terms.cash


@compiled_bare
def _keep_returns(equity: FloatArray, cash: float, returns: Float32Array) -> None:
    before = cash
    for t in range(equity.size):
        returns[t] = equity[t] / before - 1.0
        before = equity[t]
