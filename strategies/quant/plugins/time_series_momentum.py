"""Time-series momentum: hold the sign of the past return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from alphastrat.quant.types import BoolArray, FloatArray
from strategies.quant import indicators
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.signals import Signals, WishArray, pack_wishes, strength
from strategies.quant.wish_rows import Columns, WishRows, allowed_wishes, column_of, rows


@register
@dataclass(frozen=True, slots=True)
class TimeSeriesMomentum(Plugin):
    """Hold long while the return over the look-back is above a threshold, short while below.

    References
    ----------
    .. [1] Moskowitz, Ooi & Pedersen (2012), "Time series momentum", Journal of Financial
       Economics 104(2).
    """

    key: ClassVar[str] = "time_series_momentum"
    label: ClassVar[str] = "Time-series momentum"
    description: ClassVar[str] = (
        "Buys while the return over the look-back is positive beyond a threshold, sells short "
        "while it is negative beyond it, and is flat between."
    )

    lookback: int = parameter(252, label="Look-back", unit="bars", low=2, high=1000, step=21)
    skip: int = parameter(
        0, label="Skip", unit="bars", low=0, high=60, step=1, help="Most recent bars left out."
    )
    threshold: float = parameter(0.0, label="Threshold", unit="fraction", low=0, high=1, step=0.01)
    direction: Direction = parameter(
        Direction.BOTH, label="Direction", help="Sides of the market to take.", is_free=False
    )

    def check_consistency(self) -> None:
        if self.skip >= self.lookback:
            raise ValueError(f"skip must be below lookback, were {self.skip} and {self.lookback}")

    @property
    def warmup_bars(self) -> int:
        return self.lookback + 1

    def signals(self, bars: pd.DataFrame) -> Signals:
        momentum = _past_return(indicators.bar_arrays(bars).close, self.lookback, self.skip)
        rises, falls = momentum > self.threshold, momentum < -self.threshold
        return Signals.of(
            bars,
            long_entry=rises if self.direction.allows_long else None,
            long_exit=momentum <= self.threshold,
            short_entry=falls if self.direction.allows_short else None,
            short_exit=momentum >= -self.threshold,
            strength=strength(momentum, 0.5),
            indicators={"momentum": momentum},
        )

    @classmethod
    def are_consistent(cls, sets: Columns) -> BoolArray:
        consistent: BoolArray = sets["skip"] < sets["lookback"]
        return consistent

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        close = indicators.bar_arrays(bars).close
        past = rows(lambda *spans: _past_return(close, *spans), sets["lookback"], sets["skip"])
        allowed = allowed_wishes(sets["direction"])

        def wishes(span: slice) -> WishArray:
            momentum, threshold = past.matrix(span), column_of(sets["threshold"], span)
            packed = pack_wishes(
                momentum.shape,
                momentum > threshold,
                momentum <= threshold,
                momentum < -threshold,
                momentum >= -threshold,
            )
            return packed & allowed[span]

        return wishes


def _past_return(close: FloatArray, lookback: int, skip: int) -> FloatArray:
    momentum = np.full(close.shape, np.nan)
    recent = close[lookback - skip : len(close) - skip]
    momentum[lookback:] = recent / close[:-lookback] - 1.0
    return momentum
