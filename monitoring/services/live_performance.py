"""What all strategies of a person earn live, against what their backtests promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection

from alphastrat.quant.types import IntArray
from monitoring.quant.joint_path import JointPath, LiveMember, joint_path
from monitoring.services import packing
from monitoring.services.binary import binary_times, moment_of
from monitoring.services.observations import YEAR

# The largest accounts that one chart adds up: the first page does not wait for a thousand.
MOST_ACCOUNTS = 30

# Each account since its evidence began, day by day, with what it was worth before.
_PATHS = """
    WITH chosen AS (
        SELECT a.id, a.currency, a.equity, a.opening_cash, e.envelope, begun.at
                + floor(extract(epoch FROM a.marked_to - begun.at) / %(year)s)
                * make_interval(secs => %(year)s) AS since,
            count(*) OVER () AS n_promised
        FROM portfolio_account a
        JOIN strategies s ON s.id = a.strategy_id
        JOIN monitoring_expectation e ON e.strategy_id = s.id AND e.is_current
        LEFT JOIN monitoring_verification v ON v.strategy_id = s.id
        CROSS JOIN LATERAL (SELECT greatest(a.opened_at, v.evidence_from) AS at) begun
        WHERE a.closed_at IS NULL AND a.marked_to >= begun.at
            AND (%(owner)s::bigint IS NULL OR s.owner_id = %(owner)s)
        ORDER BY a.equity DESC, a.id LIMIT %(most)s
    )
    SELECT c.currency, c.envelope, c.n_promised, days.times, days.bars, days.growth, coalesce((
            SELECT p.equity FROM portfolio_equitypoint p
            WHERE p.account_id = c.id AND p.marked_at < c.since
            ORDER BY p.marked_at DESC LIMIT 1
        ), c.opening_cash)
    FROM chosen c CROSS JOIN LATERAL (
        SELECT string_agg(timestamptz_send(d.at), '' ORDER BY d.at) AS times,
            string_agg(int8send(d.bars), '' ORDER BY d.at) AS bars,
            string_agg(float8send(d.growth), '' ORDER BY d.at) AS growth
        FROM (
            SELECT max(p.marked_at) AS at, count(*) AS bars,
                sum(ln(1 + greatest(p.bar_return, -1 + 1e-12))) AS growth
            FROM portfolio_equitypoint p
            WHERE p.account_id = c.id AND p.marked_at >= c.since AND p.bar_return IS NOT NULL
            GROUP BY date_trunc('day', p.marked_at, 'UTC')
        ) d
    ) days
    WHERE days.times IS NOT NULL
"""


@dataclass(frozen=True, slots=True, eq=False)
class LivePerformance:
    """The joint path of a person's live strategies.

    Attributes
    ----------
    path : JointPath
        Returns and envelope.
    n_accounts, n_promised : int
        Accounts in it, and those that trade with a promise.
    """

    path: JointPath
    n_accounts: int
    n_promised: int

    @property
    def times(self) -> list[datetime]:
        return [at for one in self.path.times.tolist() if (at := moment_of(one)) is not None]


def live_performance(user: Any) -> LivePerformance | None:
    """Return what a person's strategies with a promise earned; None before the first bar.

    One statement. Accounts of several currencies count alike.
    """
    owner = None if user.sees_everyone else user.pk
    asked = {"owner": owner, "most": MOST_ACCOUNTS, "year": YEAR.total_seconds()}
    with connection.cursor() as cursor:
        cursor.execute(_PATHS, asked)
        rows = cursor.fetchall()
    if not rows:
        return None
    is_one = len({row[0] for row in rows}) == 1
    members = [one for row in rows if (one := _member(row, counts_alike=not is_one)) is not None]
    if not members:
        return None
    return LivePerformance(joint_path(members), len(members), rows[0][2])


def _member(row: Sequence[Any], *, counts_alike: bool) -> LiveMember | None:
    _, envelope, _, times, bars, growth, capital = row
    cone = packing.unpack_many([envelope]).envelopes
    if not cone.horizon[0] or capital <= 0:
        return None
    n_bars: IntArray = np.cumsum(np.frombuffer(bars, ">i8"), dtype=np.int64)
    return LiveMember(
        capital=1.0 if counts_alike else float(capital),
        times=binary_times(times),
        growth=np.cumsum(np.frombuffer(growth, ">f8")),
        position=n_bars - 1,
        centre=cone.centre[0],
        quantiles=cone.quantiles[0],
    )
