"""An account that another tool computed, and how one follows from round trips alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray

MAX_DAYS = 40_000
WEEKEND_SHARE = 0.05
# A day's value is stamped so that it is the same date from Los Angeles to Berlin.
STAMP = pd.Timedelta(hours=20)


class Source(StrEnum):
    """The tool that wrote a file."""

    PYFOLIO = "pyfolio"
    FREQTRADE = "freqtrade"
    BACKTESTING_PY = "backtesting.py"
    VECTORBT = "vectorbt"
    LEAN = "LEAN"


@dataclass(frozen=True, slots=True, eq=False)
class ForeignResult:
    """One account of another tool.

    Attributes
    ----------
    source : Source
        The tool.
    name : str
        What the file calls it; empty where it says nothing.
    days : DatetimeIndex of shape (n_days,)
        UTC, strictly increasing.
    equity : ndarray of shape (n_days,)
        Account value at the end of each day, account currency, positive.
    capital : float
        Account value before the first day.
    trips : DataFrame
        Round trips with `TRIP_COLUMNS`, closed ones in order of exit and open ones last; a loss
        is negative, fractions are fractions, NaN is not said.
    periods_per_year : float
        Days a year that have a value.
    benchmark : ndarray of shape (n_days,) or None
        Value of the benchmark that began with `capital`.
    currency : str
        Account currency; empty where not said.
    missing : tuple of str
        What the file does not hold and is therefore undefined, in words.
    """

    source: Source
    name: str
    days: pd.DatetimeIndex
    equity: FloatArray
    capital: float
    trips: pd.DataFrame
    periods_per_year: float
    benchmark: FloatArray | None = None
    currency: str = ""
    missing: tuple[str, ...] = field(default=())

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the instruments that were traded, in order."""
        return tuple(sorted({str(symbol) for symbol in self.trips["symbol"] if symbol}))

    @property
    def n_closed(self) -> int:
        return int((self.trips["exit_reason"] != "open").sum())


def account_of_trips(
    found: ForeignResult, *, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None
) -> ForeignResult:
    """Add the account that moves when a round trip closes."""
    trips = found.trips
    if trips.empty and (start is None or end is None):
        raise ValueError("the file has no round trip and no period: there is nothing to import")
    first = start if start is not None else trips["entry_time"].min()
    last = end if end is not None else trips["exit_time"].max()
    if len(trips):
        first, last = min(first, trips["entry_time"].min()), max(last, trips["exit_time"].max())
    weekends = found.source is Source.FREQTRADE or _has_weekends(trips)
    days = pd.date_range(
        first.normalize(), last.normalize(), freq="D" if weekends else "B", tz="UTC"
    )
    if len(days) > MAX_DAYS:
        raise ValueError(f"{first:%Y} to {last:%Y} is longer than {MAX_DAYS:,} days can say")
    gained = np.zeros(len(days))
    if len(trips):
        rows = days.searchsorted(pd.DatetimeIndex(trips["exit_time"]).normalize())
        np.add.at(gained, np.minimum(rows, len(days) - 1), trips["pnl"].to_numpy(np.float64))
    return checked(
        replace(
            found,
            days=stamped(days),
            equity=found.capital + np.cumsum(gained),
            periods_per_year=365.0 if weekends else 252.0,
        )
    )


def checked(found: ForeignResult) -> ForeignResult:
    """Return the result; ValueError where it is no account that can be compared."""
    if len(found.days) < 2:
        raise ValueError("the result covers fewer than two days")
    if not (np.isfinite(found.equity) & (found.equity > 0)).all():
        lowest = float(np.nanmin(found.equity))
        raise ValueError(
            f"with a capital of {found.capital:,.0f} the account falls to {lowest:,.0f}; give the "
            "capital that this result was made with"
        )
    return found


def _has_weekends(trips: pd.DataFrame) -> bool:
    times = pd.concat([trips["entry_time"], trips["exit_time"]])
    return bool((times.dt.day_of_week >= 5).mean() > WEEKEND_SHARE)


def periods_of(days: pd.Index) -> float:
    """Return how many such observations a year has: months, weeks, all days or trading days."""
    index = pd.DatetimeIndex(days)
    if len(index) < 2:
        raise ValueError("the result covers fewer than two days")
    step = float(np.median(np.diff(index.as_unit("s").asi8))) / 86_400
    if step > 20:
        return 12.0
    if step > 4:
        return 52.0
    return 365.0 if (index.day_of_week >= 5).mean() > WEEKEND_SHARE else 252.0


def stamped(days: pd.Index) -> pd.DatetimeIndex:
    """Return days as the instants that curves are stored at."""
    return pd.DatetimeIndex(days).normalize() + STAMP
