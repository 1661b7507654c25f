"""What paper trading reads for many accounts at one bar, in a constant number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from uuid import UUID

import numpy as np
import pandas as pd
from django.db import connection
from django.db.models import Q, Sum

from alphastrat.marketdata.live_market import live_series
from alphastrat.marketdata.models import BarSeries, Instrument
from alphastrat.quant.types import FloatArray, Timeframe
from portfolio.models import (
    CAPITAL_MOVEMENTS,
    Account,
    CashMovement,
    Order,
    Position,
    StrategyStanding,
)
from portfolio.services.paper_books import BarRow, PaperBook, Sized
from strategies.models import StrategySignal
from strategies.quant.panel import Panel
from strategies.quant.sizing import KellyFraction, Sizing, VolatilityTarget, ewma_volatility

# After so many bars the first one weighs 0.94 ** 600, nothing to a double.
VOLATILITY_BARS = 600
_LONGEST_BAR = timedelta(days=32)

_NEXT = """
    SELECT wanted.id, wanted.since, b.opened_at, b.closed_at, b.open, b.high, b.low, b.close
    FROM unnest(%s::uuid[], %s::timestamptz[]) AS wanted (id, since)
    CROSS JOIN LATERAL (
        SELECT * FROM marketdata_bar
        WHERE series_id = wanted.id AND opened_at > wanted.since - %s::interval
            AND closed_at > wanted.since
        ORDER BY opened_at LIMIT 1
    ) b
"""
_HISTORY = """
    SELECT wanted.id, b.closed_at, b.close
    FROM unnest(%s::uuid[], %s::timestamptz[]) AS wanted (id, until)
    CROSS JOIN LATERAL (
        SELECT closed_at, close FROM marketdata_bar
        WHERE series_id = wanted.id AND opened_at < wanted.until AND closed_at <= wanted.until
        ORDER BY opened_at DESC LIMIT %s
    ) b
    ORDER BY wanted.id, b.closed_at
"""


@dataclass(slots=True)
class Universe:
    """The instruments of some accounts of one timeframe, and the series they are followed by."""

    series: dict[str, BarSeries] = field(default_factory=dict)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    held: dict[UUID, dict[UUID, Position]] = field(default_factory=dict)
    _symbols: dict[UUID, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, accounts: Sequence[Account], timeframe: str) -> Universe:
        """Read positions, instruments and series; three queries."""
        universe = cls()
        symbols = {symbol for one in accounts for symbol in symbols_of(one)}
        rows = list(Position.objects.filter(account__in=accounts).order_by())
        held = {position.instrument_id for position in rows}
        found = Instrument.objects.filter(Q(symbol__in=symbols) | Q(pk__in=held))
        universe.instruments = {one.symbol: one for one in found}
        by_id = {one.pk: one for one in universe.instruments.values()}
        for position in rows:
            position.instrument = by_id[position.instrument_id]
            universe.held.setdefault(position.account_id, {})[position.instrument_id] = position
        universe.series = live_series(universe.instruments, timeframe)
        return universe

    def of(self, account: Account) -> tuple[str, ...]:
        """Return the instruments of one account: its strategy's, and what it holds besides."""
        known = self._symbols.get(account.pk)
        if known is None:
            known = self._symbols[account.pk] = self._of(account)
        return known

    def _of(self, account: Account) -> tuple[str, ...]:
        own = [symbol for symbol in symbols_of(account) if symbol in self.instruments]
        held = self.held.get(account.pk, {}).values()
        others = {one.instrument.symbol for one in held if one.quantity} - set(own)
        return (*own, *sorted(others))

    def has_bars_after(self, account: Account, moment: datetime) -> bool:
        """Whether one of an account's instruments has a bar that closed later."""
        series = (self.series.get(symbol) for symbol in self.of(account))
        closes = [one.last_closed_at for one in series if one is not None]
        return any(close is not None and close > moment for close in closes)

    def book(self, account: Account) -> PaperBook:
        """Return the account as the kernel sees it."""
        symbols = self.of(account)
        exchanges = [self.instruments[symbol].exchange for symbol in symbols] or ["XNYS"]
        return PaperBook(
            account,
            symbols,
            tuple(self.instruments[symbol].pk for symbol in symbols),
            max(set(exchanges), key=exchanges.count),
            self.held.get(account.pk, {}),
        )


