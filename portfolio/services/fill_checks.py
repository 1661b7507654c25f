"""Fills and equity from outside as they were sent, and what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from alphastrat.core.money import MONEY_PLACES, PRICE_PLACES, QUANTITY_PLACES, to_decimal
from alphastrat.marketdata.models import Instrument
from alphastrat.quant.types import Side
from portfolio.models import Account, Fill, Order

MAX_QUANTITY = Decimal("1e15")
MAX_PRICE = Decimal("1e12")
MAX_KEY = 120
# A clock that is a little ahead of ours is no reason to lose a fill.
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class FillIn:
    """One execution as it was sent; `corrects` names the execution that this one replaces."""

    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    filled_at: datetime
    execution_id: str
    corrects: str = ""
    is_cancelled: bool = False
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one row: recorded, known or refused, with the field and the reason."""

    row: int
    key: str
    status: str
    message: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class EquityIn:
    """What an account was worth at a time; `net_flow` is capital that came since the last."""

    marked_at: datetime
    equity: Decimal
    cash: Decimal | None = None
    net_flow: Decimal = Decimal(0)

    @property
    def key(self) -> str:
        return self.marked_at.isoformat()

    def check(self, *, row: int, at: datetime) -> RowResult:
        """Say whether the point can be recorded."""
        for column in ("equity", "cash", "net_flow"):
            value = getattr(self, column)
            if value is not None and not (value.is_finite() and abs(value) < MAX_QUANTITY):
                return RowResult(row, self.key, "refused", f"{value} is no amount.", column)
        if problem := _time_problem(self.marked_at, at):
            return RowResult(row, self.key, "refused", problem, "marked_at")
        return RowResult(row, self.key, "recorded")


@dataclass(slots=True)
class Known:
    """What an account knows that a delivery may refer to."""

    account: Account
    instruments: dict[str, Instrument]
    fills: dict[str, Fill]
    corrected: set[str]
    orders: dict[str, Order]
    symbols: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, account: Account, fills: Sequence[FillIn], *, source: str) -> Known:
        """Read it in a constant number of queries."""
        named = {fill.symbol.strip() for fill in fills}
        instruments = Instrument.objects.filter(symbol__in=named | {n.upper() for n in named})
        keys = {fill.execution_id for fill in fills} | {fill.corrects for fill in fills}
        rows = Fill.objects.filter(account=account, source=source, execution_id__in=keys)
        stored = {row.execution_id: row for row in rows.select_related("corrects", "instrument")}
        corrected = Fill.objects.filter(account=account, source=source, corrects__isnull=False)
        ids = {fill.client_order_id for fill in fills if fill.client_order_id}
        orders = Order.objects.filter(account=account, client_order_id__in=ids) if ids else ()
        return cls(
            account=account,
            instruments={one.symbol: one for one in instruments},
            fills=stored,
            corrected=set(
                corrected.filter(corrects__execution_id__in=keys).values_list(
                    "corrects__execution_id", flat=True
                )
            ),
            orders={order.client_order_id: order for order in orders},
        )

    def instrument(self, symbol: str) -> Instrument | None:
        return self.instruments.get(symbol) or self.instruments.get(symbol.upper())

    def add(self, fill: Fill) -> None:
        """Know a fill of the same delivery."""
        self.fills[fill.execution_id] = fill
        if fill.corrects is not None:
            self.corrected.add(fill.corrects.execution_id)

    def nearest(self, symbol: str) -> str:
        if not self.symbols:
            self.symbols = list(Instrument.objects.values_list("symbol", flat=True))
        near = difflib.get_close_matches(symbol.upper(), self.symbols, n=3, cutoff=0.5)
        return f" Did you mean {', '.join(near)}?" if near else ""


