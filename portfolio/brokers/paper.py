"""Orders filled here, at the next open, by the fill model of the backtest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from portfolio.brokers.base import register
from portfolio.models import BrokerName, Order, OrderStatus


class PaperBroker:
    """Orders wait in the database for the bar that fills them; see `services.execution`."""

    name = BrokerName.PAPER.value

    def accept(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Leave them pending: the next bar fills them."""

    def cancel(self, orders: Sequence[Order], *, at: datetime) -> None:
        """Cancel what has not been filled."""
        for order in orders:
            order.status, order.ended_at = OrderStatus.CANCELLED, at


PAPER = register(PaperBroker())
