"""Shapes of market data in the API."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ninja import Field, Schema

from alphastrat.core.schemas import JobOut, Moment
from alphastrat.marketdata.models import Adjustment, AssetClass, ImportStatus
from alphastrat.quant.types import Timeframe


class SeriesOut(Schema):
    """Stored bars of one timeframe, adjustment and source."""

    id: UUID
    timeframe: Timeframe
    adjustment: Adjustment
    source: str
    bar_count: int
    first_opened_at: datetime | None
    last_closed_at: datetime | None
    revision: int


class InstrumentOut(Schema):
    """A tradable thing."""

    id: UUID
    symbol: str
    name: str
    asset_class: AssetClass
    exchange: str
    currency: str
    tick_size: Decimal
    sector: str


class InstrumentDetailOut(InstrumentOut):
    """A tradable thing with its stored series."""

    series: list[SeriesOut]


class InstrumentFilter(Schema):
    """Which instruments."""

    q: str = Field("", max_length=60, description="Part of the symbol or name.")
    asset_class: AssetClass | None = None
    sector: str = Field("", max_length=60)


class BarQuery(Schema):
    """Which bars, as what."""

    timeframe: Timeframe = Timeframe.DAY_1
    adjustment: Adjustment = Adjustment.SPLIT
    start: Moment | None = Field(None, description="First close, inclusive.")
    end: Moment | None = Field(None, description="Last close, inclusive.")
    limit: int = Field(1_000, ge=1, le=50_000, description="The newest this many.")


class BarsOut(Schema):
    """Bars as columns, oldest first."""

    symbol: str
    timeframe: Timeframe
    adjustment: Adjustment
    closed_at: list[datetime]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]


class QualityFindingOut(Schema):
    """Something wrong, or suspicious, about stored bars."""

    kind: str
    source: str = Field(..., alias="series.source")
    timeframe: str = Field(..., alias="series.timeframe")
    start_at: datetime
    end_at: datetime
    n_bars: int
    detail: str
    found_at: datetime


class ImportOut(Schema):
    """A delivery of bars and what became of its rows."""

    id: UUID
    source: str
    file_name: str
    status: ImportStatus
    rows_read: int
    rows_stored: int
    rows_unchanged: int
    rows_restated: int
    rows_quarantined: int
    report: dict[str, Any]
    error: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    job: JobOut | None


class QuarantinedOut(Schema):
    """A row that was held back, and why."""

    row_number: int
    symbol: str
    opened_at: datetime | None
    values: dict[str, Any]
    reason: str
    detail: str
