"""Stored bars as if they came live: which come next, in the order in which they closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from django.db import connection

from alphastrat.marketdata.models import Bar, BarSeries
from alphastrat.marketdata.providers.base import ROW_COLUMNS, VALUES
from alphastrat.quant.calendars import session_date
from alphastrat.quant.types import Timeframe

NAME = "replay"
LONGEST_MONTH = timedelta(days=32)

# One step into the primary key per series, however many bars lie ahead.
_NEXT_CLOSE = """
    SELECT min(ahead.closed_at) FROM unnest(%(series)s::uuid[]) AS wanted (id), LATERAL (
        SELECT b.closed_at FROM marketdata_bar b
        WHERE b.series_id = wanted.id AND b.opened_at > %(after)s - %(longest)s
            AND b.closed_at > %(after)s
        ORDER BY b.opened_at LIMIT 1
    ) AS ahead
"""


@dataclass(frozen=True, slots=True, eq=False)
class ReplayStep:
    """The bars of all series that close at one instant, as rows for `ingest`."""

    closed_at: datetime
    rows: pd.DataFrame


class StoredBars:
    """Stored series of one timeframe, to be fed in the order in which their bars closed."""

    def __init__(self, series: Sequence[BarSeries]) -> None:
        self._ids = [one.pk for one in series]
        self._timeframe = Timeframe(series[0].timeframe) if series else Timeframe.DAY_1

    def next_after(self, position: datetime) -> ReplayStep | None:
        """Return the bars that close next after `position`; None at the end."""
        parameters: dict[str, Any] = {
            "series": self._ids,
            "after": position,
            "longest": _longest(self._timeframe),
        }
        with connection.cursor() as cursor:
            cursor.execute(_NEXT_CLOSE, parameters)
            closed_at = cursor.fetchone()[0]
        if closed_at is None:
            return None
        bars = Bar.objects.filter(
            series_id__in=self._ids,
            opened_at__gt=closed_at - _longest(self._timeframe),
            closed_at=closed_at,
        ).order_by("series__instrument__symbol")
        return ReplayStep(closed_at, _rows(_values(bars), self._timeframe))

    def history(self, series_ids: Collection[UUID], *, until: datetime) -> list[pd.DataFrame]:
        """Return for each series its bars that close by `until`, as rows for `ingest`."""
        found = []
        for one in series_ids:
            bars = Bar.objects.filter(series_id=one, closed_at__lte=until).order_by("opened_at")
            rows = _rows(_values(bars), self._timeframe)
            if len(rows):
                found.append(rows)
        return found


def _longest(timeframe: Timeframe) -> timedelta:
    # A daily bar may open on the evening before its session; none is longer than this.
    return (timeframe.duration or LONGEST_MONTH) + timedelta(hours=1)


def _values(bars: Any) -> list[Mapping[str, Any]]:
    names = ("series__instrument__symbol", "series__instrument__exchange")
    return list(bars.values(*names, "opened_at", "closed_at", *VALUES))


def _rows(records: Sequence[Mapping[str, Any]], timeframe: Timeframe) -> pd.DataFrame:
    bars = pd.DataFrame.from_records(
        records,
        columns=[
            "series__instrument__symbol",
            "series__instrument__exchange",
            "opened_at",
            "closed_at",
            *VALUES,
        ],
    )
    bars = bars.rename(columns={"series__instrument__symbol": "symbol"})
    bars["row_number"] = np.arange(1, len(bars) + 1)
    if timeframe.is_intraday:
        bars["time"] = pd.DatetimeIndex(bars["opened_at"], tz="UTC").as_unit("us")
    else:
        bars["time"] = _session_dates(bars)
    return bars[list(ROW_COLUMNS)]


def _session_dates(bars: pd.DataFrame) -> pd.Series:
    """Return the session each bar closes in: how `ingest` wants the time of a day or more."""
    dates = pd.Series(pd.NaT, index=bars.index, dtype="datetime64[us]")
    for code, mine in bars.groupby("series__instrument__exchange"):
        closes = pd.DatetimeIndex(mine["closed_at"], tz="UTC")
        dates[mine.index] = session_date(closes, str(code)).as_unit("us")
    return dates
