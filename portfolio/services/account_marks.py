"""The marks of accounts, read whole and packed: what drawdowns, sessions and results come from.

A mark per bar and account adds up: rows of Python objects would cost more than everything that
is computed from them. Amounts stay exact, as whole numbers of a ten-thousandth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection

from alphastrat.core.money import MONEY_PLACES
from alphastrat.quant.types import FloatArray, IntArray

# Binary times of PostgreSQL count microseconds from here.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY = 86_400_000_000
# A bar that lost everything still has a logarithm.
RUIN = 1e-12

# Whole numbers of 1/10,000 of the currency: int64, or Python's integers where those are too small.
ExactArray = np.ndarray[Any, Any]

_MARKS = """
    SELECT account_id,
        string_agg(timestamptz_send(marked_at), ''::bytea ORDER BY marked_at),
        string_agg(float8send(coalesce(bar_return, 'NaN')), ''::bytea ORDER BY marked_at),
        string_agg(replace(equity::text, '.', ''), ',' ORDER BY marked_at),
        array_agg(marked_at ORDER BY marked_at) FILTER (WHERE net_flow <> 0),
        array_agg(net_flow ORDER BY marked_at) FILTER (WHERE net_flow <> 0)
    FROM portfolio_equitypoint WHERE account_id = ANY(%s) GROUP BY account_id
"""


@dataclass(frozen=True, slots=True, eq=False)
class AccountMarks:
    """The marks of one account in order of time.

    Attributes
    ----------
    closed : ndarray of int64
        When each was made, in microseconds from `EPOCH`.
    growth : ndarray of float64
        Logarithm of 1 + the return of each bar; NaN where there is none.
    equity, flow : ndarray
        Worth, and the capital that came since the mark before, exact in 1/10,000.
    """

    closed: IntArray
    growth: FloatArray
    equity: ExactArray
    flow: ExactArray

    @property
    def sessions(self) -> IntArray:
        """Return the session of each mark, in days from `EPOCH`."""
        # A bar that closes at midnight belongs to the session that ends.
        return (self.closed - 1) // DAY

    def before(self, at: datetime | None) -> int:
        """Return how many marks were made by a time; none by None."""
        return 0 if at is None else int(np.searchsorted(self.closed, _instant(at), side="right"))

    def first_after(self, at: datetime) -> int:
        """Return the position of the first mark at a time or later; the length if there is none."""
        return int(np.searchsorted(self.closed, _instant(at), side="left"))


def load_marks(account_ids: Iterable[UUID]) -> dict[UUID, AccountMarks]:
    """Return the marks of accounts in one query; those that were never marked are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_MARKS, [list(account_ids)])
        return {row[0]: _unpacked(*row[1:]) for row in cursor.fetchall()}


def exact(amounts: Sequence[int]) -> ExactArray:
    """Return whole numbers of 1/10,000 as an array that holds them."""
    try:
        return np.array(amounts, dtype=np.int64)
    except OverflowError:
        return np.array(amounts, dtype=object)


def units(amount: Decimal) -> int:
    """Return an amount of money in 1/10,000."""
    return int(amount.scaleb(MONEY_PLACES))


def total_by(groups: IntArray, n_groups: int, amounts: ExactArray) -> ExactArray:
    """Return the sum of the amounts of each group, exactly."""
    largest = int(np.abs(amounts).max(initial=0))
    dtype = np.int64 if largest * max(len(amounts), 1) < 2**62 else object
    totals = np.zeros(n_groups, dtype=dtype)
    np.add.at(totals, groups, amounts.astype(dtype))
    return totals


def money(amount: Any) -> Decimal:
    """Return an exact amount in units of the currency."""
    return Decimal(int(amount)).scaleb(-MONEY_PLACES)


def moment(closed: Any) -> datetime:
    """Return the time of a mark."""
    return EPOCH + int(closed) * MICROSECOND


def day_of(session: Any) -> date:
    """Return the date of a session."""
    return date.fromordinal(EPOCH.toordinal() + int(session))


def _instant(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _unpacked(
    closed: Any, returns: Any, equity: str, flow_at: list[datetime] | None, flows: Any
) -> AccountMarks:
    times = np.frombuffer(closed, dtype=">i8").astype(np.int64)
    growth = np.log(np.maximum(1.0 + np.frombuffer(returns, dtype=">f8").astype(float), RUIN))
    flow = np.zeros(len(times), dtype=np.int64)
    if flow_at:
        amounts = exact([units(one) for one in flows])
        flow = flow.astype(amounts.dtype)
        flow[np.searchsorted(times, [_instant(at) for at in flow_at])] = amounts
    return AccountMarks(times, growth, exact(list(map(int, equity.split(",")))), flow)
