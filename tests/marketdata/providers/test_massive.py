from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alphastrat.core.errors import ProviderError
from alphastrat.marketdata.providers.base import Action, BarRequest, Listing, ProviderRefused
from alphastrat.marketdata.providers.massive import TRIES, MassiveClient, MassiveProvider
from alphastrat.quant.types import Timeframe
from tests.marketdata.providers.vendor_server import Answer, VendorServer

pytestmark = pytest.mark.django_db

KEY = "secret-key"
AAPL = Listing("AAPL")
DAYS = BarRequest(
    AAPL,
    Timeframe.DAY_1,
    datetime(2024, 1, 2, tzinfo=UTC),
    datetime(2024, 1, 6, tzinfo=UTC),
)
# Midnight in New York, as the vendor stamps a day.
STAMPS = [int(datetime(2024, 1, day, 5, tzinfo=UTC).timestamp() * 1000) for day in (2, 3, 4, 5)]


def record(stamp: int, close: float = 101.0) -> dict[str, Any]:
    return {"t": stamp, "o": 100.0, "h": 102.0, "l": 99.0, "c": close, "v": 1e6, "n": 5, "vw": 100}


def page(stamps: list[int], **more: Any) -> Answer:
    records = [record(stamp) for stamp in stamps]
    return Answer({"status": "OK", "results": records, "resultsCount": len(records), **more})


@pytest.fixture
def provider(vendor: VendorServer, clock: Any) -> MassiveProvider:
    client = MassiveClient(
        KEY, base=vendor.url, limit=clock.limit(0), sleep=clock.sleep, timeout=0.3
    )
    return MassiveProvider(client)


def days_of(provider: MassiveProvider, request: BarRequest = DAYS) -> list[str]:
    rows = [batch.rows for batch in provider.fetch_bars(request)]
    return [str(day.date()) for frame in rows for day in frame["time"]]


ALL_DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]


def test_a_day_is_placed_at_its_session_in_exchange_time(
    provider: MassiveProvider, vendor: VendorServer
) -> None:
    vendor.answers.append(page(STAMPS))
    (batch,) = provider.fetch_bars(DAYS)
    assert [str(day.date()) for day in batch.rows["time"]] == ALL_DAYS
    assert batch.rows["time"].dt.tz is None
    assert list(batch.rows["row_number"]) == [1, 2, 3, 4]
    asked = vendor.asked[0]
    assert asked.path == "/v2/aggs/ticker/AAPL/range/1/day/2024-01-02/2024-01-05"
    assert asked.query["adjusted"] == ["true"]
    assert asked.headers["Authorization"] == f"Bearer {KEY}"


def test_pages_are_followed_on_the_configured_host_only(
    provider: MassiveProvider, vendor: VendorServer
) -> None:
    # The key must not go where a page points to.
    vendor.answers.append(page(STAMPS[:2], next_url="https://evil.example/v2/aggs/next?cursor=xyz"))
    vendor.answers.append(page(STAMPS[2:]))
    assert days_of(provider) == ALL_DAYS
    assert vendor.asked[1].path == "/v2/aggs/next"
    assert vendor.asked[1].query == {"cursor": ["xyz"]}


def test_bars_repeated_on_the_next_page_come_once(
    provider: MassiveProvider, vendor: VendorServer
) -> None:
    vendor.answers.append(page(STAMPS[:3], next_url=f"{vendor.url}/next?cursor=1"))
    vendor.answers.append(page(STAMPS[1:]))
    batches = list(provider.fetch_bars(DAYS))
    assert [n for batch in batches for n in batch.rows["row_number"]] == [1, 2, 3, 4]
    vendor.answers.append(page(STAMPS[:3], next_url=f"{vendor.url}/next?cursor=1"))
    vendor.answers.append(page(STAMPS[1:]))
    assert days_of(provider) == ALL_DAYS


@pytest.mark.parametrize(
    "fault",
    [
        Answer({"status": "ERROR"}, status=500),
        Answer({"status": "ERROR"}, status=503),
        Answer(b'{"results": [{"t": 17'),
        Answer(b"<html>proxy</html>"),
        Answer({"results": [record(STAMPS[0])], "resultsCount": 4}),
        Answer(b'{"results": []}', cut=100),
        Answer({"results": []}, delay=0.6),
    ],
    ids=["500", "503", "bad JSON", "HTML", "short page", "cut off", "timeout"],
)
def test_a_passing_fault_is_tried_again_and_loses_nothing(
    provider: MassiveProvider, vendor: VendorServer, clock: Any, fault: Answer
) -> None:
    vendor.answers.append(fault)
    vendor.answers.append(page(STAMPS))
    assert days_of(provider) == ALL_DAYS
    assert len(clock.slept) == 1
    assert 1.0 <= clock.slept[0] <= 2.0


