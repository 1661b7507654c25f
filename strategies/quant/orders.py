"""What an order becomes: its size, the price of its fill and what that costs.

Plain scalar arithmetic, so that whatever simulates an account compiles the same definition in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alphastrat.quant import execution
from strategies.quant.compiled import compiled_bare

DUST = 1e-9

# IntEnum members are not numba constants; these are those of `sizing.SizeMode`.
_EQUITY, _CASH, _QUANTITY, _RISK = range(4)

_fill_price = compiled_bare(execution.fill_price)
_commission = compiled_bare(execution.commission)
_affordable = compiled_bare(execution.affordable_quantity)
borrow_cost = compiled_bare(execution.borrow_cost)
stop_fill = compiled_bare(execution.stop_fill)


class Terms(NamedTuple):
    """Scalars of the account and its costs; units as in `execution.CostModel`."""

    cash: float
    mode: int
    granularity: float
    leverage: float
    slippage_bps: float
    slippage_volatility: float
    per_share: float
    commission_bps: float
    minimum: float
    borrow_bps: float
    years_per_bar: float


class Entry(NamedTuple):
    """A filled entry: quantity without sign, 0 where there is no cash or no size for one."""

    quantity: float
    price: float
    commission: float
    is_partial: bool


@compiled_bare
def entry(
    price: float,
    side: int,
    equity: float,
    free: float,
    volatility: float,
    weight: float,
    stop_loss: float,
    terms: Terms,
) -> Entry:
    """Return what an entry at an open becomes.

    Parameters
    ----------
    price : float
        The open.
    side : int
        +1 to buy, -1 to sell short.
    equity, free : float
        Account value, and what of it may still be tied up.
    volatility, weight : float
        Known at the close of the signal: deviation of returns per bar, and the sizing weight.
    stop_loss : float
        Fraction of the entry price, for sizing by risk.
    terms : Terms
        Of the account.

    Returns
    -------
    Entry
        Of whole lots.
    """
    fill = market_fill(price, side, volatility, terms)
    full = _wanted_quantity(fill, equity, weight, stop_loss, terms)
    possible = _affordable(
        max(free, 0.0), fill, terms.per_share, terms.commission_bps, terms.minimum
    )
    quantity = _whole_lots(min(full, possible), terms.granularity)
    # Rounding leaves a trace of cash after everything was spent; it is not worth a position.
    if not quantity * fill > DUST * abs(equity):
        quantity = 0.0
    is_partial = quantity < _whole_lots(full, terms.granularity) * (1.0 - 1e-9)
    return Entry(quantity, fill, commission(quantity, fill, terms), is_partial)


@compiled_bare
def market_fill(price: float, side: int, volatility: float, terms: Terms) -> float:
    """Return the price of a market order; an unknown volatility counts as none."""
    volatility = 0.0 if np.isnan(volatility) else volatility
    return _fill_price(price, side, terms.slippage_bps, terms.slippage_volatility, volatility)


@compiled_bare
def commission(quantity: float, price: float, terms: Terms) -> float:
    """Return the commission of a fill, see `execution.commission`."""
    return _commission(quantity, price, terms.per_share, terms.commission_bps, terms.minimum)


@compiled_bare
def trip_pnl(
    quantity: float, entry_price: float, exit_price: float, commissions: float, borrowed: float
) -> float:
    """Return what a round trip earned after all costs; quantity negative for a short."""
    return quantity * (exit_price - entry_price) - commissions - borrowed


@compiled_bare
def _wanted_quantity(
    fill: float, equity: float, weight: float, stop_loss: float, terms: Terms
) -> float:
    if not weight > 0.0 or not equity > 0.0:
        return 0.0
    if terms.mode == _QUANTITY:
        return weight
    if terms.mode == _RISK:
        return equity * weight / (fill * stop_loss)
    budget = weight if terms.mode == _CASH else weight * equity
    return _affordable(budget, fill, terms.per_share, terms.commission_bps, terms.minimum)


@compiled_bare
def _whole_lots(quantity: float, granularity: float) -> float:
    if granularity <= 0.0:
        return quantity
    # The tolerance keeps 3 x 0.1 from becoming 2 lots of 0.1.
    return np.floor(quantity / granularity + 1e-9) * granularity
