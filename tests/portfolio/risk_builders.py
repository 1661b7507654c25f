"""Portfolios, positions and orders of tests of risk and rebalancing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from alphastrat.marketdata.models import Instrument
from portfolio.models import Account, EquityPoint, Order, Portfolio, PortfolioMember, Position
from portfolio.services.accounts import open_account
from strategies.models import Strategy
from tests.strategies.builders import make_strategy

START = datetime(2016, 1, 4, 21, tzinfo=UTC)
AT = datetime(2016, 6, 1, 21, tzinfo=UTC)
_numbers = count(1)


def instrument(symbol: str = "AAPL", **fields: Any) -> Instrument:
    found, _ = Instrument.objects.get_or_create(symbol=symbol, defaults=fields)
    return found


def make_portfolio(
    owner: Any, *, n: int = 2, capital: int = 100_000, reserve: int = 0, **fields: Any
) -> tuple[Portfolio, list[Account]]:
    """Make a portfolio of `n` equal paper accounts with equal targets, the reserve as cash."""
    instrument()
    name = fields.pop("name", f"Portfolio {next(_numbers)}")
    portfolio = Portfolio.objects.create(owner=owner, name=name, reserve=reserve, **fields)
    total = n * capital + reserve
    accounts = []
    for _ in range(n):
        strategy = make_strategy(owner, symbols=["AAPL"], name=f"Strategy {next(_numbers)}")
        Strategy.objects.filter(pk=strategy.pk).update(state=Strategy.State.PAPER)
        account = open_account(strategy, capital=Decimal(capital), costs={}, at=START)
        PortfolioMember.objects.create(
            portfolio=portfolio, strategy=strategy, target_weight=capital / total, added_at=START
        )
        accounts.append(account)
    return portfolio, accounts


def hold(
    account: Account, quantity: int, *, price: float = 100, symbol: str = "AAPL", **fields: Any
) -> Position:
    """Give an account a position bought with its cash."""
    cost = Decimal(str(price)) * quantity
    position = Position.objects.create(
        account=account,
        instrument=instrument(symbol),
        quantity=quantity,
        cost=cost,
        realised=0,
        mark_price=Decimal(str(price)),
        marked_at=START,
        **fields,
    )
    account.cash -= cost
    account.save(update_fields=["cash"])
    return position


def mark(account: Account, *returns: float, start: datetime = START) -> None:
    """Append one equity point per return, a day apart, from the opening cash on."""
    equity = account.opening_cash
    points = []
    for i, value in enumerate([None, *returns]):
        equity = round(equity * Decimal(str(1 + (value or 0))), 4)
        points.append(
            EquityPoint(
                account=account,
                marked_at=start + timedelta(days=i),
                cash=equity,
                position_value=0,
                equity=equity,
                bar_return=value,
            )
        )
    EquityPoint.objects.bulk_create(points)
    Account.objects.filter(pk=account.pk).update(equity=equity, marked_to=points[-1].marked_at)
    account.refresh_from_db()


def order(account: Account, quantity: int | None = 10, **fields: Any) -> Order:
    """Make an order that is not stored: a buy for positive quantities."""
    values: dict[str, Any] = {
        "account": account,
        "instrument": instrument(),
        "side": "sell" if (quantity or 0) < 0 else "buy",
        "quantity": None if quantity is None else Decimal(abs(quantity)),
        "reason": Order.Reason.ENTRY,
        "reference_price": Decimal(100),
        "decided_at": AT,
        "client_order_id": f"order-{next(_numbers)}",
    }
    return Order(**{**values, **fields})
