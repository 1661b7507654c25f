"""What each risk limit is called, what it is a limit of, and how its values are written."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from portfolio.quant.risk_limits import LOSS_LIMITS, Denial, DenialCode, shortest


class LimitUnit(StrEnum):
    """What a limit's number is."""

    FRACTION = "fraction"
    MONEY = "money"
    UNITS = "units"
    COUNT = "count"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """A limit for people.

    Attributes
    ----------
    name : str
        Its name in `RiskLimits`.
    label : str
        What is limited.
    unit : LimitUnit
        A FRACTION is shown in percent.
    scope : str
        Order, instrument, strategy, group or portfolio.
    """

    name: str
    label: str
    unit: LimitUnit
    scope: str

    @property
    def is_loss(self) -> bool:
        """Whether its values are negative."""
        return self.name in LOSS_LIMITS


_F, _M, _U = LimitUnit.FRACTION, LimitUnit.MONEY, LimitUnit.UNITS
LIMITS: dict[str, LimitSpec] = {
    spec.name: spec
    for spec in (
        LimitSpec("order_quantity", "Quantity of an order", _U, "order"),
        LimitSpec("order_notional", "Value of an order", _M, "order"),
        LimitSpec("order_volume_share", "Order over average volume", _F, "order"),
        LimitSpec("orders_per_minute", "Orders in a minute", LimitUnit.COUNT, "order"),
        LimitSpec("position_quantity", "Quantity of a position", _U, "instrument"),
        LimitSpec("position_notional", "Value of a position", _M, "instrument"),
        LimitSpec("concentration", "One instrument over equity", _F, "instrument"),
        LimitSpec("position_heat", "Risk of a position over equity", _F, "instrument"),
        LimitSpec("leverage", "Exposure over own equity", LimitUnit.RATIO, "strategy"),
        LimitSpec("strategy_exposure", "One strategy over equity", _F, "strategy"),
        LimitSpec("strategy_daily_loss", "Strategy's loss in a day", _F, "strategy"),
        LimitSpec("strategy_drawdown", "Strategy's drawdown", _F, "strategy"),
        LimitSpec("group_exposure", "One group over equity", _F, "group"),
        LimitSpec("gross_exposure", "Gross exposure", _F, "portfolio"),
        LimitSpec("net_exposure", "Net exposure", _F, "portfolio"),
        LimitSpec("daily_loss", "Portfolio's loss in a day", _F, "portfolio"),
        LimitSpec("drawdown", "Portfolio's drawdown", _F, "portfolio"),
        LimitSpec("heat", "Portfolio heat", _F, "portfolio"),
    )
}

_WITHOUT_NUMBERS = {
    DenialCode.TRADING_HALTED: "Trading is halted.",
    DenialCode.ONLY_REDUCING: "Only orders that reduce a position are let through.",
    DenialCode.NO_PRICE: "There is no price to judge the order by.",
    DenialCode.NO_EQUITY: "There is no equity to open a position with.",
}


def written(value: Decimal, unit: LimitUnit) -> str:
    """Return a limit's number in words.

    Parameters
    ----------
    value : Decimal
        A fraction for FRACTION, else in its own unit.
    unit : LimitUnit
        What it is.

    Returns
    -------
    str
        With a percent sign for a fraction.
    """
    if unit is LimitUnit.FRACTION:
        return f"{value * 100:.2f} %".replace("-", "−")
    if unit is LimitUnit.MONEY:
        return f"{value:,.2f}"
    return f"{value:.2f}" if unit is LimitUnit.RATIO else shortest(value)


def explained(denial: Denial) -> str:
    """Return a denial as a sentence with its numbers.

    Parameters
    ----------
    denial : Denial
        What was denied.

    Returns
    -------
    str
        For people; the code is for machines.
    """
    spec = LIMITS.get(denial.limit)
    if spec is None or denial.value is None or denial.bound is None:
        return _WITHOUT_NUMBERS[denial.code]
    value, bound = written(denial.value, spec.unit), written(denial.bound, spec.unit)
    verb = "is" if spec.is_loss else "would be"
    return f"{spec.label} {verb} {value}; the limit is {bound}."
