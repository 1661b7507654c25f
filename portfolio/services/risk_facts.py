"""Everything that orders are judged by, read in a constant number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np
from django.db.models import Q

from alphastrat.core.money import to_decimal
from alphastrat.marketdata.models import Instrument
from alphastrat.quant.tail_measures import conditional_value_at_risk
from alphastrat.quant.types import FloatArray, Side
from portfolio.models import (
    Account,
    Order,
    OrderReason,
    Portfolio,
    PortfolioMember,
    Position,
    RiskLimits,
    StrategyStanding,
)
from portfolio.models.order import OPEN_STATUSES
from portfolio.quant.correlation import correlation_matrix
from portfolio.quant.heat import OVERNIGHT_GAP
from portfolio.quant.risk_limits import RiskLimits as Limits
from portfolio.quant.risk_limits import TradingState, limits_from
from portfolio.services.account_marks import load_marks
from portfolio.services.memberships import load_memberships
from portfolio.services.risk_standing import (
    UNKNOWN,
    PortfolioHistory,
    Standing,
    histories,
    standings,
)
from strategies.services.live_bars import load_live_panel

ZERO = Decimal(0)
# What was let through with the entry and rests since; it only takes risk away.
PROTECTIVE = {OrderReason.STOP, OrderReason.TARGET, OrderReason.TRAILING}
# What is asked for to leave a position, never to build one. A reversal leaves it too: the
# entry on the other side is an order of its own.
EXITS = PROTECTIVE | {
    OrderReason.SIGNAL,
    OrderReason.REVERSAL,
    OrderReason.TIME,
    OrderReason.REDUCE,
    OrderReason.CLOSE,
}
GAP = Decimal(str(OVERNIGHT_GAP))
ES_CONFIDENCE = 0.975
ES_BARS = 250
VOLUME_BARS = 20
LEAST_BARS = 40
# Of an instrument too young to have an expected shortfall of its own.
DEFAULT_SHORTFALL = Decimal("-0.05")
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Quote:
    """What the newest bars say about an instrument."""

    shortfall: Decimal
    average_volume: Decimal | None
    # Of the newest bars of the panel, NaN where there is none.
    returns: FloatArray


@dataclass(slots=True)
class Holding:
    """A position, and what it would lose if it were stopped out."""

    quantity: Decimal = ZERO
    value: Decimal = ZERO
    risk: Decimal = ZERO


@dataclass(slots=True)
class RiskBook:
    """Accounts, positions, limits and standings that orders are judged by.

    The totals move with every order that is let through, so that a batch cannot pass together
    what none of its orders could pass after the others.
    """

    accounts: dict[UUID, Account]
    members: dict[UUID, PortfolioMember]
    instruments: dict[UUID, Instrument]
    holdings: dict[tuple[UUID, UUID], Holding]
    limits: dict[UUID, Limits]
    actions: dict[UUID, str]
    states: dict[UUID, StrategyStanding]
    standings: dict[UUID, Standing]
    histories: dict[UUID, PortfolioHistory]
    n_recent: dict[UUID, int] = field(default_factory=dict)
    quotes: dict[tuple[str, str], Quote] = field(default_factory=dict)
    equities: dict[UUID, Decimal] = field(default_factory=dict)
    gross: dict[UUID, Decimal] = field(default_factory=dict)
    by_instrument: dict[tuple[UUID, UUID], Decimal] = field(default_factory=dict)
    by_group: dict[tuple[UUID, str], Decimal] = field(default_factory=dict)
    totals: dict[UUID, Totals] = field(default_factory=dict)

    def correlation(self, symbols: Sequence[str]) -> FloatArray:
        """Return the correlations of instruments' returns; NaN where they are not known."""
        series = {key[0]: quote.returns for key, quote in self.quotes.items()}
        n_bars = max((len(one) for one in series.values()), default=0)
        matrix = np.full((n_bars, len(symbols)), np.nan)
        for column, symbol in enumerate(symbols):
            returns = series.get(symbol)
            if returns is not None and len(returns):
                matrix[-len(returns) :, column] = returns
        return correlation_matrix(matrix)

    def portfolio_of(self, account: Account) -> Portfolio | None:
        member = self.members.get(account.strategy_id)
        return None if member is None else member.portfolio

    def state_of(self, account: Account) -> TradingState:
        """Return the strategy's own trading state; that of its portfolio comes on top."""
        row = self.states.get(account.strategy_id)
        return TradingState.ACTIVE if row is None else TradingState(row.trading_state)

    def keeps_protection(self, account: Account) -> bool:
        """Say whether stops and targets of what the account holds may act: a halt can stop them."""
        row, portfolio = self.states.get(account.strategy_id), self.portfolio_of(account)
        stopped = [
            one.trading_state == TradingState.HALTED and not one.keeps_protection
            for one in (row, portfolio)
            if one is not None
        ]
        return not any(stopped)

    def standing_of(self, account: Account) -> Standing:
        return self.standings.get(account.pk, UNKNOWN)

    def portfolio_standing(self, portfolio: Portfolio) -> Standing:
        history = self.histories.get(portfolio.pk)
        return UNKNOWN if history is None else history.standing(reserve=portfolio.reserve)

    def move(self, account: Account, instrument_id: UUID, *, holding: Holding) -> None:
        """Count an order as if it had filled."""
        key = (account.pk, instrument_id)
        before = self.holdings.get(key, Holding())
        self.holdings[key] = holding
        grown = abs(holding.value) - abs(before.value)
        self.gross[account.pk] = self.gross.get(account.pk, ZERO) + grown
        portfolio = self.portfolio_of(account)
        if portfolio is None:
            return
        totals = self.totals[portfolio.pk]
        totals.gross += grown
        totals.net += holding.value - before.value
        totals.risk += holding.risk - before.risk
        place = (portfolio.pk, instrument_id)
        change = holding.value - before.value
        self.by_instrument[place] = self.by_instrument.get(place, ZERO) + change
        for group in groups_of(self.instruments[instrument_id]):
            spot = (portfolio.pk, group)
            self.by_group[spot] = self.by_group.get(spot, ZERO) + grown


