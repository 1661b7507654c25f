"""What an instrument's bars say at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
import pandas as pd
from django.utils.safestring import SafeString

from alphastrat.core.charts import sparkline
from alphastrat.marketdata.frames import load_arrays
from alphastrat.marketdata.models import BarSeries, Instrument
from alphastrat.quant.calendars import periods_per_year
from alphastrat.quant.measures import annual_volatility
from alphastrat.quant.returns import simple_returns
from alphastrat.quant.types import FloatArray, Timeframe

SPARK_BARS = 60
VOLATILITY_BARS = 60
YEAR_BARS = 252


@dataclass(frozen=True, slots=True)
class Listing:
    """A row of the instrument list."""

    pk: UUID
    symbol: str
    name: str
    sector: str
    asset_class: str
    exchange: str
    url: str
    close: float | None
    change: float | None
    change_60: float | None
    spark: SafeString
    n_bars: int
    last_closed_at: datetime | None
    n_findings: int


def listings(instruments: Sequence[Instrument]) -> list[Listing]:
    """Describe instruments, whose `series` are prefetched, with their newest closes.

    The closes of all of them come in one query.
    """
    chosen = {one.pk: _daily_series(one) for one in instruments}
    shown = [series for series in chosen.values() if series is not None]
    closes: dict[UUID | None, FloatArray] = {}
    if shown:
        arrays = load_arrays(shown, columns=("close",))
        for column, series in enumerate(shown):
            values = arrays.close[:, column]
            closes[series.pk] = values[np.isfinite(values)]
    return [
        _listing(one, chosen[one.pk], closes.get(getattr(chosen[one.pk], "pk", None)))
        for one in instruments
    ]


def _daily_series(instrument: Instrument) -> BarSeries | None:
    """Return the fullest series of days, or else of anything."""
    stored = [one for one in instrument.series.all() if one.source != "replay"]
    days = [one for one in stored if one.timeframe == Timeframe.DAY_1]
    return max(days or stored, key=lambda one: one.bar_count, default=None)


def _listing(
    instrument: Instrument, series: BarSeries | None, closes: FloatArray | None
) -> Listing:
    closes = np.empty(0) if closes is None else closes
    recent = closes[-SPARK_BARS:]
    return Listing(
        pk=instrument.pk,
        symbol=instrument.symbol,
        name=instrument.name,
        sector=instrument.sector,
        asset_class=instrument.get_asset_class_display(),
        exchange=instrument.exchange,
        url=instrument.get_absolute_url(),
        close=float(closes[-1]) if closes.size else None,
        change=_change(closes, 1),
        change_60=_change(closes, SPARK_BARS),
        spark=sparkline(recent.tolist(), role="price", label=f"Last {recent.size} closes"),
        n_bars=series.bar_count if series else 0,
        last_closed_at=series.last_closed_at if series else None,
        n_findings=getattr(instrument, "n_findings", 0),
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What the head of an instrument's page says."""

    close: float
    closed_at: datetime
    change: float | None
    high_year: float
    low_year: float
    volatility: float | None
    mean_volume: float
    n_bars: int


def facts(bars: pd.DataFrame, timeframe: Timeframe, exchange: str) -> Facts | None:
    """Describe the bars of one instrument; None where there are none."""
    if bars.empty:
        return None
    closes = bars["close"].to_numpy()
    year = bars.iloc[-YEAR_BARS:]
    return Facts(
        close=float(closes[-1]),
        closed_at=bars.index[-1].to_pydatetime(),
        change=_change(closes, 1),
        high_year=float(year["high"].max()),
        low_year=float(year["low"].min()),
        volatility=_volatility(closes, timeframe, exchange),
        mean_volume=float(bars["volume"].iloc[-20:].mean()),
        n_bars=len(bars),
    )


def _volatility(closes: FloatArray, timeframe: Timeframe, exchange: str) -> float | None:
    if closes.size <= VOLATILITY_BARS:
        return None
    returns = simple_returns(closes[-VOLATILITY_BARS - 1 :])
    return float(annual_volatility(returns, periods_per_year=periods_per_year(timeframe, exchange)))


def _change(closes: FloatArray, n_bars: int) -> float | None:
    if closes.size <= n_bars:
        return None
    return float(closes[-1] / closes[-1 - n_bars] - 1)
