"""Forgetting old bars of small timeframes, so that a live feed does not fill the disk."""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from alphastrat.marketdata.frames import rebuild_blocks
from alphastrat.marketdata.models import Bar, BarSeries
from alphastrat.quant.types import Timeframe

INTRADAY = [timeframe.value for timeframe in Timeframe if timeframe.is_intraday]

_RECOUNT = """
    UPDATE marketdata_barseries series SET
        bar_count = left_over.n_bars,
        first_opened_at = left_over.first,
        last_closed_at = left_over.last,
        revision = series.revision + 1,
        updated_at = %(at)s
    FROM (
        SELECT s.id, count(b.opened_at) AS n_bars, min(b.opened_at) AS first,
            max(b.closed_at) AS last
        FROM marketdata_barseries s LEFT JOIN marketdata_bar b ON b.series_id = s.id
        WHERE s.id = ANY(%(ids)s) GROUP BY s.id
    ) AS left_over
    WHERE series.id = left_over.id
"""


@transaction.atomic
def forget_intraday_bars(*, before: datetime, at: datetime) -> int:
    """Delete intraday bars that closed before an instant; return how many.

    Bars of a day and longer stay for ever: they are few, and research needs them.
    """
    old = BarSeries.objects.filter(timeframe__in=INTRADAY, first_opened_at__lt=before)
    ids = list(old.select_for_update().order_by("pk").values_list("pk", flat=True))
    if not ids:
        return 0
    n_bars, _ = Bar.objects.filter(series_id__in=ids, closed_at__lt=before).delete()
    with connection.cursor() as cursor:
        cursor.execute(_RECOUNT, {"ids": ids, "at": at})
    rebuild_blocks(ids)
    return n_bars
