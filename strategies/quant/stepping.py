"""One bar of the simulation at a time, for accounts whose ledger is kept elsewhere.

The functions are the kernel's own; here they run on two rows: 0 is what was known before the bar,
1 is the bar. Between the steps the caller may deny an order or change the account.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant import kernel
from strategies.quant.compiled import compiled
from strategies.quant.kernel import COOL, FILL_COLUMNS, N_BOOK, N_FILLS, QUANTITY
from strategies.quant.signals import WishArray

KNOWN, BAR = 0, 1

_hold = kernel.hold
_side_wanted = kernel.side_wanted


class StepFill(NamedTuple):
    """A fill of one bar; quantity positive for a buy, slippage in account currency."""

    asset: int
    quantity: float
    price: float
    commission: float
    slippage: float
    reason: int


def new_book(n_assets: int) -> FloatArray:
    """Return an empty book.

    Parameters
    ----------
    n_assets : int
        Instruments.

    Returns
    -------
    ndarray of shape (n_assets, N_BOOK)
        Columns as the kernel names them; LAST stays 0, the row of what was known.
    """
    return np.zeros((n_assets, N_BOOK))


def fill_at_open(
    cash: float,
    market: kernel.Market,
    wanted: kernel.Wanted,
    terms: kernel.Terms,
    exits: FloatArray,
    book: FloatArray,
) -> list[StepFill]:
    """Fill what is wanted at the open of the bar; `book` is brought up to date.

    Parameters
    ----------
    cash : float
        Account currency, before the open.
    market, wanted : Market, Wanted
        Arrays of shape (2, n_assets), row 0 known before the bar, row 1 the bar itself.
    terms : Terms
        Costs and size.
    exits : ndarray of shape (5,)
        As `ExitRules.as_array`.
    book : ndarray of shape (n_assets, N_BOOK)
        Positions; changed.

    Returns
    -------
    list of StepFill
        Exits first, then entries by priority.
    """
    out = _outcome(book)
    kernel.at_open(BAR, cash, market, wanted, terms, exits, out)
    return _fills(out)


def fill_within(
    cash: float,
    market: kernel.Market,
    terms: kernel.Terms,
    exits: FloatArray,
    book: FloatArray,
) -> list[StepFill]:
    """Fill the stops and targets that the bar reaches; parameters as in `fill_at_open`."""
    out = _outcome(book)
    kernel.within_bar(BAR, cash, market, terms, exits, out)
    return _fills(out)


@compiled
def close_bar(market: kernel.Market, terms: kernel.Terms, book: FloatArray) -> FloatArray:
    """Follow every position to the close of the bar and return its borrow cost.

    Parameters
    ----------
    market, terms, book
        As in `fill_at_open`.

    Returns
    -------
    ndarray of shape (n_assets,)
        Account currency, >= 0.
    """
    borrowed = np.zeros(book.shape[0])
    for j in range(book.shape[0]):
        if np.isnan(market.close[1, j]):
            continue
        if book[j, COOL] > 0.0:
            book[j, COOL] -= 1.0
        if book[j, QUANTITY] != 0.0:
            borrowed[j] = _hold(1, j, market, terms, book)
    return borrowed


@compiled
def sides_wanted(
    wishes: WishArray, exits: FloatArray, book: FloatArray, counts: IntArray
) -> tuple[IntArray, IntArray]:
    """Return what is to be held after the next open, and why a position leaves.

    Parameters
    ----------
    wishes : ndarray of uint8, shape (n_assets,)
        Of the newest close.
    exits, book
        As in `fill_at_open`.
    counts : ndarray of int, shape (N_COUNTS,)
        Only IS_RUINED is read.

    Returns
    -------
    sides, reasons : ndarray of int, shape (n_assets,)
        +1, 0 or -1, and a `Reason`.
    """
    sides = np.zeros(book.shape[0], np.int64)
    reasons = np.zeros(book.shape[0], np.int64)
    for j in range(book.shape[0]):
        side = int(np.sign(book[j, QUANTITY]))
        sides[j], reasons[j] = _side_wanted(side, wishes[j], exits, book[j], counts)
    return sides, reasons


def protective_prices(exits: FloatArray, entry: FloatArray) -> tuple[float, float]:
    """Return where the stop and the target of a position stand after a bar.

    Parameters
    ----------
    exits : ndarray of shape (5,)
        As `ExitRules.as_array`.
    entry : ndarray of shape (N_BOOK,)
        The position's row of the book.

    Returns
    -------
    stop, target : float
        Prices; NaN where there is none. The nearer of fixed and trailing stop binds.
    """
    side = np.sign(entry[QUANTITY])
    price, peak = entry[kernel.ENTRY_PRICE], entry[kernel.PEAK]
    fixed = price * (1.0 - side * exits[kernel.STOP_LOSS])
    trail = peak * (1.0 - side * exits[kernel.TRAILING_STOP])
    stops = [side * stop for stop in (fixed, trail) if not np.isnan(stop)]
    target = price * (1.0 + side * exits[kernel.TAKE_PROFIT])
    return float(side * max(stops)) if stops else float("nan"), float(target)


def warm() -> None:
    """Compile every step, or load it from the cache."""
    prices = np.ones((2, 1))
    market = kernel.Market(prices, prices, prices, prices, prices)
    wanted = kernel.Wanted(np.ones((2, 1), np.uint8), prices, prices)
    terms = kernel.Terms(1.0, 0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.004)
    exits, book = np.array([0.1, 0.1, 0.1, 5.0, 1.0]), new_book(1)
    fill_at_open(1.0, market, wanted, terms, exits, book)
    fill_within(1.0, market, terms, exits, book)
    close_bar(market, terms, book)
    sides_wanted(wanted.wishes[0], exits, book, np.zeros(kernel.N_COUNTS, np.int64))


def _outcome(book: FloatArray) -> kernel.Outcome:
    n_assets = len(book)
    nothing = np.empty(0)
    return kernel.Outcome(
        equity=nothing,
        cash=nothing,
        positions=np.empty((0, n_assets)),
        fills=np.empty((2 * n_assets, len(FILL_COLUMNS))),
        trips=np.empty((0, len(kernel.TRIP_COLUMNS))),
        open_trips=np.empty((0, len(kernel.TRIP_COLUMNS))),
        book=book,
        counts=np.zeros(kernel.N_COUNTS, np.int64),
    )


def _fills(out: kernel.Outcome) -> list[StepFill]:
    rows = out.fills[: out.counts[N_FILLS]]
    return [
        StepFill(int(r[1]), float(r[2]), float(r[3]), float(r[4]), float(r[5]), int(r[6]))
        for r in rows
    ]