@dataclass(slots=True)
class Totals:
    """A portfolio's equity and what is at work and at risk of it."""

    equity: Decimal = ZERO
    gross: Decimal = ZERO
    net: Decimal = ZERO
    risk: Decimal = ZERO


def load_book(account_ids: Iterable[UUID], *, orders: Sequence[Order] = ()) -> RiskBook:
    """Read what the accounts' orders are judged by, their whole portfolios included."""
    wanted = set(account_ids)
    members = _members(wanted)
    accounts = _accounts(wanted, members)
    stays = load_memberships({one.portfolio_id for one in members})
    marks = load_marks({*accounts, *(one.account_id for one in stays)})
    book = RiskBook(
        accounts=accounts,
        members={one.strategy_id: one for one in members},
        instruments=Instrument.objects.in_bulk({order.instrument_id for order in orders}),
        holdings={},
        limits={},
        actions={},
        states={
            one.strategy_id: one
            for one in StrategyStanding.objects.filter(
                strategy__in={account.strategy_id for account in accounts.values()}
            )
        },
        standings=standings({key: one for key, one in marks.items() if key in accounts}),
        histories=histories(stays, marks),
    )
    _add_limits(book)
    positions = list(
        Position.objects.held().filter(account__in=accounts).select_related("instrument")
    )
    book.instruments |= {one.instrument_id: one.instrument for one in positions}
    _add_quotes(book, positions, orders)
    _add_positions(book, positions)
    _add_working(book, orders)
    return book


def equity_of(account: Account, positions: Iterable[Position]) -> Decimal:
    """Return what an account is worth now, cash that has just moved included."""
    if account.reports_equity:
        return account.equity
    return account.cash + sum((value_of(one) for one in positions), ZERO)


def value_of(position: Position) -> Decimal:
    """Return a position's market value, at its cost until it is marked; negative if short."""
    if position.mark_price is None:
        return position.cost
    return position.quantity * position.mark_price


