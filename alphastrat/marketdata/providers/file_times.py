"""Times as files write them: ISO, epochs, compact dates, days and months in either order."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import pandas as pd

from alphastrat.core.errors import InvalidInput
from alphastrat.quant.types import Timeframe

_PARTED = re.compile(r"^\s*(\d{1,2})([/.\-])(\d{1,2})\2(\d{4})")
_COMPACT_DATES = (19_000_101, 22_001_231)
# The largest number of seconds, milliseconds, … that still is a time before the year 2200.
_EPOCH_UNITS = (("s", 7.3e9), ("ms", 7.3e12), ("us", 7.3e15), ("ns", 7.3e18))


def read_times(values: pd.Series, timeframe: Timeframe, zone: ZoneInfo) -> pd.Series:
    """Return the time of each row; NaT where it cannot be read.

    From one day upwards it is the date in exchange time, without zone; below, the instant in
    UTC, naive times being meant in `zone`.
    """
    times = _parse(values)
    if timeframe.is_intraday:
        if times.dt.tz is None:
            times = times.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        instants: pd.Series = times.dt.tz_convert("UTC").dt.as_unit("us")
        return instants
    if times.dt.tz is not None:
        # A midnight in UTC is how vendors write a date; other instants fall on the local day.
        utc = times.dt.tz_convert("UTC")
        if bool((utc.dropna().dt.normalize() == utc.dropna()).all()):
            times = utc
        else:
            times = times.dt.tz_convert(zone)
        times = times.dt.tz_localize(None)
    dates: pd.Series = times.dt.normalize().dt.as_unit("us")
    return dates


def _parse(values: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    if pd.api.types.is_numeric_dtype(values):
        return _from_numbers(values)
    texts = values.astype("string").str.strip()
    first = texts.dropna()
    if len(first) and bool(first.str.fullmatch(r"\d{8,19}").all()):
        return _from_numbers(pd.to_numeric(texts, errors="coerce"))
    parts = first.str.extract(_PARTED)
    if parts[0].notna().any():
        return _from_parts(texts, parts.dropna())
    parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=_has_zone(first))
    return pd.Series(parsed, index=values.index)


def _has_zone(texts: pd.Series) -> bool:
    return len(texts) > 0 and bool(texts.str.contains(r"(?:Z|[+-]\d{2}:?\d{2})$").any())


def _from_numbers(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype("Float64")
    middle = float(numbers.median()) if numbers.notna().any() else 0.0
    if _COMPACT_DATES[0] <= middle <= _COMPACT_DATES[1]:
        texts = numbers.astype("Int64").astype("string")
        return pd.to_datetime(texts, format="%Y%m%d", errors="coerce")
    unit = next((unit for unit, largest in _EPOCH_UNITS if middle <= largest), "ns")
    whole = numbers.astype("Int64")
    instants: pd.Series = pd.to_datetime(whole, unit=unit, errors="coerce", utc=True)  # type: ignore[call-overload]
    return instants


def _from_parts(texts: pd.Series, parts: pd.DataFrame) -> pd.Series:
    """Read 31.12.2017 or 12/31/2017; refuse to guess where both readings are possible."""
    day_first = bool((parts[0].astype(int) > 12).any()) or bool((parts[1] == ".").all())
    month_first = bool((parts[2].astype(int) > 12).any())
    if day_first == month_first:
        raise InvalidInput(
            f"The dates can be read in two ways, for example {texts.dropna().iloc[0]}.",
            fields={"file": "Write dates as YYYY-MM-DD."},
        )
    return pd.to_datetime(texts, dayfirst=day_first, format="mixed", errors="coerce")
