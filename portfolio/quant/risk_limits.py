"""Risk limits, the codes of what passes them, and trading states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any


class TradingState(StrEnum):
    """Which orders a portfolio or strategy may give."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"

    @property
    def severity(self) -> int:
        """0 for ACTIVE, 2 for HALTED: the larger one wins."""
        return (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED).index(self)

    def combined(self, other: TradingState) -> TradingState:
        """Return the stricter of the two."""
        return max(self, other, key=lambda state: state.severity)


class DenialCode(StrEnum):
    """Why an order is denied; the codes are stable."""

    TRADING_HALTED = "TRADING_HALTED"
    ONLY_REDUCING = "ONLY_REDUCING"
    NO_PRICE = "NO_PRICE"
    NO_EQUITY = "NO_EQUITY"
    ORDER_QUANTITY_EXCEEDED = "ORDER_QUANTITY_EXCEEDED"
    ORDER_NOTIONAL_EXCEEDED = "ORDER_NOTIONAL_EXCEEDED"
    VOLUME_SHARE_EXCEEDED = "VOLUME_SHARE_EXCEEDED"
    ORDER_RATE_EXCEEDED = "ORDER_RATE_EXCEEDED"
    POSITION_LIMIT_EXCEEDED = "POSITION_LIMIT_EXCEEDED"
    POSITION_NOTIONAL_EXCEEDED = "POSITION_NOTIONAL_EXCEEDED"
    CONCENTRATION_EXCEEDED = "CONCENTRATION_EXCEEDED"
    LEVERAGE_EXCEEDED = "LEVERAGE_EXCEEDED"
    STRATEGY_EXPOSURE_EXCEEDED = "STRATEGY_EXPOSURE_EXCEEDED"
    STRATEGY_DAILY_LOSS = "STRATEGY_DAILY_LOSS"
    STRATEGY_DRAWDOWN = "STRATEGY_DRAWDOWN"
    GROUP_EXPOSURE_EXCEEDED = "GROUP_EXPOSURE_EXCEEDED"
    GROSS_EXPOSURE_EXCEEDED = "GROSS_EXPOSURE_EXCEEDED"
    NET_EXPOSURE_EXCEEDED = "NET_EXPOSURE_EXCEEDED"
    PORTFOLIO_DAILY_LOSS = "PORTFOLIO_DAILY_LOSS"
    PORTFOLIO_DRAWDOWN = "PORTFOLIO_DRAWDOWN"
    POSITION_HEAT_EXCEEDED = "POSITION_HEAT_EXCEEDED"
    PORTFOLIO_HEAT_EXCEEDED = "PORTFOLIO_HEAT_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason against an order.

    Attributes
    ----------
    code : DenialCode
        Stable name of the rule.
    value, bound : Decimal or None
        What the number would be, and what it may be; None where the rule has none.
    """

    code: DenialCode
    value: Decimal | None = None
    bound: Decimal | None = None

    def __str__(self) -> str:
        if self.value is None or self.bound is None:
            return str(self.code)
        return f"{self.code}: value={shortest(self.value)}, limit={shortest(self.bound)}"

    @property
    def limit(self) -> str:
        """Name of the limit in `RiskLimits`, empty for a rule without one."""
        return LIMIT_OF.get(self.code, "")


def shortest(value: Decimal) -> str:
    """Return a number for people and logs: at most six digits after the point, no zeros behind.

    Parameters
    ----------
    value : Decimal
        Finite.

    Returns
    -------
    str
        Never in scientific notation.
    """
    rounded = value.quantize(Decimal("1e-6"))
    return f"{rounded.normalize():f}" if rounded else "0"


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What an order and its consequences may come to; None: no limit.

    Attributes
    ----------
    order_quantity, order_notional : Decimal or None
        Of one order: units, and account currency.
    order_volume_share : Decimal or None
        Order over the instrument's average volume per session.
    orders_per_minute : int or None
        Orders of one strategy in any minute, this one included.
    position_quantity, position_notional : Decimal or None
        Of one strategy's position in one instrument after the order.
    concentration : Decimal or None
        One instrument over the portfolio's equity, all strategies together, after the order.
    leverage : Decimal or None
        Gross exposure of a strategy over its own equity after the order.
    strategy_exposure, group_exposure : Decimal or None
        Gross exposure of one strategy, or of one group of instruments, over the portfolio's
        equity.
    gross_exposure, net_exposure : Decimal or None
        Of the portfolio over its equity; net is compared without sign.
    daily_loss, strategy_daily_loss : Decimal or None
        Return of the session at which only reducing orders are left; negative.
    drawdown, strategy_drawdown : Decimal or None
        Distance below the peak at which only reducing orders are left; negative.
    position_heat, heat : Decimal or None
        Open risk of one position, and of all, over the portfolio's equity.
    """

    order_quantity: Decimal | None = None
    order_notional: Decimal | None = None
    order_volume_share: Decimal | None = None
    orders_per_minute: int | None = 600
    position_quantity: Decimal | None = None
    position_notional: Decimal | None = None
    concentration: Decimal | None = Decimal("0.30")
    leverage: Decimal | None = Decimal("2")
    strategy_exposure: Decimal | None = Decimal("0.60")
    group_exposure: Decimal | None = None
    gross_exposure: Decimal | None = Decimal("2")
    net_exposure: Decimal | None = Decimal("1.5")
    daily_loss: Decimal | None = Decimal("-0.05")
    strategy_daily_loss: Decimal | None = None
    drawdown: Decimal | None = Decimal("-0.15")
    strategy_drawdown: Decimal | None = Decimal("-0.15")
    position_heat: Decimal | None = Decimal("0.02")
    heat: Decimal | None = Decimal("0.06")

    def __post_init__(self) -> None:
        for name in LOSS_LIMITS:
            value = getattr(self, name)
            if value is not None and not -1 <= value < 0:
                raise ValueError(f"{name} is a loss in [-1, 0), was {value}")
        for name in SIZE_LIMITS:
            value = getattr(self, name)
            if value is not None and not (Decimal(value).is_finite() and value > 0):
                raise ValueError(f"{name} must be positive, was {value}")


