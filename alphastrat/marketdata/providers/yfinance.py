"""Yahoo Finance through yfinance: the backup. No other module imports that package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, timedelta
from typing import Any

import pandas as pd
from django.conf import settings

from alphastrat.core.errors import ProviderError
from alphastrat.marketdata.models import Adjustment, AssetClass
from alphastrat.marketdata.providers.base import (
    Action,
    BarBatch,
    BarRequest,
    Listing,
    ProviderBusy,
    to_batch,
)
from alphastrat.quant.types import Timeframe

NAME = "yfinance"
TIMEOUT_SECONDS = 20.0
INTERVALS = {
    Timeframe.MINUTE_1: "1m",
    Timeframe.MINUTE_5: "5m",
    Timeframe.MINUTE_15: "15m",
    Timeframe.HOUR_1: "1h",
    Timeframe.DAY_1: "1d",
}
# Yahoo's words for a symbol or a range that it has no bars of; any other reason is a failure.
_NO_BARS = re.compile(r"no data found|data doesn't exist|not found", re.IGNORECASE)
_COLUMNS = ["Open", "High", "Low", "Close", "Volume"]


class YFinanceProvider:
    """Bars and corporate actions as Yahoo shows them; always adjusted for splits."""

    name = NAME
    timeframes = frozenset(INTERVALS)
    adjustments: frozenset[str] = frozenset({Adjustment.SPLIT, Adjustment.TOTAL})

    def __init__(self, session: Any = None) -> None:
        self._session = session

    def fetch_bars(self, request: BarRequest) -> Iterator[BarBatch]:
        """Yield the bars of `request`: Yahoo answers in one page."""
        is_intraday = request.timeframe.is_intraday
        history = self._history(
            request.listing,
            interval=INTERVALS[request.timeframe],
            start=request.start if is_intraday else request.first_day(),
            end=request.end if is_intraday else request.last_day() + timedelta(days=1),
            auto_adjust=request.adjustment == Adjustment.TOTAL,
        )
        if history.empty:
            return
        index = pd.DatetimeIndex(history.index)
        times = index.tz_convert(UTC) if is_intraday else _days(index)
        values = history[_COLUMNS].set_axis(["open", "high", "low", "close", "volume"], axis=1)
        rows = values.assign(time=times).drop_duplicates("time", keep="first")
        records: list[Any] = rows.to_dict("records")
        yield to_batch(NAME, request, records, n_before=0)

    def fetch_corporate_actions(
        self, listing: Listing, *, start: date, end: date
    ) -> Sequence[Action]:
        """Return the splits and dividends with an ex-date in [start, end)."""
        history = self._history(listing, interval="1d", start=start, end=end, auto_adjust=False)
        if history.empty:
            return []
        found = []
        for day, split, dividend in zip(
            _days(pd.DatetimeIndex(history.index)),
            history["Stock Splits"],
            history["Dividends"],
            strict=True,
        ):
            if split:
                found.append(Action(listing.symbol, day.date(), split_ratio=float(split)))
            if dividend:
                found.append(Action(listing.symbol, day.date(), cash_amount=float(dividend)))
        return found

    def _history(self, listing: Listing, **arguments: Any) -> pd.DataFrame:
        import yfinance  # takes a second to load, and only some processes need it
        from yfinance.data import YfData
        from yfinance.exceptions import (
            YFPricesMissingError,
            YFRateLimitError,
            YFTickerMissingError,
        )

        yfinance.config.debug.hide_exceptions = False
        # It remembers every answer about the past, an error as well, for as long as we live.
        YfData.cache_get.cache_clear()
        yfinance.set_tz_cache_location(str(settings.VAR_DIR / "yfinance"))
        ticker = yfinance.Ticker(vendor_symbol(listing), session=self._session)
        try:
            return ticker.history(actions=True, timeout=TIMEOUT_SECONDS, **arguments)
        except YFRateLimitError as error:
            raise ProviderBusy("Yahoo asks for a pause.") from error
        except YFPricesMissingError as error:
            if error.yahoo_reason and not _NO_BARS.search(error.yahoo_reason):
                raise ProviderError(f"Yahoo failed: {error.yahoo_reason}.") from error
            return pd.DataFrame()
        except YFTickerMissingError as error:
            raise ProviderError(f"Yahoo does not know {listing.symbol}.", permanent=True) from error
        # yfinance lets every fault of the answer through as it comes: KeyError, TypeError,
        # JSONDecodeError, and the errors of whichever HTTP library it has chosen.
        except Exception as error:
            raise ProviderError(f"Yahoo failed: {type(error).__name__}.") from error


def vendor_symbol(listing: Listing) -> str:
    """Return how Yahoo writes the symbol."""
    if listing.asset_class == AssetClass.FX:
        return listing.symbol.replace("/", "").replace("-", "") + "=X"
    if listing.asset_class == AssetClass.CRYPTO:
        return listing.symbol.replace("/", "-")
    return listing.symbol.replace(".", "-")


def _days(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return index.tz_localize(None).normalize()
