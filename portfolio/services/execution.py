"""Paper trading: signals of a closed bar become orders, the next bar fills them.

One transaction takes accounts from one bar to the next: pending orders fill at its open, stops
and targets within it, equity is marked at its close, and what the signals of that close want
becomes orders. How far an account has come stands on its row and is moved in that transaction,
so that a process that is killed at any line leaves whole bars behind, and doing it again adds
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from alphastrat.marketdata.live_market import live_series
from portfolio.brokers import base
from portfolio.models import Account, BrokerName, EquityPoint, Order, Position
from portfolio.services.accounts import close_account
from portfolio.services.ledgers import equity_point
from portfolio.services.paper_books import BarRow, PaperBook, Sized
from portfolio.services.paper_deciding import decide
from portfolio.services.paper_reading import (
    Universe,
    flows_until,
    is_due,
    next_bars,
    pending_orders,
    since_of,
    sized_at,
)
from portfolio.services.paper_writing import announce, store_bar
from strategies.models import LifecycleState, Strategy
from strategies.services import strategy_engine

# Accounts that one transaction takes a bar further.
AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Advanced:
    """How many bars of accounts were marked, how many fills made and orders decided."""

    n_marked: int = 0
    n_fills: int = 0
    n_orders: int = 0

    def __add__(self, other: Advanced) -> Advanced:
        return Advanced(
            self.n_marked + other.n_marked,
            self.n_fills + other.n_fills,
            self.n_orders + other.n_orders,
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """What one transaction did, and the accounts that may go further still."""

    advanced: Advanced
    behind: Sequence[UUID]


def advance(account_ids: Iterable[UUID | str] | None = None, *, at: datetime) -> Advanced:
    """Bring accounts up to the newest bar that they can be brought to; None means all open ones.

    An account waits where its strategy has not given the signals of its newest mark yet.
    """
    chosen = Account.objects.open().filter(reports_equity=False)
    if account_ids is not None:
        chosen = chosen.filter(pk__in=list(account_ids))
    rows = chosen.order_by("strategy__timeframe", "pk").values_list("strategy__timeframe", "pk")
    total = Advanced()
    for timeframe, group in groupby(rows, key=lambda row: row[0]):
        members = [pk for _, pk in group]
        for start in range(0, len(members), AT_ONCE):
            ids: Sequence[UUID] = members[start : start + AT_ONCE]
            while ids and (done := _advance_bar(ids, timeframe, at=at)) is not None:
                total += done.advanced
                ids = done.behind
    return total


def accounts_of_series(series_ids: Iterable[UUID | str]) -> list[UUID]:
    """Return the open accounts that trade or hold an instrument of these series."""
    wanted = [UUID(str(one)) for one in series_ids]
    held = Position.objects.held().filter(instrument__series__in=wanted)
    found = Account.objects.open().filter(
        Q(strategy__universe__series__in=wanted) | Q(pk__in=held.values("account_id"))
    )
    return list(found.filter(reports_equity=False).values_list("pk", flat=True).distinct())


def lagging() -> list[UUID]:
    """Return open accounts whose newest mark or decision is behind the bars that are stored."""
    rows: list[tuple[Any, ...]] = list(
        Account.objects.open()
        .filter(reports_equity=False)
        .values_list(
            "pk",
            "marked_to",
            "decided_to",
            "strategy__timeframe",
            "strategy__current_version__symbols",
        )
    )
    found: list[UUID] = []
    for timeframe, group in groupby(sorted(rows, key=lambda row: row[3]), key=lambda row: row[3]):
        members = list(group)
        series = live_series({symbol for row in members for symbol in row[4] or ()}, timeframe)
        for pk, marked_to, decided_to, _, symbols in members:
            closes = [series[s].last_closed_at for s in symbols or () if s in series]
            newest = max((close for close in closes if close is not None), default=marked_to)
            if newest > marked_to or decided_to < marked_to:
                found.append(pk)
    return found


def sweep(*, at: datetime) -> Advanced:
    """Give the signals and trade the bars that no event brought: a lost one costs seconds."""
    behind = lagging()
    if not behind:
        return Advanced()
    strategies = Strategy.objects.active().filter(accounts__in=behind)
    if strategies.exists():
        strategy_engine.generate_signals(strategies, at=at)
    return advance(behind, at=at)


@transaction.atomic
def _advance_bar(ids: Sequence[UUID], timeframe: str, *, at: datetime) -> _Step | None:
    """Take the accounts that are furthest behind one bar further; None if there is nothing."""
    accounts = list(
        Account.objects.open()
        .filter(pk__in=ids)
        .select_related("strategy__current_version")
        .order_by("pk")
        .select_for_update(of=("self",))
    )
    if not accounts:
        return None
    universe = Universe.load(accounts, timeframe)
    n_orders = decide([one for one in accounts if _is_undecided(one)], universe, at=at)
    ready = [one for one in accounts if not _is_undecided(one)]
    bars = next_bars(ready, universe) if ready else {}
    due = {
        one.pk: min(bar.closed_at for bar in bars[one.pk].values())
        for one in ready
        if is_due(bars[one.pk], len(universe.of(one)), timeframe, at=at)
    }
    if not due:
        return _Step(Advanced(n_orders=n_orders), _behind(accounts, universe)) if n_orders else None
    closed_at = min(due.values())
    chosen = [one for one in ready if due.get(one.pk) == closed_at]
    now_bars = {
        one.pk: {key: bar for key, bar in bars[one.pk].items() if bar.closed_at == closed_at}
        for one in chosen
    }
    n_fills = _trade(chosen, universe, now_bars, closed_at)
    n_orders += decide([one for one in chosen if _is_undecided(one)], universe, at=at)
    _close_retired(chosen, universe)
    return _Step(Advanced(len(chosen), n_fills, n_orders), _behind(accounts, universe))


def _behind(accounts: Sequence[Account], universe: Universe) -> list[UUID]:
    return [one.pk for one in accounts if universe.has_bars_after(one, since_of(one))]


def _is_undecided(account: Account) -> bool:
    return account.decided_to is None or account.decided_to < since_of(account)


def _trade(
    accounts: Sequence[Account],
    universe: Universe,
    bars: dict[UUID, dict[UUID, BarRow]],
    closed_at: datetime,
) -> int:
    """Fill, protect, mark and store one bar of these accounts; return the number of fills."""
    books = [universe.book(account) for account in accounts]
    on_paper = [book for book in books if book.account.broker == BrokerName.PAPER]
    orders = pending_orders([book.account for book in on_paper]) if on_paper else {}
    sized = sized_at(on_paper, universe, {b.account.pk: since_of(b.account) for b in on_paper})
    changed: list[Order] = []
    for book in on_paper:
        mine = orders.get(book.account.pk, [])
        kept = _without_suspended(book, mine, closed_at)
        book.fill_pending(kept, bars[book.account.pk], sized[book.account.pk])
        changed += [order for order in mine if order.ended_at is not None]
    _protect(on_paper, bars, sized, closed_at)
    flows = flows_until(accounts, closed_at)
    points = [_mark(book, bars[book.account.pk], flows, closed_at) for book in books]
    _remember(books, universe)
    store_bar(books, changed, points)
    filled = [book.account for book in books if book.fills]
    announce(accounts, points, filled=filled)
    return sum(len(book.fills) for book in books)


def _without_suspended(
    book: PaperBook, orders: Sequence[Order], closed_at: datetime
) -> list[Order]:
    """Cancel the entries of a strategy that no longer trades; return the rest."""
    if book.account.strategy.is_active:
        return list(orders)
    kept = []
    for order in orders:
        if order.reason == Order.Reason.ENTRY:
            order.status, order.ended_at = Order.Status.CANCELLED, closed_at
            order.note = f"The strategy is {book.account.strategy.get_state_display().lower()}."
        else:
            kept.append(order)
    return kept


def _protect(
    books: Sequence[PaperBook],
    bars: dict[UUID, dict[UUID, BarRow]],
    sized: dict[UUID, dict[UUID, Sized]],
    closed_at: datetime,
) -> None:
    """Let the stops and targets that were reached through the risk manager, and fill them."""
    found = [
        (book, fill, order)
        for book in books
        for fill, order in book.triggered(bars[book.account.pk], sized[book.account.pk])
    ]
    if not found:
        return
    base.submit([order for _, _, order in found], at=closed_at)
    for book, fill, order in found:
        if order.status == Order.Status.PENDING:
            book.take_triggered(fill, order, bars[book.account.pk])
        book.orders.append(order)


def _mark(
    book: PaperBook,
    bars: dict[UUID, BarRow],
    flows: dict[UUID, Decimal],
    closed_at: datetime,
) -> EquityPoint:
    account = book.account
    marks = book.close(bars)
    point = equity_point(
        account.pk,
        book.ledger,
        marks,
        at=closed_at,
        before=account.equity,
        flow=flows.get(account.pk, Decimal(0)),
    )
    account.cash, account.other_income = book.ledger.cash, book.ledger.other_income
    account.equity, account.marked_to = point.equity, closed_at
    return point


def _remember(books: Sequence[PaperBook], universe: Universe) -> None:
    """Let the decisions of this bar see what it left."""
    for book in books:
        for j, position in book.rows.items():
            position.instrument = universe.instruments[book.symbols[j]]
            universe.held.setdefault(book.account.pk, {})[book.instruments[j]] = position


def _close_retired(accounts: Sequence[Account], universe: Universe) -> None:
    for account in accounts:
        held = any(one.quantity for one in universe.held.get(account.pk, {}).values())
        if account.strategy.state == LifecycleState.RETIRED and not held:
            close_account(account, at=since_of(account))
