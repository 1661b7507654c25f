"""What strategies earned live lately: the last session, the month, and their equity by day."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

N_DAYS = 30

# Of each open account the days of the newest mark's month, and at least the newest thirty. A bar
# that closes at midnight belongs to the day that ends.
_DAYS = """
    SELECT a.strategy_id, days.starts, days.growth, days.equity
    FROM portfolio_account a
    CROSS JOIN LATERAL (
        SELECT p.marked_at - interval '1 microsecond' AS at FROM portfolio_equitypoint p
        WHERE p.account_id = a.id ORDER BY p.marked_at DESC LIMIT 1
    ) newest
    CROSS JOIN LATERAL (
        SELECT array_agg(d.starts ORDER BY d.starts) AS starts,
            array_agg(d.growth ORDER BY d.starts) AS growth,
            array_agg(d.equity ORDER BY d.starts) AS equity
        FROM (
            SELECT date_trunc('day', p.marked_at - interval '1 microsecond', 'UTC') AS starts,
                sum(ln(1 + greatest(p.bar_return, -1 + 1e-12)))
                    FILTER (WHERE p.bar_return IS NOT NULL) AS growth,
                (array_agg(p.equity::float8 ORDER BY p.marked_at DESC))[1] AS equity
            FROM portfolio_equitypoint p
            WHERE p.account_id = a.id AND p.marked_at > least(
                date_trunc('month', newest.at, 'UTC'),
                date_trunc('day', newest.at, 'UTC') - make_interval(days => %(days)s - 1)
            )
            GROUP BY 1
        ) d
    ) days
    WHERE a.closed_at IS NULL AND a.strategy_id = ANY(%(strategies)s)
"""


@dataclass(frozen=True, slots=True)
class RecentResult:
    """The newest days of one live account, capital that came or went not counted.

    Attributes
    ----------
    day_return, month_return : float or None
        Compounded over the UTC day and month of the newest mark, fractions; None before the first
        return.
    equity : list of float
        At the last mark of each of the newest 30 calendar days that have one.
    """

    day_return: float | None
    month_return: float | None
    equity: list[float]


def recent_results(strategy_ids: Iterable[UUID]) -> dict[UUID, RecentResult]:
    """Return what each strategy with a marked open account earned lately, in one query."""
    asked: dict[str, Any] = {"strategies": list(strategy_ids), "days": N_DAYS}
    with connection.cursor() as cursor:
        cursor.execute(_DAYS, asked)
        return {row[0]: _result(*row[1:]) for row in cursor.fetchall()}


def _result(
    starts: Sequence[datetime], growth: Sequence[float | None], equity: Sequence[float]
) -> RecentResult:
    newest = starts[-1]
    month = [
        value
        for at, value in zip(starts, growth, strict=True)
        if (at.year, at.month) == (newest.year, newest.month)
    ]
    recent = [
        value for at, value in zip(starts, equity, strict=True) if (newest - at).days < N_DAYS
    ]
    return RecentResult(_compounded(growth[-1:]), _compounded(month), recent)


def _compounded(growth: Iterable[float | None]) -> float | None:
    known = [value for value in growth if value is not None]
    return math.expm1(math.fsum(known)) if known else None
