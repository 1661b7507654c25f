"""What paper trading writes for many accounts at one bar: one statement per table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from alphastrat.core import events, live
from alphastrat.core.formatting import payload
from alphastrat.core.jsonable import jsonable
from portfolio.models import Account, CashMovement, EquityPoint, Fill, Order, Position
from portfolio.models.account import MovementKind
from portfolio.services.ledgers import store_points
from portfolio.services.paper_books import PaperBook

_POSITION_COLUMNS = [
    "quantity",
    "cost",
    "realised",
    "commission",
    "mark_price",
    "marked_at",
    "entered_at",
    "protection",
]
_ACCOUNTS = """
    UPDATE portfolio_account a SET
        cash = n.cash, other_income = n.other_income, equity = n.equity,
        marked_to = n.marked_to, revision = a.revision + 1, updated_at = now()
    FROM unnest(%s::uuid[], %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[])
        AS n (id, cash, other_income, equity, marked_to)
    WHERE a.id = n.id
"""
_ORDERS = """
    UPDATE portfolio_order o SET
        status = n.status, ended_at = n.ended_at, quantity = n.quantity, note = n.note,
        denials = n.denials
    FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::numeric[], %s::text[], %s::jsonb[])
        AS n (id, status, ended_at, quantity, note, denials)
    WHERE o.id = n.id
"""
_DECIDED = """
    UPDATE portfolio_account a SET decided_to = n.decided_to
    FROM unnest(%s::uuid[], %s::timestamptz[]) AS n (id, decided_to) WHERE a.id = n.id
"""
_NOTIFY = "SELECT pg_notify('monitor', 'account:' || id) FROM unnest(%s::text[]) AS id"


def store_bar(
    books: Sequence[PaperBook], changed: Sequence[Order], points: Sequence[EquityPoint]
) -> None:
    """Write what one bar did to the accounts, in the surrounding transaction."""
    Order.objects.bulk_create([o for book in books for o in book.orders], batch_size=2_000)
    store_orders(changed)
    fills = [fill for book in books for fill in book.fills]
    Fill.objects.bulk_create(fills, batch_size=2_000)
    CashMovement.objects.bulk_create(
        [_borrowed(book) for book in books if book.borrowed], batch_size=2_000
    )
    Position.objects.bulk_create(
        [row for book in books for row in book.rows.values()],
        update_conflicts=True,
        unique_fields=["account", "instrument"],
        update_fields=_POSITION_COLUMNS,
        batch_size=2_000,
    )
    store_points(points)
    store_accounts([book.account for book in books])


def store_accounts(accounts: Sequence[Account]) -> None:
    """Write cash, equity and how far accounts have been marked."""
    columns: list[list[Any]] = [
        [account.pk for account in accounts],
        [account.cash for account in accounts],
        [account.other_income for account in accounts],
        [account.equity for account in accounts],
        [account.marked_to for account in accounts],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_ACCOUNTS, columns)


def store_orders(orders: Sequence[Order]) -> None:
    """Write what became of orders that were stored before."""
    if not orders:
        return
    from psycopg.types.json import Jsonb

    columns: list[list[Any]] = [
        [order.pk for order in orders],
        [str(order.status) for order in orders],
        [order.ended_at for order in orders],
        [order.quantity for order in orders],
        [order.note for order in orders],
        [Jsonb(jsonable(order.denials)) for order in orders],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_ORDERS, columns)


def store_decided(accounts: Sequence[Account]) -> None:
    """Write up to which close accounts have decided."""
    if not accounts:
        return
    columns: list[list[Any]] = [
        [one.pk for one in accounts],
        [one.decided_to for one in accounts],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_DECIDED, columns)


def announce(
    accounts: Sequence[Account], points: Sequence[EquityPoint], *, filled: Sequence[Account]
) -> None:
    """Wake the monitor and tell open pages, once this is committed."""
    ids = [str(account.pk) for account in accounts]
    with connection.cursor() as cursor:
        cursor.execute(_NOTIFY, [ids])
    by_account = {point.account_id: point for point in points}
    news: list[tuple[str, str, dict[str, Any]]] = []
    for one in accounts:
        topic, point = f"strategy:{one.strategy_id}", by_account[one.pk]
        news.append((topic, "metrics", figures(one, point)))
        news.append((topic, "equity", {"x": point.marked_at, "y": float(point.equity)}))
    told = {"fragment": "account-fills"}
    news += [(f"strategy:{one.strategy_id}", "invalidate", told) for one in filled]
    live.publish_many(news)
    if filled:
        events.send_on_commit(events.fill_recorded, account_ids=[str(one.pk) for one in filled])
    events.send_on_commit(events.equity_marked, account_ids=ids)


def figures(account: Account, point: EquityPoint) -> dict[str, Any]:
    """Return the numbers of an account as open pages show them."""
    pnl = point.equity - account.deposits
    return {
        "equity": payload("money", point.equity, places=0),
        "cash": payload("money", point.cash, places=0),
        "position_value": payload("money", point.position_value, places=0),
        "pnl": payload("signed_money", pnl, places=0),
        "unrealised": payload("signed_money", point.unrealised),
        "realised": payload("signed_money", point.realised),
        "day": payload("signed_percent", point.bar_return),
        "return": payload("signed_percent", account.total_return),
        "exposure": payload("percent", point.gross_exposure),
    }


def _borrowed(book: PaperBook) -> CashMovement:
    at = book.account.marked_to
    if not isinstance(at, datetime):
        raise ValueError("an account that pays for borrowing has been marked")
    return CashMovement(
        account=book.account,
        kind=MovementKind.BORROW,
        amount=Decimal(-book.borrowed),
        moved_at=at,
        recorded_at=at,
        source="paper",
        execution_id=f"{at:%Y%m%dT%H%M%S}.9.borrow",
    )
