"""Accounts that trade somewhere else: fills are sent to us, no order is sent from here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from portfolio.brokers.base import register
from portfolio.models import BrokerName, Order, OrderStatus


class ExternalBroker:
    """Keeps orders as advice: they expire unless a fill names them."""

    name = BrokerName.EXTERNAL.value

    def accept(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Leave them pending: whoever trades the account may name them with a fill."""

    def cancel(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Let them expire."""
        for order in orders:
            order.status, order.ended_at = OrderStatus.EXPIRED, at


EXTERNAL = register(ExternalBroker())
