"""Exchange sessions and the bars that should exist in them, all in UTC.

Calendars are named by `exchange_calendars` codes: ``XNYS``, ``XLON``, ``CMES``; ``24/7`` for
crypto (every UTC day) and ``24/5`` for FX (every UTC weekday). Ranges are half open in time:
a bar belongs to [start, end] if it opens at or after `start` and closes at or before `end`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphastrat.quant.types import BoolArray, IntArray, Timeframe

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

# exchange_calendars starts twenty years ago unless told otherwise, which would refuse old bars.
FIRST_SESSION = pd.Timestamp("1960-01-01")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COUNTED_YEARS = ("2000-01-01", "2020-01-01")
_LOOKBACK = {Timeframe.WEEK_1: timedelta(days=60), Timeframe.MONTH_1: timedelta(days=100)}

Times = tuple[pd.DatetimeIndex, pd.DatetimeIndex]


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Sessions as sorted arrays: dates in days, times in microseconds since 1970 UTC."""

    code: str
    sessions: npt.NDArray[np.datetime64]
    opens: IntArray
    closes: IntArray
    segment_opens: IntArray
    segment_closes: IntArray


@lru_cache(maxsize=64)
def calendar(code: str) -> ExchangeCalendar:
    """Return the exchange calendar `code`, built once per process.

    Parameters
    ----------
    code : str
        An `exchange_calendars` code or alias, e.g. "XNYS", "NYSE", "24/7", "24/5".

    Returns
    -------
    ExchangeCalendar
        From 1960 (or the first session the library knows) to a year from today.

    Raises
    ------
    ValueError
        If the code is unknown.
    """
    # Importing the library costs a tenth of a second and a calendar as much again.
    from exchange_calendars import get_calendar
    from exchange_calendars.calendar_utils import global_calendar_dispatcher
    from exchange_calendars.errors import InvalidCalendarName

    try:
        name = global_calendar_dispatcher.resolve_alias(code)
        factory: Any = global_calendar_dispatcher._calendar_factories[name]
    except (InvalidCalendarName, KeyError):
        raise ValueError(f"unknown exchange calendar {code!r}") from None
    first = factory.bound_min()
    start = FIRST_SESSION if first is None else max(FIRST_SESSION, first)
    return get_calendar(code, start=start)


def session_times(code: str, start: datetime, end: datetime) -> pd.DataFrame:
    """Return the sessions that lie wholly in a range, with their opening and closing times.

    Parameters
    ----------
    code : str
        Exchange calendar.
    start, end : datetime
        Aware bounds; a session counts if it opens at or after `start` and closes at or before
        `end`.

    Returns
    -------
    DataFrame of shape (n_sessions, 2)
        Columns opened_at and closed_at in UTC, half days and daylight saving included; the index
        is the session date in exchange time, without zone.

    Raises
    ------
    ValueError
        If a bound is naive or outside the years the calendar knows.
    """
    schedule, first, after = _sessions_within(code, start, end)
    return pd.DataFrame(
        {
            "opened_at": _utc(schedule.opens[first:after]),
            "closed_at": _utc(schedule.closes[first:after]),
        },
        index=pd.DatetimeIndex(schedule.sessions[first:after], name="session_date"),
    )


def session_date(times: pd.DatetimeIndex, code: str) -> pd.DatetimeIndex:
    """Return the session each bar close belongs to.

    Parameters
    ----------
    times : DatetimeIndex of shape (n_bars,)
        UTC close times, in any order.
    code : str
        Exchange calendar.

    Returns
    -------
    DatetimeIndex of shape (n_bars,)
        Session dates in exchange time, without zone; NaT outside every session. A session
        contains the instants after its open, up to and including its close.

    Raises
    ------
    ValueError
        If `times` is naive.
    """
    schedule = _schedule(code)
    position, inside = _locate(schedule.opens, schedule.closes, _micros(times))
    dates = schedule.sessions[np.minimum(position, schedule.sessions.size - 1)]
    return pd.DatetimeIndex(np.where(inside, dates, np.datetime64("NaT")))


def bar_times(timeframe: Timeframe, code: str, start: datetime, end: datetime) -> Times:
    """Return when every expected bar of a range opens and closes.

    Parameters
    ----------
    timeframe : Timeframe
        Length of a bar. Intraday bars are counted from the open of each session (and again
        after a lunch break), the last one cut at its close; a week runs from the open of its
        first session to the close of its last, Monday to Sunday; a month likewise.
    code : str
        Exchange calendar.
    start, end : datetime
        Aware bounds; a bar counts if it opens at or after `start` and closes at or before `end`.

    Returns
    -------
    opened_at : DatetimeIndex of shape (n_bars,)
        UTC, increasing.
    closed_at : DatetimeIndex of shape (n_bars,)
        UTC, increasing.

    Raises
    ------
    ValueError
        If a bound is naive or outside the years the calendar knows.
    """
    schedule, first, after = _sessions_overlapping(code, start, end)
    if timeframe.is_intraday:
        opens, closes = _intraday_bars(schedule, timeframe, start, end)
    elif timeframe is Timeframe.DAY_1:
        opens, closes = schedule.opens[first:after], schedule.closes[first:after]
    else:
        opens, closes = _grouped_sessions(schedule, timeframe, first, after)
    inside = (opens >= _micros_of(start)) & (closes <= _micros_of(end))
    return _utc(opens[inside]), _utc(closes[inside])


