"""Bars that an exchange's calendar expects and a series lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import numpy as np
import pandas as pd
from django.db import transaction

from alphastrat.marketdata.frames import load_close_times
from alphastrat.marketdata.models import BarSeries, QualityFinding
from alphastrat.marketdata.services.findings import keep_findings
from alphastrat.quant.calendars import bar_times
from alphastrat.quant.types import Timeframe

MAX_GAPS_PER_SERIES = 500


@transaction.atomic
def find_gaps(series_ids: Sequence[UUID], *, at: datetime) -> int:
    """Look for gaps in these series, store each as a finding, and resolve those since filled.

    Returns the number of gaps now open.
    """
    series = list(
        BarSeries.objects.filter(pk__in=series_ids, bar_count__gt=0).select_related("instrument")
    )
    times = load_close_times([one.pk for one in series])
    found = [finding for one in series for finding in _gaps(one, times[one.pk], at=at)]
    keep_findings(found, QualityFinding.Kind.GAP, series_ids, at=at)
    return len(found)


def _gaps(
    series: BarSeries, closed_at: pd.DatetimeIndex, *, at: datetime
) -> Iterable[QualityFinding]:
    expected_open, expected_close = bar_times(
        Timeframe(series.timeframe),
        series.instrument.exchange,
        series.first_opened_at,  # type: ignore[arg-type]
        series.last_closed_at,  # type: ignore[arg-type]
    )
    missing = np.flatnonzero(~expected_close.isin(closed_at))
    if not missing.size:
        return
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    for run in runs[:MAX_GAPS_PER_SERIES]:
        first, last = int(run[0]), int(run[-1])
        bars = "bar is" if run.size == 1 else "bars are"
        yield QualityFinding(
            series=series,
            kind=QualityFinding.Kind.GAP,
            start_at=expected_open[first].to_pydatetime(),
            end_at=expected_close[last].to_pydatetime(),
            n_bars=run.size,
            detail=f"{run.size} {bars} missing from the {series.instrument.exchange} calendar.",
            found_at=at,
        )
