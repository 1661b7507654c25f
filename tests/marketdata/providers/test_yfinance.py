from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from alphastrat.core.errors import ProviderError
from alphastrat.marketdata.providers.base import Action, BarRequest, Listing, ProviderBusy
from alphastrat.marketdata.providers.yfinance import YFinanceProvider
from alphastrat.quant.types import Timeframe
from tests.marketdata.providers.vendor_server import Answer, Asked, VendorServer

OPENS = [int(datetime(2024, 1, day, 14, 30, tzinfo=UTC).timestamp()) for day in (2, 3, 4)]
DAYS = BarRequest(
    Listing("AAPL"),
    Timeframe.DAY_1,
    datetime(2024, 1, 2, tzinfo=UTC),
    datetime(2024, 1, 5, tzinfo=UTC),
)
YAHOO_IS_DOWN = {
    "chart": {"result": None, "error": {"code": "Internal Server Error", "description": "Oops"}}
}
META = {
    "currency": "USD",
    "symbol": "AAPL",
    "instrumentType": "EQUITY",
    "exchangeTimezoneName": "America/New_York",
    "exchangeName": "NMS",
    "timezone": "EST",
    "gmtoffset": -18000,
    "regularMarketTime": OPENS[-1],
    "regularMarketPrice": 12.0,
    "priceHint": 2,
    "dataGranularity": "1d",
    "range": "",
    "validRanges": ["1d", "5d", "1mo", "max"],
    "firstTradeDate": 345479400,
    "currentTradingPeriod": {
        part: {"timezone": "EST", "start": OPENS[-1], "end": OPENS[-1] + 1, "gmtoffset": -18000}
        for part in ("pre", "regular", "post")
    },
}


def chart(*, closes: tuple[float, ...] = (10.0, 11.0, 12.0)) -> dict[str, Any]:
    quote = {
        "open": list(closes),
        "high": [close + 1 for close in closes],
        "low": [close - 1 for close in closes],
        "close": list(closes),
        "volume": [1000] * len(closes),
    }
    events = {
        "dividends": {str(OPENS[1]): {"amount": 0.24, "date": OPENS[1]}},
        "splits": {
            str(OPENS[2]): {
                "date": OPENS[2],
                "numerator": 4,
                "denominator": 1,
                "splitRatio": "4:1",
            }
        },
    }
    indicators = {"quote": [quote], "adjclose": [{"adjclose": [c / 2 for c in closes]}]}
    result = {"meta": META, "timestamp": OPENS, "events": events, "indicators": indicators}
    return {"chart": {"result": [result], "error": None}}


class _ToVendor(HTTPAdapter):
    """Sends whatever yfinance asks of any host to the local server."""

    def __init__(self, vendor: VendorServer) -> None:
        super().__init__()
        self._vendor = vendor

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        parts = urlsplit(request.url)
        request.url = f"{self._vendor.url}{parts.path}?{parts.query}"
        return super().send(request, *args, **kwargs)


@pytest.fixture
def provider(vendor: VendorServer) -> Iterator[YFinanceProvider]:
    from yfinance.data import YfData

    YfData.cache_get.cache_clear()
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _ToVendor(vendor))
    yield YFinanceProvider(session)
    YfData.cache_get.cache_clear()


def answering(charts: Answer) -> Any:
    def answer(asked: Asked) -> Answer:
        is_chart = asked.path.startswith("/v8/finance/chart")
        return charts if is_chart else Answer(b"crumb")

    return answer


def test_days_are_read_with_split_adjusted_prices(
    provider: YFinanceProvider, vendor: VendorServer
) -> None:
    vendor.otherwise = answering(Answer(chart()))
    (batch,) = provider.fetch_bars(DAYS)
    assert [str(day.date()) for day in batch.rows["time"]] == [
        "2024-01-02",
        "2024-01-03",
        "2024-01-04",
    ]
    assert list(batch.rows["close"]) == [10.0, 11.0, 12.0]
    assert batch.source == "yfinance"


def test_splits_and_dividends_are_read(provider: YFinanceProvider, vendor: VendorServer) -> None:
    vendor.otherwise = answering(Answer(chart()))
    actions = provider.fetch_corporate_actions(
        Listing("AAPL"), start=date(2024, 1, 2), end=date(2024, 1, 5)
    )
    assert actions == [
        Action("AAPL", date(2024, 1, 3), cash_amount=0.24),
        Action("AAPL", date(2024, 1, 4), split_ratio=4.0),
    ]


def test_too_many_requests_ask_for_a_pause(
    provider: YFinanceProvider, vendor: VendorServer
) -> None:
    vendor.otherwise = lambda _: Answer(b"Too Many Requests", status=429)
    with pytest.raises(ProviderBusy):
        list(provider.fetch_bars(DAYS))


@pytest.mark.parametrize(
    "fault", [Answer(b"<html>"), Answer(YAHOO_IS_DOWN, status=500), Answer({"chart": 7})], ids=str
)
def test_any_other_fault_is_a_provider_error(
    provider: YFinanceProvider, vendor: VendorServer, fault: Answer
) -> None:
    vendor.otherwise = answering(fault)
    with pytest.raises(ProviderError):
        list(provider.fetch_bars(DAYS))
