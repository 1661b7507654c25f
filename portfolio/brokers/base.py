"""The one way for an order to a broker: through the risk manager."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable

from alphastrat.core import events
from alphastrat.core.jsonable import jsonable
from portfolio.models import Account, Order, OrderStatus
from portfolio.services import risk_manager
from portfolio.services.fill_checks import FillIn


class Broker(Protocol):
    """Where the orders of an account are filled."""

    name: str

    def accept(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Take orders that were let through; what is sent over the network is sent later."""
        ...

    def cancel(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Take orders back that have not been filled."""
        ...


@dataclass(frozen=True, slots=True)
class Books:
    """What a broker says of an account: holdings by symbol, cash, orders by our id, executions."""

    positions: dict[str, Decimal]
    cash: Decimal | None
    orders: dict[str, str]
    fills: list[FillIn]


@runtime_checkable
class BookKeeper(Protocol):
    """A broker whose books can be compared with ours."""

    fill_source: str

    def books(self, account: Account, *, since: datetime) -> Books:
        """Return the broker's books with the executions since a time."""
        ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """Orders that were let through, and those that were denied."""

    accepted: list[Order] = field(default_factory=list)
    denied: list[Order] = field(default_factory=list)


_brokers: dict[str, Broker] = {}


def register(broker: Broker) -> Broker:
    """Make a broker known by its name."""
    _brokers[broker.name] = broker
    return broker


def broker(name: str) -> Broker:
    """Return the broker of that name."""
    return _brokers[name]


def submit(orders: Sequence[Order], *, at: datetime) -> Submitted:
    """Pass orders through the risk manager to their brokers; nothing goes around this.

    The orders are marked, not yet stored: `store` writes them, in the same transaction.
    """
    result = Submitted()
    denials = risk_manager.review(orders, at=at) if orders else {}
    for order in orders:
        if found := denials.get(order.pk):
            order.status, order.ended_at = OrderStatus.DENIED, at
            order.denials = [jsonable(asdict(one)) for one in found]
            result.denied.append(order)
        else:
            order.status, order.submitted_at = OrderStatus.PENDING, at
            result.accepted.append(order)
    for name in sorted({order.account.broker for order in result.accepted}):
        _brokers[name].accept(
            [order for order in result.accepted if order.account.broker == name], at=at
        )
    return result


def store(orders: Iterable[Order]) -> None:
    """Write new orders, and tell of those that were denied."""
    made = list(orders)
    Order.objects.bulk_create(made, batch_size=2_000)
    denied = [str(order.pk) for order in made if order.status == OrderStatus.DENIED]
    if denied:
        events.send_on_commit(events.orders_denied, order_ids=denied)
