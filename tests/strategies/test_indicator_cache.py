"""The indicator cache: equal to computing again, whatever happens to the bars."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from django.db import connection
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphastrat.core import events
from alphastrat.marketdata.frames import load_bars
from alphastrat.marketdata.models import Bar, BarSeries, Instrument
from strategies.models import TechnicalIndicator
from strategies.quant import indicators
from strategies.services import indicator_cache
from strategies.services.indicator_requests import parse_request
from tests.strategies.builders import make_market, session_closes

pytestmark = pytest.mark.django_db
# Fading seed, finite window, two outputs, and one that depends on all history.
REQUESTS = [parse_request(text) for text in ("rsi:3", "bbands:5", "macd:3-6-2", "obv")]
DAYS = list(session_closes().values())


def make_series(symbol="AAA", n_bars=0, seed=0):
    instrument = Instrument.objects.create(symbol=symbol)
    series = BarSeries.objects.create(instrument=instrument, timeframe="1d", source="test")
    if n_bars:
        append(series, n_bars, seed=seed)
    return series


def append(series, n_bars, *, seed=0):
    """Store the bars that follow, as the merge does: one step of the revision."""
    rng = np.random.default_rng(seed)
    first = Bar.objects.filter(series=series).count()
    prices = 100 * np.exp(rng.normal(0, 0.02, n_bars).cumsum())
    Bar.objects.bulk_create(
        Bar(
            series=series,
            opened_at=opened,
            closed_at=closed,
            ingested_at=closed,
            open=price,
            high=price * 1.01,
            low=price * 0.99,
            close=price * 1.005,
            volume=1e6 + number,
        )
        for number, ((opened, closed), price) in enumerate(
            zip(DAYS[first : first + n_bars], prices, strict=True)
        )
    )
    BarSeries.objects.filter(pk=series.pk).update(
        revision=F("revision") + 1,
        bar_count=first + n_bars,
        first_opened_at=DAYS[0][0],
        last_closed_at=DAYS[first + n_bars - 1][1],
    )


def restate(series, place, factor=1.1):
    bar = Bar.objects.filter(series=series).order_by("opened_at")[place]
    values = {name: getattr(bar, name) * factor for name in ("open", "high", "low", "close")}
    Bar.objects.filter(series=series, opened_at=bar.opened_at).update(**values)
    BarSeries.objects.filter(pk=series.pk).update(revision=F("revision") + 1)


def assert_equals_computing_again(series):
    series.refresh_from_db()
    bars = load_bars(series)
    for request in REQUESTS:
        cached = indicator_cache.read([series.pk], request)[series.pk]
        assert cached.time == bars.index[-1]
        again = indicators.compute(request.spec.name, bars, **request.parameters)
        assert list(cached.values) == list(again)
        for output, array in again.items():
            np.testing.assert_allclose(cached.values[output], array, rtol=1e-7, atol=1e-9)
        newest = indicator_cache.newest([series.pk], request)[series.pk]
        last = {name: None if np.isnan(a[-1]) else a[-1] for name, a in cached.values.items()}
        assert newest.value == pytest.approx(last)


step = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 90)),
    st.tuples(st.just("restate"), st.floats(0, 0.999)),
    st.tuples(st.just("missed"), st.integers(1, 5)),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(step, max_size=6), n_bars=st.integers(1, 120))
def test_the_cache_equals_computing_again_after_any_sequence(steps, n_bars):
    clear()
    series = make_series(n_bars=n_bars)
    indicator_cache.fill([series], REQUESTS)
    for number, (kind, size) in enumerate(steps):
        if kind == "restate":
            restate(series, int(size * Bar.objects.filter(series=series).count()))
        else:
            append(series, size, seed=number)
        if kind != "missed":  # the process was killed before it could refresh
            indicator_cache.refresh([series.pk])
            assert_equals_computing_again(series)
    indicator_cache.refresh([series.pk])
    assert_equals_computing_again(series)


def clear():
    TechnicalIndicator.objects.all().delete()
    Bar.objects.all().delete()
    BarSeries.objects.all().delete()
    Instrument.objects.all().delete()


def test_an_append_leaves_the_history_alone_and_a_restatement_writes_it_again():
    series = make_series(n_bars=200)
    indicator_cache.fill([series], REQUESTS)
    rows = TechnicalIndicator.objects.filter(indicator_type="RSI")
    append(series, 3, seed=1)
    indicator_cache.refresh([series.pk])
    row = rows.get()
    assert (row.n_bars, len(row.history), len(row.tail)) == (203, 200, 3)
    restate(series, 5)
    indicator_cache.refresh([series.pk])
    row = rows.get()
    assert (row.n_bars, len(row.history), len(row.tail)) == (203, 203, 0)


def test_a_long_tail_joins_the_history(monkeypatch):
    monkeypatch.setattr(indicator_cache, "MAX_TAIL", 4)
    series = make_series(n_bars=60)
    indicator_cache.fill([series], REQUESTS)
    for number in range(7):
        append(series, 1, seed=number)
        indicator_cache.refresh([series.pk])
    assert_equals_computing_again(series)
    row = TechnicalIndicator.objects.get(indicator_type="RSI")
    assert (len(row.history), len(row.tail)) == (65, 2)


def test_what_belongs_to_older_bars_is_read_by_nobody():
    series = make_series(n_bars=50)
    indicator_cache.fill([series], REQUESTS)
    restate(series, 3)
    assert indicator_cache.read([series.pk], REQUESTS[0]) == {}
    assert indicator_cache.newest([series.pk], REQUESTS[0]) == {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM technical_indicator_values")
        assert cursor.fetchone() == (0,)


def test_a_bar_put_between_others_is_not_taken_for_an_append():
    series = make_series(n_bars=50)
    indicator_cache.fill([series], REQUESTS)
    late = Bar.objects.filter(series=series).order_by("opened_at")[10]
    shift = timedelta(minutes=1)
    late.opened_at, late.closed_at = late.opened_at + shift, late.closed_at + shift
    late.close = late.high
    Bar.objects.bulk_create([late])
    BarSeries.objects.filter(pk=series.pk).update(revision=F("revision") + 1, bar_count=51)
    indicator_cache.refresh([series.pk])
    assert_equals_computing_again(series)


def test_an_older_computation_does_not_replace_a_newer_one():
    series = make_series(n_bars=50)
    indicator_cache.fill([series], REQUESTS)
    TechnicalIndicator.objects.update(revision=99)
    assert indicator_cache.fill([series], REQUESTS) == 0


def test_the_events_of_the_bars_keep_the_cache_current(django_capture_on_commit_callbacks):
    series = make_series(n_bars=40)
    indicator_cache.fill([series], REQUESTS)
    for change, event in ((append, events.bars_stored), (restate, events.bars_restated)):
        change(series, 2)
        with django_capture_on_commit_callbacks(execute=True):
            events.send_on_commit(event, series_ids=[str(series.pk)], start=None, end=None)
        assert TechnicalIndicator.objects.current().count() == len(REQUESTS)
    assert_equals_computing_again(series)


def test_two_sources_of_one_symbol_are_kept_apart():
    series = make_series(n_bars=30)
    other = BarSeries.objects.create(instrument=series.instrument, timeframe="1d", source="other")
    append(other, 30, seed=9)
    indicator_cache.fill([series, other], REQUESTS)
    assert_equals_computing_again(series)
    assert_equals_computing_again(other)


def test_a_series_without_bars_has_nothing_cached():
    series = make_series(n_bars=30)
    indicator_cache.fill([series], REQUESTS)
    Bar.objects.all().delete()
    BarSeries.objects.update(
        bar_count=0, first_opened_at=None, last_closed_at=None, revision=F("revision") + 1
    )
    indicator_cache.refresh([series.pk])
    assert TechnicalIndicator.objects.count() == 0


def test_the_table_has_the_missions_columns_and_the_view_every_bar():
    make_market("AAPL")
    series = BarSeries.objects.get()
    indicator_cache.fill([series], [parse_request("macd")])
    bars = load_bars(series)
    line, signal, histogram = indicators.macd(bars["close"].to_numpy())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT symbol, indicator_type, timeframe, time, parameters->>'fastperiod',"
            " (value->>'macd')::float8 FROM technical_indicators"
        )
        assert cursor.fetchall() == [
            ("AAPL", "MACD", "1d", bars.index[-1], "12", pytest.approx(line[-1]))
        ]
        cursor.execute(
            "SELECT time, (value->>'macd')::float8, (value->>'macdsignal')::float8,"
            " (value->>'macdhist')::float8 FROM technical_indicator_values ORDER BY time"
        )
        rows = pd.DataFrame(cursor.fetchall(), columns=["time", "line", "signal", "histogram"])
    assert list(rows["time"]) == list(bars.index)
    expected = np.column_stack([line, signal, histogram])
    np.testing.assert_allclose(rows.iloc[:, 1:].astype(float), expected, rtol=1e-12)


def test_a_corrected_symbol_is_corrected_in_the_cache():
    series = make_series(n_bars=30)
    indicator_cache.fill([series], REQUESTS)
    Instrument.objects.update(symbol="BBB")
    assert set(TechnicalIndicator.objects.values_list("symbol", flat=True)) == {"BBB"}


def test_reading_and_refreshing_ask_the_same_however_many_series(django_assert_num_queries):
    for n_series in (2, 20):
        clear()
        many = [make_series(f"S{number}", n_bars=20) for number in range(n_series)]
        keys = [one.pk for one in many]
        indicator_cache.fill(many, REQUESTS)
        with django_assert_num_queries(1):  # the rows with their revision
            indicator_cache.newest(keys, REQUESTS[0])
        for one in many:
            append(one, 1)
        # The outdated rows; savepoint, temporary table, append, drop, release; the COPY counts
        # once more. The newest bars are read by psycopg, which is not counted.
        with django_assert_num_queries(7):
            indicator_cache.refresh(keys)
        assert TechnicalIndicator.objects.current().count() == n_series * len(REQUESTS)
