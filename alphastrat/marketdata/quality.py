"""Which delivered rows can be trusted: every check is vectorised and names its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphastrat.marketdata.models import MAX_PRICE, MAX_VOLUME
from alphastrat.quant.calendars import bar_times, calendar, session_times
from alphastrat.quant.types import BoolArray, Timeframe

# It is part of an address, so a slash cannot be in it.
SYMBOL = re.compile(r"(?=.*\w)[^\s/]{1,40}")
PRICES = ("open", "high", "low", "close")
_MOSTLY = 0.9
_LONGEST_BAR = pd.Timedelta(days=40)
_SATURDAY = 5
_MONDAY = 3  # 1 January 1970 was a Thursday
_LONG_AGO = np.iinfo(np.int64).min  # which is how NumPy writes NaT

REASONS = {
    "no_symbol": "The row names no instrument.",
    "bad_symbol": "No symbol looks like that: 1 to 40 characters without spaces and slashes.",
    "no_time": "The time is missing or could not be read.",
    "absent_price": "A price is missing or not a number.",
    "price_not_positive": "A price is zero or negative.",
    "too_large": "A price or the volume is larger than anything traded.",
    "high_below_low": "The high is below the low.",
    "outside_range": "The open or close lies outside the range from low to high.",
    "no_volume": "The volume is missing, zero or negative.",
    "outside_calendar": "The exchange has no such bar: a holiday, or a time between bars.",
    "future": "The bar has not closed yet.",
    "duplicate": "The file has this bar already; the first one counts.",
    "wrong_order": "The row breaks the order of the rows before it; sort the file by time.",
}


_NAMES = np.array(["", *REASONS], dtype=object)
_NUMBERS = {reason: number for number, reason in enumerate(REASONS, 1)}

Checks = list[tuple[str, BoolArray]]


@dataclass(slots=True)
class Seen:
    """What earlier batches of the same delivery have shown."""

    # The furthest bar of each symbol, in microseconds, in the direction the delivery runs.
    furthest: dict[str, int] = field(default_factory=dict)
    direction: int = 0  # +1 from old to new, -1 from new to old, 0 not known yet


@dataclass(frozen=True, slots=True, eq=False)
class CheckedRows:
    """Rows that can be stored, and rows that cannot with their reason."""

    good: pd.DataFrame
    bad: pd.DataFrame


def check_rows(
    rows: pd.DataFrame,
    *,
    timeframe: Timeframe,
    exchanges: Mapping[str, str],
    zero_volume_allowed: frozenset[str] = frozenset(),
    at: datetime,
    seen: Seen,
) -> CheckedRows:
    """Sort delivered rows into trusted and quarantined ones.

    Parameters
    ----------
    rows : DataFrame
        Columns row_number, symbol, time, open, high, low, close, volume. `time` is the session
        date without zone from one day upwards, and the opening time in UTC below.
    exchanges : mapping
        Calendar code of each symbol.
    zero_volume_allowed : set of str
        Symbols whose market reports no volume, such as FX.
    at : datetime
        The present: a bar that closes later is not known yet.
    seen : Seen
        Carried from batch to batch; changed in place.
    """
    # Every check looks symbols up: by category that is one lookup per symbol, not per row.
    placed = _place(rows.assign(symbol=pd.Categorical(rows["symbol"])), timeframe, exchanges)
    faults = np.zeros(len(placed), np.int8)
    _mark(faults, _value_checks(placed, zero_volume_allowed) + _time_checks(placed, at))
    _mark(faults, _order_checks(placed, faults == 0, seen))
    placed["symbol"] = placed["symbol"].astype(object)
    good, bad = placed[faults == 0], placed[faults != 0]
    return CheckedRows(good, bad.assign(reason=_NAMES[faults[faults != 0]]))


def _mark(faults: npt.NDArray[np.int8], checks: Checks) -> None:
    """Note the first fault of each row, by its place in REASONS."""
    for reason, mask in checks:
        faults[mask & (faults == 0)] = _NUMBERS[reason]


def _value_checks(rows: pd.DataFrame, zero_volume_allowed: frozenset[str]) -> Checks:
    prices = rows[list(PRICES)].to_numpy(np.float64)
    open_, high, low, close = prices.T
    volume = rows["volume"].to_numpy(np.float64)
    quiet = rows["symbol"].isin(zero_volume_allowed).to_numpy() & (volume == 0)
    with np.errstate(invalid="ignore"):
        return [
            ("no_symbol", rows["symbol"].isna().to_numpy() | (rows["symbol"] == "").to_numpy()),
            ("bad_symbol", ~_is_symbol(rows["symbol"])),
            ("no_time", rows["time"].isna().to_numpy()),
            ("absent_price", ~np.isfinite(prices).all(axis=1)),
            ("price_not_positive", (prices <= 0).any(axis=1)),
            ("too_large", (prices > MAX_PRICE).any(axis=1) | (volume > MAX_VOLUME)),
            ("high_below_low", high < low),
            (
                "outside_range",
                (np.maximum(open_, close) > high) | (np.minimum(open_, close) < low),
            ),
            ("no_volume", ~(volume > 0) & ~quiet),
        ]


def _is_symbol(symbols: pd.Series) -> BoolArray:
    codes, names = pd.factorize(symbols)
    known = [SYMBOL.fullmatch(str(name)) is not None for name in names]
    return np.array([*known, False])[codes]


def _time_checks(rows: pd.DataFrame, at: datetime) -> Checks:
    opened_at, closed_at = rows["opened_at"], rows["closed_at"]
    future = (closed_at > at) | (opened_at.isna() & (_instants(rows["time"]) > at))
    return [
        ("future", future.to_numpy()),
        ("outside_calendar", opened_at.isna().to_numpy()),
    ]


def _order_checks(rows: pd.DataFrame, usable: BoolArray, seen: Seen) -> Checks:
    """Find bars delivered twice or out of order, also across batches.

    What is kept runs strictly in one direction per symbol, so that no bar can come twice.
    """
    duplicate, late = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    kept = rows[usable]
    if len(kept):
        symbols = kept["symbol"]
        times = pd.Series(_micros(kept["opened_at"]), index=kept.index)
        before = _furthest(symbols, seen)
        seen.direction = seen.direction or _direction(symbols, times, before)
        sign = seen.direction or 1
        passed = (before * sign).fillna(_LONG_AGO).astype(np.int64)
        running = (times * sign).groupby(symbols, sort=False).cummax().clip(lower=passed)
        repeated = kept.duplicated(["symbol", "opened_at"], keep="first").to_numpy()
        duplicate[usable] = repeated | (times * sign == passed).to_numpy()
        late[usable] = (times * sign < running).to_numpy()
        furthest = running.groupby(symbols, sort=False).max() * sign
        seen.furthest.update({str(symbol): int(time) for symbol, time in furthest.items()})
    return [("duplicate", duplicate), ("wrong_order", late)]


def _furthest(symbols: pd.Series, seen: Seen) -> pd.Series:
    codes, names = pd.factorize(symbols)
    known = pd.array([seen.furthest.get(str(name)) for name in names], dtype="Int64")
    return pd.Series(known.take(codes), index=symbols.index)


def _direction(symbols: pd.Series, times: pd.Series, before: pd.Series) -> int:
    """Return -1 if the delivery runs from new to old, which is an order of its own."""
    previous = times.groupby(symbols, sort=False).shift().astype("Int64").fillna(before)
    steps = (times - previous).dropna()
    steps = steps[steps != 0]
    if not len(steps):
        return 0
    return -1 if float((steps < 0).mean()) > _MOSTLY else 1


def _place(rows: pd.DataFrame, timeframe: Timeframe, exchanges: Mapping[str, str]) -> pd.DataFrame:
    """Add opened_at and closed_at from each exchange's calendar; NaT where it has no such bar."""
    opened = np.full(len(rows), _LONG_AGO)
    closed = opened.copy()
    codes = rows["symbol"].map(exchanges)
    for code in codes.dropna().unique():
        mine = (codes == code).to_numpy() & rows["time"].notna().to_numpy()
        if mine.any():
            opened[mine], closed[mine] = _bars_at(rows["time"][mine], timeframe, code)
    return rows.assign(opened_at=_utc(opened), closed_at=_utc(closed))