def test_a_lasting_fault_ends_after_a_few_tries_with_growing_pauses(
    provider: MassiveProvider, vendor: VendorServer, clock: Any
) -> None:
    vendor.otherwise = lambda _: Answer({}, status=500)
    with pytest.raises(ProviderError) as caught:
        days_of(provider)
    assert not caught.value.permanent
    assert len(vendor.asked) == TRIES
    assert all(2 ** (n - 1) <= pause <= 2**n for n, pause in enumerate(clock.slept, start=1))


def test_retry_after_is_kept_and_the_call_repeated(vendor: VendorServer, clock: Any) -> None:
    client = MassiveClient(KEY, base=vendor.url, limit=clock.limit(5), sleep=clock.sleep)
    vendor.answers.append(Answer({}, status=429, headers={"Retry-After": "17"}))
    vendor.answers.append(page(STAMPS))
    assert days_of(MassiveProvider(client)) == ALL_DAYS
    assert sum(clock.slept) == pytest.approx(17)


def test_pages_and_retries_all_count_against_the_limit(vendor: VendorServer, clock: Any) -> None:
    client = MassiveClient(KEY, base=vendor.url, limit=clock.limit(2), sleep=clock.sleep)
    for n, stamp in enumerate(STAMPS[:3]):
        vendor.answers.append(page([stamp], next_url=f"{vendor.url}/next?cursor={n}"))
    vendor.answers.append(page(STAMPS[3:]))
    assert days_of(MassiveProvider(client)) == ALL_DAYS
    assert clock.slept == [60.0]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_tried_again(
    provider: MassiveProvider, vendor: VendorServer, status: int
) -> None:
    vendor.answers.append(Answer({"error": "Unknown API Key"}, status=status))
    with pytest.raises(ProviderRefused) as caught:
        days_of(provider)
    assert caught.value.permanent
    assert len(vendor.asked) == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_refused_so_that_the_key_stays(
    provider: MassiveProvider, vendor: VendorServer, status: int
) -> None:
    other = VendorServer()
    vendor.answers.append(Answer({}, status=status, headers={"Location": other.url + "/take"}))
    with pytest.raises(ProviderError) as caught:
        days_of(provider)
    other.close()
    assert caught.value.permanent
    assert other.asked == []


def test_a_page_that_points_to_itself_ends_in_an_error(
    provider: MassiveProvider, vendor: VendorServer
) -> None:
    vendor.otherwise = lambda _: page(STAMPS[:1], next_url=f"{vendor.url}/next?cursor=1")
    with pytest.raises(ProviderError):
        days_of(provider)


def test_minutes_outside_market_hours_are_left_out_and_counted(
    provider: MassiveProvider, vendor: VendorServer
) -> None:
    open_ = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    times = [open_ - timedelta(minutes=1), open_, open_ + timedelta(minutes=1)]
    vendor.answers.append(page([int(at.timestamp() * 1000) for at in times]))
    request = BarRequest(AAPL, Timeframe.MINUTE_1, open_ - timedelta(hours=1), open_ + timedelta(1))
    (batch,) = provider.fetch_bars(request)
    assert list(batch.rows["time"]) == times[1:]
    assert batch.n_outside_session == 1


def test_splits_and_dividends_are_read(provider: MassiveProvider, vendor: VendorServer) -> None:
    # Apple's four-for-one split and the dividend before it, as the vendor documents them.
    vendor.answers.append(
        Answer({"results": [{"execution_date": "2020-08-31", "split_from": 1, "split_to": 4}]})
    )
    vendor.answers.append(
        Answer({"results": [{"ex_dividend_date": "2020-08-07", "cash_amount": 0.82}]})
    )
    actions = provider.fetch_corporate_actions(AAPL, start=date(2020, 1, 1), end=date(2021, 1, 1))
    assert actions == [
        Action("AAPL", date(2020, 8, 7), cash_amount=0.82),
        Action("AAPL", date(2020, 8, 31), split_ratio=4.0),
    ]


def test_pairs_are_written_as_the_vendor_writes_them(
    provider: MassiveProvider, vendor: VendorServer
) -> None:
    coin = BarRequest(Listing("BTC-USD", "24/7", "crypto"), Timeframe.DAY_1, DAYS.start, DAYS.end)
    list(provider.fetch_bars(coin))
    assert vendor.asked[0].path.startswith("/v2/aggs/ticker/X:BTCUSD/")