def groups_of(instrument: Instrument) -> list[str]:
    """Return the groups an instrument belongs to: its sector and its asset class."""
    found = [instrument.get_asset_class_display()]
    return [*found, instrument.sector] if instrument.sector else found


def position_risk(
    quantity: Decimal, price: Decimal, *, stop: Decimal | None, shortfall: Decimal
) -> Decimal:
    """Return what a position loses at its stop overnight, or in a bad session without one."""
    if stop is None:
        return -shortfall * abs(quantity) * price
    return GAP * max(ZERO, (price - max(stop, ZERO)) * quantity)


def _members(account_ids: set[UUID]) -> list[PortfolioMember]:
    """Return every member of the portfolios that the accounts belong to."""
    ours = PortfolioMember.objects.filter(strategy__accounts__in=account_ids)
    return list(
        PortfolioMember.objects.filter(portfolio__in=ours.values("portfolio"))
        .select_related("portfolio")
        .order_by("pk")
    )


def _accounts(wanted: set[UUID], members: Sequence[PortfolioMember]) -> dict[UUID, Account]:
    together = Q(pk__in=wanted) | Q(
        strategy__in=[one.strategy_id for one in members], closed_at__isnull=True
    )
    found = Account.objects.filter(together).select_related("strategy__current_version")
    return {account.pk: account for account in found}


def _add_limits(book: RiskBook) -> None:
    """Merge the limits of owner, portfolio and strategy for every account."""
    strategies = {one.strategy_id for one in book.accounts.values()}
    owners = {one.strategy.owner_id for one in book.accounts.values()}
    portfolios = {one.portfolio_id for one in book.members.values()}
    scopes = (
        Q(strategy__in=strategies)
        | Q(portfolio__in=portfolios)
        | Q(owner__in=owners, portfolio__isnull=True, strategy__isnull=True)
    )
    rows = {
        row.strategy_id or row.portfolio_id or ("owner", row.owner_id): row
        for row in RiskLimits.objects.filter(scopes)
    }
    for account in book.accounts.values():
        member = book.members.get(account.strategy_id)
        layers = [
            rows.get(("owner", account.strategy.owner_id)),
            rows.get(member.portfolio_id) if member else None,
            rows.get(account.strategy_id),
        ]
        set_rows = [row for row in layers if row is not None]
        book.limits[account.pk] = limits_from(*[row.values for row in set_rows])
        book.actions[account.pk] = set_rows[-1].drawdown_action if set_rows else "deny"


def _add_quotes(book: RiskBook, positions: Sequence[Position], orders: Sequence[Order]) -> None:
    """Measure the instruments that are held or ordered, one panel per timeframe."""
    symbols: dict[str, set[str]] = defaultdict(set)
    for one in positions:
        timeframe = book.accounts[one.account_id].strategy.timeframe
        symbols[timeframe].add(one.instrument.symbol)
    for order in orders:
        timeframe = book.accounts[order.account_id].strategy.timeframe
        symbols[timeframe].add(book.instruments[order.instrument_id].symbol)
    for timeframe, names in symbols.items():
        book.quotes |= quotes(sorted(names), timeframe)


def quotes(symbols: Sequence[str], timeframe: str) -> dict[tuple[str, str], Quote]:
    """Return the expected shortfall of a session and the volume of instruments lately."""
    panel = load_live_panel(symbols, timeframe)
    if panel is None:
        return {}
    close = panel.close[-ES_BARS - 1 :]
    days = panel.index[-len(close) :].normalize()
    bars_per_day = max(1.0, len(days) / max(1, days.nunique()))
    found = {}
    for column, symbol in enumerate(panel.symbols):
        prices = close[:, column]
        with np.errstate(invalid="ignore", divide="ignore"):
            returns = prices[1:] / prices[:-1] - 1.0
        found[symbol, timeframe] = Quote(
            _shortfall(returns[np.isfinite(returns)], bars_per_day),
            _volume(panel.volume[:, column], bars_per_day),
            returns,
        )
    return found


