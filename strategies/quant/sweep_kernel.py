"""The compiled loop of a sweep: simulate one set after the other and keep its metrics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import FloatArray
from strategies.quant import kernel
from strategies.quant.compiled import compiled
from strategies.quant.signals import WishArray

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
    for i in range(wishes.shape[0]):
        wanted = kernel.Wanted(wishes[i], weights, priority[i % priority.shape[0]])
        kernel.run(market, wanted, terms, exits[i], out)
        metrics[i, 4] = _blocks(out.equity, terms.cash, edges, sums[i], squares[i])
        _measure(out, terms.cash, periods_per_year, sums[i].sum(), squares[i].sum(), metrics[i])
        if returns.shape[1] > 0:
            before = terms.cash
            for t in range(out.equity.size):
                returns[i, t] = out.equity[t] / before - 1.0
                before = out.equity[t]


@compiled
def _blocks(
    equity: FloatArray,
    cash: float,
    edges: npt.NDArray[np.int64],
    sums: FloatArray,
    squares: FloatArray,
) -> float:
    """Write block sums of returns and their squares; return the maximum drawdown."""
    before = peak = low = high = cash
    for b in range(edges.size - 1):
        total, square = 0.0, 0.0
        for t in range(edges[b], edges[b + 1]):
            value = equity[t]
            if value == before:
                continue
            change = value / before - 1.0
            before = value
            total += change
            square += change * change
            if value > peak:
                peak = value
            elif value * high < low * peak:
                # The pair (low, high) is the deepest fall so far; comparing needs no division.
                low, high = value, peak
        sums[b], squares[b] = total, square
    return low / high - 1.0


@compiled
def _measure(
    out: kernel.Outcome,
    cash: float,
    periods_per_year: float,
    total: float,
    square: float,
    row: FloatArray,
) -> None:
    n_bars, n_assets = out.positions.shape
    mean = total / n_bars
    variance = (square - total * mean) / (n_bars - 1) if n_bars > 1 else np.nan
    volatility = np.sqrt(max(variance, 0.0)) if n_bars > 1 else np.nan
    row[0], row[1], row[2] = out.equity[n_bars - 1] / cash - 1.0, mean, volatility
    # Rounding leaves a deviation of 1e-17 where nothing was traded.
    row[3] = mean / volatility * np.sqrt(periods_per_year) if volatility > 1e-12 else np.nan
    _measure_trips(out, row)
    n_exposed = 0
    for t in range(n_bars):
        for j in range(n_assets):
            if out.positions[t, j] != 0.0:
                n_exposed += 1
                break
    row[8] = n_exposed / n_bars
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
