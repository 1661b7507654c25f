"""Orders sent to an Alpaca account through alpaca-py, and its books.

Every order carries our client order id, which Alpaca keeps unique per account: sending it again
after a break answers with the order that is there already instead of a second one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from alphastrat.core.encryption import CredentialsLost
from alphastrat.core.errors import ProviderError
from portfolio.brokers.base import Books, register
from portfolio.models import Account, BrokerName, FillSource, Order, OrderStatus
from portfolio.services import broker_keys
from portfolio.services.broker_keys import Connection, KeyPair
from portfolio.services.fill_checks import FillIn
from portfolio.services.fill_formats import of_alpaca

logger = logging.getLogger(__name__)

PAGE = 100
NOT_FOUND, UNPROCESSABLE, TOO_MANY = 404, 422, 429
_STATES = {
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
    "done_for_day": OrderStatus.EXPIRED,
    "replaced": OrderStatus.CANCELLED,
}


class AlpacaBroker:
    """Accounts at Alpaca, each reached with its own key or with that of the installation."""

    name = BrokerName.ALPACA.value
    fill_source = FillSource.ALPACA.value

    def accept(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Send the orders once they are stored: a network call has no place in a transaction."""
        ids = [order.pk for order in orders]
        transaction.on_commit(partial(self.send, ids), robust=True)

    def send(self, order_ids: Sequence[Any]) -> int:
        """Send those of these orders that are still pending; safe to repeat. Returns how many."""
        rows = Order.objects.filter(pk__in=order_ids, status=OrderStatus.PENDING)
        sent = 0
        for order in rows.select_related("instrument", "account"):
            try:
                sent += self._send(order)
            except ProviderError as error:
                if error.permanent:
                    _end(order, OrderStatus.REJECTED, note=str(error))
                else:
                    # Left pending: the reconciliation sends it again under the same id.
                    logger.warning("order not sent", extra={"order": str(order.pk)})
        return sent

    def cancel(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Ask for working orders to be cancelled; what was filled before that stays filled."""
        for order in orders:
            if order.broker_order_id:
                try:
                    _call(_client(order.account).cancel_order_by_id, order.broker_order_id)
                except ProviderError as error:
                    if not error.permanent:
                        raise
            order.status, order.ended_at = OrderStatus.CANCELLED, at

    def books(self, account: Account, *, since: datetime) -> Books:
        """Return positions, cash, orders by our id, and the executions since a time."""
        client = _client(account)
        positions = {
            str(row.symbol): Decimal(str(row.qty)) for row in _call(client.get_all_positions)
        }
        cash = _call(client.get_account).cash
        return Books(
            positions=positions,
            cash=None if cash is None else Decimal(str(cash)),
            orders=dict(self._orders(account)),
            fills=list(_executions(client, since=since, ids=_our_ids(account))),
        )

    def _orders(self, account: Account) -> Iterator[tuple[str, str]]:
        """Return the state of our open orders; one that was never sent is sent now."""
        client = _client(account)
        rows = Order.objects.open().filter(account=account).select_related("instrument")
        for order in rows:
            if not order.broker_order_id:
                self.send([order.pk])
            theirs = _find(client, order.client_order_id)
            if theirs is not None:
                yield order.client_order_id, _state(theirs)

    def _send(self, order: Order) -> int:
        from alpaca.trading.enums import OrderSide, TimeInForce
        from alpaca.trading.requests import MarketOrderRequest

        if not order.quantity:
            raise ProviderError("The order has no quantity.", permanent=True)
        request = MarketOrderRequest(
            symbol=order.instrument.symbol,
            qty=float(order.quantity),
            side=OrderSide(order.side),
            time_in_force=TimeInForce.DAY,
            client_order_id=order.client_order_id,
        )
        client = _client(order.account)
        theirs = _find(client, order.client_order_id) or _call(client.submit_order, request)
        Order.objects.filter(pk=order.pk, status=OrderStatus.PENDING).update(
            status=OrderStatus.WORKING, broker_order_id=str(theirs.id)
        )
        return 1


def account_number(key: KeyPair) -> str:
    """Return the number of the account that a key opens; raises ProviderError if none."""
    return str(_call(_opened(key).get_account).account_number)


def connected(broker: str, key: KeyPair | None) -> Connection | None:
    """Return whose account a key opens, or the installation's; None where there is no key.

    Raises ProviderError if Alpaca does not let it in.
    """
    if broker != BrokerName.ALPACA:
        return None
    return broker_keys.connect(key, identify=account_number)


def _client(account: Account) -> Any:
    """Return a client of an account; raises ProviderError without a key."""
    try:
        key = broker_keys.of(account)
    except CredentialsLost as error:
        raise ProviderError(f"The key cannot be read. {error}", permanent=True) from error
    if key is None:
        raise ProviderError(
            "Give the account a key, or set ALPACA_API_KEY and ALPACA_SECRET_KEY.", permanent=True
        )
    return _opened(key)


def _opened(key: KeyPair) -> Any:
    from alpaca.trading.client import TradingClient

    return TradingClient(
        key.key_id, key.secret, paper=True, url_override=settings.ALPACA_BASE_URL or None
    )


def _call(function: Any, *arguments: Any) -> Any:
    """Call Alpaca; raises ProviderError that says whether trying again can help."""
    from alpaca.common.exceptions import APIError
    from requests import RequestException

    try:
        return function(*arguments)
    except APIError as error:
        status = error.status_code or 0
        permanent = 400 <= status < 500 and status != TOO_MANY
        message = f"Alpaca answered {status}: {_reason(error)}"
        raise ProviderError(message, permanent=permanent) from error
    except RequestException as error:
        raise ProviderError(f"Alpaca does not answer: {error}", permanent=False) from error


def _reason(error: Any) -> str:
    try:
        return str(error.message)
    except (ValueError, KeyError, AttributeError):
        return str(error)[:200]


def _find(client: Any, client_order_id: str) -> Any:
    """Return Alpaca's order of our id; None where it has none."""
    try:
        return _call(client.get_order_by_client_id, client_order_id)
    except ProviderError as error:
        if error.permanent and str(NOT_FOUND) in str(error):
            return None
        raise


def _state(theirs: Any) -> str:
    """Return our word for the state of Alpaca's order."""
    return _STATES.get(str(getattr(theirs.status, "value", theirs.status)), OrderStatus.WORKING)


def _our_ids(account: Account) -> dict[str, str]:
    """Return our client order id by Alpaca's order id."""
    rows = Order.objects.filter(account=account).exclude(broker_order_id="")
    return dict(rows.values_list("broker_order_id", "client_order_id"))


def _executions(client: Any, *, since: datetime, ids: dict[str, str]) -> Iterator[FillIn]:
    """Return the executions since a time, oldest first, page by page."""
    token = ""
    while True:
        asked = {
            "after": since.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "direction": "asc",
            "page_size": PAGE,
            **({"page_token": token} if token else {}),
        }
        rows = _call(client.get, "/account/activities/FILL", asked) or []
        for row in rows:
            yield of_alpaca({**row, "client_order_id": ids.get(str(row.get("order_id")), "")})
        if len(rows) < PAGE:
            return
        token = str(rows[-1]["id"])


def _end(order: Order, status: OrderStatus, *, note: str) -> None:
    Order.objects.filter(pk=order.pk, status=OrderStatus.PENDING).update(
        status=status, ended_at=datetime.now(UTC), note=note[:300]
    )


ALPACA = register(AlpacaBroker())
