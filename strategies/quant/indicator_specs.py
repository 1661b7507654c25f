"""What is said about an indicator, and the bars its warm-up is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import pandas as pd

# The limits that TA-Lib's own definitions use. The wheel does not publish them, but its lookback
# is -1 for a value it would refuse, so each is asked for.
LOWEST = (-3e37, 0, 0.01, 1, 2, 3)
HIGHEST = (3e37, 100_000, 100, 13, 10, 8, 1, 0.99)


class Pane(StrEnum):
    """Where a chart draws an indicator."""

    OVERLAY = "overlay"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True)
class IndicatorParameter:
    """One parameter of an indicator, with the range that TA-Lib accepts (inclusive)."""

    name: str
    label: str
    help: str
    default: int | float
    low: float
    high: float
    is_integer: bool


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """What is known about one indicator, from TA-Lib's own description of it.

    Attributes
    ----------
    name, label, group : str
        TA-Lib's name ("RSI"), display name and group.
    inputs : tuple of str
        Columns of the bars that it reads, in order.
    parameters : tuple of IndicatorParameter
        With ranges and defaults.
    outputs : tuple of str
        Names of the arrays that `compute` returns.
    pane : Pane
        Overlay if the output has the scale of prices.
    is_path_dependent : bool
        Whether the value depends on all history (OBV, SAR) or is a position in the window
        (MAXINDEX): no window is ever long enough.
    has_unstable_period : bool
        Whether the seed fades rather than leaves.
    """

    name: str
    label: str
    group: str
    inputs: tuple[str, ...]
    parameters: tuple[IndicatorParameter, ...]
    outputs: tuple[str, ...]
    pane: Pane
    is_path_dependent: bool
    has_unstable_period: bool


@lru_cache(maxsize=4)
def synthetic_bars(n_bars: int) -> pd.DataFrame:
    """Return fixed pseudo-random daily bars, for measuring warm-up and checking plug-ins.

    Parameters
    ----------
    n_bars : int
        Number of bars.

    Returns
    -------
    DataFrame of shape (n_bars, 6)
        OHLCV and a column "periods"; the same for every call, not to be changed in place.
    """
    rng = np.random.default_rng(20_240_101)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, n_bars)))
    spread = close * rng.uniform(0.001, 0.02, n_bars)
    opening = close + spread * rng.uniform(-0.9, 0.9, n_bars)
    bars = {
        "open": opening,
        "high": np.maximum(opening, close) + spread / 2,
        "low": np.minimum(opening, close) - spread / 2,
        "close": close,
        "volume": rng.uniform(1e5, 1e6, n_bars),
        "periods": np.full(n_bars, 10.0),
    }
    return pd.DataFrame(bars, index=pd.date_range("2000-01-03", periods=n_bars, tz="UTC"))
