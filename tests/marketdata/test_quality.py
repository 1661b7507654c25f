"""Every reason a row is held back for, and what is not one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphastrat.marketdata.quality import REASONS, CheckedRows, Seen, check_rows
from alphastrat.quant.types import Timeframe

AT = datetime(2018, 2, 7, 22, 0, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "symbol": "AAPL",
    "time": "2018-01-03",
    "open": 43.1,
    "high": 43.6,
    "low": 43.0,
    "close": 43.1,
    "volume": 118_000_000.0,
}


def rows(*changes: dict[str, Any], zone: str | None = None, first: int = 1) -> pd.DataFrame:
    frame = pd.DataFrame([{**GOOD, **change} for change in changes])
    times = pd.to_datetime(frame["time"], format="ISO8601", errors="coerce")
    frame["time"] = times.dt.tz_localize(zone).dt.as_unit("us")
    return frame.assign(row_number=np.arange(first, first + len(frame)))


def check(frame: pd.DataFrame, timeframe: str = "1d", **options: Any) -> CheckedRows:
    settings_ = {"exchanges": {"AAPL": "XNYS", "MSFT": "XNYS"}, "at": AT, "seen": Seen()}
    return check_rows(frame, timeframe=Timeframe(timeframe), **{**settings_, **options})


def reasons(frame: pd.DataFrame, timeframe: str = "1d", **options: Any) -> list[str]:
    """Return the reason of each row, in order; empty for a good one."""
    checked = check(frame, timeframe, **options)
    found = dict.fromkeys(checked.good["row_number"], "")
    found |= dict(zip(checked.bad["row_number"], checked.bad["reason"], strict=True))
    return [found[number] for number in frame["row_number"]]


NAN = float("nan")
INFINITY = float("inf")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"symbol": None}, "no_symbol"),
        ({"symbol": ""}, "no_symbol"),
        ({"symbol": "X" * 41}, "bad_symbol"),
        ({"symbol": "ETH/BTC"}, "bad_symbol"),
        ({"symbol": "BRK B"}, "bad_symbol"),
        ({"symbol": ".."}, "bad_symbol"),
        ({"time": None}, "no_time"),
        ({"open": NAN}, "absent_price"),
        ({"close": NAN}, "absent_price"),
        ({"high": INFINITY}, "absent_price"),
        ({"low": 0.0}, "price_not_positive"),
        ({"open": -43.1}, "price_not_positive"),
        ({"high": 2e12, "close": 2e12}, "too_large"),
        ({"volume": 2e18}, "too_large"),
        ({"high": 43.0, "low": 43.6}, "high_below_low"),
        ({"open": 43.7}, "outside_range"),
        ({"open": 42.9}, "outside_range"),
        ({"close": 43.61}, "outside_range"),
        ({"close": 42.99}, "outside_range"),
        ({"volume": 0.0}, "no_volume"),
        ({"volume": -5.0}, "no_volume"),
        ({"volume": NAN}, "no_volume"),
        ({"time": "2017-12-25"}, "outside_calendar"),
        ({"time": "2018-01-06"}, "outside_calendar"),
        ({"time": "1959-12-31"}, "outside_calendar"),
        ({"time": "2018-02-08"}, "future"),
        ({"time": "2018-02-10"}, "future"),
        ({"time": "2099-01-02"}, "future"),
        ({"open": 43.0, "high": 43.0, "low": 43.0, "close": 43.0}, ""),
        ({"open": 1e-6, "high": 1e-6, "low": 1e-6, "close": 1e-6}, ""),
    ],
)
def test_each_fault_has_its_reason(change, reason):
    assert reasons(rows(change)) == [reason]
    assert reason in {"", *REASONS}


def test_a_row_with_several_faults_names_the_first_that_matters():
    assert reasons(rows({"open": NAN, "volume": 0.0, "time": "2017-12-25"})) == ["absent_price"]


@pytest.mark.parametrize(
    ("session", "opened", "closed"),
    [
        ("2018-01-03", "2018-01-03T14:30", "2018-01-03T21:00"),
        ("2017-07-05", "2017-07-05T13:30", "2017-07-05T20:00"),  # daylight saving
        ("2017-07-03", "2017-07-03T13:30", "2017-07-03T17:00"),  # half day before the 4th
        ("2017-11-24", "2017-11-24T14:30", "2017-11-24T18:00"),  # half day after Thanksgiving
    ],
)
def test_a_daily_bar_opens_and_closes_with_its_session(session, opened, closed):
    (bar,) = check(rows({"time": session})).good.to_dict("records")
    assert bar["opened_at"] == pd.Timestamp(opened, tz="UTC")
    assert bar["closed_at"] == pd.Timestamp(closed, tz="UTC")


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (datetime(2018, 2, 7, 20, 59, tzinfo=UTC), "future"),
        (datetime(2018, 2, 7, 21, 0, tzinfo=UTC), ""),
    ],
)
def test_a_daily_bar_is_known_at_the_close_and_not_before(at, reason):
    assert reasons(rows({"time": "2018-02-07"}), at=at) == [reason]


@pytest.mark.parametrize(
    ("timeframe", "opened", "closed"),
    [
        ("5m", "2018-01-03T14:30", "2018-01-03T14:35"),
        ("5m", "2018-01-03T20:55", "2018-01-03T21:00"),
        ("5m", "2018-01-03T14:25", None),  # before the open
        ("5m", "2018-01-03T21:00", None),  # the close is no opening time
        ("5m", "2018-01-03T14:32", None),  # between two bars
        ("5m", "2017-07-03T16:55", "2017-07-03T17:00"),  # last of a half day
        ("5m", "2017-07-03T17:00", None),  # after a half day
        ("1h", "2018-01-03T20:30", "2018-01-03T21:00"),  # cut short by the close
        ("1h", "2017-03-10T14:30", "2017-03-10T15:30"),  # Friday, winter time
        ("1h", "2017-03-13T13:30", "2017-03-13T14:30"),  # Monday, summer time
        ("1h", "2017-03-13T12:30", None),
        ("4h", "2018-01-03T18:30", "2018-01-03T21:00"),
    ],
)
def test_an_intraday_bar_is_one_of_its_sessions_bars(timeframe, opened, closed):
    checked = check(rows({"time": opened}, zone="UTC"), timeframe)
    if closed is None:
        assert list(checked.bad["reason"]) == ["outside_calendar"]
    else:
        (bar,) = checked.good.to_dict("records")
        assert bar["opened_at"] == pd.Timestamp(opened, tz="UTC")
        assert bar["closed_at"] == pd.Timestamp(closed, tz="UTC")


@pytest.mark.parametrize(
    ("timeframe", "labels", "opened", "closed"),
    [
        ("1w", ["2018-01-08", "2018-01-12"], "2018-01-08T14:30", "2018-01-12T21:00"),
        # Labelled by a Monday or a Friday that is a holiday: Memorial Day, Good Friday.
        ("1w", ["2017-05-29", "2017-05-30"], "2017-05-30T13:30", "2017-06-02T20:00"),
        ("1w", ["2017-04-10", "2017-04-14"], "2017-04-10T13:30", "2017-04-13T20:00"),
        # Labelled by the first or the last of the month, a Sunday both times.
        ("1M", ["2017-10-01", "2017-10-02"], "2017-10-02T13:30", "2017-10-31T20:00"),
        ("1M", ["2017-12-01", "2017-12-31"], "2017-12-01T14:30", "2017-12-29T21:00"),
    ],
)
def test_any_usual_label_names_the_week_or_month(timeframe, labels, opened, closed):
    for label in labels:
        (bar,) = check(rows({"time": label}), timeframe).good.to_dict("records")
        assert bar["opened_at"] == pd.Timestamp(opened, tz="UTC"), label
        assert bar["closed_at"] == pd.Timestamp(closed, tz="UTC"), label


def test_a_sunday_names_no_week_of_an_exchange_since_it_could_be_either():
    assert reasons(rows({"time": "2018-01-14"}), "1w") == ["outside_calendar"]


@pytest.mark.parametrize("timeframe", ["1d", "1w", "1M"])
@pytest.mark.parametrize(
    ("time", "reason"), [("1850-06-03", "outside_calendar"), ("2180-06-05", "future")]
)
def test_times_beyond_the_calendar_harm_no_other_row(timeframe, time, reason):
    assert reasons(rows({"time": time}), timeframe) == [reason]
    assert reasons(rows({}, {"time": time}), timeframe)[0] == ""


def test_a_week_that_still_runs_is_not_known_yet():
    assert reasons(rows({"time": "2018-02-05"}), "1w") == ["future"]


def test_two_labels_of_one_week_are_one_bar_twice():
    assert reasons(rows({"time": "2018-01-08"}, {"time": "2018-01-12"}), "1w") == ["", "duplicate"]


def test_crypto_trades_on_every_day_of_the_year():
    frame = rows({"time": "2017-12-24"}, {"time": "2017-12-25"})
    checked = check(frame, exchanges={"AAPL": "24/7"})
    assert list(checked.good["closed_at"]) == [
        pd.Timestamp("2017-12-25", tz="UTC"),
        pd.Timestamp("2017-12-26", tz="UTC"),
    ]
    week = check(rows({"time": "2017-12-24"}), "1w", exchanges={"AAPL": "24/7"}).good
    assert list(week["opened_at"]) == [pd.Timestamp("2017-12-18", tz="UTC")]


def test_symbols_may_have_the_marks_that_vendors_put_in_them():
    symbols = ["BRK.B", "EURUSD=X", "^GSPC", "BTC-USD", "ES:H8", "A", "7203"]
    frame = rows(*[{"symbol": symbol} for symbol in symbols])
    assert reasons(frame, exchanges=dict.fromkeys(symbols, "XNYS")) == [""] * len(symbols)


def test_only_markets_without_volume_may_have_none():
    frame = rows({"volume": 0.0}, {"symbol": "MSFT", "volume": 0.0})
    allowed = {"zero_volume_allowed": frozenset({"MSFT"})}
    assert reasons(frame, **allowed) == ["no_volume", ""]
    assert reasons(rows({"symbol": "MSFT", "volume": -1.0}), **allowed) == ["no_volume"]


def test_each_symbol_is_judged_by_its_own_calendar():
    frame = rows({"time": "2017-12-25"}, {"time": "2017-12-25", "symbol": "MSFT"})
    assert reasons(frame, exchanges={"AAPL": "XNYS", "MSFT": "24/7"}) == ["outside_calendar", ""]


DAYS = ["2018-01-03", "2018-01-04", "2018-01-05", "2018-01-08", "2018-01-09"]


def at_days(*positions: int, symbol: str = "AAPL") -> list[dict[str, Any]]:
    return [{"time": DAYS[position], "symbol": symbol} for position in positions]


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([0, 1, 2], ["", "", ""]),
        ([0, 0, 1], ["", "duplicate", ""]),
        ([0, 1, 2, 1], ["", "", "", "duplicate"]),
        ([0, 2, 1, 3], ["", "", "wrong_order", ""]),
        ([1, 2, 3, 0, 4], ["", "", "", "wrong_order", ""]),
        ([4, 3, 2, 1, 0], [""] * 5),  # newest first is an order too
        ([4, 3, 3, 1], ["", "", "duplicate", ""]),
    ],
)
def test_order_is_kept_by_the_rows_that_stay(positions, expected):
    assert reasons(rows(*at_days(*positions))) == expected


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([0, 1, 1, 2], ["", "", "duplicate", ""]),
        ([0, 2, 1, 3], ["", "", "wrong_order", ""]),
        ([3, 2, 1, 0], ["", "", "", ""]),
        ([3, 2, 2, 0], ["", "", "duplicate", ""]),
    ],
)
def test_order_is_kept_across_batches(positions, expected):
    seen, found = Seen(), []
    first = [reasons(rows(*at_days(*positions[:2])), seen=seen)]
    for number, position in enumerate(positions[2:]):
        first.append(reasons(rows(*at_days(position), first=10 + number), seen=seen))
    for batch in first:
        found += batch
    assert found == expected


def test_symbols_interleaved_by_day_are_in_order():
    frame = rows(*[{"time": day, "symbol": s} for day in DAYS for s in ("AAPL", "MSFT")])
    assert reasons(frame) == [""] * 10


def test_a_bad_row_does_not_push_out_a_good_one_of_the_same_bar():
    frame = rows({**at_days(0)[0], "high": 1.0}, at_days(0)[0], at_days(1)[0])
    assert reasons(frame) == ["high_below_low", "", ""]


def test_an_empty_batch_has_no_rows():
    checked = check(rows({}).iloc[:0])
    assert len(checked.good) == len(checked.bad) == 0


def test_a_batch_without_a_readable_time_is_held_back_whole():
    assert reasons(rows({"time": None}, {"time": None})) == ["no_time", "no_time"]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["AAPL", "MSFT"]), st.integers(0, 4)), min_size=1, max_size=12
    ),
    st.integers(1, 6),
)
def test_what_is_kept_is_strictly_ordered_however_it_is_batched(delivered, size):
    frame = rows(*[at_days(position, symbol=symbol)[0] for symbol, position in delivered])
    seen = Seen()
    batches = [frame.iloc[first : first + size] for first in range(0, len(frame), size)]
    checked = [check(batch, seen=seen) for batch in batches]
    good = pd.concat([one.good for one in checked])
    assert len(good) + sum(len(one.bad) for one in checked) == len(frame)
    for _, mine in good.groupby("symbol"):
        steps = np.sign(np.diff(mine["opened_at"].dt.as_unit("us").astype("int64")))
        assert len(set(steps)) <= 1
        assert 0 not in steps
