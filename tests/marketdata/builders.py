"""Deliveries of bars as the providers make them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.marketdata.models import Bar, BarSeries, ImportRun
from alphastrat.marketdata.services.ingestion import Target, ingest
from alphastrat.quant.calendars import bar_times, session_times
from alphastrat.quant.types import Timeframe

AT = datetime(2018, 2, 7, 22, 0, tzinfo=UTC)
DAILY = Target(Timeframe.DAY_1, "file")
VALUES = ("open", "high", "low", "close", "volume")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def days(start: str, end: str, exchange: str = "XNYS") -> pd.DatetimeIndex:
    """Return the sessions from one date to another, both included."""
    times = session_times(exchange, instant(f"{start}T00:00"), instant(f"{end}T23:59"))
    return pd.DatetimeIndex(times.index)


def rows(
    times: Sequence[Any] | pd.DatetimeIndex,
    *,
    symbols: Iterable[str] = ("AAA",),
    closes: Sequence[float] | None = None,
    first_row: int = 1,
) -> pd.DataFrame:
    """Make plausible rows, one per time and symbol."""
    frames = []
    for number, symbol in enumerate(symbols):
        close = np.asarray(closes, float) if closes is not None else 100.0 + number + _wave(times)
        frames.append(
            pd.DataFrame(
                {
                    "symbol": symbol,
                    "time": times,
                    "open": close - 0.25,
                    "high": close + 1.0,
                    "low": close - 1.0,
                    "close": close,
                    "volume": 1_000.0 + np.arange(len(times)),
                }
            )
        )
    together = pd.concat(frames, ignore_index=True)
    return together.assign(row_number=np.arange(first_row, first_row + len(together)))


def minutes(
    start: str, end: str, timeframe: str = "5m", exchange: str = "XNYS"
) -> pd.DatetimeIndex:
    """Return the opening times of the intraday bars of a period."""
    return bar_times(Timeframe(timeframe), exchange, instant(start), instant(end))[0]


def deliver(*batches: pd.DataFrame, target: Target = DAILY, at: datetime = AT) -> ImportRun:
    """Ingest batches as one delivery."""
    run = ImportRun.objects.create(source=target.source, requested_at=at)
    return ingest(batches, run=run, target=target, at=at)


def stored(symbol: str = "AAA", **where: Any) -> list[tuple[Any, ...]]:
    """Return the stored bars of a symbol."""
    bars = Bar.objects.filter(series__instrument__symbol=symbol, **where).order_by("opened_at")
    return list(bars.values_list("opened_at", "closed_at", *VALUES))


def series_of(symbol: str = "AAA", **where: Any) -> BarSeries:
    return BarSeries.objects.select_related("instrument").get(instrument__symbol=symbol, **where)


def _wave(times: Sequence[Any]) -> np.ndarray:
    return np.round(5 * np.sin(np.arange(len(times))), 2)
