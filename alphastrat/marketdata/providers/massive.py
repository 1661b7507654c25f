"""Massive (formerly Polygon.io): history, splits and dividends over its official client.

The client's own retries are off: they would call past the rate limit. Its reader of pages is
replaced, because it takes unreadable JSON for the end of the data. Pages are followed by path on
the configured host only, and redirects not at all, so that the key reaches no other host.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import tenacity
import urllib3
from django.conf import settings
from massive import RESTClient

from alphastrat.core.errors import ProviderError
from alphastrat.marketdata.models import Adjustment, AssetClass
from alphastrat.marketdata.providers.base import (
    Action,
    BarBatch,
    BarRequest,
    Listing,
    ProviderBusy,
    ProviderRefused,
    session_day,
    to_batch,
)
from alphastrat.marketdata.providers.rate_limit import RateLimit
from alphastrat.quant.types import Timeframe

NAME = "massive"
TRIES = 5
MAX_BACKOFF_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 300.0
PAGE_LIMIT = 50_000
# Bars of an hour and more are cut by the clock there and by the session here.
SPANS = {
    Timeframe.MINUTE_1: (1, "minute"),
    Timeframe.MINUTE_5: (5, "minute"),
    Timeframe.MINUTE_15: (15, "minute"),
    Timeframe.MINUTE_30: (30, "minute"),
    Timeframe.DAY_1: (1, "day"),
}
_PREFIXES = {AssetClass.CRYPTO: "X:", AssetClass.FX: "C:"}
_FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


class MassiveProvider:
    """Bars and corporate actions from the REST interface."""

    name = NAME
    timeframes = frozenset(SPANS)
    adjustments: frozenset[str] = frozenset({Adjustment.RAW, Adjustment.SPLIT})

    def __init__(self, client: MassiveClient) -> None:
        self._client = client

    @classmethod
    def from_settings(cls) -> MassiveProvider:
        """Return the provider that the settings describe."""
        limit = RateLimit(NAME, settings.MASSIVE_CALLS_PER_MINUTE)
        return cls(
            MassiveClient(settings.MASSIVE_API_KEY, base=settings.MASSIVE_BASE_URL, limit=limit)
        )

    def fetch_bars(self, request: BarRequest) -> Iterator[BarBatch]:
        """Yield the bars of `request` page by page, oldest first, none of them twice."""
        multiplier, span = SPANS[request.timeframe]
        first, last = _range(request)
        pages = self._client.list_aggs(
            vendor_symbol(request.listing),
            multiplier,
            span,
            first,
            last,
            adjusted=request.adjustment == Adjustment.SPLIT,
            sort="asc",
            limit=PAGE_LIMIT,
        )
        seen: set[int] = set()
        n_rows = 0
        for page in pages:
            fresh = {_opened_millis(bar): bar for bar in page if _opened_millis(bar) not in seen}
            seen.update(fresh)
            batch = to_batch(
                NAME, request, [_bar(record, request) for record in fresh.values()], n_before=n_rows
            )
            n_rows += len(batch.rows)
            if fresh:
                yield batch

    def fetch_corporate_actions(
        self, listing: Listing, *, start: date, end: date
    ) -> Sequence[Action]:
        """Return the splits and dividends with an ex-date in [start, end)."""
        symbol = vendor_symbol(listing)
        splits = self._client.list_splits(
            ticker=symbol, execution_date_gte=start, execution_date_lt=end, limit=1000
        )
        dividends = self._client.list_dividends(
            ticker=symbol, ex_dividend_date_gte=start, ex_dividend_date_lt=end, limit=1000
        )
        found = [_split(listing.symbol, record) for page in splits for record in page]
        found += [_dividend(listing.symbol, record) for page in dividends for record in page]
        return sorted(set(found), key=lambda action: action.ex_date)


class MassiveClient(RESTClient):
    """The official client with our reading of pages: paced, retried, never silently short.

    `list_aggs` and its kind yield pages, each a list of the vendor's records.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base: str,
        limit: RateLimit,
        timeout: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            api_key=api_key,
            base=base.rstrip("/"),
            connect_timeout=timeout,
            read_timeout=timeout,
            retries=0,
            connection_pool_kw={"retries": False},
        )
        self._limit = limit
        self._sleep = sleep

    def _paginate(
        self,
        path: str,
        params: dict[str, Any],
        raw: bool,  # noqa: FBT001 - the client's own signature
        deserializer: Any,
        result_key: str = "results",
        options: Any = None,
    ) -> Iterator[list[dict[str, Any]]]:
        visited = set()
        while path not in visited:
            visited.add(path)
            page = self._page(path, params)
            yield _records(page, result_key)
            following = page.get("next_url")
            if not following:
                return
            path, params = _path_of(following), {}
        raise ProviderError("Massive sent a page that points back to itself.")

    def _page(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(TRIES),
            wait=_pause,
            retry=tenacity.retry_if_exception(_is_worth_another_try),
            sleep=self._sleep,
            reraise=True,
        )
        answer: dict[str, Any] = retrying(self._ask, path, params)
        return answer

    def _ask(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._limit.wait()
        try:
            response = self.client.request(
                "GET", self.BASE + path, fields=params, headers=self.headers, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise ProviderError(f"Massive could not be reached: {type(error).__name__}.") from error
        if response.status != 200:
            refusal = _refusal(response)
            if isinstance(refusal, ProviderBusy) and refusal.retry_after:
                self._limit.hold_back(refusal.retry_after)
            raise refusal
        page = _decoded(response)
        if page.get("status") == "ERROR":
            raise ProviderError(f"Massive failed: {page.get('error', 'no reason given')}.")
        expected = page.get("resultsCount")
        if expected is not None and expected != len(page.get("results") or []):
            raise ProviderError("Massive sent a page with fewer bars than it announced.")
        return page


def _path_of(url: object) -> str:
    """Return the part of a vendor's link that may follow our own host."""
    parts = urlsplit(str(url))
    if not parts.path.startswith("/"):
        # Joined to the host, "@elsewhere/x" would carry the key to another one.
        raise ProviderError("Massive sent a link to the next page that cannot be followed.")
    return f"{parts.path}?{parts.query}"


def vendor_symbol(listing: Listing) -> str:
    """Return how Massive writes the symbol: crypto and FX pairs carry a prefix."""
    prefix = _PREFIXES.get(AssetClass(listing.asset_class))
    if prefix is None:
        return listing.symbol
    return prefix + listing.symbol.replace("/", "").replace("-", "")


def _range(request: BarRequest) -> tuple[int | date, int | date]:
    """Return the vendor's range, whose end is part of it."""
    if request.timeframe.is_intraday:
        return _millis(request.start), _millis(request.end - timedelta(milliseconds=1))
    return request.first_day(), request.last_day()


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _opened_millis(record: Mapping[str, Any]) -> int:
    millis = record.get("t")
    if not isinstance(millis, int):
        raise ProviderError("Massive sent a bar without its time.", permanent=True)
    return millis


def _bar(record: Mapping[str, Any], request: BarRequest) -> dict[str, Any]:
    opened_at = datetime.fromtimestamp(_opened_millis(record) / 1000, UTC)
    is_intraday = request.timeframe.is_intraday
    time_ = opened_at if is_intraday else session_day(opened_at, request.listing.exchange)
    return {"time": time_, **{name: record.get(key) for name, key in _FIELDS.items()}}


def _split(symbol: str, record: Mapping[str, Any]) -> Action:
    try:
        ratio = float(record["split_to"]) / float(record["split_from"])
        return Action(symbol, date.fromisoformat(record["execution_date"]), split_ratio=ratio)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise _unknown_action(symbol) from None


def _dividend(symbol: str, record: Mapping[str, Any]) -> Action:
    try:
        ex_date = date.fromisoformat(record["ex_dividend_date"])
        return Action(symbol, ex_date, cash_amount=float(record["cash_amount"]))
    except (KeyError, TypeError, ValueError):
        raise _unknown_action(symbol) from None


def _unknown_action(symbol: str) -> ProviderError:
    return ProviderError(
        f"Massive sent a corporate action of {symbol} that cannot be read.", permanent=True
    )


def _records(page: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    records = page.get(key)
    if records is None:
        return []
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ProviderError("Massive sent a page in a form we do not know.", permanent=True)
    return records


def _decoded(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    try:
        page = json.loads(response.data)
    except ValueError as error:
        raise ProviderError("Massive sent a page that cannot be read.") from error
    if not isinstance(page, dict):
        raise ProviderError("Massive sent a page in a form we do not know.", permanent=True)
    return page


def _refusal(response: urllib3.BaseHTTPResponse) -> ProviderError:
    status = response.status
    if status in {401, 403}:
        reason = "does not accept the API key" if status == 401 else "does not sell us these data"
        return ProviderRefused(f"Massive {reason} (HTTP {status}).")
    if status == 429:
        return ProviderBusy("Massive asks for a pause (HTTP 429).", retry_after=_after(response))
    if status >= 500 or status == 408:
        return ProviderError(f"Massive failed (HTTP {status}).")
    return ProviderError(f"Massive cannot answer this (HTTP {status}).", permanent=True)


def _after(response: urllib3.BaseHTTPResponse) -> float | None:
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and not error.permanent


def _pause(state: tenacity.RetryCallState) -> float:
    """Back off exponentially with jitter; a pause the vendor asked for is kept by the limit."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, ProviderBusy) and error.retry_after:
        return 0.0
    ceiling = min(MAX_BACKOFF_SECONDS, 2.0**state.attempt_number)
    return random.uniform(ceiling / 2, ceiling)
