"""MACD momentum: follow the crossing of the MACD line, with the trend only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from alphastrat.quant.types import BoolArray
from strategies.quant import indicators
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.seeding import ema_warmup
from strategies.quant.signals import (
    LONG_ENTRY,
    LONG_EXIT,
    SHORT_ENTRY,
    SHORT_EXIT,
    Signals,
    WishArray,
    crosses_above,
    crosses_below,
    pack_wishes,
    strength,
)
from strategies.quant.wish_rows import Columns, WishRows, allowed_wishes, cross_wishes, rows


@register
@dataclass(frozen=True, slots=True)
class MacdMomentum(Plugin):
    """Enter when the MACD line crosses its signal on the trend's side, leave when it recrosses.

    References
    ----------
    .. [1] Appel (2005), "Technical Analysis: Power Tools for Active Investors", ch. 6-8.
    """

    key: ClassVar[str] = "macd_momentum"
    label: ClassVar[str] = "MACD momentum"
    description: ClassVar[str] = (
        "Buys when the MACD line crosses above its signal line while the close is above a long "
        "moving average, sells short in the mirror case, and leaves when the lines cross back."
    )

    fast: int = parameter(12, label="Fast EMA", unit="bars", low=2, high=200, step=1)
    slow: int = parameter(26, label="Slow EMA", unit="bars", low=3, high=400, step=1)
    signal: int = parameter(9, label="Signal EMA", unit="bars", low=2, high=100, step=1)
    trend: int = parameter(
        100, label="Trend filter", unit="bars", low=2, high=500, step=10, help="SMA of the close."
    )
    direction: Direction = parameter(
        Direction.BOTH, label="Direction", help="Sides of the market to take.", is_free=False
    )

    def check_consistency(self) -> None:
        if self.fast >= self.slow:
            raise ValueError(f"fast must be below slow, were {self.fast} and {self.slow}")

    @property
    def warmup_bars(self) -> int:
        return max(ema_warmup(self.slow) + ema_warmup(self.signal), self.trend)

    def signals(self, bars: pd.DataFrame) -> Signals:
        close = indicators.bar_arrays(bars).close
        macd = indicators.macd(close, self.fast, self.slow, self.signal)
        trend = indicators.sma(close, self.trend)
        up, down = crosses_above(macd.line, macd.signal), crosses_below(macd.line, macd.signal)
        return Signals.of(
            bars,
            long_entry=up & (close > trend) if self.direction.allows_long else None,
            long_exit=down,
            short_entry=down & (close < trend) if self.direction.allows_short else None,
            short_exit=up,
            strength=strength(macd.histogram, 0.01 * close),
            indicators={"macd": macd.line, "macd_signal": macd.signal, "trend": trend},
        )

    @classmethod
    def are_consistent(cls, sets: Columns) -> BoolArray:
        consistent: BoolArray = sets["fast"] < sets["slow"]
        return consistent

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        close = indicators.bar_arrays(bars).close
        lines = (sets["fast"], sets["slow"])
        line = rows(lambda *periods: indicators.macd(close, *periods).line, *lines)
        signal = rows(
            lambda *periods: indicators.macd(close, *periods).signal, *lines, sets["signal"]
        )
        trend = rows(lambda period: indicators.sma(close, period), sets["trend"])
        allowed = allowed_wishes(sets["direction"])

        def wishes(span: slice) -> WishArray:
            up, down = LONG_ENTRY | SHORT_EXIT, LONG_EXIT | SHORT_ENTRY
            crossed = cross_wishes(line, signal, span, up=up, down=down)
            average = trend.matrix(span)
            entries = pack_wishes(average.shape, close > average, None, close < average)
            return crossed & (entries | np.uint8(LONG_EXIT | SHORT_EXIT)) & allowed[span]

        return wishes
