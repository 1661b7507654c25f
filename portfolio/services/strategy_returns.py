"""Daily returns of strategies, from live trading or from a backtest and never a mixture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import compress
from uuid import UUID

import numpy as np
from django.db import connection
from django.db.models import Case, F, IntegerField, Q, When

from alphastrat.quant.types import FloatArray, IntArray
from strategies.models import BacktestRun
from strategies.services.run_archive import unpack_curves

LIVE = "live"
BACKTEST = "backtest"
NONE = "none"
# Fewer live days than a correlation needs say less than the backtest.
ENOUGH_LIVE_DAYS = 30
# A day that lost everything still has a logarithm.
RUIN = 1e-12
MICROSECONDS_PER_DAY = 86_400_000_000
EPOCH = date(1970, 1, 1).toordinal()
POSTGRES_EPOCH = date(2000, 1, 1).toordinal()
_LIVE = """
    SELECT a.strategy_id,
        string_agg(timestamptz_send(p.marked_at), ''::bytea ORDER BY p.marked_at),
        string_agg(float8send(p.bar_return), ''::bytea ORDER BY p.marked_at)
    FROM portfolio_equitypoint p JOIN portfolio_account a ON a.id = p.account_id
    WHERE a.strategy_id = ANY(%s) AND p.marked_at <= %s AND p.bar_return IS NOT NULL
    GROUP BY a.strategy_id, p.account_id
"""

# Days as proleptic ordinals, ascending, and the return of each.
Series = tuple[IntArray, FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class StrategyReturns:
    """Daily returns of several strategies on common days.

    Attributes
    ----------
    strategy_ids : tuple of UUID
        Columns of `matrix`, in the order they were asked for.
    dates : tuple of date, length n_days
        Days on which at least one strategy has a return, ascending.
    matrix : ndarray of shape (n_days, n_strategies)
        Fractions per day; NaN where a strategy has none.
    sources : tuple of str
        "live", "backtest" or "none" per strategy.
    run_ids : tuple of UUID or None
        The backtest run of each strategy whose source it is.
    """

    strategy_ids: tuple[UUID, ...]
    dates: tuple[date, ...]
    matrix: FloatArray
    sources: tuple[str, ...]
    run_ids: tuple[UUID | None, ...]

    @property
    def n_days(self) -> list[int]:
        """Return how many returns each strategy has."""
        return [int(n) for n in np.isfinite(self.matrix).sum(axis=0)]

    @property
    def is_mixed(self) -> bool:
        """Whether some strategies speak from live trading and others from a backtest."""
        return len(set(self.sources) - {NONE}) > 1

    @property
    def fingerprint(self) -> str:
        """Return what changes whenever a return, a day or a strategy does."""
        digest = hashlib.sha256(",".join(map(str, self.strategy_ids)).encode())
        digest.update(",".join(day.isoformat() for day in self.dates).encode())
        digest.update(np.ascontiguousarray(np.nan_to_num(self.matrix, nan=-9.0)).tobytes())
        return digest.hexdigest()

    def last(self, n_days: int | None) -> StrategyReturns:
        """Return the same over the newest days only."""
        if n_days is None or n_days >= len(self.dates):
            return self
        return StrategyReturns(
            self.strategy_ids,
            self.dates[-n_days:],
            self.matrix[-n_days:],
            self.sources,
            self.run_ids,
        )

    def first(self, n_strategies: int) -> StrategyReturns:
        """Return the same of the first strategies only, over the days that they have."""
        matrix = self.matrix[:, :n_strategies]
        has_any = np.asarray(np.isfinite(matrix).any(axis=1))
        return StrategyReturns(
            self.strategy_ids[:n_strategies],
            tuple(compress(self.dates, has_any)),
            matrix[has_any],
            self.sources[:n_strategies],
            self.run_ids[:n_strategies],
        )


def load(strategy_ids: Iterable[UUID], *, at: datetime, prefer: str = LIVE) -> StrategyReturns:
    """Return the daily returns of strategies as known at a time, in two queries.

    A strategy speaks from live trading once it has 30 days of it, and from its newest backtest
    before; `prefer="backtest"` asks for the backtest wherever there is one.
    """
    wanted = tuple(strategy_ids)
    live = {} if prefer == BACKTEST else _live(wanted, at=at)
    enough = {key: days for key, days in live.items() if len(days[0]) >= ENOUGH_LIVE_DAYS}
    runs = _runs([key for key in wanted if key not in enough], at=at)
    series = enough | {key: _daily(run) for key, run in runs.items()}
    # Little live trading is better than nothing at all.
    series |= {key: days for key, days in live.items() if key not in series}
    dates, matrix = _aligned([series.get(key) for key in wanted])
    sources = tuple(_source(key, series, runs) for key in wanted)
    run_ids = tuple(runs[key].pk if key in runs else None for key in wanted)
    return StrategyReturns(wanted, dates, matrix, sources, run_ids)


def _source(key: UUID, series: dict[UUID, Series], runs: dict[UUID, BacktestRun]) -> str:
    if key in runs:
        return BACKTEST
    return LIVE if key in series else NONE


def _live(strategy_ids: Sequence[UUID], *, at: datetime) -> dict[UUID, Series]:
    """Return the daily returns of live trading, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(_LIVE, [list(strategy_ids), at])
        rows = cursor.fetchall()
    found: dict[UUID, list[tuple[IntArray, FloatArray]]] = {}
    for key, closed, returns in rows:
        times = np.frombuffer(closed, dtype=">i8").astype(np.int64)
        growth = np.log(np.maximum(1.0 + np.frombuffer(returns, dtype=">f8").astype(float), RUIN))
        # A bar that closes at midnight belongs to the day that ends.
        days = (times - 1) // MICROSECONDS_PER_DAY + POSTGRES_EPOCH
        found.setdefault(key, []).append((days, growth))
    return {
        key: _by_day(*map(np.concatenate, zip(*parts, strict=True))) for key, parts in found.items()
    }