def symbols_of(account: Account) -> list[str]:
    """Return the instruments of the strategy's current version."""
    version = account.strategy.current_version
    return [] if version is None else list(version.symbols)


def next_bars(accounts: Sequence[Account], universe: Universe) -> dict[UUID, dict[UUID, BarRow]]:
    """Return by account and instrument the first bar that closed after the newest mark."""
    pairs = {
        (universe.series[symbol].pk, since_of(account))
        for account in accounts
        for symbol in universe.of(account)
        if symbol in universe.series
    }
    rows = _bars_after(sorted(pairs, key=str))
    found: dict[UUID, dict[UUID, BarRow]] = {}
    for account in accounts:
        mine = found.setdefault(account.pk, {})
        for symbol in universe.of(account):
            series = universe.series.get(symbol)
            bar = rows.get((series.pk, since_of(account))) if series else None
            if series is not None and bar is not None:
                mine[series.instrument_id] = bar
    return found


def since_of(account: Account) -> datetime:
    """Return the close up to which an account has been marked."""
    return account.marked_to or account.opened_at


def _bars_after(
    pairs: Sequence[tuple[UUID, datetime]],
) -> dict[tuple[UUID, datetime], BarRow]:
    if not pairs:
        return {}
    with connection.cursor() as cursor:
        ids, moments = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        cursor.execute(_NEXT, [ids, moments, f"{_LONGEST_BAR.days} days"])
        return {(row[0], row[1]): BarRow(*row[2:]) for row in cursor.fetchall()}


def pending_orders(accounts: Sequence[Account]) -> dict[UUID, list[Order]]:
    """Return the open orders of each account, in the order they were decided."""
    rows = Order.objects.open().filter(account__in=accounts).select_related("signal")
    by_account = {account.pk: account for account in accounts}
    found: dict[UUID, list[Order]] = {}
    for order in rows.order_by("decided_at", "client_order_id"):
        order.account = by_account[order.account_id]
        found.setdefault(order.account_id, []).append(order)
    return found


def signals_at(accounts: Sequence[Account]) -> dict[tuple[UUID, datetime], list[StrategySignal]]:
    """Return by strategy and close the signals of the bars that accounts were marked at last."""
    rows = StrategySignal.objects.filter(
        strategy__in={account.strategy_id for account in accounts},
        closed_at__in={since_of(account) for account in accounts},
    )
    found: dict[tuple[UUID, datetime], list[StrategySignal]] = {}
    for signal in rows.order_by("instrument_id"):
        found.setdefault((signal.strategy_id, signal.closed_at), []).append(signal)
    return found


def newest_signals(strategy_ids: Iterable[UUID], *, since: datetime) -> dict[UUID, datetime]:
    """Return the close of the newest signal of each strategy that has one after `since`."""
    rows = (
        StrategySignal.objects.filter(strategy__in=list(strategy_ids), closed_at__gt=since)
        .order_by("strategy_id", "-closed_at")
        .distinct("strategy_id")
    )
    return dict(rows.values_list("strategy_id", "closed_at"))


def flows_until(accounts: Sequence[Account], until: datetime) -> dict[UUID, Decimal]:
    """Return the capital that came into each account since its newest mark."""
    first = min(since_of(account) for account in accounts)
    rows = CashMovement.objects.filter(
        account__in=accounts, kind__in=CAPITAL_MOVEMENTS, moved_at__gt=first, moved_at__lte=until
    )
    since = {account.pk: since_of(account) for account in accounts}
    flows: dict[UUID, Decimal] = {}
    for row in rows.values("account_id", "moved_at").annotate(total=Sum("amount")):
        if row["moved_at"] > since[row["account_id"]]:
            flows[row["account_id"]] = flows.get(row["account_id"], Decimal(0)) + row["total"]
    return flows


def sized_at(
    books: Sequence[PaperBook], universe: Universe, until: Mapping[UUID, datetime]
) -> dict[UUID, dict[UUID, Sized]]:
    """Return by account and instrument what sizing knew at the close before, `until`.

    Volatility starts with the account, as in a backtest of the same days.
    """
    needing = [book for book in books if _needs_history(book)]
    closes = _closes(needing, universe, until)
    scales = _scales(books)
    return {
        book.account.pk: {
            instrument: _sized(
                book,
                closes.get((_series(universe, symbol), until[book.account.pk])),
                until=until[book.account.pk],
                scale=scales.get(book.account.strategy_id, 1.0),
            )
            for symbol, instrument in zip(book.symbols, book.instruments, strict=True)
        }
        for book in books
    }


