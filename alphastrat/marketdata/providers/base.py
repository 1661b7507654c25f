"""What every market data provider offers, and the values that pass between it and us."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import pandas as pd

from alphastrat.core.errors import ProviderError
from alphastrat.marketdata.models import Adjustment, AssetClass
from alphastrat.quant.calendars import bar_times, calendar
from alphastrat.quant.types import Timeframe

VALUES = ("open", "high", "low", "close", "volume")
ROW_COLUMNS = ("row_number", "symbol", "time", *VALUES)


class ProviderBusy(ProviderError):
    """The vendor asks us to come back later; `retry_after` says in how many seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderRefused(ProviderError):
    """The vendor refuses the account, not the question: no other symbol will do better."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol and what a vendor needs to know to name it and to place its bars."""

    symbol: str
    exchange: str = "XNYS"
    asset_class: str = AssetClass.EQUITY


@dataclass(frozen=True, slots=True)
class BarRequest:
    """Bars of one instrument that open in [start, end), by session date from one day upwards."""

    listing: Listing
    timeframe: Timeframe
    start: datetime
    end: datetime
    adjustment: str = Adjustment.SPLIT

    def first_day(self) -> date:
        return self.start.date()

    def last_day(self) -> date:
        return (self.end - timedelta(microseconds=1)).date()

    def since(self, start: datetime) -> BarRequest:
        return replace(self, start=start)


@dataclass(frozen=True, slots=True, eq=False)
class BarBatch:
    """A page of bars from one source; rows as `services.ingestion.ingest` takes them.

    `n_outside_session` counts bars of the hours before and after the market that were left out.
    """

    source: str
    rows: pd.DataFrame
    n_outside_session: int = 0


@dataclass(frozen=True, slots=True)
class Action:
    """A split (`split_ratio` new shares per old one) or a cash dividend, by its ex-date."""

    symbol: str
    ex_date: date
    split_ratio: float | None = None
    cash_amount: float | None = None


class MarketDataProvider(Protocol):
    """A source of bars. Every failure is a ProviderError that says whether to try again."""

    name: str
    timeframes: frozenset[Timeframe]
    adjustments: frozenset[str]

    def fetch_bars(self, request: BarRequest) -> Iterator[BarBatch]:
        """Yield the bars of `request` page by page, oldest first, none of them twice."""
        ...

    def fetch_corporate_actions(
        self, listing: Listing, *, start: date, end: date
    ) -> Sequence[Action]:
        """Return the splits and dividends with an ex-date in [start, end)."""
        ...


class LiveProvider(MarketDataProvider, Protocol):
    """A provider that also streams."""

    def stream_bars(
        self, listings: Sequence[Listing], *, since: Mapping[str, datetime], stop: threading.Event
    ) -> Iterator[BarBatch | None]:
        """Yield bars as they close, after those missed since each symbol's time; None when idle."""
        ...


def to_batch(
    source: str, request: BarRequest, records: Sequence[Mapping[str, Any]], *, n_before: int
) -> BarBatch:
    """Return vendor records as a page: within the request, in order, inside market hours.

    A record has `time` (session date without zone, or opening time in UTC) and the five values.
    `n_before` rows came with earlier pages.
    """
    rows = pd.DataFrame.from_records(list(records), columns=["time", *VALUES])
    kind: Any = "datetime64[us, UTC]" if request.timeframe.is_intraday else "datetime64[us]"
    rows["time"] = rows["time"].astype(kind)
    rows = rows.astype(dict.fromkeys(VALUES, "float64"))
    rows = rows.sort_values("time", kind="stable", ignore_index=True)
    rows = rows[_within(rows["time"], request)]
    n_all = len(rows)
    if request.timeframe.is_intraday and n_all:
        rows = rows[_in_session(rows["time"], request)]
    rows = rows.assign(
        symbol=request.listing.symbol, row_number=range(n_before + 1, n_before + 1 + len(rows))
    )
    return BarBatch(source, rows[list(ROW_COLUMNS)].reset_index(drop=True), n_all - len(rows))


def session_day(instant: datetime, exchange: str) -> datetime:
    """Return the date of an instant at the exchange, without zone."""
    local = pd.Timestamp(instant).tz_convert(str(calendar(exchange).tz))
    return local.tz_localize(None).normalize().to_pydatetime()


def _within(times: pd.Series, request: BarRequest) -> pd.Series:
    if request.timeframe.is_intraday:
        return (times >= request.start) & (times < request.end)
    first, last = pd.Timestamp(request.first_day()), pd.Timestamp(request.last_day())
    return (times >= first) & (times <= last)


def _in_session(times: pd.Series, request: BarRequest) -> pd.Series:
    day = timedelta(days=2)
    start, end = times.min().to_pydatetime() - day, times.max().to_pydatetime() + day
    opens, _ = bar_times(request.timeframe, request.listing.exchange, start, end)
    return times.isin(opens)
