"""Orders against limits as pure decisions: facts go in, denials with numbers come out.

Every amount is a Decimal and every comparison exact. Losses, drawdowns and their limits are
negative. A limit that is None does not exist. An order that makes a measured number smaller is
never denied for that number, even where it is still over the limit afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from alphastrat.quant.types import Side
from portfolio.quant.risk_limits import Denial, DenialCode, RiskLimits, TradingState

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """An order before it is sent.

    Attributes
    ----------
    side : Side
        BUY or SELL.
    quantity : Decimal
        Units, positive.
    price : Decimal or None
        What a unit is expected to cost; None denies everything that does not reduce.
    average_volume : Decimal or None
        Units per session lately; None where it is not known, which the volume rule lets pass.
    risk : Decimal or None
        Account currency lost if the whole position after the order is stopped out.
    """

    side: Side
    quantity: Decimal
    price: Decimal | None
    average_volume: Decimal | None = None
    risk: Decimal | None = None

    def __post_init__(self) -> None:
        if not (self.quantity.is_finite() and self.quantity > 0):
            raise ValueError(f"an order's quantity must be positive, was {self.quantity}")

    @property
    def signed_quantity(self) -> Decimal:
        """Change of the position: positive for a buy."""
        return self.quantity * self.side.sign

    @property
    def notional(self) -> Decimal:
        """Value of the order, 0 without a price."""
        return self.quantity * (self.price or ZERO)


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """The strategy's account before the order.

    Attributes
    ----------
    equity : Decimal
        Account value.
    position : Decimal
        Units held of the order's instrument, negative if short, working orders counted.
    gross : Decimal
        Sum of absolute position values, account currency.
    day_return, drawdown : Decimal or None
        Return since the last session's close, and distance below the peak; not positive for a
        loss, None where not known.
    n_orders_last_minute : int
        Orders sent in the minute before this one.
    state : TradingState
        Of the strategy.
    """

    equity: Decimal
    position: Decimal = ZERO
    gross: Decimal = ZERO
    day_return: Decimal | None = None
    drawdown: Decimal | None = None
    n_orders_last_minute: int = 0
    state: TradingState = TradingState.ACTIVE


@dataclass(frozen=True, slots=True)
class PortfolioFacts:
    """The portfolio of the strategy before the order, all its strategies together.

    Attributes
    ----------
    equity : Decimal
        Value of the portfolio.
    gross, net : Decimal
        Sums of position values without and with sign, account currency.
    instrument_value : Decimal
        Value of all strategies' positions in the order's instrument, negative if short.
    group_gross : mapping of str to Decimal
        Gross value of every group that the instrument belongs to.
    day_return, drawdown : Decimal or None
        As in `AccountFacts`.
    position_risk : Decimal
        Account currency at risk in the strategy's position in the instrument.
    risk : Decimal
        Account currency at risk in all positions.
    state : TradingState
        Of the portfolio.
    """

    equity: Decimal
    gross: Decimal = ZERO
    net: Decimal = ZERO
    instrument_value: Decimal = ZERO
    group_gross: dict[str, Decimal] = field(default_factory=dict)
    day_return: Decimal | None = None
    drawdown: Decimal | None = None
    position_risk: Decimal = ZERO
    risk: Decimal = ZERO
    state: TradingState = TradingState.ACTIVE


def is_reducing(order: OrderFacts, position: Decimal) -> bool:
    """Return whether an order only makes a position smaller.

    Parameters
    ----------
    order : OrderFacts
        The order.
    position : Decimal
        Units held, negative if short.

    Returns
    -------
    bool
        True if it is against the position and not larger than it; crossing zero opens one.
    """
    return position * order.side.sign < 0 and order.quantity <= abs(position)


def check_order(
    order: OrderFacts,
    account: AccountFacts,
    limits: RiskLimits,
    *,
    portfolio: PortfolioFacts | None = None,
) -> list[Denial]:
    """Return every reason against an order.

    Parameters
    ----------
    order : OrderFacts
        What is to be sent.
    account : AccountFacts
        The strategy's account as it is now.
    limits : RiskLimits
        What may be.
    portfolio : PortfolioFacts, optional
        Of the portfolio the strategy belongs to; its rules are skipped without one.

    Returns
    -------
    list of Denial
        Empty if the order may be sent. An order that only reduces is denied by nothing but a
        halt, its own size and the order rate.
    """
    reduces = is_reducing(order, account.position)
    denials = _state_denials(account, portfolio, reduces=reduces)
    denials += _order_denials(order, account, limits)
    if reduces:
        return denials
    if order.price is None:
        return [*denials, Denial(DenialCode.NO_PRICE)]
    denials += _account_denials(order, account, limits)
    if portfolio is not None:
        denials += _portfolio_denials(order, account, portfolio, limits=limits)
    return denials


def _state_denials(
    account: AccountFacts, portfolio: PortfolioFacts | None, *, reduces: bool
) -> list[Denial]:
    state = account.state if portfolio is None else account.state.combined(portfolio.state)
    if state is TradingState.HALTED:
        return [Denial(DenialCode.TRADING_HALTED)]
    if state is TradingState.REDUCING and not reduces:
        return [Denial(DenialCode.ONLY_REDUCING)]
    return []


def _order_denials(order: OrderFacts, account: AccountFacts, limits: RiskLimits) -> list[Denial]:
    volume = order.average_volume
    share = order.quantity / volume if volume else None
    n_orders = Decimal(account.n_orders_last_minute + 1)
    rate = None if limits.orders_per_minute is None else Decimal(limits.orders_per_minute)
    return _exceeded(
        (DenialCode.ORDER_QUANTITY_EXCEEDED, order.quantity, limits.order_quantity, ZERO),
        (DenialCode.ORDER_NOTIONAL_EXCEEDED, order.notional, limits.order_notional, ZERO),
        (DenialCode.VOLUME_SHARE_EXCEEDED, share, limits.order_volume_share, ZERO),
        (DenialCode.ORDER_RATE_EXCEEDED, n_orders, rate, ZERO),
    )


def _account_denials(order: OrderFacts, account: AccountFacts, limits: RiskLimits) -> list[Denial]:
    if account.equity <= 0:
        return [Denial(DenialCode.NO_EQUITY, account.equity, ZERO)]
    price = order.price or ZERO
    before, after = abs(account.position), abs(account.position + order.signed_quantity)
    gross = account.gross + (after - before) * price
    return [
        *_exceeded(
            (DenialCode.POSITION_LIMIT_EXCEEDED, after, limits.position_quantity, before),
            (
                DenialCode.POSITION_NOTIONAL_EXCEEDED,
                after * price,
                limits.position_notional,
                before * price,
            ),
            (
                DenialCode.LEVERAGE_EXCEEDED,
                gross / account.equity,
                limits.leverage,
                account.gross / account.equity,
            ),
        ),
        *_lost(DenialCode.STRATEGY_DAILY_LOSS, account.day_return, limits.strategy_daily_loss),
        *_lost(DenialCode.STRATEGY_DRAWDOWN, account.drawdown, limits.strategy_drawdown),
    ]


def _portfolio_denials(
    order: OrderFacts, account: AccountFacts, portfolio: PortfolioFacts, *, limits: RiskLimits
) -> list[Denial]:
    equity = portfolio.equity
    if equity <= 0:
        return [Denial(DenialCode.NO_EQUITY, equity, ZERO)]
    price = order.price or ZERO
    change = order.signed_quantity * price
    grown = (abs(account.position + order.signed_quantity) - abs(account.position)) * price
    held = portfolio.instrument_value
    groups = [
        (DenialCode.GROUP_EXPOSURE_EXCEEDED, (gross + grown) / equity, limits.group_exposure, ZERO)
        for gross in portfolio.group_gross.values()
        if grown > 0
    ]
    return [
        *_exceeded(
            (
                DenialCode.CONCENTRATION_EXCEEDED,
                abs(held + change) / equity,
                limits.concentration,
                abs(held) / equity,
            ),
            (
                DenialCode.STRATEGY_EXPOSURE_EXCEEDED,
                (account.gross + grown) / equity,
                limits.strategy_exposure,
                account.gross / equity,
            ),
            *groups,
            (
                DenialCode.GROSS_EXPOSURE_EXCEEDED,
                (portfolio.gross + grown) / equity,
                limits.gross_exposure,
                portfolio.gross / equity,
            ),
            (
                DenialCode.NET_EXPOSURE_EXCEEDED,
                abs(portfolio.net + change) / equity,
                limits.net_exposure,
                abs(portfolio.net) / equity,
            ),
        ),
        *_lost(DenialCode.PORTFOLIO_DAILY_LOSS, portfolio.day_return, limits.daily_loss),
        *_lost(DenialCode.PORTFOLIO_DRAWDOWN, portfolio.drawdown, limits.drawdown),
        *_heat_denials(order, portfolio, limits),
    ]


def _heat_denials(order: OrderFacts, portfolio: PortfolioFacts, limits: RiskLimits) -> list[Denial]:
    if order.risk is None:
        return []
    equity, before = portfolio.equity, portfolio.position_risk
    total = portfolio.risk - before + order.risk
    return _exceeded(
        (
            DenialCode.POSITION_HEAT_EXCEEDED,
            order.risk / equity,
            limits.position_heat,
            before / equity,
        ),
        (DenialCode.PORTFOLIO_HEAT_EXCEEDED, total / equity, limits.heat, portfolio.risk / equity),
    )


def _exceeded(
    *rules: tuple[DenialCode, Decimal | None, Decimal | None, Decimal],
) -> list[Denial]:
    """Deny what is over its limit and was not already as far over it."""
    return [
        Denial(code, value, limit)
        for code, value, limit, before in rules
        if value is not None and limit is not None and value > limit and value > before
    ]


def _lost(code: DenialCode, value: Decimal | None, limit: Decimal | None) -> list[Denial]:
    if value is None or limit is None or value > limit:
        return []
    return [Denial(code, value, limit)]
