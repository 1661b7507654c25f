"""What the signals of a close want of the positions held there, as orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import numpy as np

from alphastrat.core.money import PRICE_PLACES, QUANTITY_PLACES, to_decimal
from alphastrat.quant.types import Side
from portfolio.brokers import base
from portfolio.models import Account, BrokerName, Order, OrderReason, OrderStatus
from portfolio.services.paper_books import (
    LEAST_QUANTITY,
    SIZED_REASONS,
    BarRow,
    PaperBook,
    Sized,
    client_order_id,
    is_entry,
    reason_of,
)
from portfolio.services.paper_reading import (
    Universe,
    newest_signals,
    pending_orders,
    signals_at,
    since_of,
    sized_at,
)
from portfolio.services.paper_writing import store_decided
from strategies.models import LifecycleState, StrategySignal
from strategies.quant import kernel, stepping
from strategies.quant.kernel import QUANTITY, Reason
from strategies.quant.signals import LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT

_WISH_OF_TARGET = {1: LONG_ENTRY, -1: SHORT_ENTRY, 0: LONG_EXIT | SHORT_EXIT}


def decide(accounts: Sequence[Account], universe: Universe, *, at: datetime) -> int:
    """Make the orders that the signals of each account's newest mark ask for.

    An account whose strategy has not given them yet stays undecided. Returns the number of
    orders.
    """
    if not accounts:
        return 0
    trading = [one for one in accounts if one.broker != BrokerName.EXTERNAL]
    active = [one for one in trading if one.strategy.is_active]
    given = signals_at(active) if active else {}
    waiting = _waiting([a for a in active if (a.strategy_id, since_of(a)) not in given])
    deciding = [one for one in trading if one.pk not in waiting]
    books = [universe.book(account) for account in deciding]
    taken = pending_orders(deciding) if deciding else {}
    made: list[tuple[PaperBook, list[Order]]] = []
    for book in books:
        account = book.account
        signals = given.get((account.strategy_id, since_of(account)), [])
        busy = {o.instrument_id for o in taken.get(account.pk, ()) if o.reason not in SIZED_REASONS}
        made.append((book, [o for o in _orders_of(book, signals) if o.instrument_id not in busy]))
    _expect([(book, orders) for book, orders in made if orders], universe)
    orders = sorted((order for _, some in made for order in some), key=_rank)
    if orders:
        base.submit(orders, at=max(order.decided_at for order in orders))
        _deny_half_reversals(made)
        base.store(orders)
    done = [one for one in accounts if one.pk not in waiting]
    for account in done:
        account.decided_to = since_of(account)
    store_decided(done)
    return len(orders)


def _rank(order: Order) -> tuple[bool, float]:
    """Order as they are filled: exits first, then the strongest entry."""
    return is_entry(order), -(order.signal.strength if order.signal else 1.0)


def _waiting(silent: Sequence[Account]) -> set[UUID]:
    """Return the accounts whose signals are still to come; a bar that was skipped gives none."""
    if not silent:
        return set()
    first = min(since_of(account) for account in silent)
    newest = newest_signals({one.strategy_id for one in silent}, since=first)
    return {
        account.pk
        for account in silent
        if account.strategy_id not in newest or newest[account.strategy_id] <= since_of(account)
    }


def _orders_of(book: PaperBook, signals: Sequence[StrategySignal]) -> Iterator[Order]:
    by_instrument = {signal.instrument_id: signal for signal in signals}
    wishes = np.array(
        [_wish(by_instrument.get(instrument)) for instrument in book.instruments], np.uint8
    )
    counts = np.zeros(kernel.N_COUNTS, np.int64)
    counts[kernel.IS_RUINED] = book.account.equity <= 0
    sides, reasons = stepping.sides_wanted(wishes, book.exits, book.book, counts)
    own = set(book.version.symbols)
    strategy = book.account.strategy
    for j, symbol in enumerate(book.symbols):
        side = int(np.sign(book.book[j, QUANTITY]))
        signal = by_instrument.get(book.instruments[j])
        if side and (symbol not in own or strategy.state == LifecycleState.RETIRED):
            yield _order(book, j, -side, OrderReason.CLOSE, signal)
        elif sides[j] != side and (signal is not None or not strategy.is_active):
            if side:
                reason = OrderReason.REVERSAL if sides[j] else reason_of(int(reasons[j]))
                yield _order(book, j, -side, reason, signal)
            if sides[j]:
                yield _order(book, j, int(sides[j]), OrderReason.ENTRY, signal)


def _wish(signal: StrategySignal | None) -> int:
    if signal is None:
        return 0
    return int(signal.metadata.get("wish", _WISH_OF_TARGET[signal.target]))


def _order(
    book: PaperBook, j: int, direction: int, reason: OrderReason, signal: StrategySignal | None
) -> Order:
    account, instrument = book.account, book.instruments[j]
    at = since_of(account)
    held = book.held.get(instrument)
    price = held.mark_price if signal is None and held is not None else None
    if signal is not None:
        price = to_decimal(signal.price, PRICE_PLACES)
    quantity = abs(book.ledger.position(book.symbols[j]).quantity)
    return Order(
        account=account,
        strategy_version_id=book.version.pk if signal is None else signal.version_id,
        instrument_id=instrument,
        signal=signal,
        client_order_id=client_order_id(account, at, book.symbols[j], reason),
        side=Side.BUY.value if direction > 0 else Side.SELL.value,
        quantity=None if reason == OrderReason.ENTRY else quantity,
        expected_quantity=None if reason == OrderReason.ENTRY else quantity,
        reason=reason,
        reference_price=price,
        decided_at=at,
    )


def _expect(made: Sequence[tuple[PaperBook, list[Order]]], universe: Universe) -> None:
    """Say on each entry how much it would be at the close that gave it."""
    entering = [(book, some) for book, some in made if any(is_entry(order) for order in some)]
    books = [book for book, _ in entering]
    if not books:
        return
    sized = sized_at(books, universe, {b.account.pk: since_of(b.account) for b in books})
    for book, orders in entering:
        expected = _quantities(book, orders, sized[book.account.pk])
        for order in orders:
            if is_entry(order):
                # With no cash left for it now, the open may still leave a little.
                quantity = expected.get(order.instrument_id, LEAST_QUANTITY)
                order.expected_quantity = quantity
                if book.account.broker != BrokerName.PAPER:
                    order.quantity = quantity


def _quantities(
    book: PaperBook, orders: Sequence[Order], sized: dict[UUID, Sized]
) -> dict[UUID, Decimal]:
    bars = {order.instrument_id: _flat_bar(order) for order in orders if order.reference_price}
    exits = book.exits.copy()
    exits[kernel.MAX_BARS] = 0.0
    made = stepping.fill_at_open(
        float(book.ledger.cash),
        book.market(bars, sized),
        book.wanted(orders, sized),
        book.terms,
        exits,
        book.book.copy(),
    )
    return {
        book.instruments[fill.asset]: to_decimal(abs(fill.quantity), QUANTITY_PLACES)
        for fill in made
        if fill.reason == Reason.ENTRY
    }


def _flat_bar(order: Order) -> BarRow:
    price = float(order.reference_price or 0)
    return BarRow(order.decided_at, order.decided_at, price, price, price, price)


def _deny_half_reversals(made: Sequence[tuple[PaperBook, list[Order]]]) -> None:
    """Deny the entry of a reversal whose exit was denied."""
    for _, orders in made:
        stuck = {
            order.instrument_id: order
            for order in orders
            if not is_entry(order) and order.status == OrderStatus.DENIED
        }
        for order in orders:
            exit_order = stuck.get(order.instrument_id)
            if is_entry(order) and exit_order is not None and not order.denials:
                order.status, order.ended_at = OrderStatus.DENIED, exit_order.ended_at
                order.denials = exit_order.denials
