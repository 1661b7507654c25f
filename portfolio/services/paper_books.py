"""The account of a strategy as the simulation's kernel sees it, one bar at a time.

The kernel reckons in floats; what it decides is rounded to exact amounts here, and the exact
amounts are what the next step starts from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.core.money import MONEY_PLACES, PRICE_PLACES, QUANTITY_PLACES, to_decimal
from alphastrat.quant.calendars import periods_per_year
from alphastrat.quant.ledger import ZERO, Ledger, LedgerFill, LedgerPosition
from alphastrat.quant.types import FloatArray, Side, Timeframe
from portfolio.models import Account, Fill, FillSource, Order, OrderReason, Position
from strategies.quant import kernel, stepping
from strategies.quant.kernel import COOL, ENTRY_PRICE, HELD, PEAK, QUANTITY, Reason
from strategies.quant.signals import LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT
from strategies.quant.simulator import SimulationConfig, terms
from strategies.services.configuration import check_costs, check_exits, check_sizing

LEAST_QUANTITY = Decimal(1).scaleb(-QUANTITY_PLACES)
_INSTANT = timedelta(microseconds=1)
# Less than this is no amount of money: rounding leaves a trace after everything was spent.
_LEAST_VALUE = Decimal("0.01")
# What the ledger keeps of a position between two bars, by column of the kernel's book.
_KEPT = {"entry": ENTRY_PRICE, "peak": PEAK, "held": HELD, "cool": COOL}
_REASONS = {
    Reason.SIGNAL: OrderReason.SIGNAL,
    Reason.REVERSAL: OrderReason.REVERSAL,
    Reason.TIME: OrderReason.TIME,
    Reason.STOP: OrderReason.STOP,
    Reason.TARGET: OrderReason.TARGET,
    Reason.TRAILING: OrderReason.TRAILING,
    Reason.RUIN: OrderReason.CLOSE,
}


@dataclass(frozen=True, slots=True)
class BarRow:
    """One bar of one instrument."""

    opened_at: datetime
    closed_at: datetime
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Sized:
    """What sizing knows of an instrument before a bar: weight and volatility."""

    weight: float = math.nan
    volatility: float = math.nan


@dataclass
class PaperBook:
    """One account at one bar: its exact ledger, and the kernel's book made from it."""

    account: Account
    symbols: tuple[str, ...]
    instruments: tuple[UUID, ...]
    exchange: str
    held: Mapping[UUID, Position]
    ledger: Ledger = field(init=False)
    book: FloatArray = field(init=False)
    rows: dict[int, Position] = field(init=False, default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    borrowed: Decimal = ZERO

    def __post_init__(self) -> None:
        account = self.account
        self.book = stepping.new_book(len(self.symbols))
        self.ledger = Ledger(
            cash=account.cash, deposits=account.deposits, other_income=account.other_income
        )
        for j, instrument in enumerate(self.instruments):
            position = self.held.get(instrument)
            if position is None:
                continue
            self.rows[j] = position
            self.ledger.commission += position.commission
            self.ledger.positions[self.symbols[j]] = LedgerPosition(
                position.quantity, position.cost, position.realised
            )
            self._restore(j, position)

    def _restore(self, j: int, position: Position) -> None:
        kept = position.protection
        self.book[j, COOL] = float(kept.get("cool") or 0.0)
        if not position.quantity:
            return
        self.book[j, QUANTITY] = float(position.quantity)
        paid = float(position.average_price or 0)
        for name, column in _KEPT.items():
            fallback = paid if name in ("entry", "peak") else 0.0
            self.book[j, column] = float(kept.get(name) or fallback)

    @property
    def version(self) -> Any:
        return self.account.strategy.current_version

    @cached_property
    def config(self) -> SimulationConfig:
        """The account's terms; the strategy's own exits and sizing."""
        n_symbols = max(1, len(self.version.symbols))
        timeframe = Timeframe(self.account.strategy.timeframe)
        return SimulationConfig(
            periods_per_year=periods_per_year(timeframe, self.exchange),
            initial_cash=max(float(self.account.opening_cash), 1.0),
            costs=check_costs(self.account.costs),
            exits=check_exits(self.version.exit_rules),
            sizing=check_sizing(self.version.sizing, n_symbols=n_symbols),
        )

    @cached_property
    def terms(self) -> kernel.Terms:
        return terms(self.config)

    @cached_property
    def exits(self) -> FloatArray:
        return self.config.exits.as_array()

    def market(self, bars: Mapping[UUID, BarRow], sized: Mapping[UUID, Sized]) -> kernel.Market:
        """Return two rows: the newest marks and volatilities, and the bar."""
        rows = np.full((5, 2, len(self.symbols)), np.nan)
        for j, instrument in enumerate(self.instruments):
            mark = self.rows[j].mark_price if j in self.rows else None
            rows[3, 0, j] = math.nan if mark is None else float(mark)
            rows[4, 0, j] = sized.get(instrument, Sized()).volatility
            bar = bars.get(instrument)
            if bar is not None:
                rows[:4, 1, j] = bar.open, bar.high, bar.low, bar.close
        return kernel.Market(*rows)

    def fill_pending(
        self,
        orders: Sequence[Order],
        bars: Mapping[UUID, BarRow],
        sized: Mapping[UUID, Sized],
    ) -> None:
        """Fill the orders that wait for the open of these bars, as the kernel does."""
        waiting = [order for order in orders if order.instrument_id in bars]
        for order in waiting:
            if order.reason in SIZED_REASONS:
                self._fill_sized(order, bars[order.instrument_id], sized)
        by_rule = [order for order in waiting if order.reason not in SIZED_REASONS]
        if not by_rule:
            return
        market = self.market(bars, sized)
        wanted = self.wanted(by_rule, sized)
        exits = self.exits.copy()
        # The time stop was decided at the close, with everything else.
        exits[kernel.MAX_BARS] = 0.0
        made = stepping.fill_at_open(
            float(self.ledger.cash), market, wanted, self.terms, exits, self.book
        )
        self._take_open(made, by_rule, bars)

    def wanted(self, orders: Sequence[Order], sized: Mapping[UUID, Sized]) -> kernel.Wanted:
        """Return the wishes that make the kernel do what the orders say."""
        shape = (2, len(self.symbols))
        wishes, weights, priority = np.zeros(shape, np.uint8), np.zeros(shape), np.zeros(shape)
        entries = {order.instrument_id: order for order in orders if is_entry(order)}
        leaving = {order.instrument_id for order in orders if not is_entry(order)}
        for j, instrument in enumerate(self.instruments):
            entry = entries.get(instrument)
            if entry is not None:
                wishes[0, j] = LONG_ENTRY if entry.side == Side.BUY else SHORT_ENTRY
                weights[0, j] = sized.get(instrument, Sized()).weight
                priority[0, j] = entry.signal.strength if entry.signal else 1.0
            elif instrument in leaving:
                wishes[0, j] = LONG_EXIT if self.book[j, QUANTITY] > 0 else SHORT_EXIT
        return kernel.Wanted(wishes, weights, priority)

    def _take_open(
        self,
        made: Sequence[stepping.StepFill],
        orders: Sequence[Order],
        bars: Mapping[UUID, BarRow],
    ) -> None:
        waiting = {(order.instrument_id, is_entry(order)): order for order in orders}
        for fill in made:
            instrument = self.instruments[fill.asset]
            enters = fill.reason == Reason.ENTRY
            order = waiting.pop((instrument, enters))
            bar = bars[instrument]
            self._book_fill(fill, order, at=self._open_time(bar), key=_key(bar.opened_at, order))
        for (instrument, enters), order in waiting.items():
            end_unfilled(order, enters=enters, at=bars[instrument].opened_at)

    def _open_time(self, bar: BarRow) -> datetime:
        """Return when a bar opened, after the mark of the bar before it."""
        marked = self.account.marked_to
        return bar.opened_at if marked is None else max(bar.opened_at, marked + _INSTANT)

    def _book_fill(self, fill: stepping.StepFill, order: Order, *, at: datetime, key: str) -> None:
        j, symbol = fill.asset, self.symbols[fill.asset]
        before = self.ledger.position(symbol).quantity
        side = Side.BUY if fill.quantity > 0 else Side.SELL
        price = to_decimal(fill.price, PRICE_PLACES)
        if fill.reason == Reason.ENTRY:
            exact = Decimal(repr(abs(fill.quantity))).quantize(LEAST_QUANTITY, rounding=ROUND_DOWN)
        else:
            exact = abs(before)
        if exact * price < _LEAST_VALUE and fill.reason == Reason.ENTRY:
            self.book[j, QUANTITY] = 0.0
            end_unfilled(order, enters=True, at=at)
            return
        reference = fill.price - side.sign * fill.slippage / abs(fill.quantity)
        self._write(order, j, side, exact, price, fill.commission, reference, at=at, key=key)

    def _write(
        self,
        order: Order,
        j: int,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        commission: float,
        reference: float,
        *,
        at: datetime,
        key: str,
    ) -> None:
        paid = to_decimal(commission, MONEY_PLACES)
        symbol = self.symbols[j]
        self.ledger.record(LedgerFill(symbol, side, quantity, price, paid))
        position = self._row(j)
        was_flat = not position.quantity
        position.commission += paid
        position.quantity = self.ledger.position(symbol).quantity
        if was_flat and position.quantity:
            position.entered_at = at
        self.book[j, QUANTITY] = float(position.quantity)
        order.status, order.ended_at, order.quantity = Order.Status.FILLED, at, quantity
        self.fills.append(
            Fill(
                account=self.account,
                order=order,
                instrument_id=self.instruments[j],
                source=FillSource.PAPER,
                execution_id=key,
                side=side.value,
                quantity=quantity,
                price=price,
                commission=paid,
                reference_price=to_decimal(reference, PRICE_PLACES),
                filled_at=at,
                recorded_at=at,
            )
        )

    def _row(self, j: int) -> Position:
        if j not in self.rows:
            self.rows[j] = Position(
                account=self.account,
                instrument_id=self.instruments[j],
                quantity=ZERO,
                cost=ZERO,
                realised=ZERO,
                commission=ZERO,
            )
        return self.rows[j]

    def _fill_sized(self, order: Order, bar: BarRow, sized: Mapping[UUID, Sized]) -> None:
        """Fill an order that says how much, at the open; an exit never more than is held."""
        j = self.instruments.index(order.instrument_id)
        symbol, side = self.symbols[j], Side(order.side)
        held = self.ledger.position(symbol).quantity
        reduces = held * side.sign < 0
        quantity = order.quantity or abs(held)
        if order.reason != OrderReason.REBALANCE or reduces:
            quantity = min(quantity, abs(held)) if reduces else ZERO
        if not quantity:
            end_unfilled(order, enters=False, at=bar.opened_at)
            return
        costs = self.config.costs
        volatility = sized.get(order.instrument_id, Sized()).volatility
        price = costs.fill_price(
            bar.open, side, volatility=0.0 if math.isnan(volatility) else volatility
        )
        paid = costs.commission(float(quantity), price)
        exact = to_decimal(price, PRICE_PLACES)
        at, key = self._open_time(bar), _key(bar.opened_at, order)
        self._write(order, j, side, quantity, exact, paid, bar.open, at=at, key=key)
        if not held:
            self.book[j, ENTRY_PRICE] = self.book[j, PEAK] = price

    def triggered(
        self, bars: Mapping[UUID, BarRow], sized: Mapping[UUID, Sized]
    ) -> list[tuple[stepping.StepFill, Order]]:
        """Return the exits that the bars set off, with an order for each; nothing is filled."""
        if not self.config.exits.acts_within_bars or not self.book[:, QUANTITY].any():
            return []
        trial = self.book.copy()
        made = stepping.fill_within(
            float(self.ledger.cash), self.market(bars, sized), self.terms, self.exits, trial
        )
        return [(fill, self._protective(fill, bars)) for fill in made]

    def _protective(self, fill: stepping.StepFill, bars: Mapping[UUID, BarRow]) -> Order:
        instrument, reason = self.instruments[fill.asset], _REASONS[Reason(fill.reason)]
        at = bars[instrument].closed_at
        symbol = self.symbols[fill.asset]
        return Order(
            account=self.account,
            strategy_version=self.version,
            instrument_id=instrument,
            client_order_id=client_order_id(self.account, at, symbol, reason),
            side=Side.BUY.value if fill.quantity > 0 else Side.SELL.value,
            quantity=abs(self.ledger.position(symbol).quantity),
            reason=reason,
            reference_price=to_decimal(fill.price, PRICE_PLACES),
            decided_at=at,
        )

    def take_triggered(
        self, fill: stepping.StepFill, order: Order, bars: Mapping[UUID, BarRow]
    ) -> None:
        """Fill an exit that was let through; the cool-down begins."""
        bar = bars[self.instruments[fill.asset]]
        self._book_fill(fill, order, at=bar.closed_at, key=_key(bar.closed_at, order))
        cooldown = self.exits[kernel.COOLDOWN]
        if fill.reason != Reason.TARGET and cooldown > 0:
            self.book[fill.asset, COOL] = cooldown + 1

    def close(self, bars: Mapping[UUID, BarRow]) -> dict[str, Decimal]:
        """Follow positions to the close, charge borrowing, and return the marks of what is held."""
        market = self.market(bars, {})
        borrowed = stepping.close_bar(market, self.terms, self.book)
        self.borrowed = to_decimal(float(borrowed.sum()), MONEY_PLACES)
        if self.borrowed:
            self.ledger.receive(-self.borrowed)
        marks = {}
        for j, position in self.rows.items():
            bar = bars.get(self.instruments[j])
            if bar is not None:
                position.mark_price = to_decimal(bar.close, PRICE_PLACES)
                position.marked_at = bar.closed_at
            self._keep(j, position)
            if position.quantity and position.mark_price is not None:
                marks[self.symbols[j]] = position.mark_price
        return marks

    def _keep(self, j: int, position: Position) -> None:
        exact = self.ledger.position(self.symbols[j])
        position.quantity, position.cost = exact.quantity, exact.cost
        position.realised = exact.realised
        kept: dict[str, float] = {}
        if self.book[j, COOL] > 0:
            kept["cool"] = float(self.book[j, COOL])
        if exact.quantity:
            kept |= {name: float(self.book[j, column]) for name, column in _KEPT.items()}
            stop, target = stepping.protective_prices(self.exits, self.book[j])
            kept |= {} if math.isnan(stop) else {"stop": stop}
            kept |= {} if math.isnan(target) else {"target": target}
        else:
            position.entered_at = None
        position.protection = kept


# Orders whose quantity someone else decided; the rest is sized by the strategy's own rule.
SIZED_REASONS = (OrderReason.REBALANCE, OrderReason.REDUCE, OrderReason.CLOSE)


def is_entry(order: Order) -> bool:
    """Whether an order opens a position by the strategy's sizing rule."""
    return order.reason == OrderReason.ENTRY


def reason_of(code: int) -> OrderReason:
    """Return the order's word for the kernel's reason."""
    return _REASONS[Reason(code)]


def client_order_id(account: Account, at: datetime, symbol: str, reason: str) -> str:
    """Return the id of an order: the same for the same decision."""
    return f"{account.strategy_id.hex[:10]}-{at:%Y%m%dT%H%M%S}-{symbol}-{reason}"


def end_unfilled(order: Order, *, enters: bool, at: datetime) -> None:
    """End an order for which there was nothing to fill."""
    order.ended_at = at
    if enters:
        order.status = Order.Status.DENIED
        order.denials = [
            {
                "code": "NO_BUYING_POWER",
                "limit": "buying power",
                "value": "0",
                "bound": "0",
                "message": "There was no cash left, or no size, at the open.",
            }
        ]
    else:
        order.status = Order.Status.CANCELLED
        order.note = "The position was gone before the order could be filled."


def _key(at: datetime, order: Order) -> str:
    """Return the execution's id; sorted, exits come before entries of the same time."""
    leg = "1" if is_entry(order) else "0"
    return f"{at:%Y%m%dT%H%M%S}.{leg}.{order.client_order_id}"
