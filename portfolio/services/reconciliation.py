"""Our books against the broker's: differences are written down, and resolved by rule.

Executions that we lack are fetched and recorded; that resolves most differences. What is left
stays open until both books agree again, or a person accepts it with a reason. Nothing is
adjusted silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from alphastrat.core import live
from alphastrat.core.errors import ConflictError, ProviderError
from portfolio.brokers import base
from portfolio.models import Account, BrokerDifference, BrokerName, FillSource, Order, OrderStatus
from portfolio.models.difference import DifferenceKind, Resolution
from portfolio.models.order import OPEN_STATUSES
from portfolio.services.accounting import record_fills

# Cash differs by fees and interest that brokers book later; less than this is no difference.
CASH_TOLERANCE = Decimal("0.01")
# Executions are asked for again from so long before the newest that is known.
OVERLAP = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one comparison found."""

    n_fills: int = 0
    n_open: int = 0
    n_resolved: int = 0


def reconcile(account: Account, *, at: datetime) -> Reconciled:
    """Fetch what the broker knows, record the executions we lack, and compare the rest.

    Raises ConflictError for an account without a broker to ask, ProviderError if it does not
    answer.
    """
    broker = base.broker(account.broker)
    if not isinstance(broker, base.BookKeeper):
        raise ConflictError("This account has no broker to compare with.")
    newest = account.fills.filter(source=FillSource.ALPACA).order_by("-filled_at").first()
    since = newest.filled_at - OVERLAP if newest is not None else account.opened_at
    books = broker.books(account, since=since)
    recorded = record_fills(account, books.fills, source=broker.fill_source, at=at)
    return _compare(account, books, n_fills=recorded.n_recorded, at=at)


def reconcile_all(*, at: datetime) -> Reconciled:
    """Compare every account that has a broker to ask; one that fails does not stop the others."""
    total = Reconciled()
    for account in Account.objects.open().filter(broker=BrokerName.ALPACA):
        try:
            found = reconcile(account, at=at)
        except ProviderError as error:
            _note(account, "order", "", "reachable", str(error)[:60], at=at)
            continue
        total = Reconciled(
            total.n_fills + found.n_fills,
            total.n_open + found.n_open,
            total.n_resolved + found.n_resolved,
        )
    return total


@transaction.atomic
def accept(row: BrokerDifference, *, by: Any, reason: str, at: datetime) -> BrokerDifference:
    """Accept a difference with a reason; raises ConflictError if it is resolved already."""
    claimed = BrokerDifference.objects.filter(pk=row.pk, resolution=Resolution.OPEN).update(
        resolution=Resolution.ACCEPTED, resolved_at=at, resolved_by=by, note=reason
    )
    if not claimed:
        raise ConflictError("This difference is resolved already.")
    row.refresh_from_db()
    _announce(row.account)
    return row


@transaction.atomic
def _compare(account: Account, books: base.Books, *, n_fills: int, at: datetime) -> Reconciled:
    account = Account.objects.select_for_update().get(pk=account.pk)
    found = set()
    held = {one.instrument.symbol: one for one in account.positions.select_related("instrument")}
    for symbol in sorted(held.keys() | books.positions.keys()):
        ours = held[symbol].quantity if symbol in held else Decimal(0)
        theirs = books.positions.get(symbol, Decimal(0))
        if ours != theirs:
            _note(account, DifferenceKind.POSITION, symbol, f"{ours:f}", f"{theirs:f}", at=at)
            found.add((DifferenceKind.POSITION, symbol))
    if books.cash is not None and abs(books.cash - account.cash) >= CASH_TOLERANCE:
        ours_cash, theirs_cash = f"{account.cash:.2f}", f"{books.cash:.2f}"
        _note(account, DifferenceKind.CASH, "", ours_cash, theirs_cash, at=at)
        found.add((DifferenceKind.CASH, ""))
    found |= _compare_orders(account, books, at=at)
    n_resolved = _resolve(account, found, fetched=bool(n_fills), at=at)
    _announce(account)
    return Reconciled(n_fills, len(found), n_resolved)


def _compare_orders(
    account: Account, books: base.Books, *, at: datetime
) -> set[tuple[DifferenceKind, str]]:
    """Bring working orders to the state the broker gives; name those that it does not know."""
    found = set()
    rows = Order.objects.filter(account=account, status__in=OPEN_STATUSES).exclude(
        broker_order_id=""
    )
    for order in rows:
        state = books.orders.get(order.client_order_id)
        if state is None:
            _note(account, DifferenceKind.ORDER, order.client_order_id, order.status, "none", at=at)
            found.add((DifferenceKind.ORDER, order.client_order_id))
        elif state != order.status:
            ended = at if state not in OPEN_STATUSES else None
            Order.objects.filter(pk=order.pk).update(
                status=state, ended_at=ended, note=f"The broker says {OrderStatus(state).label}."
            )
    return found


def _note(
    account: Account, kind: str, subject: str, ours: str, theirs: str, *, at: datetime
) -> None:
    accepted = BrokerDifference.objects.filter(
        account=account,
        kind=kind,
        subject=subject,
        resolution=Resolution.ACCEPTED,
        ours=ours,
        theirs=theirs,
    )
    if accepted.exists():
        return
    row, is_new = BrokerDifference.objects.get_or_create(
        account=account,
        kind=kind,
        subject=subject,
        resolution=Resolution.OPEN,
        defaults={"ours": ours, "theirs": theirs, "found_at": at, "seen_at": at},
    )
    if not is_new:
        BrokerDifference.objects.filter(pk=row.pk).update(ours=ours, theirs=theirs, seen_at=at)


def _resolve(
    account: Account,
    found: Iterable[tuple[DifferenceKind, str]],
    *,
    fetched: bool,
    at: datetime,
) -> int:
    still = set(found)
    rows = BrokerDifference.objects.filter(account=account, resolution=Resolution.OPEN)
    gone = [row.pk for row in rows if (DifferenceKind(row.kind), row.subject) not in still]
    return BrokerDifference.objects.filter(pk__in=gone).update(
        resolution=Resolution.FILLS if fetched else Resolution.GONE, resolved_at=at
    )


def _announce(account: Account) -> None:
    live.publish(f"strategy:{account.strategy_id}", "invalidate", {"fragment": "account"})
