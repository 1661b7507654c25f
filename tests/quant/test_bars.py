"""The bar contract, resampling, alignment and adjustment."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from alphastrat.quant.bars import COLUMNS, adjust_bars, align_bars, check_bars, resample_bars
from alphastrat.quant.calendars import bar_times
from alphastrat.quant.types import Timeframe


def make_bars(timeframe, start, end, code="XNYS"):
    closed = bar_times(Timeframe(timeframe), code, start, end)[1]
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, len(closed))))
    opening = np.r_[100.0, close[:-1]]
    return pd.DataFrame(
        {
            "open": opening,
            "high": np.maximum(opening, close) * 1.001,
            "low": np.minimum(opening, close) * 0.999,
            "close": close,
            "volume": rng.integers(1, 9, len(closed)).astype(float),
        },
        index=closed,
    )


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.fixture
def minutes():
    return make_bars("1m", utc(2018, 11, 19), utc(2018, 11, 27))


def test_check_bars_returns_good_bars_unchanged(minutes):
    assert check_bars(minutes) is minutes


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda bars: bars.drop(columns="volume"), "lack columns"),
        (lambda bars: bars.tz_localize(None), "UTC close time"),
        (lambda bars: bars.tz_convert("America/New_York"), "UTC close time"),
        (lambda bars: bars.iloc[::-1], "strictly increasing"),
        (lambda bars: bars.iloc[[0, 0]], "strictly increasing"),
        (lambda bars: bars.assign(close=np.nan), "not finite"),
        (lambda bars: bars.assign(low=-1.0), "not positive"),
        (lambda bars: bars.assign(volume=-1.0), "negative volume"),
        (lambda bars: bars.assign(high=bars["low"]), "high-low range"),
    ],
)
def test_check_bars_refuses_what_indicators_would_misread(minutes, spoil, message):
    with pytest.raises(ValueError, match=message):
        check_bars(spoil(minutes))


@pytest.mark.parametrize("timeframe", ["5m", "1h", "4h", "1d", "1w"])
def test_resampled_bars_combine_exactly_the_bars_since_the_last_close(minutes, timeframe):
    larger = resample_bars(minutes, Timeframe(timeframe), calendar="XNYS")
    previous = minutes.index[0] - pd.Timedelta(days=1)
    for closed_at, bar in larger.iterrows():
        part = minutes[(minutes.index > previous) & (minutes.index <= closed_at)]
        assert bar["open"] == part["open"].iloc[0]
        assert bar["high"] == part["high"].max()
        assert bar["low"] == part["low"].min()
        assert bar["close"] == part["close"].iloc[-1]
        assert bar["volume"] == part["volume"].sum()
        previous = closed_at
    check_bars(larger)


@pytest.mark.parametrize("timeframe", ["5m", "30m", "4h", "1d", "1w"])
def test_resampling_never_looks_ahead(minutes, timeframe):
    """Cutting the series anywhere leaves exactly the larger bars that had closed by then."""
    whole = resample_bars(minutes, Timeframe(timeframe), calendar="XNYS")
    for count in (3, 77, 389, 390, 391, 1000, 1381, len(minutes) - 1):
        seen = minutes.iloc[:count]
        known = resample_bars(seen, Timeframe(timeframe), calendar="XNYS")
        expected = whole[whole.index <= seen.index[-1]]
        pd.testing.assert_frame_equal(known, expected, check_freq=False)


def test_partial_bars_exist_only_when_asked_for(minutes):
    seen = minutes.iloc[10:100]
    assert resample_bars(seen, Timeframe.DAY_1, calendar="XNYS").empty
    partial = resample_bars(seen, Timeframe.DAY_1, calendar="XNYS", include_partial=True)
    assert list(partial.index) == [seen.index[-1]]
    assert partial["volume"].iloc[0] == seen["volume"].sum()


def test_days_become_weeks_and_months_by_their_last_session():
    days = make_bars("1d", utc(2018, 1, 10), utc(2018, 4, 12))
    months = resample_bars(days, Timeframe.MONTH_1, calendar="XNYS")
    # January lacks its first sessions and April its last.
    assert list(months.index.strftime("%F")) == ["2018-02-28", "2018-03-29"]
    weeks = resample_bars(days, Timeframe.WEEK_1, calendar="XNYS")
    assert weeks.index[0] == pd.Timestamp("2018-01-19 21:00", tz="UTC")
    assert weeks.loc["2018-03-29"]["close"].item() == days.loc["2018-03-29"]["close"].item()


def test_a_gap_inside_a_larger_bar_leaves_it_standing(minutes):
    gappy = minutes.drop(minutes.index[389])  # the closing minute of the first session
    days = resample_bars(gappy, Timeframe.DAY_1, calendar="XNYS")
    assert len(days) == 5
    assert days["close"].iloc[0] == minutes["close"].iloc[388]


def test_bars_after_hours_belong_to_no_larger_bar(minutes):
    late = minutes.iloc[[389]].set_axis(minutes.index[[389]] + pd.Timedelta(hours=1))
    extended = pd.concat([minutes, late * 2]).sort_index()
    pd.testing.assert_frame_equal(
        resample_bars(extended, Timeframe.DAY_1, calendar="XNYS", source=Timeframe.MINUTE_1),
        resample_bars(minutes, Timeframe.DAY_1, calendar="XNYS"),
    )


def test_crypto_days_end_at_midnight_utc():
    hours = make_bars("1h", utc(2020, 1, 1), utc(2020, 1, 3, 5), "24/7")
    days = resample_bars(hours, Timeframe.DAY_1, calendar="24/7")
    assert list(days.index.strftime("%F %T")) == ["2020-01-02 00:00:00", "2020-01-03 00:00:00"]


@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d"])
def test_bars_cannot_be_resampled_to_their_own_length_or_less(timeframe):
    days = make_bars("1d", utc(2018, 1, 10), utc(2018, 2, 12))
    with pytest.raises(ValueError, match="cannot make"):
        resample_bars(days, Timeframe(timeframe), calendar="XNYS")


def test_no_bars_resample_to_no_bars(minutes):
    assert resample_bars(minutes.iloc[:0], Timeframe.DAY_1, calendar="XNYS").empty


def test_align_keeps_common_bars_or_leaves_gaps_visible(minutes):
    frames = {"AAPL": minutes.iloc[:10], "MSFT": minutes.iloc[5:12]}
    inner = align_bars(frames)
    assert list(inner) == ["AAPL", "MSFT"]
    assert len(inner["AAPL"]) == len(inner["MSFT"]) == 5
    outer = align_bars(frames, how="outer")
    assert len(outer["AAPL"]) == 12
    assert outer["AAPL"].iloc[10:].isna().all(axis=None)
    with pytest.raises(ValueError, match="share no bar"):
        align_bars({"AAPL": minutes.iloc[:2], "MSFT": minutes.iloc[2:4]})


def daily(closes, volume=100.0):
    index = pd.date_range("2020-01-06 21:00", periods=len(closes), freq="D", tz="UTC")
    return pd.DataFrame({c: np.array(closes, float) for c in COLUMNS[:4]}, index=index).assign(
        volume=volume
    )


def at(date, value):
    return pd.Series([value], index=pd.DatetimeIndex([date], tz="UTC"))


def test_a_split_rescales_earlier_prices_and_volume():
    adjusted = adjust_bars(daily([400, 408, 102, 103]), splits=at("2020-01-08", 4.0))
    np.testing.assert_allclose(adjusted["close"], [100, 102, 102, 103])
    np.testing.assert_allclose(adjusted["volume"], [400, 400, 100, 100])


def test_a_dividend_takes_its_share_of_the_close_before_it():
    adjusted = adjust_bars(daily([50, 50, 49, 49]), dividends=at("2020-01-08", 1.0))
    # 1 - 1 / 50: the drop by the dividend is no loss.
    np.testing.assert_allclose(adjusted["close"], [49, 49, 49, 49])
    np.testing.assert_allclose(adjusted["volume"], 100)


def test_a_split_and_a_dividend_of_one_day_compound():
    adjusted = adjust_bars(
        daily([100, 100, 49]), splits=at("2020-01-08", 2.0), dividends=at("2020-01-08", 1.0)
    )
    np.testing.assert_allclose(adjusted["close"], [49, 49, 49])


@pytest.mark.parametrize("date", ["2020-01-01", "2020-02-01"])
def test_actions_outside_the_bars_change_nothing(date):
    bars = daily([10, 11, 12])
    pd.testing.assert_frame_equal(adjust_bars(bars, splits=at(date, 2.0)), bars)


@pytest.mark.parametrize(
    "actions",
    [
        {"splits": at("2020-01-07", 0.0)},
        {"dividends": at("2020-01-07", -1.0)},
        {"dividends": at("2020-01-07", 10.0)},
        {"splits": pd.Series([2.0], index=pd.DatetimeIndex(["2020-01-07"]))},
    ],
)
def test_impossible_actions_are_refused(actions):
    with pytest.raises(ValueError):
        adjust_bars(daily([10, 11, 12]), **actions)
