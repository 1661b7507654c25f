"""Moving-average cross: hold the side on which the fast average is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pandas as pd

from alphastrat.quant.types import BoolArray
from strategies.quant import indicators
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.signals import (
    LONG_ENTRY,
    LONG_EXIT,
    SHORT_ENTRY,
    SHORT_EXIT,
    Signals,
    WishArray,
    crosses_above,
    crosses_below,
    strength,
)
from strategies.quant.wish_rows import Columns, WishRows, allowed_wishes, cross_wishes, rows


@register
@dataclass(frozen=True, slots=True)
class MovingAverageCross(Plugin):
    """Enter long when the fast average crosses above the slow one, short when it crosses below.

    References
    ----------
    .. [1] Brock, Lakonishok & LeBaron (1992), "Simple Technical Trading Rules and the Stochastic
       Properties of Stock Returns", Journal of Finance 47(5).
    """

    key: ClassVar[str] = "moving_average_cross"
    label: ClassVar[str] = "Moving-average cross"
    description: ClassVar[str] = (
        "Buys when the fast simple average of the close crosses above the slow one and sells when "
        "it crosses below."
    )

    fast: int = parameter(10, label="Fast average", unit="bars", low=2, high=200, step=1)
    slow: int = parameter(20, label="Slow average", unit="bars", low=3, high=500, step=1)
    direction: Direction = parameter(
        Direction.BOTH, label="Direction", help="Sides of the market to take.", is_free=False
    )

    def check_consistency(self) -> None:
        if self.fast >= self.slow:
            raise ValueError(f"fast must be below slow, were {self.fast} and {self.slow}")

    @property
    def warmup_bars(self) -> int:
        return self.slow + 1

    def signals(self, bars: pd.DataFrame) -> Signals:
        close = indicators.bar_arrays(bars).close
        fast, slow = indicators.sma(close, self.fast), indicators.sma(close, self.slow)
        up, down = crosses_above(fast, slow), crosses_below(fast, slow)
        return Signals.of(
            bars,
            long_entry=up if self.direction.allows_long else None,
            long_exit=down,
            short_entry=down if self.direction.allows_short else None,
            short_exit=up,
            strength=strength(fast - slow, 0.02 * close),
            indicators={"fast": fast, "slow": slow},
        )

    @classmethod
    def are_consistent(cls, sets: Columns) -> BoolArray:
        consistent: BoolArray = sets["fast"] < sets["slow"]
        return consistent

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        average = partial(indicators.sma, indicators.bar_arrays(bars).close)
        fast, slow = rows(average, sets["fast"]), rows(average, sets["slow"])
        allowed = allowed_wishes(sets["direction"])

        def wishes(span: slice) -> WishArray:
            up, down = LONG_ENTRY | SHORT_EXIT, LONG_EXIT | SHORT_ENTRY
            return cross_wishes(fast, slow, span, up=up, down=down) & allowed[span]

        return wishes
