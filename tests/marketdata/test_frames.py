"""Rows are the truth; arrays are derived, and never stale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.marketdata import frames
from alphastrat.marketdata.frames import (
    data_fingerprint,
    find_series,
    load_arrays,
    load_bars,
    load_close_series,
    load_closes,
    load_frames,
)
from alphastrat.marketdata.models import Bar, BarBlock, BarSeries
from alphastrat.quant.bars import COLUMNS, check_bars
from tests.marketdata.builders import DAILY, days, deliver, instant, rows, series_of, stored

pytestmark = pytest.mark.django_db
WEEK = days("2018-01-08", "2018-01-12")


def test_a_frame_holds_exactly_the_rows():
    deliver(rows(WEEK))
    bars = check_bars(load_bars(series_of()))
    assert bars.attrs["symbol"] == "AAA"
    rows_again = [
        (closed_at.to_pydatetime(), *values)
        for closed_at, values in zip(bars.index, bars.to_numpy(), strict=True)
    ]
    assert rows_again == [bar[1:] for bar in stored()]


def test_reading_before_anything_was_derived_derives_it():
    deliver(rows(WEEK))
    assert not BarBlock.objects.exists()
    assert len(load_bars(series_of())) == 5
    assert BarBlock.objects.get().revision == series_of().revision


@pytest.mark.parametrize("change", ["new", "restated"])
def test_a_read_after_a_change_sees_it(change):
    deliver(rows(WEEK[:4]))
    assert len(load_bars(series_of())) == 4
    later = rows(WEEK[:5] if change == "new" else WEEK[:4])
    later.loc[0, "close"] = 100.5
    deliver(later)
    bars = load_bars(series_of())
    assert len(bars) == len(later)
    assert bars["close"].iloc[0] == 100.5


def test_a_block_of_another_revision_is_never_read():
    deliver(rows(WEEK))
    load_bars(series_of())
    BarBlock.objects.update(close=bytes(40), revision=0)
    assert load_bars(series_of())["close"].iloc[0] == 100.0


def test_a_series_that_never_stands_still_is_a_conflict(monkeypatch):
    deliver(rows(WEEK))
    monkeypatch.setattr(frames, "rebuild_blocks", lambda series_ids: None)
    with pytest.raises(ConflictError):
        load_bars(series_of())


def test_an_empty_series_is_an_empty_frame():
    deliver(rows(WEEK))
    empty = BarSeries.objects.create(
        instrument=series_of().instrument, timeframe="1h", source="file"
    )
    bars = load_bars(empty)
    assert list(bars.columns) == list(COLUMNS)
    assert len(bars) == 0
    assert str(bars.index.tz) == "UTC"


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, WEEK),
        ({"start": "2018-01-09T21:00"}, WEEK[1:]),
        ({"start": "2018-01-09T21:01"}, WEEK[2:]),
        ({"end": "2018-01-10T21:00"}, WEEK[:2]),
        ({"known_at": "2018-01-10T21:00"}, WEEK[:3]),
        ({"known_at": "2018-01-10T20:59"}, WEEK[:2]),
        ({"start": "2018-01-09T00:00", "end": "2018-01-12T00:00"}, WEEK[1:4]),
        ({"end": "2018-01-12T00:00", "known_at": "2018-01-09T22:00"}, WEEK[:2]),
        ({"start": "2019-01-01T00:00"}, WEEK[:0]),
    ],
)
def test_ranges_are_half_open_by_close_and_end_with_what_was_known(bounds, expected):
    deliver(rows(WEEK))
    chosen = {name: instant(text) for name, text in bounds.items()}
    series = series_of()
    assert list(load_bars(series, **chosen).index.date) == list(expected.date)
    assert list(load_closes([series], **chosen).index.date) == list(expected.date)


def test_closes_of_several_symbols_share_an_axis_and_leave_holes_empty():
    deliver(rows(WEEK, symbols=("AAA", "BBB")))
    deliver(rows(WEEK.delete(2), symbols=("CCC",)))
    closes = load_closes(find_series(["CCC", "AAA"], "1d"))
    assert list(closes.columns) == ["CCC", "AAA"]
    assert list(closes.index.date) == list(WEEK.date)
    assert closes["CCC"].isna().tolist() == [False, False, True, False, False]
    assert closes["AAA"].tolist() == [bar[5] for bar in stored("AAA")]


def test_only_wanted_columns_are_read():
    deliver(rows(WEEK))
    arrays = load_arrays([series_of()], columns=("close", "volume"))
    assert arrays.close.shape == arrays.volume.shape == (5, 1)
    assert arrays.open.shape == (5, 0)


def test_closes_come_with_the_times_of_their_bars():
    deliver(rows(WEEK))
    closes = load_close_series([series_of().pk])[series_of().pk]
    assert closes.opened_at[0] == pd.Timestamp("2018-01-08T14:30Z")
    assert closes.closed_at[0] == pd.Timestamp("2018-01-08T21:00Z")
    np.testing.assert_array_equal(closes.values, [bar[5] for bar in stored()])


def test_arrays_agree_with_the_rows_over_daylight_saving_and_years():
    sessions = days("2015-01-02", "2017-12-29")
    deliver(rows(sessions))
    bars = load_bars(series_of())
    kept = list(Bar.objects.order_by("opened_at").values_list("closed_at", "close"))
    assert [(t.to_pydatetime(), c) for t, c in bars["close"].items()] == kept
    # Summer, winter, and the half days of both.
    assert set(bars.index.hour) == {20, 21, 17, 18}


def test_reading_takes_the_same_queries_for_two_symbols_and_twenty():
    counts = {}
    for n_symbols in (2, 20):
        names = [f"S{n_symbols}X{number}" for number in range(n_symbols)]
        deliver(rows(WEEK, symbols=names))
        load_closes(find_series(names, "1d"))
        with CaptureQueriesContext(connection) as captured:
            load_frames(find_series(names, "1d"))
        counts[n_symbols] = len(captured)
    # One for the series with their instruments; the blocks travel in binary, past Django's log.
    assert counts == {2: 1, 20: 1}


def test_the_fullest_source_is_chosen_but_never_the_replayed_one():
    from dataclasses import replace

    deliver(rows(WEEK[:3]), target=replace(DAILY, source="short"))
    deliver(rows(WEEK[:4]), target=replace(DAILY, source="long"))
    deliver(rows(WEEK), target=replace(DAILY, source="replay"))
    assert find_series(["AAA"], "1d")[0].source == "long"
    assert find_series(["AAA"], "1d", source="short")[0].source == "short"
    assert find_series(["AAA"], "1d", source="replay")[0].source == "replay"


@pytest.mark.parametrize(("symbol", "timeframe"), [("ZZZ", "1d"), ("AAA", "5m")])
def test_bars_that_are_not_there_are_asked_for_by_name(symbol, timeframe):
    deliver(rows(WEEK))
    with pytest.raises(InvalidInput, match=f"no {timeframe} bars of {symbol}"):
        find_series([symbol], timeframe)


def test_a_fingerprint_changes_with_any_value_time_or_symbol_and_not_with_order():
    deliver(rows(WEEK, symbols=("AAA", "BBB")))
    loaded = load_frames(find_series(["AAA", "BBB"], "1d"))
    first = data_fingerprint(loaded)
    assert data_fingerprint(dict(reversed(loaded.items()))) == first
    assert len(first) == 64
    changed = {name: frame.copy() for name, frame in loaded.items()}
    changed["BBB"].iloc[4, 4] += 1e-9
    renamed = {"CCC": loaded["AAA"], "BBB": loaded["BBB"]}
    shifted = {**loaded, "AAA": loaded["AAA"].shift(freq="1us")}
    others = {data_fingerprint(one) for one in (changed, renamed, shifted)}
    assert len(others | {first}) == 4
