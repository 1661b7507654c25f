"""Ledgers of accounts from their rows: positions, cash, and equity at every mark.

Fills count in the order (time, execution id), whatever order they were delivered in.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from alphastrat.core.money import MONEY_PLACES, to_decimal
from alphastrat.quant.ledger import ZERO, Ledger, LedgerFill
from alphastrat.quant.types import Side
from portfolio.models import CAPITAL_MOVEMENTS, Account, CashMovement, EquityPoint, Fill


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A fill or a movement of cash, in the order it counts."""

    at: datetime
    key: str
    fill: LedgerFill | None = None
    amount: Decimal = ZERO
    is_capital: bool = False

    def apply(self, ledger: Ledger) -> None:
        """Record it."""
        if self.fill is not None:
            ledger.record(self.fill)
        elif self.is_capital:
            ledger.deposit(self.amount)
        else:
            ledger.receive(self.amount)


@dataclass(slots=True)
class Closes:
    """Closing prices of instruments by time, for marking."""

    times: dict[UUID, list[datetime]] = field(default_factory=dict)
    prices: dict[UUID, list[Decimal]] = field(default_factory=dict)

    def at(self, instrument: UUID, when: datetime) -> Decimal | None:
        """Return the newest close by a time; None where there is none."""
        times = self.times.get(instrument, [])
        row = bisect.bisect_right(times, when) - 1
        return self.prices[instrument][row] if row >= 0 else None


def entries_of(account: Account) -> list[LedgerEntry]:
    """Return everything that counts in an account's ledger, in order."""
    fills = (
        Fill.objects.filter(account=account)
        .effective()
        .values_list(
            "filled_at", "execution_id", "instrument_id", "side", "quantity", "price", "commission"
        )
    )
    entries = [
        LedgerEntry(at, key, LedgerFill(str(instrument), Side(side), quantity, price, paid))
        for at, key, instrument, side, quantity, price, paid in fills
    ]
    moved = CashMovement.objects.filter(account=account).values_list(
        "moved_at", "execution_id", "kind", "amount"
    )
    entries += [
        LedgerEntry(at, key, amount=amount, is_capital=kind in CAPITAL_MOVEMENTS)
        for at, key, kind, amount in moved
    ]
    return sorted(entries, key=lambda entry: (entry.at, entry.key))


def ledger_of(account: Account, entries: Iterable[LedgerEntry]) -> Ledger:
    """Return the ledger after all entries."""
    ledger = Ledger.of(account.opening_cash)
    for entry in entries:
        entry.apply(ledger)
    return ledger


def equity_points(
    account: Account, entries: Sequence[LedgerEntry], *, times: Sequence[datetime], closes: Closes
) -> list[EquityPoint]:
    """Return what the account was worth at each time, from its opening cash on.

    A fill counts at the first mark at or after it. An instrument without a close by then is
    marked at its newest fill.
    """
    ledger = Ledger.of(account.opening_cash)
    last_fill: dict[str, Decimal] = {}
    before: Decimal | None = account.opening_cash
    points, row = [], 0
    for at in times:
        flow = ZERO
        while row < len(entries) and entries[row].at <= at:
            entry = entries[row]
            entry.apply(ledger)
            if entry.fill is not None:
                last_fill[entry.fill.symbol] = entry.fill.price
            elif entry.is_capital:
                flow += entry.amount
            row += 1
        marks = {
            symbol: closes.at(UUID(symbol), at) or last_fill[symbol]
            for symbol, position in ledger.positions.items()
            if position.quantity
        }
        point = equity_point(account.pk, ledger, marks, at=at, before=before, flow=flow)
        before = point.equity
        points.append(point)
    return points


def equity_point(
    account_id: UUID,
    ledger: Ledger,
    marks: Mapping[str, Decimal],
    *,
    at: datetime,
    before: Decimal | None,
    flow: Decimal,
) -> EquityPoint:
    """Return the account's worth with the positions marked at `marks`."""
    cash = to_decimal(ledger.cash, MONEY_PLACES)
    value = to_decimal(ledger.position_value(marks), MONEY_PLACES)
    equity = cash + value
    gross = sum((abs(ledger.position(s).value(mark)) for s, mark in marks.items()), ZERO)
    return EquityPoint(
        account_id=account_id,
        marked_at=at,
        cash=cash,
        position_value=value,
        equity=equity,
        realised=to_decimal(ledger.realised, MONEY_PLACES),
        unrealised=to_decimal(ledger.unrealised(marks), MONEY_PLACES),
        commission=to_decimal(ledger.commission, MONEY_PLACES),
        net_flow=to_decimal(flow, MONEY_PLACES),
        bar_return=bar_return(equity, before=before, flow=flow),
        gross_exposure=float(gross / equity) if equity > 0 else 0.0,
    )


def bar_return(equity: Decimal, *, before: Decimal | None, flow: Decimal) -> float | None:
    """Return the change of equity, capital that came counting from the start of the bar."""
    if before is None or before + flow <= 0:
        return None
    return float(equity / (before + flow) - 1)


EQUITY_COLUMNS = (
    "cash",
    "position_value",
    "equity",
    "realised",
    "unrealised",
    "commission",
    "net_flow",
    "bar_return",
    "gross_exposure",
    "is_reported",
)


def store_points(points: Sequence[EquityPoint]) -> None:
    """Write equity points, over those of the same times."""
    columns: list[str] = list(EQUITY_COLUMNS)
    options: dict[str, Any] = {"update_conflicts": True, "update_fields": columns}
    EquityPoint.objects.bulk_create(
        points, unique_fields=["account_id", "marked_at"], batch_size=2_000, **options
    )
