"""Every order passes here before it is sent: limits, trading states, and what limits do.

Denials carry stable codes and the numbers. Who changes what may be traded, a person or a limit,
leaves a `RiskAction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from alphastrat.marketdata.models import Instrument
from alphastrat.quant.types import Side
from portfolio.models import Account, Order, OrderReason, Portfolio
from portfolio.quant.drawdown_control import allowed_scale
from portfolio.quant.limit_catalogue import explained
from portfolio.quant.order_checks import AccountFacts, OrderFacts, PortfolioFacts, check_order
from portfolio.quant.risk_limits import Denial as QuantDenial
from portfolio.quant.risk_limits import DenialCode, TradingState, shortest
from portfolio.services.risk_facts import (
    DEFAULT_SHORTFALL,
    EXITS,
    GAP,
    PROTECTIVE,
    ZERO,
    Holding,
    RiskBook,
    groups_of,
    load_book,
    position_risk,
)


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason against an order, as it is stored and sent."""

    code: str
    limit: str
    value: str
    bound: str
    message: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class HeatCheck:
    """Open risk of a portfolio over its equity."""

    heat: Decimal
    limit: Decimal | None
    is_exceeded: bool


@dataclass(frozen=True, slots=True)
class DrawdownCheck:
    """A strategy's drawdown against its limit, and the size that leaves it."""

    drawdown: Decimal | None
    limit: Decimal | None
    scale: Decimal
    is_exceeded: bool


def review(orders: Sequence[Order], *, at: datetime) -> dict[UUID, list[Denial]]:
    """Return every reason against each order, in a constant number of queries.

    Orders are judged in the order given, each as if those let through before it had filled. An
    order whose list is empty may be sent.
    """
    if not orders:
        return {}
    book = load_book({order.account_id for order in orders}, orders=orders)
    return {order.pk: _judge(book, order) for order in orders}


def validate_order(order: Order, *, at: datetime) -> list[Denial]:
    """Return every reason against one order."""
    return review([order], at=at)[order.pk]


def validate_position_size(
    account: Account, instrument: Instrument, quantity: Decimal, *, price: Decimal, at: datetime
) -> list[Denial]:
    """Return what speaks against changing a position by `quantity`, negative to sell."""
    order = Order(
        id=uuid4(),
        account=account,
        instrument=instrument,
        side=Side.BUY if quantity > 0 else Side.SELL,
        quantity=abs(quantity),
        reference_price=price,
        reason=OrderReason.ENTRY,
        decided_at=at,
    )
    return validate_order(order, at=at)


def check_portfolio_heat(portfolio: Portfolio) -> HeatCheck:
    """Return the portfolio's heat: what it loses if every position is stopped out overnight."""
    accounts = Account.objects.open().filter(strategy__portfolio_members__portfolio=portfolio)
    book = load_book(accounts.values_list("pk", flat=True))
    totals = book.totals.get(portfolio.pk)
    if totals is None or totals.equity <= 0:
        return HeatCheck(ZERO, None, is_exceeded=False)
    limit = next(iter(book.limits.values())).heat
    heat = totals.risk / totals.equity
    return HeatCheck(heat, limit, is_exceeded=limit is not None and heat > limit)


def validate_strategy_drawdown(account: Account) -> DrawdownCheck:
    """Return how a strategy's drawdown compares with its limit."""
    book = load_book([account.pk])
    return drawdown_check(book, book.accounts[account.pk])


def drawdown_check(book: RiskBook, account: Account) -> DrawdownCheck:
    """Return the drawdown of one account of a book; an unknown drawdown passes nothing."""
    drawdown = book.standing_of(account).drawdown
    limit = book.limits[account.pk].strategy_drawdown
    row = book.states.get(account.strategy_id)
    previous = Decimal(1) if row is None else row.scale
    if drawdown is None or limit is None:
        return DrawdownCheck(drawdown, limit, previous, is_exceeded=False)
    scale = allowed_scale(drawdown, limit, previous=previous)
    return DrawdownCheck(drawdown, limit, scale, is_exceeded=drawdown <= limit)


