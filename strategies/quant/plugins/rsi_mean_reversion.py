"""RSI mean reversion: buy oversold, sell overbought, leave at the midline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pandas as pd

from alphastrat.quant.types import BoolArray
from strategies.quant import indicators
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.seeding import wilder_warmup
from strategies.quant.signals import Signals, WishArray, pack_wishes, strength
from strategies.quant.wish_rows import Columns, WishRows, allowed_wishes, column_of, rows


@register
@dataclass(frozen=True, slots=True)
class RsiMeanReversion(Plugin):
    """Hold long from an RSI below `oversold`, short from one above `overbought`, to the midline.

    References
    ----------
    .. [1] Wilder (1978), "New Concepts in Technical Trading Systems", ch. 6.
    """

    key: ClassVar[str] = "rsi_mean_reversion"
    label: ClassVar[str] = "RSI mean reversion"
    description: ClassVar[str] = (
        "Buys when the RSI is oversold, sells short when it is overbought, and leaves when it is "
        "back at the midline."
    )

    period: int = parameter(14, label="RSI period", unit="bars", low=2, high=200, step=1)
    oversold: float = parameter(
        30.0, label="Oversold below", low=1, high=99, step=1, help="Long entry level."
    )
    overbought: float = parameter(
        70.0, label="Overbought above", low=1, high=99, step=1, help="Short entry level."
    )
    exit_level: float = parameter(
        50.0, label="Exit at", low=1, high=99, step=1, help="Where both sides leave."
    )
    direction: Direction = parameter(
        Direction.BOTH, label="Direction", help="Sides of the market to take.", is_free=False
    )

    def check_consistency(self) -> None:
        if not self.oversold < self.exit_level < self.overbought:
            raise ValueError(
                "oversold < exit_level < overbought must hold, were "
                f"{self.oversold:g}, {self.exit_level:g}, {self.overbought:g}"
            )

    @property
    def warmup_bars(self) -> int:
        return wilder_warmup(self.period)

    def signals(self, bars: pd.DataFrame) -> Signals:
        rsi = indicators.rsi(indicators.bar_arrays(bars).close, self.period)
        oversold, overbought = rsi < self.oversold, rsi > self.overbought
        return Signals.of(
            bars,
            long_entry=oversold if self.direction.allows_long else None,
            long_exit=rsi > self.exit_level,
            short_entry=overbought if self.direction.allows_short else None,
            short_exit=rsi < self.exit_level,
            strength=strength(rsi - 50.0, 50.0),
            indicators={"rsi": rsi},
        )

    @classmethod
    def are_consistent(cls, sets: Columns) -> BoolArray:
        oversold, leave, overbought = sets["oversold"], sets["exit_level"], sets["overbought"]
        consistent: BoolArray = (oversold < leave) & (leave < overbought)
        return consistent

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        rsi = rows(partial(indicators.rsi, indicators.bar_arrays(bars).close), sets["period"])
        names = ("oversold", "exit_level", "overbought")
        allowed = allowed_wishes(sets["direction"])

        def wishes(span: slice) -> WishArray:
            own = rsi.matrix(span)
            low, leave, high = (column_of(sets[name], span) for name in names)
            packed = pack_wishes(own.shape, own < low, own > leave, own > high, own < leave)
            return packed & allowed[span]

        return wishes
