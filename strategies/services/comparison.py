"""Runs and strategies side by side: one period, one matrix of metrics, what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from alphastrat.core.errors import InvalidInput
from alphastrat.quant.measures import MEASURES, measure_all
from alphastrat.quant.trade_statistics import trade_statistics
from alphastrat.quant.types import FloatArray, IntArray
from strategies.models import BacktestRun, RunStatus, Strategy
from strategies.models.backtest import DOCUMENTS
from strategies.quant import comparison, registry
from strategies.quant.comparison import MIN_COMMON_BARS as MIN_COMMON_BARS
from strategies.quant.comparison import Track
from strategies.services.results import Results

LEAST, MOST, MOST_LINES = 2, 8, 6
LETTERS = "ABCDEFGH"
BY_DAY = frozenset({"1d", "1w", "1M"})
# Of round trips and positions, which the catalogue of measures does not hold.
OF_TRADES: tuple[tuple[str, str, bool | None], ...] = (
    ("n_round_trips", "Closed round trips", None),
    ("win_rate", "Win rate", True),
    ("profit_factor", "Profit factor", True),
    ("expectancy_return", "Average return of a round trip", True),
    ("payoff_ratio", "Payoff ratio", True),
    ("time_in_market", "Time in the market", None),
)
SHARED_SETTINGS: tuple[tuple[str, str], ...] = (
    ("plugin", "Strategy type"),
    ("version", "Version"),
    ("symbols", "Instruments"),
    ("timeframe", "Timeframe"),
    ("period", "Whole period of the run"),
    ("capital", "Capital"),
    ("engine", "Engine"),
    ("benchmark", "Benchmark"),
)
DOCUMENT_SETTINGS: tuple[tuple[str, str], ...] = (
    ("parameters", ""),
    ("sizing", "Position size: "),
    ("exit_rules", "Stops: "),
    ("costs", "Costs: "),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compare; without dates the whole common period."""

    runs: tuple[UUID, ...] = ()
    strategies: tuple[UUID, ...] = ()
    start: date | None = None
    end: date | None = None

    @property
    def n_subjects(self) -> int:
        return len(self.runs) + len(self.strategies)


@dataclass(frozen=True)
class Subject:
    """A run in the comparison; `letter` names it where its title does not fit."""

    letter: str
    run: BacktestRun
    strategy: Strategy | None = None

    @cached_property
    def results(self) -> Results:
        return Results(self.run)

    @property
    def label(self) -> str:
        return self.strategy.name if self.strategy else self.run.title

    @cached_property
    def track(self) -> Track:
        curves = self.results.curves
        return Track(curves.times, curves.equity, curves.capital)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of every subject; `best` holds the positions of the best defined values."""

    key: str
    label: str
    values: tuple[float | None, ...]
    best: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of every subject."""

    label: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True)