def _bars_at(
    times: pd.Series, timeframe: Timeframe, code: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    start, end = _range_around(_instants(times), code)
    if timeframe is Timeframe.DAY_1:
        sessions = session_times(code, start, end)
        keys: npt.NDArray[np.int64] = pd.DatetimeIndex(sessions.index).as_unit("us").asi8
        opens, closes = sessions["opened_at"], sessions["closed_at"]
    else:
        opens, closes = (pd.Series(t) for t in bar_times(timeframe, code, start, end))
        keys = pd.DatetimeIndex(opens).as_unit("us").asi8
    wanted = pd.DatetimeIndex(times).as_unit("us").asi8
    if timeframe in (Timeframe.WEEK_1, Timeframe.MONTH_1):
        position, found = _named_periods(times, timeframe, opens=opens, closes=closes)
    else:
        position = np.searchsorted(keys, wanted)
        found = position < len(keys)
        found[found] = keys[position[found]] == wanted[found]
    place = np.where(found, position, -1)
    return _take(opens, place), _take(closes, place)


def _named_periods(
    labels: pd.Series, timeframe: Timeframe, *, opens: pd.Series, closes: pd.Series
) -> tuple[npt.NDArray[np.intp], BoolArray]:
    """Find the week or month that each date names, itself a session or not.

    Vendors label a period by its first or last day, which can be a holiday. A weekend without
    trading names no week: it can be meant as the end of one or as the start of the next, and the
    wrong guess would show a week before it has happened.
    """
    dates = pd.DatetimeIndex(labels)
    first, last = _days(opens), _days(closes - pd.Timedelta(1, "us"))
    position = np.searchsorted(_periods(last, timeframe), _periods(dates, timeframe))
    found = position < len(last)
    if not len(last):
        return position, found
    place = np.minimum(position, len(last) - 1)
    found &= _periods(last, timeframe)[place] == _periods(dates, timeframe)
    if timeframe is Timeframe.WEEK_1:
        trades = (first[place] <= dates) & (dates <= last[place])
        found &= np.asarray((dates.day_of_week < _SATURDAY) | trades)
    return position, found


def _periods(dates: pd.DatetimeIndex, timeframe: Timeframe) -> npt.NDArray[np.int64]:
    """Return the number of the week, Monday to Sunday, or of the month."""
    if timeframe is Timeframe.MONTH_1:
        return np.asarray(dates.year * 12 + dates.month, dtype=np.int64)
    days = dates.to_numpy().astype("datetime64[D]").astype(np.int64)
    return (days + _MONDAY) // 7


def _range_around(instants: pd.Series, code: str) -> tuple[datetime, datetime]:
    """Return a range with every bar that `instants` could mean, as far as the calendar goes."""
    known = calendar(code)
    first, last = known.opens.iloc[0], known.closes.iloc[-1]
    start, end = instants.min() - _LONGEST_BAR, instants.max() + _LONGEST_BAR
    start, end = min(max(start, first), last), max(min(end, last), first)
    return start.to_pydatetime(), end.to_pydatetime()


def _days(instants: pd.Series) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(instants).tz_localize(None).normalize()


def _take(times: pd.Series, place: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Return the time at each place, in microseconds, and NaT for a place below 0."""
    return np.append(_micros(times), _LONG_AGO)[place]


def _utc(micros: npt.NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(micros.view("datetime64[us]")).tz_localize("UTC")


def _micros(instants: pd.Series) -> npt.NDArray[np.int64]:
    return pd.DatetimeIndex(instants).as_unit("us").asi8


def _instants(times: pd.Series) -> pd.Series:
    localised: pd.Series = times.dt.tz_localize("UTC") if times.dt.tz is None else times
    return localised
