"""Times as files write them: ISO, epochs, compact dates, days and months in either order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from zoneinfo import ZoneInfo

import pandas as pd

from alphastrat.core.errors import InvalidInput
from alphastrat.quant.types import Timeframe

_PARTED = re.compile(r"^(\d{1,2})([/.\-])(\d{1,2})\2(\d{4})(.*)$")
_NAMED_MONTHS = ("%b %d, %Y", "%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%B %d, %Y", "%d %B %Y")
_COMPACT_DATES = (19_000_101, 22_001_231)
# The largest number of seconds, milliseconds, … that still is a time before the year 2200.
_EPOCH_UNITS = (("s", 7.3e9), ("ms", 7.3e12), ("us", 7.3e15), ("ns", 7.3e18))
_MOSTLY = 0.5
# A vendor may label days by their close, and half days close earlier.
_CLOCKS_OF_A_DAY = 3


def find_date_order(columns: Iterable[pd.Series]) -> bool | None:
    """Return whether 01/02/2018 puts the day first, by all the dates of a file.

    None if no date is written like that.

    Raises
    ------
    InvalidInput
        If both readings are possible, or each fits only a part of the file.
    """
    day_first = month_first = seen = False
    example = ""
    for values in columns:
        if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
            return None
        parts = values.astype("string").str.strip().str.extract(_PARTED).dropna()
        if not seen and parts.empty:
            return None
        seen = True
        # Points are written where the day comes first.
        day_first |= bool(((parts[0].astype(int) > 12) | (parts[1] == ".")).any())
        month_first |= bool((parts[2].astype(int) > 12).any())
        example = example or str(values.dropna().iloc[0])
    if not seen:
        return None
    if day_first == month_first:
        reading = "have days and months in both orders" if day_first else "can be read in two ways"
        raise InvalidInput(
            f"The dates {reading}, for example {example}.",
            fields={"file": "Write dates as YYYY-MM-DD."},
        )
    return day_first


def read_times(
    values: pd.Series, timeframe: Timeframe, zone: ZoneInfo, *, day_first: bool | None = None
) -> pd.Series:
    """Return the time of each row; NaT where it cannot be read.

    From one day upwards it is the date in exchange time, without zone; below, the instant in
    UTC, naive times being meant in `zone`.

    Raises
    ------
    InvalidInput
        If the times are those of another timeframe: all at midnight, or many in a day.
    """
    times = _parse(values, day_first=day_first)
    if timeframe.is_intraday:
        if times.dt.tz is None:
            times = times.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        instants: pd.Series = times.dt.tz_convert("UTC").dt.as_unit("us")
        _refuse_days(instants, timeframe, zone)
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
    _refuse_clocks(times - dates, timeframe)
    return dates


def _refuse_days(instants: pd.Series, timeframe: Timeframe, zone: ZoneInfo) -> None:
    known = instants.dropna()
    if known.nunique() < 2:
        return
    local = known.dt.tz_convert(zone)
    if bool((local.dt.normalize() == local).all()) or bool((known.dt.normalize() == known).all()):
        raise InvalidInput(
            f"The times carry no clock time, so these cannot be bars of {timeframe}.",
            fields={"file": "Choose the timeframe of the file, such as 1 day."},
        )


def _refuse_clocks(clocks: pd.Series, timeframe: Timeframe) -> None:
    n_clocks = clocks.nunique()
    if n_clocks > _CLOCKS_OF_A_DAY and n_clocks > 0.01 * len(clocks):
        raise InvalidInput(
            f"The file has many times in one day, so these cannot be bars of {timeframe}.",
            fields={"file": "Choose the timeframe of the file, such as 1 minute."},
        )


def _parse(values: pd.Series, *, day_first: bool | None) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    if pd.api.types.is_numeric_dtype(values):
        return _from_numbers(values)
    texts = values.astype("string").str.strip()
    n_numbers = texts.str.fullmatch(r"\d{8,19}").fillna(value=False).sum()
    if n_numbers > _MOSTLY * len(texts):
        return _from_numbers(pd.to_numeric(texts, errors="coerce"))
    if day_first is not None:
        texts = _in_order(texts, day_first=day_first)
        return pd.Series(pd.to_datetime(texts, format="mixed", errors="coerce"))
    parsed = pd.Series(
        pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=_has_zone(texts.dropna()))
    )
    if bool((parsed.isna() & texts.str.contains(r"[A-Za-z]{3}").fillna(value=False)).any()):
        return _with_named_months(texts, parsed)
    return parsed


def _in_order(texts: pd.Series, *, day_first: bool) -> pd.Series:
    """Write 31.12.2017 or 12/31/2017 as 2017-12-31; leave what is written otherwise."""
    parts = texts.str.extract(_PARTED)
    day, month = (parts[0], parts[2]) if day_first else (parts[2], parts[0])
    ordered = parts[3] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + parts[4]
    return ordered.where(parts[0].notna(), None)


def _with_named_months(texts: pd.Series, parsed: pd.Series) -> pd.Series:
    for form in _NAMED_MONTHS:
        named = pd.Series(
            pd.to_datetime(texts, format=form, errors="coerce", utc=parsed.dt.tz is not None)
        )
        parsed = parsed.fillna(named)
    return parsed


def _has_zone(texts: pd.Series) -> bool:
    return len(texts) > 0 and bool(texts.str.contains(r":\d{2}.*(?:Z|[+-]\d{2}:?\d{2})$").any())


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