def _scales(books: Sequence[PaperBook]) -> dict[UUID, float]:
    """Return the share of its size that the drawdown limit leaves each strategy."""
    rows = StrategyStanding.objects.filter(
        strategy__in={book.account.strategy_id for book in books}
    ).exclude(scale=1)
    return {key: float(scale) for key, scale in rows.values_list("strategy_id", "scale")}


def _series(universe: Universe, symbol: str) -> UUID | None:
    series = universe.series.get(symbol)
    return None if series is None else series.pk


def _needs_history(book: PaperBook) -> bool:
    by_volatility = isinstance(book.config.sizing, VolatilityTarget | KellyFraction)
    return by_volatility or book.config.costs.slippage_volatility > 0


def _closes(
    books: Sequence[PaperBook], universe: Universe, until: Mapping[UUID, datetime]
) -> dict[tuple[UUID | None, datetime], tuple[list[datetime], FloatArray]]:
    pairs = sorted(
        {
            (series.pk, until[book.account.pk])
            for book in books
            for symbol in book.symbols
            if (series := universe.series.get(symbol)) is not None
        },
        key=str,
    )
    if not pairs:
        return {}
    untils: dict[UUID, list[datetime]] = {}
    for series_id, moment in pairs:
        untils.setdefault(series_id, []).append(moment)
    newest = {series_id: max(moments) for series_id, moments in untils.items()}
    with connection.cursor() as cursor:
        cursor.execute(_HISTORY, [list(newest), list(newest.values()), VOLATILITY_BARS])
        rows = cursor.fetchall()
    times: dict[UUID, list[datetime]] = {}
    values: dict[UUID, list[float]] = {}
    for series_id, closed_at, close in rows:
        times.setdefault(series_id, []).append(closed_at)
        values.setdefault(series_id, []).append(close)
    return {
        (series_id, moment): (times.get(series_id, []), np.array(values.get(series_id, [])))
        for series_id, moment in pairs
    }


def _sized(
    book: PaperBook,
    history: tuple[list[datetime], FloatArray] | None,
    *,
    until: datetime,
    scale: float,
) -> Sized:
    config = book.config
    if history is None:
        # Sizing rules are frozen, which their protocol does not say.
        weight = _constant_weight(config.sizing, config.periods_per_year)  # type: ignore[arg-type]
        return Sized(weight * scale)
    times, whole = history
    own = [n for n, time in enumerate(times) if book.account.opened_at < time <= until]
    closes = whole[own] if own else np.full(1, np.nan)
    volatility = float(ewma_volatility(closes[:, None])[-1, 0])
    weights = config.sizing.weights(_panel(closes), periods_per_year=config.periods_per_year)
    return Sized(float(weights[-1, 0]) * scale, volatility)


@cache
def _constant_weight(sizing: Sizing, periods_per_year: float) -> float:
    """Return the weight of a rule that looks at no prices."""
    weights = sizing.weights(_panel(np.ones(1)), periods_per_year=periods_per_year)
    return float(weights[-1, 0])


def _panel(closes: FloatArray) -> Panel:
    column = np.ascontiguousarray(closes[:, None])
    index = pd.date_range("2000-01-01", periods=len(closes), tz="UTC")
    return Panel(index, ("",), column, column, column, column, column)


def is_due(
    bars: Mapping[UUID, BarRow], n_instruments: int, timeframe: str, *, at: datetime
) -> bool:
    """Whether a bar may be traded on: every instrument has it, or has been waited for."""
    if not bars:
        return False
    closed_at = min(bar.closed_at for bar in bars.values())
    complete = sum(bar.closed_at >= closed_at for bar in bars.values()) == n_instruments
    return complete or at - closed_at >= grace(timeframe)


def grace(timeframe: str) -> timedelta:
    """Return how long a bar waits for those of other instruments."""
    length = Timeframe(timeframe).duration or _LONGEST_BAR
    return min(timedelta(seconds=20), length / 3)
