"""Plain functions that make the rows of research tests."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any

import pandas as pd
from django.conf import settings
from django.utils.timezone import now

from alphastrat.accounts.models import User
from alphastrat.core import jobs
from alphastrat.marketdata.models import Bar, BarSeries, Instrument
from alphastrat.quant.calendars import session_times
from strategies.models import BacktestRun, Strategy
from strategies.services.backtesting import request_backtest
from strategies.services.lifecycle import StrategyDraft, create_strategy
from strategies.services.specification import Specification

SAMPLE = settings.BASE_DIR / "alphastrat/marketdata/sample/sample_market.parquet"
SYMBOLS = ("AAPL", "JPM", "KO")


@cache
def sample_bars() -> pd.DataFrame:
    """Return the bars that ship with the product."""
    return pd.read_parquet(SAMPLE)


@cache
def session_closes() -> dict[date, tuple[datetime, datetime]]:
    start, end = datetime(2013, 1, 1, tzinfo=UTC), datetime(2018, 3, 1, tzinfo=UTC)
    times = session_times("XNYS", start, end)
    return {
        day.date(): (row.opened_at.to_pydatetime(), row.closed_at.to_pydatetime())
        for day, row in times.iterrows()
    }


def make_market(*symbols: str, until: date = date(2018, 2, 7)) -> None:
    """Store instruments with the sample's daily bars."""
    for symbol in symbols or SYMBOLS:
        instrument = Instrument.objects.create(symbol=symbol, name=f"{symbol} Inc.")
        rows = sample_bars()
        rows = rows[rows["symbol"] == symbol]
        store_bars(instrument, rows[pd.to_datetime(rows["date"]).dt.date <= until])


def make_prices(symbol: str, prices: list[tuple[float, float, float, float]]) -> Instrument:
    """Store an instrument with hand-written open, high, low, close rows from 2016 on."""
    instrument = Instrument.objects.create(symbol=symbol)
    days = [day for day in session_closes() if day >= date(2016, 1, 1)][: len(prices)]
    frame = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    store_bars(instrument, frame.assign(date=days, volume=1e6))
    return instrument


def store_bars(instrument: Instrument, rows: pd.DataFrame, *, source: str = "test") -> BarSeries:
    series = BarSeries.objects.create(instrument=instrument, timeframe="1d", source=source)
    closes = session_closes()
    bars = [
        Bar(
            series=series,
            opened_at=closes[day][0],
            closed_at=closes[day][1],
            ingested_at=now(),
            **{name: float(getattr(row, name)) for name in ("open", "high", "low", "close")},
            volume=float(row.volume),
        )
        for row in rows.itertuples()
        if (day := pd.Timestamp(row.date).date()) in closes
    ]
    Bar.objects.bulk_create(bars)
    series.bar_count, series.revision = len(bars), 1
    series.first_opened_at, series.last_closed_at = bars[0].opened_at, bars[-1].closed_at
    series.save()
    return series


def asked(**changes: Any) -> Specification:
    """Return an RSI backtest over two years of the sample."""
    values: dict[str, Any] = {
        "plugin": "rsi_mean_reversion",
        "symbols": SYMBOLS,
        "start": date(2015, 1, 2),
        "end": date(2016, 12, 30),
        "costs": {"commission_bps": 1.0, "slippage_bps": 2.0},
    }
    return Specification(**{**values, **changes})


def make_run(owner: User, *, version: Any = None, **changes: Any) -> BacktestRun:
    """Make a queued run."""
    return request_backtest(owner, asked(**changes), at=now(), version=version)


def finished_run(owner: User, *, version: Any = None, **changes: Any) -> BacktestRun:
    """Make a run through the worker's path."""
    run = make_run(owner, version=version, **changes)
    jobs.run_job(str(run.job_id))
    run.refresh_from_db()
    return run


def make_strategy(owner: User, *, name: str = "RSI", **changes: Any) -> Strategy:
    """Make a strategy with its first version."""
    values: dict[str, Any] = {"plugin": "rsi_mean_reversion", "symbols": list(SYMBOLS)}
    return create_strategy(owner, StrategyDraft(name=name, **{**values, **changes}))


def at_midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
