"""Accounts, fills and bars of tests of trading."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from alphastrat.marketdata.models import Bar, BarSeries, FeedPosition
from portfolio.models import Account, EquityPoint, Fill, Position
from portfolio.services.accounting import FillIn
from portfolio.services.accounts import open_account
from strategies.models import Strategy
from tests.strategies.builders import make_strategy

START = datetime(2016, 1, 1, tzinfo=UTC)


def make_account(owner: Any, *, broker: str = "external", **changes: Any) -> Account:
    """Open an account of a new strategy."""
    strategy = changes.pop("strategy", None) or make_strategy(owner)
    values = {"capital": Decimal(100_000), "costs": {}, "at": START}
    return open_account(strategy, broker=broker, **{**values, **changes})


def fill_in(key: str, side: str = "buy", quantity: Any = 10, price: Any = 100, **changes: Any):
    """Return an execution as it is sent from outside."""
    values = {
        "symbol": "AAPL",
        "side": side,
        "quantity": Decimal(str(quantity)),
        "price": Decimal(str(price)),
        "commission": Decimal(1),
        "filled_at": START + timedelta(days=10),
        "execution_id": key,
    }
    return FillIn(**{**values, **changes})


def content(account: Account) -> dict[str, Any]:
    """Return all that is derived from an account's fills."""
    account.refresh_from_db()
    held = Position.objects.filter(account=account).exclude(quantity=0, cost=0, realised=0)
    marks = EquityPoint.objects.filter(account=account).order_by("marked_at")
    columns = ("marked_at", "cash", "position_value", "equity", "realised", "unrealised")
    return {
        "cash": account.cash,
        "positions": sorted(
            held.values_list("instrument__symbol", "quantity", "cost", "realised", "commission")
        ),
        "equity": list(marks.values_list(*columns, "commission", "net_flow", "bar_return")),
    }


def identity_gap(account: Account) -> Decimal:
    """Return cash + cost of what is held - (deposits + realised - commission + other income)."""
    account.refresh_from_db()
    rows = list(Position.objects.filter(account=account))
    made = account.deposits + account.other_income + sum(row.realised for row in rows)
    paid = sum((row.commission for row in rows), Decimal(0))
    return account.cash + sum(row.cost for row in rows) - (made - paid)


def replay_clock(until: datetime) -> None:
    """Let the market's present be a time of stored bars."""
    FeedPosition.objects.update_or_create(
        name="replay:1d",
        defaults={"starts_at": START, "position_at": until, "stepped_at": until},
    )


class Replay:
    """Stored bars, withheld and given back bar by bar, as a feed would store them."""

    def __init__(self, *, start: date) -> None:
        self.kept: dict[datetime, list[Bar]] = {}
        for bar in Bar.objects.filter(opened_at__date__gt=start).order_by("closed_at"):
            self.kept.setdefault(bar.closed_at, []).append(bar)
        Bar.objects.filter(opened_at__date__gt=start).delete()
        self.touch()

    def touch(self) -> None:
        for series in BarSeries.objects.all():
            newest = series.bars.order_by("-opened_at").first()
            series.bar_count, series.last_closed_at = series.bars.count(), newest.closed_at
            series.revision += 1
            series.save()

    def step(self) -> datetime:
        """Store the bars of the next close and return it."""
        closed_at = min(self.kept)
        Bar.objects.bulk_create(self.kept.pop(closed_at))
        self.touch()
        return closed_at


def strategy_of(account: Account) -> Strategy:
    return Strategy.objects.with_version().get(pk=account.strategy_id)


def fills_of(account: Account) -> list[tuple[Any, ...]]:
    rows = Fill.objects.filter(account=account).order_by("filled_at", "execution_id")
    return list(rows.values_list("instrument__symbol", "side", "quantity", "price", "filled_at"))
