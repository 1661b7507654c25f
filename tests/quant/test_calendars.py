"""Sessions, expected bars and annualisation."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from alphastrat.quant.calendars import (
    bar_times,
    calendar,
    last_bar,
    missing_bars,
    periods_per_year,
    session_date,
    session_times,
)
from alphastrat.quant.types import Side, Timeframe


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "timeframe", "expected"),
    [
        ("XNYS", "1d", 252),
        ("XNYS", "1h", 252 * 7),
        ("XNYS", "4h", 252 * 2),
        ("XNYS", "5m", 252 * 78),
        ("XNYS", "1w", 52),
        ("XNYS", "1M", 12),
        ("24/7", "1d", 365),
        ("24/7", "1h", 365 * 24),
        ("24/5", "1d", 261),
        ("XHKG", "30m", 247 * 11),  # a lunch break: five bars before it, six after
    ],
)
def test_periods_per_year_count_the_bars_of_a_year(code, timeframe, expected):
    assert periods_per_year(Timeframe(timeframe), code) == expected


def test_sessions_follow_daylight_saving_and_half_days():
    sessions = session_times("XNYS", utc(2018, 11, 1), utc(2018, 11, 27))
    close = sessions["closed_at"].dt.strftime("%H:%M")
    assert close["2018-11-02"] == "20:00"  # last session on summer time
    assert close["2018-11-05"] == "21:00"
    assert "2018-11-22" not in close.index  # Thanksgiving
    assert close["2018-11-23"] == "18:00"  # half day


def test_old_sessions_are_known():
    assert len(session_times("XNYS", utc(1990, 1, 1), utc(1991, 1, 1))) == 253


def test_intraday_bars_are_cut_at_the_close():
    opened, closed = bar_times(Timeframe.HOUR_4, "XNYS", utc(2018, 11, 23), utc(2018, 11, 27))
    np.testing.assert_array_equal(closed.strftime("%d %H:%M"), ["23 18:00", "26 18:30", "26 21:00"])
    assert list(opened.strftime("%H:%M")) == ["14:30", "14:30", "18:30"]


def test_bars_start_again_after_a_lunch_break():
    _, closed = bar_times(Timeframe.HOUR_1, "XHKG", utc(2019, 3, 4), utc(2019, 3, 5))
    assert list(closed.strftime("%H:%M")) == ["02:30", "03:30", "04:00", "06:00", "07:00", "08:00"]


def test_weeks_and_months_run_over_whole_sessions_only():
    opened, closed = bar_times(Timeframe.WEEK_1, "XNYS", utc(2018, 3, 20), utc(2018, 4, 7))
    # Good Friday: the week of 26 March ends on Thursday. The week cut by the start is left out.
    np.testing.assert_array_equal(closed.strftime("%m-%d"), ["03-29", "04-06"])
    assert list(opened.strftime("%m-%d")) == ["03-26", "04-02"]
    _, months = bar_times(Timeframe.MONTH_1, "XNYS", utc(2018, 1, 1), utc(2018, 3, 31))
    np.testing.assert_array_equal(months.strftime("%m-%d"), ["01-31", "02-28", "03-29"])


def test_crypto_trades_every_day():
    _, closed = bar_times(Timeframe.DAY_1, "24/7", utc(2020, 1, 1), utc(2020, 1, 11))
    assert len(closed) == 10
    assert closed[0] == pd.Timestamp("2020-01-02", tz="UTC")


def test_fx_rests_at_the_weekend():
    _, closed = bar_times(Timeframe.DAY_1, "24/5", utc(2020, 1, 3), utc(2020, 1, 8))
    assert list(closed.strftime("%a")) == ["Sat", "Tue", "Wed"]


def test_missing_bars_are_the_gaps_inside_a_series():
    _, closed = bar_times(Timeframe.DAY_1, "XNYS", utc(2018, 1, 1), utc(2018, 2, 1))
    gone = closed[[3, 7]]
    opened, missing = missing_bars(closed.drop(gone), Timeframe.DAY_1, "XNYS")
    pd.testing.assert_index_equal(missing, gone)
    assert (opened < missing).all()
    assert len(missing_bars(closed, Timeframe.DAY_1, "XNYS")[1]) == 0


def test_missing_bars_of_an_empty_series_are_all_of_the_range():
    nothing = pd.DatetimeIndex([], tz="UTC")
    found = missing_bars(
        nothing, Timeframe.DAY_1, "XNYS", start=utc(2018, 1, 1), end=utc(2018, 1, 6)
    )[1]
    assert len(found) == 4
    with pytest.raises(ValueError, match="empty series"):
        missing_bars(nothing, Timeframe.DAY_1, "XNYS")


def test_session_date_is_that_of_the_exchange():
    times = pd.DatetimeIndex(["2018-11-23 18:00", "2018-11-23 18:01", "2018-11-26 15:00"], tz="UTC")
    dates = session_date(times, "XNYS")
    assert list(dates.strftime("%F")[[0, 2]]) == ["2018-11-23", "2018-11-26"]
    assert pd.isna(dates[1])
    # Futures of Sunday evening in Chicago belong to Monday's session.
    assert session_date(pd.DatetimeIndex(["2019-03-04 01:00"], tz="UTC"), "CMES")[0] == (
        pd.Timestamp("2019-03-04")
    )


@pytest.mark.parametrize(
    ("timeframe", "at", "closed"),
    [
        ("1d", utc(2018, 11, 22, 12), utc(2018, 11, 21, 21)),
        ("1d", utc(2018, 11, 23, 18), utc(2018, 11, 23, 18)),
        ("1h", utc(2018, 11, 26, 15, 29), utc(2018, 11, 23, 18)),
        ("1w", utc(2018, 11, 22, 12), utc(2018, 11, 16, 21)),
        ("1M", utc(2018, 11, 22, 12), utc(2018, 10, 31, 20)),
    ],
)
def test_last_bar_is_the_newest_that_had_closed(timeframe, at, closed):
    assert last_bar(Timeframe(timeframe), "XNYS", at)[1] == closed


def test_unknown_calendars_and_years_are_refused():
    with pytest.raises(ValueError, match="unknown exchange calendar 'MOON'"):
        calendar("MOON")
    with pytest.raises(ValueError, match="is known from"):
        bar_times(Timeframe.DAY_1, "XNYS", utc(1900, 1, 1), utc(2000, 1, 1))
    with pytest.raises(ValueError, match="no zone"):
        bar_times(Timeframe.DAY_1, "XNYS", datetime(2018, 1, 1), utc(2019, 1, 1))  # noqa: DTZ001


def test_timeframes_know_their_length():
    assert Timeframe("1M").duration is None
    assert [str(t) for t in Timeframe if t.is_intraday] == ["1m", "5m", "15m", "30m", "1h", "4h"]
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
