"""Gaps against the calendar and jumps that look like splits: found, kept once, resolved."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alphastrat.marketdata.models import CorporateAction, QualityFinding
from alphastrat.marketdata.services.gaps import find_gaps
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.marketdata.services.inspection import inspect_series
from alphastrat.marketdata.services.jumps import find_jumps
from alphastrat.quant.types import Timeframe
from tests.marketdata.builders import (
    AT,
    DAILY,
    days,
    deliver,
    instant,
    minutes,
    rows,
    series_of,
)

pytestmark = pytest.mark.django_db
LATER = AT + timedelta(days=1)
FIVE_MINUTES = Target(Timeframe.MINUTE_5, "file")


def gaps(symbol: str = "AAA") -> list[tuple]:
    found = QualityFinding.objects.filter(kind="gap", series__instrument__symbol=symbol)
    return list(found.order_by("start_at").values_list("start_at", "end_at", "n_bars"))


@pytest.mark.parametrize(
    ("start", "end", "what"),
    [
        ("2017-12-22", "2018-01-03", "Christmas and New Year"),
        ("2017-11-21", "2017-11-28", "Thanksgiving and its half day"),
        ("2017-03-08", "2017-03-15", "clocks go forward in New York"),
        ("2017-11-01", "2017-11-08", "clocks go back in New York"),
    ],
)
def test_holidays_half_days_and_clock_changes_are_no_gaps(start, end, what):
    deliver(rows(days(start, end)))
    assert find_gaps([series_of().pk], at=AT) == 0, what
    deliver(rows(minutes(f"{start}T00:00", f"{end}T23:59"), symbols=("MIN",)), target=FIVE_MINUTES)
    assert find_gaps([series_of("MIN").pk], at=AT) == 0, what


def test_missing_sessions_that_follow_each_other_are_one_gap():
    week = days("2018-01-08", "2018-01-19")
    deliver(rows(week.delete([1, 2, 6])))
    assert find_gaps([series_of().pk], at=AT) == 2
    assert gaps() == [
        (instant("2018-01-09T14:30"), instant("2018-01-10T21:00"), 2),
        (instant("2018-01-17T14:30"), instant("2018-01-17T21:00"), 1),
    ]


def test_a_missing_half_day_is_a_gap_that_ends_at_its_early_close():
    deliver(rows(days("2017-11-22", "2017-11-27").delete(1)))
    find_gaps([series_of().pk], at=AT)
    assert gaps() == [(instant("2017-11-24T14:30"), instant("2017-11-24T18:00"), 1)]


def test_missing_minutes_are_found_across_the_night():
    times = minutes("2018-01-08T00:00", "2018-01-10T00:00")
    assert len(times) == 156
    deliver(rows(times.delete([76, 77, 78])), target=FIVE_MINUTES)
    find_gaps([series_of().pk], at=AT)
    assert gaps() == [(instant("2018-01-08T20:50"), instant("2018-01-09T14:35"), 3)]


def test_what_lies_outside_the_series_is_no_gap():
    deliver(rows(days("2018-01-10", "2018-01-11")))
    assert find_gaps([series_of().pk], at=AT) == 0


def test_a_gap_is_kept_once_and_resolved_when_it_is_filled():
    week = days("2018-01-08", "2018-01-12")
    deliver(rows(week.delete(2)))
    series_id = series_of().pk
    for _ in range(2):
        assert find_gaps([series_id], at=AT) == 1
    finding = QualityFinding.objects.get()
    assert (finding.found_at, finding.resolved_at) == (AT, None)
    deliver(rows(week))
    assert find_gaps([series_id], at=LATER) == 0
    finding.refresh_from_db()
    assert (finding.found_at, finding.resolved_at) == (AT, LATER)


def test_one_series_does_not_resolve_the_gaps_of_another():
    week = days("2018-01-08", "2018-01-12")
    deliver(rows(week.delete(2), symbols=("AAA", "BBB")))
    keys = [series_of(symbol).pk for symbol in ("AAA", "BBB")]
    find_gaps(keys, at=AT)
    find_gaps(keys[:1], at=LATER)
    assert QualityFinding.objects.filter(resolved_at__isnull=True).count() == 2


def halved(ratio: float = 0.5) -> np.ndarray:
    return np.array([100.0, 101.0, 101.0 * ratio, 51.0, 51.5])


WEEK = days("2018-01-08", "2018-01-12")


def test_a_close_that_halves_is_listed_and_its_bar_stays():
    deliver(rows(WEEK, closes=halved()))
    assert find_jumps([series_of().pk], at=AT) == 1
    finding = QualityFinding.objects.get()
    assert finding.kind == "suspected_split"
    assert finding.start_at == instant("2018-01-10T14:30")
    assert finding.end_at == instant("2018-01-10T21:00")
    assert "from 101 to 50.5 (-50.0%)" in finding.detail
    assert series_of().bar_count == 5


@pytest.mark.parametrize(("ratio", "n_found"), [(0.61, 0), (0.59, 1), (1.39, 0), (1.41, 1)])
def test_only_moves_of_more_than_forty_per_cent_are_listed(ratio, n_found):
    closes = np.array([100.0, 100.0, 100.0 * ratio, 100.0 * ratio, 100.0 * ratio])
    deliver(rows(WEEK, closes=closes))
    assert find_jumps([series_of().pk], at=AT) == n_found


def test_a_jump_is_seen_between_two_deliveries_in_any_order():
    closes = halved()
    deliver(rows(WEEK[2:], closes=closes[2:]))
    deliver(rows(WEEK[:2], closes=closes[:2]))
    assert find_jumps([series_of().pk], at=AT) == 1


@pytest.mark.parametrize(("adjustment", "n_left"), [("raw", 0), ("split", 1)])
def test_a_recorded_split_explains_a_jump_of_unadjusted_prices_only(adjustment, n_left):
    deliver(rows(WEEK, closes=halved()), target=replace(DAILY, adjustment=adjustment))
    series = series_of()
    assert find_jumps([series.pk], at=AT) == 1
    CorporateAction.objects.create(
        instrument=series.instrument,
        kind="split",
        ex_date=date(2018, 1, 10),
        split_ratio=2.0,
        source="file",
    )
    assert find_jumps([series.pk], at=LATER) == n_left
    assert QualityFinding.objects.filter(resolved_at__isnull=True).count() == n_left


def test_looking_over_takes_the_same_queries_for_two_series_and_twenty():
    counts = {}
    for n_symbols in (2, 20):
        names = [f"S{n_symbols}X{number}" for number in range(n_symbols)]
        deliver(rows(WEEK.delete(1), symbols=names, closes=halved()[:4]))
        keys = [series_of(name).pk for name in names]
        with CaptureQueriesContext(connection) as captured:
            inspection = inspect_series(keys, at=AT)
        counts[n_symbols] = len(captured)
        assert (inspection.n_gaps, inspection.n_suspected_splits) == (n_symbols, n_symbols)
    assert counts[2] == counts[20]
