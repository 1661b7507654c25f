"""Bars in larger timeframes and other adjustments, with numbers worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.models import CorporateAction, Instrument
from alphastrat.marketdata.services.bar_views import (
    adjustments_of,
    stored_series,
    timeframes_of,
    view_bars,
)
from alphastrat.quant.types import Timeframe
from tests.factories import day, make_instrument, make_series

pytestmark = pytest.mark.django_db
DAY, WEEK, MONTH = Timeframe.DAY_1, Timeframe.WEEK_1, Timeframe.MONTH_1
# Tuesday 2 January to Tuesday 9 January 2018.
CLOSES = [100.0, 104.0, 110.0, 55.0, 54.0, 50.0]


def record(instrument: Instrument, kind: str, ex_date: str, amount: float) -> None:
    field = "split_ratio" if kind == "split" else "cash_amount"
    CorporateAction.objects.create(
        instrument=instrument,
        kind=kind,
        ex_date=day(ex_date).date(),
        source="test",
        **{field: amount},
    )


@pytest.fixture
def raw():
    """Make a share that pays 2 on the 3rd and is split two for one on the 5th of January."""
    series = make_series(adjustment="raw", closes=CLOSES)
    record(series.instrument, "dividend", "2018-01-03", 2.0)
    record(series.instrument, "split", "2018-01-05", 2.0)
    return series.instrument


def closes(instrument: Instrument, adjustment: str, timeframe: Timeframe = DAY) -> list[float]:
    return view_bars(instrument, timeframe, adjustment=adjustment)["close"].tolist()


def test_a_split_halves_what_came_before_it(raw):
    assert closes(raw, "raw") == CLOSES
    assert closes(raw, "split") == [50.0, 52.0, 55.0, 55.0, 54.0, 50.0]
    volumes = view_bars(raw, DAY, adjustment="split")["volume"].tolist()
    assert volumes == [2000.0] * 3 + [1000.0] * 3


def test_a_dividend_is_set_against_the_price_of_its_own_day(raw):
    """2 of 100, before the split: every earlier price is worth 98 percent of itself."""
    expected = [100 * 0.98 / 2, 52.0, 55.0, 55.0, 54.0, 50.0]
    assert closes(raw, "total") == pytest.approx(expected, rel=1e-12)


def test_the_three_views_do_not_depend_on_which_one_is_stored(raw):
    split = make_instrument("SPLT")
    make_series(split, adjustment="split", closes=[50.0, 52.0, 55.0, 55.0, 54.0, 50.0])
    record(split, "dividend", "2018-01-03", 2.0)
    record(split, "split", "2018-01-05", 2.0)
    for adjustment in ("raw", "split", "total"):
        assert closes(split, adjustment) == pytest.approx(closes(raw, adjustment), rel=1e-12)


def test_without_actions_on_record_the_views_are_the_same():
    series = make_series(adjustment="split", closes=CLOSES)
    assert {tuple(closes(series.instrument, view)) for view in ("raw", "split", "total")} == {
        tuple(CLOSES)
    }


def test_dividends_in_stored_prices_cannot_be_taken_back():
    series = make_series(adjustment="total", closes=CLOSES)
    assert adjustments_of(series.instrument) == ["total"]
    assert closes(series.instrument, "total") == CLOSES
    with pytest.raises(InvalidInput):
        closes(series.instrument, "raw")


def test_the_stored_adjustment_is_used_where_there_is_one(raw):
    make_series(raw, adjustment="total", closes=[1.0, 2.0, 3.0])
    assert closes(raw, "total") == [1.0, 2.0, 3.0]
    assert closes(raw, "raw") == CLOSES
    assert adjustments_of(raw) == ["raw", "split", "total"]


@pytest.mark.parametrize("ex_date", ["1900-01-01", "2017-06-01", "2018-06-01", "2190-01-01"])
def test_actions_before_the_first_and_after_the_last_bar_change_nothing(ex_date):
    series = make_series(adjustment="raw", closes=CLOSES)
    record(series.instrument, "split", ex_date, 2.0)
    assert closes(series.instrument, "split") == CLOSES


def test_an_ex_date_on_a_holiday_counts_from_the_next_session():
    series = make_series(adjustment="raw", closes=CLOSES)
    record(series.instrument, "split", "2018-01-06", 2.0)  # a Saturday
    assert closes(series.instrument, "split") == [50.0, 52.0, 55.0, 27.5, 54.0, 50.0]


def test_a_dividend_larger_than_the_price_is_answered_not_applied():
    series = make_series(adjustment="raw", closes=CLOSES)
    record(series.instrument, "dividend", "2018-01-03", 500.0)
    with pytest.raises(InvalidInput, match="do not fit its bars"):
        closes(series.instrument, "total")
    assert closes(series.instrument, "split") == CLOSES


def test_a_week_is_known_only_at_its_last_close():
    series = make_series(closes=CLOSES)  # ends on a Tuesday
    weeks = view_bars(series.instrument, WEEK)
    # The first week began before the first bar could be seen: its Monday was a holiday.
    assert list(weeks.index) == [pd.Timestamp("2018-01-05 21:00", tz="UTC")]
    (week,) = weeks.to_dict("records")
    assert (week["open"], week["close"], week["volume"]) == (100.0, 55.0, 4000.0)
    assert week["high"] == pytest.approx(110.1)
    assert week["low"] == pytest.approx(54.9)
    assert len(view_bars(series.instrument, MONTH)) == 0


def test_minutes_become_hours_and_days_of_their_session():
    instrument = make_instrument()
    # Two sessions of 13 half hours; the second one without its last.
    make_series(instrument, timeframe="30m", closes=[float(n) for n in range(100, 125)])
    hours = view_bars(instrument, Timeframe.HOUR_1)
    assert len(hours) == 7 + 6
    assert hours["close"].iloc[0] == 101.0
    assert hours["close"].iloc[6] == 112.0  # half an hour, cut by the close
    days = view_bars(instrument, DAY)
    assert list(days.index) == [pd.Timestamp("2018-01-02 21:00", tz="UTC")]
    assert days["close"].tolist() == [112.0]


def test_the_nearest_finer_series_is_used():
    instrument = make_instrument()
    make_series(instrument, timeframe="30m", closes=[float(n) for n in range(100, 113)])
    make_series(instrument, timeframe="1d", closes=[7.0, 8.0])
    assert view_bars(instrument, DAY)["close"].tolist() == [7.0, 8.0]
    assert view_bars(instrument, Timeframe.HOUR_1)["close"].iloc[0] == 101.0


def test_only_larger_timeframes_than_the_stored_ones_are_offered():
    series = make_series(closes=CLOSES)
    assert timeframes_of(series.instrument) == [DAY, WEEK, MONTH]
    with pytest.raises(InvalidInput, match="no bars of 5m or finer"):
        view_bars(series.instrument, Timeframe.MINUTE_5)
    assert timeframes_of(make_instrument("NONE")) == []


def test_replayed_bars_are_not_shown_as_stored_ones():
    series = make_series(source="replay", closes=CLOSES)
    assert stored_series(series.instrument) == []
    assert timeframes_of(series.instrument) == []


def test_a_period_is_cut_by_close_times():
    series = make_series(closes=CLOSES)
    start, end = datetime(2018, 1, 3, 21, tzinfo=UTC), datetime(2018, 1, 5, tzinfo=UTC)
    assert view_bars(series.instrument, DAY, start=start, end=end)["close"].tolist() == [
        104.0,
        110.0,
    ]