def last_bar(timeframe: Timeframe, code: str, at: datetime) -> tuple[datetime, datetime] | None:
    """Return the newest bar that had closed at an instant.

    Parameters
    ----------
    timeframe : Timeframe
        Length of a bar.
    code : str
        Exchange calendar.
    at : datetime
        Aware instant.

    Returns
    -------
    tuple of datetime or None
        Its opening and closing times in UTC; None if the market was closed for long before.
    """
    start = at - _LOOKBACK.get(timeframe, timedelta(days=15))
    opened, closed = bar_times(timeframe, code, start, at)
    if len(closed) == 0:
        return None
    return opened[-1].to_pydatetime(), closed[-1].to_pydatetime()


def missing_bars(
    closed_at: pd.DatetimeIndex,
    timeframe: Timeframe,
    code: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Times:
    """Return the expected bars that a series lacks.

    Parameters
    ----------
    closed_at : DatetimeIndex of shape (n_bars,)
        UTC close times the series has, increasing.
    timeframe : Timeframe
        Length of a bar.
    code : str
        Exchange calendar.
    start, end : datetime, optional
        Aware bounds; by default from the first bar to the last, so that only gaps inside the
        series count.

    Returns
    -------
    opened_at : DatetimeIndex of shape (n_missing,)
        UTC, increasing.
    closed_at : DatetimeIndex of shape (n_missing,)
        UTC, increasing.

    Raises
    ------
    ValueError
        If the series is naive, or is empty and a bound is not given.
    """
    if len(closed_at) == 0 and (start is None or end is None):
        raise ValueError("an empty series needs a start and an end")
    # A bar that ends exactly at the first close opened before it and is not missing.
    opened, expected = bar_times(
        timeframe,
        code,
        closed_at[0].to_pydatetime() if start is None else start,
        closed_at[-1].to_pydatetime() if end is None else end,
    )
    absent = ~_contains(_micros(closed_at), _micros(expected))
    return opened[absent], expected[absent]


@lru_cache(maxsize=256)
def periods_per_year(timeframe: Timeframe, code: str) -> float:
    """Return how many bars a year holds, the number that annualises.

    Days are the sessions per year of 2000-2019, rounded: 252 for XNYS, 365 for 24/7, 261 for
    24/5. Intraday it is that times the bars of the commonest session (390 minutes on XNYS: 390,
    78, 26, 13, 7 and 2 bars), weeks 52, months 12.

    Parameters
    ----------
    timeframe : Timeframe
        Length of a bar.
    code : str
        Exchange calendar.

    Returns
    -------
    float
        Bars per year.
    """
    if timeframe is Timeframe.WEEK_1:
        return 52.0
    if timeframe is Timeframe.MONTH_1:
        return 12.0
    schedule = _schedule(code)
    first, after = np.searchsorted(
        schedule.sessions, np.array(_COUNTED_YEARS, dtype="datetime64[D]")
    )
    sessions = schedule.sessions[first:after] if after > first else schedule.sessions
    years = (sessions[-1] - sessions[0]).astype(np.int64) / 365.2425
    days = float(round(sessions.size / years))
    if timeframe is Timeframe.DAY_1:
        return days
    return days * _bars_of_commonest_session(schedule, timeframe)


def _bars_of_commonest_session(schedule: _Schedule, timeframe: Timeframe) -> int:
    counts = _bar_counts(schedule.segment_opens, schedule.segment_closes, _step(timeframe))
    owner = np.searchsorted(schedule.closes, schedule.segment_closes, side="left")
    per_session = np.bincount(owner, weights=counts).astype(np.int64)
    # Trading hours change over the decades (Hong Kong's in 2012): the newest two years count.
    return int(np.bincount(per_session[-500:]).argmax())


@lru_cache(maxsize=64)
def _schedule(code: str) -> _Schedule:
    exchange = calendar(code)
    opens, closes = _stored_micros(exchange.opens), _stored_micros(exchange.closes)
    segment_opens, segment_closes = opens, closes
    if exchange.has_break:
        breaks = np.flatnonzero(exchange.break_starts.notna().to_numpy())
        begins = _stored_micros(exchange.break_starts.iloc[breaks])
        ends = _stored_micros(exchange.break_ends.iloc[breaks])
        segment_opens = np.sort(np.concatenate((opens, ends)))
        segment_closes = np.sort(np.concatenate((closes, begins)))
    sessions = exchange.sessions.to_numpy().astype("datetime64[D]")
    return _Schedule(code, sessions, opens, closes, segment_opens, segment_closes)


def _sessions_within(code: str, start: datetime, end: datetime) -> tuple[_Schedule, int, int]:
    schedule = _known(code, start, end)
    first = int(np.searchsorted(schedule.opens, _micros_of(start), side="left"))
    after = int(np.searchsorted(schedule.closes, _micros_of(end), side="right"))
    return schedule, first, max(first, after)


def _sessions_overlapping(code: str, start: datetime, end: datetime) -> tuple[_Schedule, int, int]:
    schedule = _known(code, start, end)
    first = int(np.searchsorted(schedule.closes, _micros_of(start), side="left"))
    after = int(np.searchsorted(schedule.opens, _micros_of(end), side="right"))
    return schedule, first, max(first, after)


def _known(code: str, start: datetime, end: datetime) -> _Schedule:
    schedule = _schedule(code)
    day = np.timedelta64(1, "D")
    first, last = schedule.sessions[0] - day, schedule.sessions[-1] + day
    earliest, latest = first.astype("datetime64[us]"), last.astype("datetime64[us]")
    if _micros_of(start) < earliest.astype(np.int64) or _micros_of(end) > latest.astype(np.int64):
        raise ValueError(
            f"calendar {code} is known from {first} to {last}, asked for {start} to {end}"
        )
    return schedule


def _intraday_bars(
    schedule: _Schedule, timeframe: Timeframe, start: datetime, end: datetime
) -> tuple[IntArray, IntArray]:
    first = np.searchsorted(schedule.segment_closes, _micros_of(start), side="left")
    after = np.searchsorted(schedule.segment_opens, _micros_of(end), side="right")
    opens = schedule.segment_opens[first:after]
    closes = schedule.segment_closes[first:after]
    step = _step(timeframe)
    counts = _bar_counts(opens, closes, step)
    position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    bar_opens = np.repeat(opens, counts) + position * step
    return bar_opens, np.minimum(bar_opens + step, np.repeat(closes, counts))


def _grouped_sessions(
    schedule: _Schedule, timeframe: Timeframe, first: int, after: int
) -> tuple[IntArray, IntArray]:
    # Widened by a month and more, so that a group cut by the range is seen whole and left out.
    first, after = max(first - 32, 0), after + 32
    dates = schedule.sessions[first:after]
    if timeframe is Timeframe.WEEK_1:
        # 1 January 1970 was a Thursday, so that Monday starts a week after adding three days.
        group = (dates.astype(np.int64) + 3) // 7
    else:
        group = dates.astype("datetime64[M]").astype(np.int64)
    change = np.flatnonzero(np.diff(group))
    starts, ends = np.r_[0, change + 1], np.r_[change, group.size - 1]
    opens, closes = schedule.opens[first:after], schedule.closes[first:after]
    return opens[starts], closes[ends]


def _bar_counts(opens: IntArray, closes: IntArray, step: int) -> IntArray:
    return np.asarray(-((opens - closes) // step))


def _step(timeframe: Timeframe) -> int:
    duration = timeframe.duration
    if duration is None:
        raise ValueError(f"timeframe {timeframe} has no fixed length")
    return duration // _MICROSECOND


def _locate(opens: IntArray, closes: IntArray, at: IntArray) -> tuple[IntArray, BoolArray]:
    """Return for each instant the interval (open, close] it may lie in, and whether it does."""
    position = np.searchsorted(closes, at, side="left")
    inside = (position < closes.size) & (at > opens[np.minimum(position, opens.size - 1)])
    return position, inside


def _contains(ordered: IntArray, wanted: IntArray) -> BoolArray:
    if ordered.size == 0:
        return np.zeros(wanted.shape, dtype=np.bool_)
    position = np.minimum(np.searchsorted(ordered, wanted), ordered.size - 1)
    return np.asarray(ordered[position] == wanted)


def _stored_micros(times: pd.Series) -> IntArray:
    return _micros(pd.DatetimeIndex(times))


def _micros(times: pd.DatetimeIndex) -> IntArray:
    if times.tz is None:
        raise ValueError("times must carry a zone")
    return np.asarray(times.as_unit("us").asi8)


def _micros_of(at: datetime) -> int:
    if at.tzinfo is None:
        raise ValueError(f"{at} carries no zone")
    return int((at - _EPOCH) // _MICROSECOND)


def _utc(micros: IntArray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(micros.view("datetime64[us]")).tz_localize("UTC")