def _judge(book: RiskBook, order: Order) -> list[Denial]:
    account = book.accounts[order.account_id]
    holding = book.holdings.get((account.pk, order.instrument_id), Holding())
    if order.reason in PROTECTIVE and holding.quantity * Side(order.side).sign < 0:
        if not book.keeps_protection(account):
            return [_stored(QuantDenial(DenialCode.TRADING_HALTED))]
        book.move(account, order.instrument_id, holding=Holding())
        return []
    facts, after = _order_facts(book, order, account, holding=holding)
    if facts is None:
        # An exit of what is not held: nothing will be filled, and nothing can go wrong.
        return []
    denials = check_order(
        facts,
        _account_facts(book, account, holding),
        book.limits[account.pk],
        portfolio=_portfolio_facts(book, account, order),
    )
    if not denials:
        book.move(account, order.instrument_id, holding=after)
        book.n_recent[account.pk] = book.n_recent.get(account.pk, 0) + 1
    return [_stored(denial) for denial in denials]


def _order_facts(
    book: RiskBook, order: Order, account: Account, *, holding: Holding
) -> tuple[OrderFacts | None, Holding]:
    quantity = _quantity(book, order, account, holding=holding)
    if not quantity:
        return None, holding
    side = Side(order.side)
    symbol = book.instruments[order.instrument_id].symbol
    quote = book.quotes.get((symbol, account.strategy.timeframe))
    price = order.reference_price
    after = holding.quantity + quantity * side.sign
    shortfall = DEFAULT_SHORTFALL if quote is None else quote.shortfall
    risk = ZERO if price is None else _risk_after(account, after, price, shortfall)
    facts = OrderFacts(
        side=side,
        quantity=quantity,
        price=price,
        average_volume=None if quote is None else quote.average_volume,
        risk=risk,
    )
    return facts, Holding(after, after * (price or ZERO), risk)


def _quantity(
    book: RiskBook, order: Order, account: Account, *, holding: Holding
) -> Decimal | None:
    """Return what an order is judged as; an exit is never more than what is held."""
    quantity = order.quantity or order.expected_quantity
    if order.reason in EXITS:
        held = abs(holding.quantity) if holding.quantity * Side(order.side).sign < 0 else ZERO
        return held if quantity is None else min(quantity, held)
    if quantity or not order.reference_price:
        return quantity or Decimal(1)
    # The fill model will decide it; without an estimate it is taken as all of the equity.
    return max(book.equities[account.pk], ZERO) / order.reference_price


def _risk_after(account: Account, quantity: Decimal, price: Decimal, shortfall: Decimal) -> Decimal:
    version = account.strategy.current_version
    stop_loss = None if version is None else version.exit_rules.get("stop_loss")
    if stop_loss is None:
        return position_risk(quantity, price, stop=None, shortfall=shortfall)
    return GAP * Decimal(str(stop_loss)) * abs(quantity) * price


def _account_facts(book: RiskBook, account: Account, holding: Holding) -> AccountFacts:
    standing = book.standing_of(account)
    return AccountFacts(
        equity=book.equities[account.pk],
        position=holding.quantity,
        gross=book.gross.get(account.pk, ZERO),
        day_return=standing.day_return,
        drawdown=standing.drawdown,
        n_orders_last_minute=book.n_recent.get(account.pk, 0),
        state=book.state_of(account),
    )


def _portfolio_facts(book: RiskBook, account: Account, order: Order) -> PortfolioFacts | None:
    portfolio = book.portfolio_of(account)
    if portfolio is None:
        return None
    totals, standing = book.totals[portfolio.pk], book.portfolio_standing(portfolio)
    held = book.holdings.get((account.pk, order.instrument_id), Holding())
    return PortfolioFacts(
        equity=totals.equity,
        gross=totals.gross,
        net=totals.net,
        instrument_value=book.by_instrument.get((portfolio.pk, order.instrument_id), ZERO),
        group_gross={
            group: book.by_group.get((portfolio.pk, group), ZERO)
            for group in groups_of(book.instruments[order.instrument_id])
        },
        day_return=standing.day_return,
        drawdown=standing.drawdown,
        position_risk=held.risk,
        risk=totals.risk,
        state=TradingState(portfolio.trading_state),
    )


def _stored(denial: QuantDenial) -> Denial:
    return Denial(
        code=denial.code,
        limit=denial.limit,
        value="" if denial.value is None else shortest(denial.value),
        bound="" if denial.bound is None else shortest(denial.bound),
        message=explained(denial),
    )
