"""Donchian breakout: buy new highs, sell new lows, leave at the shorter channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray
from strategies.quant import indicators
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.signals import Signals, WishArray, pack_wishes, strength
from strategies.quant.wish_rows import Columns, WishRows, allowed_wishes, rows


@register
@dataclass(frozen=True, slots=True)
class DonchianBreakout(Plugin):
    """Enter on a close beyond the extreme of the previous bars, leave at a shorter extreme.

    References
    ----------
    .. [1] Faith (2007), "Way of the Turtle", appendix: the original rules, systems 1 and 2.
    """

    key: ClassVar[str] = "donchian_breakout"
    label: ClassVar[str] = "Donchian breakout"
    description: ClassVar[str] = (
        "Buys a close above the highest high of the previous bars, sells short one below the "
        "lowest low, and leaves at the opposite extreme of a shorter channel."
    )

    entry: int = parameter(20, label="Entry channel", unit="bars", low=2, high=300, step=1)
    leave: int = parameter(10, label="Exit channel", unit="bars", low=2, high=300, step=1)
    direction: Direction = parameter(
        Direction.BOTH, label="Direction", help="Sides of the market to take.", is_free=False
    )

    @property
    def warmup_bars(self) -> int:
        return max(self.entry, self.leave) + 1

    def signals(self, bars: pd.DataFrame) -> Signals:
        arrays = indicators.bar_arrays(bars)
        close = arrays.close
        top = _before(indicators.highest(arrays.high, self.entry))
        bottom = _before(indicators.lowest(arrays.low, self.entry))
        stop_long = _before(indicators.lowest(arrays.low, self.leave))
        stop_short = _before(indicators.highest(arrays.high, self.leave))
        return Signals.of(
            bars,
            long_entry=close > top if self.direction.allows_long else None,
            long_exit=close < stop_long,
            short_entry=close < bottom if self.direction.allows_short else None,
            short_exit=close > stop_short,
            strength=strength(close - 0.5 * (top + bottom), top - bottom),
            indicators={
                "top": top,
                "bottom": bottom,
                "stop_long": stop_long,
                "stop_short": stop_short,
            },
        )

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        arrays = indicators.bar_arrays(bars)
        close = arrays.close
        top, stop_short = (
            rows(lambda period: _before(indicators.highest(arrays.high, period)), sets[name])
            for name in ("entry", "leave")
        )
        bottom, stop_long = (
            rows(lambda period: _before(indicators.lowest(arrays.low, period)), sets[name])
            for name in ("entry", "leave")
        )
        allowed = allowed_wishes(sets["direction"])

        def wishes(span: slice) -> WishArray:
            above = close > top.matrix(span)
            packed = pack_wishes(
                above.shape,
                above,
                close < stop_long.matrix(span),
                close < bottom.matrix(span),
                close > stop_short.matrix(span),
            )
            return packed & allowed[span]

        return wishes


def _before(series: FloatArray) -> FloatArray:
    # The bar's own high is never exceeded by its close: the channel must end one bar earlier.
    shifted = np.full(series.shape, np.nan)
    shifted[1:] = series[:-1]
    return shifted