def _runs(strategy_ids: Sequence[UUID], *, at: datetime) -> dict[UUID, BacktestRun]:
    """Return the newest run of each strategy, of its current version where that has one."""
    if not strategy_ids:
        return {}
    is_current = Q(strategy_version=F("strategy_version__strategy__current_version"))
    runs = (
        BacktestRun.objects.succeeded()
        .filter(strategy_version__strategy__in=strategy_ids, finished_at__lte=at)
        .annotate(
            strategy=F("strategy_version__strategy"),
            version_rank=Case(When(is_current, then=0), default=1, output_field=IntegerField()),
        )
        .order_by("strategy", "version_rank", "-finished_at")
        .distinct("strategy")
        .only("pk", "curves")
    )
    return {run.strategy: run for run in runs}


def _by_day(days: IntArray, growth: FloatArray) -> Series:
    """Return the days that occur, ascending, and the return of each."""
    known, place = np.unique(days, return_inverse=True)
    return known, np.expm1(np.bincount(place, weights=growth, minlength=len(known)))


def _daily(run: BacktestRun) -> Series:
    curves = unpack_curves(run.curves or b"")
    closed = curves.times.as_unit("us").asi8 - 1
    days = closed // MICROSECONDS_PER_DAY + EPOCH
    return _by_day(days, np.log(np.maximum(1.0 + np.nan_to_num(curves.returns), RUIN)))


def _aligned(series: Sequence[Series | None]) -> tuple[tuple[date, ...], FloatArray]:
    known = [one for one in series if one is not None and len(one[0])]
    if not known:
        return (), np.zeros((0, len(series)))
    days = np.unique(np.concatenate([one[0] for one in known]))
    matrix = np.full((len(days), len(series)), np.nan)
    for column, one in enumerate(series):
        if one is not None and len(one[0]):
            matrix[np.searchsorted(days, one[0]), column] = one[1]
    return tuple(date.fromordinal(int(day)) for day in days), matrix
