"""The fill model that backtests, the shadow and paper execution share.

A signal is known at the close of its bar and fills at the open of the next; slippage moves the
price against the order and commission is charged on every fill. The functions below are plain
scalar arithmetic, so that numba compiles them into the simulator unchanged. `side` is +1 for a
buy and -1 for a sell; costs are positive amounts that the caller takes from cash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from alphastrat.quant.types import Side

BPS = 1e-4


def fill_price(
    price: float,
    side: int,
    slippage_bps: float,
    slippage_volatility: float,
    volatility: float,
) -> float:
    r"""Return the price of a fill after slippage.

    .. math:: p (1 + s (10^{-4} b + k \sigma))

    Parameters
    ----------
    price : float
        Price before slippage, usually the open of the bar after the signal; positive.
    side : int
        +1 for a buy, -1 for a sell.
    slippage_bps : float
        Fixed slippage b in basis points of the price, >= 0.
    slippage_volatility : float
        Slippage k in units of one bar's volatility, >= 0.
    volatility : float
        Standard deviation of returns per bar, a fraction known at the signal's close, >= 0.
        Ignored, even if NaN, where `slippage_volatility` is 0.

    Returns
    -------
    float
        Above `price` for a buy, below it for a sell; never negative.
    """
    slippage = slippage_bps * BPS
    if slippage_volatility > 0.0:
        slippage += slippage_volatility * volatility
    return price * max(1.0 + side * slippage, 0.0)


def commission(
    quantity: float, price: float, per_share: float, bps: float, minimum: float
) -> float:
    r"""Return the commission of one fill.

    .. math:: \max(minimum, |q| (c + 10^{-4} b\, p))

    Parameters
    ----------
    quantity : float
        Units filled, any sign; a fill of 0 costs nothing.
    price : float
        Fill price after slippage, in account currency.
    per_share : float
        Amount per unit c, in account currency, >= 0.
    bps : float
        Basis points b of the fill's value, >= 0.
    minimum : float
        Least amount per fill, in account currency, >= 0.

    Returns
    -------
    float
        Amount in account currency, >= 0.
    """
    if quantity == 0.0:
        return 0.0
    return max(minimum, abs(quantity) * (per_share + bps * BPS * price))


def borrow_cost(quantity: float, price: float, bps_per_year: float, years: float) -> float:
    r"""Return the cost of borrowing a short position over one bar.

    .. math:: \max(-q, 0)\, p\, 10^{-4} b\, \Delta

    Parameters
    ----------
    quantity : float
        Position held over the bar; only a negative one costs.
    price : float
        Price the loan is marked at, usually the previous close.
    bps_per_year : float
        Borrow fee b in basis points of the position's value per year, >= 0.
    years : float
        Length of the bar in years, 1 / periods_per_year.

    Returns
    -------
    float
        Amount in account currency, >= 0.
    """
    return max(-quantity, 0.0) * price * bps_per_year * BPS * years


def affordable_quantity(
    cash: float, price: float, per_share: float, bps: float, minimum: float
) -> float:
    """Return the largest quantity whose value and commission `cash` pays for.

    Parameters
    ----------
    cash : float
        Amount available, in account currency.
    price : float
        Fill price after slippage, positive.
    per_share, bps, minimum : float
        Commission terms as in `commission`.

    Returns
    -------
    float
        Units, fractional, >= 0; the caller floors to the lot.
    """
    proportional = cash / (price * (1.0 + bps * BPS) + per_share)
    return max(min(proportional, (cash - minimum) / price), 0.0)


def stop_fill(side: int, stop: float, open_price: float, high: float, low: float) -> float:
    """Return the price at which a stop order fills within a bar, before slippage.

    Parameters
    ----------
    side : int
        +1 for a buy stop (triggers at or above), -1 for a sell stop (at or below).
    stop : float
        Stop price.
    open_price, high, low : float
        The bar's prices.

    Returns
    -------
    float
        The open if the bar gaps through the stop, else the stop; NaN if it is not reached.
    """
    if side * (open_price - stop) >= 0.0:
        return open_price
    extreme = high if side > 0 else low
    return stop if side * (extreme - stop) >= 0.0 else math.nan


def limit_fill(side: int, limit: float, open_price: float, high: float, low: float) -> float:
    """Return the price at which a limit order fills within a bar.

    Parameters
    ----------
    side : int
        +1 for a buy limit (fills at or below), -1 for a sell limit (at or above).
    limit : float
        Limit price.
    open_price, high, low : float
        The bar's prices.

    Returns
    -------
    float
        The open if the bar opens better than the limit, else the limit; NaN if not reached.
        A limit price suffers no slippage.
    """
    if side * (open_price - limit) <= 0.0:
        return open_price
    extreme = low if side > 0 else high
    return limit if side * (extreme - limit) <= 0.0 else math.nan


def exit_fill(
    direction: int,
    stop: float,
    target: float,
    open_price: float,
    high: float,
    low: float,
) -> tuple[float, int]:
    """Return where a position with a stop and a target leaves within a bar.

    A bar that reaches both is taken at the stop: the bar does not say which came first, and the
    pessimistic order is the one that cannot flatter a backtest.

    Parameters
    ----------
    direction : int
        +1 for a long position, -1 for a short one.
    stop : float
        Stop price, NaN for none.
    target : float
        Take-profit price, NaN for none.
    open_price, high, low : float
        The bar's prices.

    Returns
    -------
    price : float
        Price before slippage, NaN if the position stays.
    reason : int
        0 stays, 1 stop, 2 target.
    """
    if direction * (open_price - stop) <= 0.0:
        return open_price, 1
    # A gap over the target is known at the open, before the bar can come back to the stop.
    if direction * (open_price - target) >= 0.0:
        return open_price, 2
    worst = low if direction > 0 else high
    if direction * (worst - stop) <= 0.0:
        return stop, 1
    best = high if direction > 0 else low
    if direction * (best - target) >= 0.0:
        return target, 2
    return math.nan, 0


@dataclass(frozen=True, slots=True)
class CostModel:
    """What execution costs. All terms are >= 0; the default costs nothing.

    Attributes
    ----------
    commission_per_share : float
        Account currency per unit.
    commission_bps : float
        Basis points of the fill's value.
    commission_minimum : float
        Account currency per fill.
    slippage_bps : float
        Basis points of the price, against the order.
    slippage_volatility : float
        Multiple of one bar's standard deviation of returns, against the order.
    borrow_bps_per_year : float
        Basis points per year of a short position's value.

    Raises
    ------
    ValueError
        If a term is negative or not finite.
    """

    commission_per_share: float = 0.0
    commission_bps: float = 0.0
    commission_minimum: float = 0.0
    slippage_bps: float = 0.0
    slippage_volatility: float = 0.0
    borrow_bps_per_year: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} must be finite and >= 0, was {value}")

    def fill_price(self, price: float, side: Side, *, volatility: float = 0.0) -> float:
        """Return the price of a fill after slippage, see `fill_price`."""
        return fill_price(price, side.sign, self.slippage_bps, self.slippage_volatility, volatility)

    def commission(self, quantity: float, price: float) -> float:
        """Return the commission of one fill, see `commission`."""
        return commission(
            quantity,
            price,
            self.commission_per_share,
            self.commission_bps,
            self.commission_minimum,
        )

    def borrow_cost(self, quantity: float, price: float, *, years: float) -> float:
        """Return the cost of borrowing a short position, see `borrow_cost`."""
        return borrow_cost(quantity, price, self.borrow_bps_per_year, years)

    def affordable_quantity(self, cash: float, price: float) -> float:
        """Return the largest quantity that `cash` pays for, see `affordable_quantity`."""
        return affordable_quantity(
            cash,
            price,
            self.commission_per_share,
            self.commission_bps,
            self.commission_minimum,
        )
