"""The words and array types that every numeric module shares."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Side(StrEnum):
    """The direction of an order or fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell: the change of position per unit."""
        return 1 if self is Side.BUY else -1


class Timeframe(StrEnum):
    """The length of a bar, as written in tables, URLs and files."""

    MINUTE_1 = "1m"
    MINUTE_5 = "5m"
    MINUTE_15 = "15m"
    MINUTE_30 = "30m"
    HOUR_1 = "1h"
    HOUR_4 = "4h"
    DAY_1 = "1d"
    WEEK_1 = "1w"
    MONTH_1 = "1M"

    @property
    def duration(self) -> timedelta | None:
        """Nominal length, or None for a month, which has none."""
        return _DURATIONS.get(self.value)

    @property
    def is_intraday(self) -> bool:
        """Whether several bars fit into one session."""
        duration = self.duration
        return duration is not None and duration < timedelta(days=1)


_DURATIONS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
