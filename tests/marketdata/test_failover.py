from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest

from alphastrat.core.errors import ProviderError
from alphastrat.marketdata.models import Bar, BarSeries, ImportRun
from alphastrat.marketdata.providers.base import (
    Action,
    BarBatch,
    BarRequest,
    Listing,
    ProviderRefused,
    to_batch,
)
from alphastrat.marketdata.services.backfill import BackfillPlan, BackfillResult, backfill
from alphastrat.marketdata.services.failover import GIVE_UP_AFTER, Failover
from alphastrat.quant.calendars import session_times
from alphastrat.quant.types import Timeframe

pytestmark = pytest.mark.django_db(transaction=True)

AT = datetime(2024, 6, 3, 12, 0, tzinfo=UTC)
PLAN = BackfillPlan(
    ("AAA", "BBB", "CCC"),
    Timeframe.DAY_1,
    datetime(2024, 1, 2, tzinfo=UTC),
    datetime(2024, 1, 13, tzinfo=UTC),
)
N_DAYS = 9


class FakeProvider:
    """Delivers two pages a symbol; `faults` are raised after the first of them."""

    timeframes = frozenset({Timeframe.DAY_1})
    adjustments = frozenset({"split"})

    def __init__(self, name: str, faults: dict[str, Exception] | None = None) -> None:
        self.name = name
        self.faults = faults or {}
        self.asked: list[str] = []

    def fetch_bars(self, request: BarRequest) -> Iterator[BarBatch]:
        symbol = request.listing.symbol
        self.asked.append(symbol)
        days = list(session_times("XNYS", request.start, request.end).index)
        values = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.0, "volume": 5.0}
        records = [{"time": day, **values} for day in days]
        yield to_batch(self.name, request, records[:4], n_before=0)
        if fault := self.faults.get(symbol):
            raise fault
        yield to_batch(self.name, request, records[4:], n_before=4)

    def fetch_corporate_actions(
        self, listing: Listing, *, start: date, end: date
    ) -> Sequence[Action]:
        return []


def sources() -> dict[str, Any]:
    held = BarSeries.objects.filter(bar_count__gt=0)
    return dict(held.values_list("instrument__symbol", "source"))


def test_the_next_provider_serves_when_the_first_fails_and_the_run_says_which() -> None:
    first = FakeProvider("first", {"BBB": ProviderError("HTTP 500")})
    result = backfill(PLAN, Failover([first, FakeProvider("second")]), at=AT)
    assert result.sources == {"AAA": "first", "BBB": "second", "CCC": "first"}
    run = ImportRun.objects.get(source="second")
    assert run.report["other_providers"] == {"first": "HTTP 500"}


def test_a_provider_that_fails_half_way_leaves_none_of_its_bars() -> None:
    first = FakeProvider("first", {"BBB": ProviderError("cut off")})
    backfill(PLAN, Failover([first, FakeProvider("second")]), at=AT)
    assert sources() == {"AAA": "first", "BBB": "second", "CCC": "first"}
    assert Bar.objects.count() == 3 * N_DAYS


def test_a_permanent_failure_of_one_symbol_does_not_stop_the_others() -> None:
    only = FakeProvider("only", {"AAA": ProviderError("unknown symbol", permanent=True)})
    result = backfill(PLAN, Failover([only]), at=AT)
    assert list(result.failures) == ["AAA"]
    assert list(result.sources) == ["BBB", "CCC"]


def test_a_refused_key_is_not_shown_again() -> None:
    first = FakeProvider("first", {"AAA": ProviderRefused("no such key")})
    backfill(PLAN, Failover([first, FakeProvider("second")]), at=AT)
    assert first.asked == ["AAA"]
    assert set(sources().values()) == {"second"}


def test_a_provider_that_is_down_is_left_alone_and_the_rest_is_for_later() -> None:
    symbols = tuple(f"S{n}" for n in range(8))
    plan = BackfillPlan(symbols, PLAN.timeframe, PLAN.start, PLAN.end)
    only = FakeProvider("only", dict.fromkeys(symbols, ProviderError("HTTP 503")))
    with pytest.raises(ProviderError) as caught:
        backfill(plan, Failover([only]), at=AT)
    assert not caught.value.permanent
    assert len(only.asked) == GIVE_UP_AFTER


def test_a_backfill_broken_off_goes_on_with_the_next_symbol() -> None:
    class Killed(BaseException):
        pass

    saved: dict[str, Any] = {}

    def on_symbol(result: BackfillResult, symbol: str) -> None:
        saved.update(result.as_json())
        if symbol == "BBB":
            raise Killed

    with pytest.raises(Killed):
        backfill(PLAN, Failover([FakeProvider("only")]), at=AT, on_symbol=on_symbol)
    again = FakeProvider("only")
    result = backfill(PLAN, Failover([again]), at=AT, result=BackfillResult(**saved))
    assert again.asked == ["CCC"]
    assert (result.rows_stored, Bar.objects.count()) == (3 * N_DAYS, 3 * N_DAYS)


def test_the_same_backfill_twice_adds_nothing() -> None:
    backfill(PLAN, Failover([FakeProvider("only")]), at=AT)
    again = backfill(PLAN, Failover([FakeProvider("only")]), at=AT)
    assert (again.rows_stored, again.rows_restated) == (0, 0)
    assert Bar.objects.count() == 3 * N_DAYS