class Comparison:
    """Two to eight runs over one period; without a common day each over its own."""

    subjects: tuple[Subject, ...]
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    common_start: pd.Timestamp | None
    common_end: pd.Timestamp | None
    left_out: tuple[str, ...] = ()

    @property
    def has_period(self) -> bool:
        return self.start is not None

    @property
    def is_charted(self) -> bool:
        return self.has_period and len(self.subjects) <= MOST_LINES

    @property
    def by_day(self) -> bool:
        """Whether bars are matched by their day, because their lengths or markets differ."""
        frames = {subject.run.timeframe for subject in self.subjects}
        return len(frames) > 1 or bool(frames & BY_DAY)

    def rows(self, subject: Subject) -> slice:
        """Return the bars of a subject inside the period."""
        if self.start is None or self.end is None:
            return slice(0, len(subject.track.times))
        return subject.track.rows(self.start, self.end)

    def growth(self, subject: Subject) -> FloatArray:
        """Return the account as if it had begun the period with 100."""
        return comparison.growth(subject.track, self.rows(subject))

    def drawdown(self, subject: Subject) -> FloatArray:
        return comparison.drawdown_from(self.growth(subject))

    @cached_property
    def metrics(self) -> tuple[MetricRow, ...]:
        """Return every metric that at least one subject has."""
        numbers = [self._numbers(subject) for subject in self.subjects]
        # Over different periods none can be called the best.
        is_fair = self.has_period
        known = [(key, entry.label, entry.higher_is_better) for key, entry in MEASURES.items()]
        rows = [
            _metric_row(
                key,
                label,
                [_finite(of.get(key)) for of in numbers],
                higher=higher if is_fair else None,
            )
            for key, label, higher in (*known, *OF_TRADES)
        ]
        return tuple(row for row in rows if any(value is not None for value in row.values))

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Return every setting, those that differ first."""
        settings = [settings_of(subject.run) for subject in self.subjects]
        labels = dict.fromkeys(label for one in settings for label in one)
        rows = [
            Difference(label, tuple(one.get(label, "") for one in settings)) for label in labels
        ]
        return tuple(sorted(rows, key=lambda row: not row.differs))

    @cached_property
    def correlations(self) -> tuple[FloatArray, IntArray] | None:
        """Return the correlation of returns and the common returns of every pair."""
        if self.start is None or self.end is None:
            return None
        tracks = [subject.track for subject in self.subjects]
        return comparison.return_correlations(tracks, self.start, self.end, by_day=self.by_day)

    def _numbers(self, subject: Subject) -> dict[str, Any]:
        rows = self.rows(subject)
        if rows == slice(0, len(subject.track.times)):
            return subject.results.numbers
        return _numbers_within(subject.results, rows)


def load(user: Any, asked: Asked) -> Comparison:
    """Return the comparison of runs and of the newest backtests of strategies.

    Raises
    ------
    BacktestRun.DoesNotExist, Strategy.DoesNotExist
        If one is not there for this user.
    InvalidInput
        If fewer than two have a result, more than eight are asked for, or the dates leave nothing.
    """
    if asked.n_subjects > MOST:
        raise InvalidInput(
            f"At most {MOST} can stand side by side, {asked.n_subjects} were chosen.",
            fields={"r": f"Choose {LEAST} to {MOST}."},
        )
    if asked.start and asked.end and asked.start > asked.end:
        raise InvalidInput(
            "The period ends before it starts.", fields={"end": f"Choose a day from {asked.start}."}
        )
    subjects, left_out = _subjects(user, asked)
    if len(subjects) < LEAST:
        reasons = " ".join(left_out)
        raise InvalidInput(
            f"A comparison needs at least two results. {reasons}".strip(),
            fields={"r": f"Choose {LEAST} to {MOST} backtests or strategies."},
        )
    return _over_period(Comparison(tuple(subjects), None, None, None, None, tuple(left_out)), asked)


def candidates(user: Any, *, count: int) -> tuple[list[Strategy], list[BacktestRun]]:
    """Return strategies that have a backtest, and the newest runs with a result."""
    runs = BacktestRun.objects.for_user(user).succeeded().defer(*DOCUMENTS)
    strategies = Strategy.objects.for_user(user).with_performance()
    tested = strategies.exclude(latest_run=None)  # type: ignore[misc]
    return list(tested[:count]), list(runs[:count])


def settings_of(run: BacktestRun) -> dict[str, str]:
    """Return what a run was asked to do, by label."""
    version = run.strategy_version
    values = {
        "plugin": registry.label_of(run.plugin),
        "version": str(version) if version else "None",
        "symbols": ", ".join(run.symbols) or "Not said",
        "timeframe": run.timeframe,
        "period": run.period,
        "capital": f"{run.capital.normalize():f} {run.currency}",
        "engine": run.get_engine_display(),
        "benchmark": run.benchmark or "None",
    }
    shown = {label: values[key] for key, label in SHARED_SETTINGS}
    for name, prefix in DOCUMENT_SETTINGS:
        for key, value in getattr(run, name).items():
            if value not in (None, ""):
                label = key.replace("_", " ")
                shown[f"{prefix}{label}" if prefix else label.capitalize()] = _plain(value)
    return shown


def _subjects(user: Any, asked: Asked) -> tuple[list[Subject], list[str]]:
    strategies = _strategies(user, asked.strategies)
    newest = [getattr(strategy, "latest_run", None) for strategy in strategies]
    ids = dict.fromkeys([*asked.runs, *(run for run in newest if run is not None)])
    found = {
        run.pk: run
        for run in BacktestRun.objects.for_user(user)
        .select_related("strategy_version__strategy")
        .filter(pk__in=ids)
    }
    if len(found) < len(ids):
        raise BacktestRun.DoesNotExist
    by_run = {run_id: one for one, run_id in zip(strategies, newest, strict=True) if run_id}
    left_out = [f"{one.name} has no backtest yet." for one in strategies if not one.latest_run]  # type: ignore[attr-defined]
    left_out += [
        f"{run.title} has no result: it is {run.get_status_display().lower()}."
        for run in found.values()
        if run.status != RunStatus.SUCCEEDED
    ]
    chosen = [found[pk] for pk in ids if found[pk].status == RunStatus.SUCCEEDED]
    subjects = [
        Subject(letter, run, by_run.get(run.pk))
        for letter, run in zip(LETTERS, chosen, strict=False)
    ]
    return subjects, left_out


def _strategies(user: Any, ids: Sequence[UUID]) -> list[Strategy]:
    if not ids:
        return []
    known = Strategy.objects.for_user(user).with_performance().in_bulk(list(ids))
    if len(known) < len(set(ids)):
        raise Strategy.DoesNotExist
    return [known[pk] for pk in dict.fromkeys(ids)]


def _over_period(whole: Comparison, asked: Asked) -> Comparison:
    common = comparison.common_period([subject.track for subject in whole.subjects])
    if common is None:
        return whole
    start, end = common
    if asked.start:
        start = max(start, pd.Timestamp(asked.start, tz="UTC"))
    if asked.end:
        end = min(end, pd.Timestamp(asked.end, tz="UTC"))
    narrowed = replace(whole, start=start, end=end, common_start=common[0], common_end=common[1])
    empty = [one.letter for one in whole.subjects if _is_empty(narrowed.rows(one))]
    if empty:
        reason = f"The common period is {common[0]:%Y-%m-%d} to {common[1]:%Y-%m-%d}."
        raise InvalidInput("There is no bar in this period.", fields={"start": reason})
    return narrowed


def _is_empty(rows: slice) -> bool:
    return bool(rows.stop <= rows.start)


def _numbers_within(results: Results, rows: slice) -> dict[str, Any]:
    """Measure the bars and the round trips that closed inside a part of a run."""
    curves, periods = results.curves, results.run.periods_per_year or 252.0
    benchmark = curves.benchmark_returns
    measured = measure_all(
        curves.returns[rows],
        periods_per_year=periods,
        benchmark=None if benchmark is None else benchmark[rows],
    )
    start, end = curves.times[rows.start], curves.times[rows.stop - 1]
    day = timedelta(days=1)
    trips = results.closed
    trips = trips[
        (trips["exit_time"] >= start.normalize()) & (trips["exit_time"] < end.normalize() + day)
    ]
    of_trips = trade_statistics(trips["pnl"].to_numpy(), trips["return"].to_numpy())
    gross = curves.gross[rows]
    return {
        **{key: float(value) for key, value in measured.items()},
        **{key: getattr(of_trips, key) for key, *_ in OF_TRADES if hasattr(of_trips, key)},
        "time_in_market": float((gross > 0).mean()) if np.isfinite(gross).any() else None,
    }


def _metric_row(
    key: str, label: str, values: Sequence[float | None], *, higher: bool | None
) -> MetricRow:
    known = [value for value in values if value is not None]
    best: tuple[int, ...] = ()
    if higher is not None and len(known) > 1 and max(known) > min(known):
        top = max(known) if higher else min(known)
        best = tuple(i for i, value in enumerate(values) if value == top)
    return MetricRow(key, label, tuple(values), best)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
