"""Exits that do not come from the plug-in: stop-loss, take-profit, trailing and time stops."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray


@dataclass(frozen=True, slots=True)
class ExitRules:
    """When a position leaves on its own. None means no such rule.

    Attributes
    ----------
    stop_loss : float or None
        Fraction of the entry fill price in (0, 1) that may be lost.
    take_profit : float or None
        Fraction of the entry fill price, > 0 (< 1 matters for shorts).
    trailing_stop : float or None
        Fraction in (0, 1) below the highest high since entry (above the lowest low for a
        short). Within a bar it follows the open only: nobody knows whether the bar's high came
        before its low.
    max_bars : int or None
        Bars held, >= 1; leaves at the open after that many closes.
    cooldown_bars : int
        Opens after a stop-loss or trailing exit at which the instrument is not entered, >= 0.

    Raises
    ------
    ValueError
        If a rule is out of range.
    """

    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop: float | None = None
    max_bars: int | None = None
    cooldown_bars: int = 0

    def __post_init__(self) -> None:
        for name in ("stop_loss", "trailing_stop"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise ValueError(f"{name} must lie in (0, 1), was {value}")
        if self.take_profit is not None and not 0.0 < self.take_profit < math.inf:
            raise ValueError(f"take_profit must be positive, was {self.take_profit}")
        if self.max_bars is not None and self.max_bars < 1:
            raise ValueError(f"max_bars must be at least 1, was {self.max_bars}")
        if self.cooldown_bars < 0:
            raise ValueError(f"cooldown_bars must not be negative, was {self.cooldown_bars}")

    @property
    def acts_within_bars(self) -> bool:
        """Whether a rule can close a position between two opens."""
        return any((self.stop_loss, self.take_profit, self.trailing_stop))

    def as_array(self) -> FloatArray:
        """Return stop, target, trail (NaN for none), maximum bars (0 for none), cool-down."""
        none = math.nan
        return np.array(
            [
                none if self.stop_loss is None else self.stop_loss,
                none if self.take_profit is None else self.take_profit,
                none if self.trailing_stop is None else self.trailing_stop,
                self.max_bars or 0,
                self.cooldown_bars,
            ]
        )