def _shortfall(returns: FloatArray, bars_per_day: float) -> Decimal:
    if len(returns) < LEAST_BARS:
        return DEFAULT_SHORTFALL
    bar = float(conditional_value_at_risk(returns, confidence=ES_CONFIDENCE))
    return to_decimal(min(0.0, bar * bars_per_day**0.5), 8)


def _volume(volume: FloatArray, bars_per_day: float) -> Decimal | None:
    recent = volume[np.isfinite(volume)][-round(VOLUME_BARS * bars_per_day) :]
    return to_decimal(float(recent.mean()) * bars_per_day, 4) if recent.size else None


def _add_positions(book: RiskBook, positions: Sequence[Position]) -> None:
    held: dict[UUID, list[Position]] = defaultdict(list)
    for one in positions:
        held[one.account_id].append(one)
    for account in book.accounts.values():
        portfolio = book.portfolio_of(account)
        book.equities[account.pk] = equity_of(account, held[account.pk])
        book.gross[account.pk] = sum((abs(value_of(one)) for one in held[account.pk]), ZERO)
        if portfolio is not None:
            totals = book.totals.setdefault(portfolio.pk, Totals(equity=portfolio.reserve))
            totals.equity += book.equities[account.pk]
            totals.gross += book.gross[account.pk]
        for position in held[account.pk]:
            _add_position(book, account, position)


def _add_position(book: RiskBook, account: Account, position: Position) -> None:
    value = value_of(position)
    quote = book.quotes.get((position.instrument.symbol, account.strategy.timeframe))
    stop = position.protection.get("stop")
    risk = position_risk(
        position.quantity,
        value / position.quantity,
        stop=None if stop is None else to_decimal(stop, 8),
        shortfall=DEFAULT_SHORTFALL if quote is None else quote.shortfall,
    )
    book.holdings[account.pk, position.instrument_id] = Holding(position.quantity, value, risk)
    portfolio = book.portfolio_of(account)
    if portfolio is None:
        return
    totals = book.totals[portfolio.pk]
    totals.net += value
    totals.risk += risk
    place = (portfolio.pk, position.instrument_id)
    book.by_instrument[place] = book.by_instrument.get(place, ZERO) + value
    for group in groups_of(position.instrument):
        spot = (portfolio.pk, group)
        book.by_group[spot] = book.by_group.get(spot, ZERO) + abs(value)


def _add_working(book: RiskBook, orders: Sequence[Order]) -> None:
    """Count orders of the last minute, and add those that still work to the positions."""
    if not orders:
        return
    judged = {order.pk for order in orders}
    newest = max(order.decided_at for order in orders)
    oldest = min(order.decided_at for order in orders) - MINUTE
    recent = (
        Order.objects.filter(account__in=book.accounts)
        .filter(Q(decided_at__gt=oldest, decided_at__lte=newest) | Q(status__in=OPEN_STATUSES))
        .exclude(pk__in=judged)
        .exclude(status=Order.Status.DENIED)
        .select_related("instrument")
    )
    for order in recent:
        book.instruments[order.instrument_id] = order.instrument
        if order.decided_at > oldest:
            book.n_recent[order.account_id] = book.n_recent.get(order.account_id, 0) + 1
        quantity = order.quantity or order.expected_quantity
        if order.status in OPEN_STATUSES and quantity and order.reference_price:
            _count_working(book, order, quantity)


def _count_working(book: RiskBook, order: Order, quantity: Decimal) -> None:
    account = book.accounts[order.account_id]
    before = book.holdings.get((account.pk, order.instrument_id), Holding())
    signed = quantity * Side(order.side).sign
    if order.reason in EXITS:
        # An exit never takes more than is there.
        signed = -before.quantity if abs(signed) > abs(before.quantity) else signed
    after = before.quantity + signed
    price = order.reference_price or ZERO
    quote = book.quotes.get((order.instrument.symbol, account.strategy.timeframe))
    shortfall = DEFAULT_SHORTFALL if quote is None else quote.shortfall
    risk = position_risk(after, price, stop=None, shortfall=shortfall)
    book.move(account, order.instrument_id, holding=Holding(after, after * price, risk))