LOSS_LIMITS = ("daily_loss", "strategy_daily_loss", "drawdown", "strategy_drawdown")
SIZE_LIMITS = (
    "order_quantity",
    "order_notional",
    "order_volume_share",
    "orders_per_minute",
    "position_quantity",
    "position_notional",
    "concentration",
    "leverage",
    "strategy_exposure",
    "group_exposure",
    "gross_exposure",
    "net_exposure",
    "position_heat",
    "heat",
)


LIMIT_OF = {
    DenialCode.ORDER_QUANTITY_EXCEEDED: "order_quantity",
    DenialCode.ORDER_NOTIONAL_EXCEEDED: "order_notional",
    DenialCode.VOLUME_SHARE_EXCEEDED: "order_volume_share",
    DenialCode.ORDER_RATE_EXCEEDED: "orders_per_minute",
    DenialCode.POSITION_LIMIT_EXCEEDED: "position_quantity",
    DenialCode.POSITION_NOTIONAL_EXCEEDED: "position_notional",
    DenialCode.CONCENTRATION_EXCEEDED: "concentration",
    DenialCode.LEVERAGE_EXCEEDED: "leverage",
    DenialCode.STRATEGY_EXPOSURE_EXCEEDED: "strategy_exposure",
    DenialCode.STRATEGY_DAILY_LOSS: "strategy_daily_loss",
    DenialCode.STRATEGY_DRAWDOWN: "strategy_drawdown",
    DenialCode.GROUP_EXPOSURE_EXCEEDED: "group_exposure",
    DenialCode.GROSS_EXPOSURE_EXCEEDED: "gross_exposure",
    DenialCode.NET_EXPOSURE_EXCEEDED: "net_exposure",
    DenialCode.PORTFOLIO_DAILY_LOSS: "daily_loss",
    DenialCode.PORTFOLIO_DRAWDOWN: "drawdown",
    DenialCode.POSITION_HEAT_EXCEEDED: "position_heat",
    DenialCode.PORTFOLIO_HEAT_EXCEEDED: "heat",
}


def limits_from(*layers: Mapping[str, Any]) -> RiskLimits:
    """Return limits from layers of stored values, the narrowest scope last.

    Parameters
    ----------
    layers : mappings of str to str, int, float or None
        Names of limits to values; None takes a limit away. What no layer names keeps its default.

    Returns
    -------
    RiskLimits
        Checked.

    Raises
    ------
    ValueError
        If a name is not known, or a value has the wrong sign or is no number.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in RiskLimits.__dataclass_fields__:
                raise ValueError(f"there is no limit called {name!r}")
            values[name] = None if value is None else _number(name, value)
    return RiskLimits(**values)


def _number(name: str, value: Any) -> Decimal | int:
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        raise ValueError(f"{name} must be a number, was {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"{name} must be finite, was {value!r}")
    return int(number) if name == "orders_per_minute" else number
