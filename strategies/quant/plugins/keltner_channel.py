"""Keltner channel: go with a close outside an ATR channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from strategies.quant import indicators
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.seeding import ema_warmup, wilder_warmup
from strategies.quant.signals import Signals, WishArray, pack_wishes, strength
from strategies.quant.wish_rows import Columns, WishRows, allowed_wishes, column_of, rows


@register
@dataclass(frozen=True, slots=True)
class KeltnerChannel(Plugin):
    """Enter on a close beyond a channel of average true ranges, leave at its middle.

    References
    ----------
    .. [1] Kaufman (2013), "Trading Systems and Methods", 5th ed., ch. 8: Keltner channels, in
       the form with an EMA and the average true range.
    """

    key: ClassVar[str] = "keltner_channel"
    label: ClassVar[str] = "Keltner channel"
    description: ClassVar[str] = (
        "Buys a close above the moving average plus a multiple of the average true range, sells "
        "short one below the mirror line, and leaves at the moving average."
    )

    period: int = parameter(20, label="EMA period", unit="bars", low=2, high=200, step=1)
    atr_period: int = parameter(10, label="ATR period", unit="bars", low=2, high=200, step=1)
    multiple: float = parameter(2.0, label="Channel width", unit="ATR", low=0.1, high=10, step=0.1)
    direction: Direction = parameter(
        Direction.BOTH, label="Direction", help="Sides of the market to take.", is_free=False
    )

    @property
    def warmup_bars(self) -> int:
        return max(ema_warmup(self.period), wilder_warmup(self.atr_period))

    def signals(self, bars: pd.DataFrame) -> Signals:
        arrays = indicators.bar_arrays(bars)
        close = arrays.close
        middle = indicators.ema(close, self.period)
        width = indicators.atr(arrays.high, arrays.low, close, self.atr_period)
        upper, lower = middle + self.multiple * width, middle - self.multiple * width
        return Signals.of(
            bars,
            long_entry=close > upper if self.direction.allows_long else None,
            long_exit=close < middle,
            short_entry=close < lower if self.direction.allows_short else None,
            short_exit=close > middle,
            strength=strength(close - middle, 2.0 * self.multiple * width),
            indicators={"upper": upper, "middle": middle, "lower": lower, "atr": width},
        )

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        arrays = indicators.bar_arrays(bars)
        close = arrays.close
        middle = rows(lambda period: indicators.ema(close, period), sets["period"])
        width = rows(
            lambda period: indicators.atr(arrays.high, arrays.low, close, period),
            sets["atr_period"],
        )
        allowed = allowed_wishes(sets["direction"])

        def wishes(span: slice) -> WishArray:
            centre = middle.matrix(span)
            reach = column_of(sets["multiple"], span) * width.matrix(span)
            packed = pack_wishes(
                centre.shape,
                close > centre + reach,
                close < centre,
                close < centre - reach,
                close > centre,
            )
            return packed & allowed[span]

        return wishes
