"""Round trips of live fills: from flat to flat, instrument by instrument."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from monitoring.quant.observations import LiveTrips
from strategies.quant.compiled import compiled

_DUST = 1e-9


def round_trips(
    row: IntArray,
    asset: IntArray,
    column: IntArray,
    quantity: FloatArray,
    *,
    price: FloatArray,
    fee: FloatArray,
) -> LiveTrips:
    """Return the round trips of the fills of many strategies.

    Parameters
    ----------
    row, asset, column : ndarray of int, shape (n_fills,)
        Strategy, instrument and bar of each fill, in order of time within a strategy.
    quantity : ndarray of shape (n_fills,)
        Units, positive for a buy.
    price, fee : ndarray of shape (n_fills,)
        Price, and commission as a positive amount.

    Returns
    -------
    LiveTrips
        In order of strategy, then exit; open ones last of their strategy. A fill that reverses a
        position ends one and begins another, its fee shared by quantity.
    """
    capacity = 2 * len(row) + 1
    numbers = np.full((capacity, 4), -1, np.int64)
    results = np.full((capacity, 2), np.nan)
    order = np.lexsort((np.arange(len(row)), asset, row))
    n_trips = _trips(
        np.asarray(row, np.int64)[order],
        np.asarray(asset, np.int64)[order],
        np.asarray(column, np.int64)[order],
        np.asarray(quantity, np.float64)[order],
        np.asarray(price, np.float64)[order],
        np.asarray(fee, np.float64)[order],
        numbers,
        results,
    )
    numbers, results = numbers[:n_trips], results[:n_trips]
    last = np.where(numbers[:, 2] < 0, np.iinfo(np.int64).max, numbers[:, 2])
    placed = np.lexsort((last, numbers[:, 0]))
    return LiveTrips(
        row=numbers[placed, 0],
        entered=numbers[placed, 1],
        exited=numbers[placed, 2],
        returns=results[placed, 0],
        pnl=results[placed, 1],
    )


@compiled
def _trips(
    row: IntArray,
    asset: IntArray,
    column: IntArray,
    quantity: FloatArray,
    price: FloatArray,
    fee: FloatArray,
    numbers: IntArray,
    results: FloatArray,
) -> int:
    n_trips, held, entered = 0, 0.0, -1
    invested, cash = 0.0, 0.0
    for k in range(len(row)):
        is_new = k == 0 or row[k] != row[k - 1] or asset[k] != asset[k - 1]
        if is_new:
            if k > 0 and abs(held) > _DUST:
                numbers[n_trips, 0], numbers[n_trips, 1] = row[k - 1], entered
                n_trips += 1
            held, invested, cash = 0.0, 0.0, 0.0
        left = quantity[k]
        while abs(left) > _DUST:
            closes = held * left < 0.0
            part = left
            if closes and abs(left) > abs(held):
                part = -held
            if abs(held) <= _DUST:
                entered, invested, cash = column[k], 0.0, 0.0
            share = part / quantity[k]
            cash -= part * price[k] + fee[k] * share
            if not closes:
                invested += abs(part) * price[k]
            held += part
            left -= part
            if abs(held) <= _DUST:
                held = 0.0
                numbers[n_trips, 0], numbers[n_trips, 1] = row[k], entered
                numbers[n_trips, 2] = column[k]
                results[n_trips, 0] = cash / invested if invested > 0.0 else np.nan
                results[n_trips, 1] = cash
                n_trips += 1
    if len(row) > 0 and abs(held) > _DUST:
        numbers[n_trips, 0], numbers[n_trips, 1] = row[len(row) - 1], entered
        n_trips += 1
    return n_trips
