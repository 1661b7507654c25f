"""Bollinger breakout: go with a close outside the bands that volume confirms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from strategies.quant import indicators
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.signals import Signals, WishArray, pack_wishes, strength
from strategies.quant.wish_rows import Columns, WishRows, allowed_wishes, column_of, rows


@register
@dataclass(frozen=True, slots=True)
class BollingerBreakout(Plugin):
    """Enter on a close beyond a band with more than usual volume, leave at the middle band.

    References
    ----------
    .. [1] Bollinger (2001), "Bollinger on Bollinger Bands", method I (volatility breakout).
    """

    key: ClassVar[str] = "bollinger_breakout"
    label: ClassVar[str] = "Bollinger breakout"
    description: ClassVar[str] = (
        "Buys a close above the upper band and sells short a close below the lower one, if volume "
        "is above its average; leaves when the close is back across the middle band."
    )

    period: int = parameter(20, label="Band period", unit="bars", low=2, high=200, step=1)
    deviations: float = parameter(2.0, label="Band width", unit="σ", low=0.5, high=5, step=0.1)
    volume_ratio: float = parameter(
        1.0,
        label="Volume confirmation",
        unit="× average",
        low=0,
        high=10,
        step=0.1,
        help="Volume needed at the entry over its average of the band period; 0 asks for none.",
    )
    direction: Direction = parameter(
        Direction.BOTH, label="Direction", help="Sides of the market to take.", is_free=False
    )

    @property
    def warmup_bars(self) -> int:
        return self.period

    def signals(self, bars: pd.DataFrame) -> Signals:
        arrays = indicators.bar_arrays(bars)
        close = arrays.close
        bands = indicators.bollinger(close, self.period, self.deviations)
        average = indicators.sma(arrays.volume, self.period)
        confirmed = arrays.volume >= self.volume_ratio * average
        above, below = (close > bands.upper) & confirmed, (close < bands.lower) & confirmed
        return Signals.of(
            bars,
            long_entry=above if self.direction.allows_long else None,
            long_exit=close < bands.middle,
            short_entry=below if self.direction.allows_short else None,
            short_exit=close > bands.middle,
            strength=strength(close - bands.middle, 2.0 * (bands.upper - bands.middle)),
            indicators={
                "upper": bands.upper,
                "middle": bands.middle,
                "lower": bands.lower,
                "average_volume": average,
            },
        )

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        arrays = indicators.bar_arrays(bars)
        close, volume = arrays.close, arrays.volume
        bands = rows(
            lambda *width: np.stack(indicators.bollinger(close, *width)),
            sets["period"],
            sets["deviations"],
        )
        average = rows(lambda period: indicators.sma(volume, period), sets["period"])
        allowed = allowed_wishes(sets["direction"])

        def wishes(span: slice) -> WishArray:
            confirmed = volume >= column_of(sets["volume_ratio"], span) * average.matrix(span)
            upper, middle, lower = np.moveaxis(bands.matrix(span), 1, 0)
            packed = pack_wishes(
                confirmed.shape,
                (close > upper) & confirmed,
                close < middle,
                (close < lower) & confirmed,
                close > middle,
            )
            return packed & allowed[span]

        return wishes
