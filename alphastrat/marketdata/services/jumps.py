"""Closes so far from the one before that a split was more likely than a move.

The bars stay: prices do halve in a day, and only a person can tell. They are listed until a
split is recorded for the day, or the bar is restated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import numpy as np
from django.db import transaction

from alphastrat.marketdata.frames import CloseSeries, load_close_series
from alphastrat.marketdata.models import Adjustment, BarSeries, CorporateAction, QualityFinding
from alphastrat.marketdata.services.findings import keep_findings
from alphastrat.quant.calendars import session_date

# In five years of 505 large companies nine closes lie further apart; half of those are splits.
JUMP = 0.4
MAX_JUMPS_PER_SERIES = 500


@transaction.atomic
def find_jumps(series_ids: Sequence[UUID], *, at: datetime) -> int:
    """Look for suspected splits in these series, and resolve those since explained.

    Returns the number of jumps now open.
    """
    series = list(
        BarSeries.objects.filter(pk__in=series_ids, bar_count__gt=1).select_related("instrument")
    )
    closes = load_close_series([one.pk for one in series])
    splits = _recorded_splits(series)
    found = [
        finding for one in series for finding in _jumps(one, closes[one.pk], splits=splits, at=at)
    ]
    keep_findings(found, QualityFinding.Kind.SUSPECTED_SPLIT, series_ids, at=at)
    return len(found)


Splits = set[tuple[UUID, np.datetime64]]


def _recorded_splits(series: Sequence[BarSeries]) -> Splits:
    splits = CorporateAction.objects.filter(
        kind=CorporateAction.Kind.SPLIT, instrument__in={one.instrument_id for one in series}
    )
    return {
        (instrument_id, np.datetime64(ex_date, "D"))
        for instrument_id, ex_date in splits.values_list("instrument_id", "ex_date")
    }


def _jumps(
    series: BarSeries, closes: CloseSeries, *, splits: Splits, at: datetime
) -> Iterable[QualityFinding]:
    change = closes.values[1:] / closes.values[:-1] - 1
    far = np.flatnonzero(np.abs(change) > JUMP)[:MAX_JUMPS_PER_SERIES]
    if not far.size:
        return
    instrument, is_raw = series.instrument, series.adjustment == Adjustment.RAW
    days = session_date(closes.closed_at[far + 1], instrument.exchange).to_numpy()
    for before, day in zip(far, days.astype("datetime64[D]"), strict=True):
        # Unadjusted prices are meant to jump where a split is on record; adjusted ones are not.
        if is_raw and (instrument.pk, day) in splits:
            continue
        yield QualityFinding(
            series=series,
            kind=QualityFinding.Kind.SUSPECTED_SPLIT,
            start_at=closes.opened_at[before + 1].to_pydatetime(),
            end_at=closes.closed_at[before + 1].to_pydatetime(),
            detail=f"The close went from {closes.values[before]:g} to "
            f"{closes.values[before + 1]:g} ({change[before]:+.1%}): a real move, or a split "
            "that nobody recorded.",
            found_at=at,
        )