def check_fill(
    sent: FillIn, known: Known, *, row: int, source: str, at: datetime
) -> tuple[RowResult, Fill | None]:
    """Return what becomes of a row, and the new fill if it is one."""
    key = sent.execution_id.strip()
    column, problem = _problem(sent, known, at=at)
    if problem:
        return RowResult(row, key, "refused", problem, column), None
    fill = _fill(sent, known, source=source, at=at)
    before = known.fills.get(key)
    if before is not None:
        if _content(before) == _content(fill):
            return RowResult(row, key, "known"), None
        message = (
            f"Execution {key} is known with other values; send a correction with an id of its own."
        )
        return RowResult(row, key, "refused", message, "execution_id"), None
    if sent.corrects in known.corrected:
        message = f"{sent.corrects} has been corrected already; correct the correction."
        return RowResult(row, key, "refused", message, "corrects"), None
    return RowResult(row, key, "recorded"), fill


def _problem(sent: FillIn, known: Known, *, at: datetime) -> tuple[str, str]:
    """Return the column that is wrong and why; empty where nothing is."""
    key = sent.execution_id.strip()
    if not key or len(key) > MAX_KEY:
        return "execution_id", f"Give every execution an id of 1 to {MAX_KEY} characters."
    if sent.corrects and sent.corrects not in known.fills:
        return "corrects", f"There is no execution {sent.corrects} to correct."
    if sent.corrects == key:
        return "corrects", "An execution cannot correct itself."
    if sent.is_cancelled and not sent.corrects:
        return "is_cancelled", "Say in `corrects` which execution never was."
    if known.instrument(sent.symbol.strip()) is None:
        return "symbol", f"{sent.symbol or 'An empty symbol'} is not known.{_near(sent, known)}"
    if sent.side.lower() not in {side.value for side in Side}:
        return "side", f"{sent.side!r} is neither buy nor sell."
    return _number_problem(sent) or _when_problem(sent, at)


def _near(sent: FillIn, known: Known) -> str:
    return known.nearest(sent.symbol) if sent.symbol.strip() else ""


def _number_problem(sent: FillIn) -> tuple[str, str] | None:
    bounds = (
        ("quantity", sent.quantity, Decimal(0), MAX_QUANTITY, QUANTITY_PLACES),
        ("price", sent.price, Decimal(-1), MAX_PRICE, PRICE_PLACES),
        ("commission", sent.commission, -MAX_PRICE, MAX_PRICE, MONEY_PLACES),
    )
    for column, value, low, high, places in bounds:
        if not value.is_finite() or not low < value < high or (column == "price" and value < 0):
            expected = "must be above 0" if column == "quantity" else "is out of range"
            return column, f"The {column} {expected}, was {value}."
        if column == "quantity" and to_decimal(value, places) != value:
            return column, f"The {column} has more than {places} decimal places: {value}."
    return None


def _when_problem(sent: FillIn, at: datetime) -> tuple[str, str]:
    problem = _time_problem(sent.filled_at, at)
    return ("filled_at", problem) if problem else ("", "")


def _time_problem(when: datetime, at: datetime) -> str:
    if when.tzinfo is None:
        return f"{when} has no time zone; add Z or an offset."
    return f"{when} lies in the future." if when > at + CLOCK_TOLERANCE else ""


def _fill(sent: FillIn, known: Known, *, source: str, at: datetime) -> Fill:
    order = known.orders.get(sent.client_order_id)
    instrument = known.instrument(sent.symbol.strip())
    if instrument is None:
        raise ValueError(f"{sent.symbol} is not known")
    return Fill(
        account=known.account,
        order=order,
        instrument=instrument,
        source=source,
        execution_id=sent.execution_id.strip(),
        side=sent.side.lower(),
        quantity=to_decimal(sent.quantity, QUANTITY_PLACES),
        price=to_decimal(sent.price, PRICE_PLACES),
        commission=to_decimal(sent.commission, MONEY_PLACES),
        reference_price=None if order is None else order.reference_price,
        filled_at=sent.filled_at,
        recorded_at=at,
        corrects=known.fills.get(sent.corrects) if sent.corrects else None,
        is_cancelled=sent.is_cancelled,
    )


def _content(fill: Fill) -> tuple[object, ...]:
    return (
        fill.instrument_id,
        fill.side,
        fill.quantity,
        fill.price,
        fill.commission,
        fill.filled_at,
        fill.corrects_id,
        fill.is_cancelled,
    )
