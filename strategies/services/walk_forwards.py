"""Walk-forward analyses: asked for, computed fold by fold in a worker, stored whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from django.conf import settings
from django.db import transaction

from alphastrat.core.errors import AlphaStratError, InvalidInput, NotEnoughData
from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jsonable import jsonable
from alphastrat.quant.measures import measure_all
from alphastrat.quant.types import FloatArray
from strategies.models import Trial, WalkForward
from strategies.models.walk_forward import Scheme, Selection
from strategies.quant.chunks import Ground, accepted, simulate_sets
from strategies.quant.combinatorial import combinatorial_sharpes
from strategies.quant.grid import Grid, smooth
from strategies.quant.sweep import SweepResult
from strategies.quant.walk_forward import (
    Fold,
    FoldResult,
    WalkForwardResult,
    best_sharpe,
    default_folds,
    walk_forward,
)
from strategies.services import market, measuring, searching, specification
from strategies.services.run_archive import pack_trips as pack_frame
from strategies.services.run_archive import unpack_trips as unpack_frame
from strategies.services.specification import Specification
from strategies.services.trials import record_trials, set_keys

TASK = "strategies.search_tasks.run_walk_forward"
KIND = "walk-forward"
MAX_SETS = 20_000
MAX_FOLDS = 100
EMBARGO_SHARE = 0.01
# Fewer bars than this out of sample say nothing.
LEAST_TEST_BARS = 5
PATH_FOLDS, PATH_TEST_FOLDS = 8, 2
MAX_PATH_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class WalkForwardRequest:
    """A walk-forward analysis as asked for; `purge` and `embargo` None choose by themselves."""

    specification: Specification
    space: Mapping[str, Any]
    scheme: str = Scheme.ROLLING.value
    selection: str = Selection.PEAK.value
    n_folds: int = 6
    train_share: float = 0.7
    purge: int | None = None
    embargo: int | None = None


@dataclass(frozen=True, slots=True)
class WalkForwardPlan:
    """A checked walk-forward analysis and what it will take."""

    search: searching.SearchPlan
    request: WalkForwardRequest
    purge: int
    embargo: int
    n_train: int
    n_test: int

    @property
    def n_trials(self) -> int:
        return self.search.n_sets * self.request.n_folds

    @property
    def seconds(self) -> float:
        """Return about how long a warm worker takes, by the rate of a trial run."""
        share = self.n_train / self.search.n_rows
        passes = 1.0 + self.request.n_folds * min(1.0, share)
        return 0.3 + self.search.n_sets * self.search.seconds_per_set * passes

    @property
    def peak_bytes(self) -> int:
        own = self.search.bytes_per_set + searching.BYTES_PER_RESULT
        return self.search.bytes_fixed + self.search.n_sets * own


def check(asked: WalkForwardRequest) -> WalkForwardPlan:
    """Return the plan of a walk-forward; raises InvalidInput or NotEnoughData per field."""
    problems = _wrong_choices(asked)
    try:
        search = searching.check_search(asked.specification, asked.space, limit=MAX_SETS)
    except InvalidInput as error:
        raise InvalidInput(str(error), fields={**error.fields, **problems}) from None
    if problems:
        raise InvalidInput("Some of the folds' settings cannot be used.", fields=problems)
    purge, embargo = _gaps(asked, search.n_rows)
    folds = _folds(asked, search.n_rows, gap=purge + embargo)
    n_test = folds[0].test_stop - folds[0].test_start
    n_train = folds[0].train_stop - folds[0].train_start
    if n_test < LEAST_TEST_BARS or n_train < LEAST_TEST_BARS:
        raise _too_short(asked, search.n_rows, gap=purge + embargo)
    plan = WalkForwardPlan(search, asked, purge, embargo, n_train, n_test)
    _check_size(plan)
    return plan


@transaction.atomic
def request_walk_forward(
    owner: Any,
    asked: WalkForwardRequest,
    *,
    at: datetime,
    version: Any = None,
) -> WalkForward:
    """Check what is asked, store it as queued and ask a worker for it on commit."""
    plan = check(asked)
    analysis = WalkForward.objects.create(
        owner=owner,
        strategy_version=version,
        requested_at=at,
        n_sets=plan.search.grid.n_sets,
        scheme=asked.scheme,
        selection=asked.selection,
        n_folds=asked.n_folds,
        train_share=asked.train_share,
        purge=plan.purge,
        embargo=plan.embargo,
        **searching.columns_of(plan.search, asked.space, title=asked.specification.title),
    )
    searching.send(analysis, task=TASK, kind=KIND)
    return analysis


def run_walk_forward(search_id: str, progress: JobProgress, *, at: datetime) -> WalkForward:
    """Compute a walk-forward and store it; after a crash it goes on at the next fold."""
    analysis = WalkForward.objects.get(pk=search_id)
    if not searching.start(analysis, at=at):
        return analysis
    try:
        outcome = _compute(analysis, progress)
    except AlphaStratError as error:
        searching.stop(analysis, status="failed", reason=str(error), code=error.code, at=at)
        raise
    _store(analysis, outcome, at=at)
    analysis.refresh_from_db()
    return analysis


def equity_frame(analysis: WalkForward) -> pd.DataFrame:
    """Return time, fold, equity, benchmark and return of every out-of-sample bar."""
    return unpack_frame(analysis.curves or b"")


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    result: WalkForwardResult
    frame: pd.DataFrame
    numbers: dict[str, float]
    benchmark: dict[str, float]
    paths: dict[str, Any] | None
    n_evaluated: int
    facts: dict[str, Any]


def _compute(analysis: WalkForward, progress: JobProgress) -> _Outcome:
    progress.update(0, analysis.n_folds + 1, "Reading bars")
    ground, grid, loaded = searching.prepare(analysis)
    numbers, sets = _sets(ground, grid)
    folds = _shifted(_stored_folds(analysis, loaded.panel.n_bars), loaded.offset)
    finished = _finished(progress, loaded.fingerprint, len(sets))
    keeper = _Keeper(analysis, progress, ground, sets, grid, numbers, loaded.fingerprint)
    keeper.states = [result.as_state() for result in finished]
    progress.update(len(finished), analysis.n_folds + 1, f"Fold {len(finished) + 1}")
    whole = [{**ground.fixed, **own} for own in sets]
    result = walk_forward(
        ground.key,
        whole,
        ground.history,
        config=ground.config,
        folds=folds,
        choose=keeper.choose,
        finished=finished,
        on_fold=keeper.on_fold,
    )
    progress.update(analysis.n_folds, analysis.n_folds + 1, "Measuring")
    frame = _frame(result, loaded, capital=float(analysis.capital), benchmark=analysis.benchmark)
    measured, held = _measured(frame, float(analysis.capital), ground.config.periods_per_year)
    paths = _paths(analysis, ground, sets)
    return _Outcome(
        result=_varied_only(result, grid),
        frame=frame,
        numbers=measured,
        benchmark=held,
        paths=paths,
        n_evaluated=result.n_trials,
        facts=searching.facts_of(analysis, ground, loaded),
    )


class _Keeper:
    """Counts the looks of every fold and keeps the fold for the next attempt."""

    def __init__(
        self,
        analysis: WalkForward,
        progress: JobProgress,
        ground: Ground,
        sets: Sequence[Mapping[str, Any]],
        grid: Grid,
        numbers: Any,
        fingerprint: str,
    ) -> None:
        self.analysis, self.progress, self.ground = analysis, progress, ground
        self.grid, self.numbers, self.fingerprint = grid, numbers, fingerprint
        self.states: list[dict[str, Any]] = []
        self.sharpes: FloatArray = np.empty(0)
        self.keys = set_keys(analysis, sets)

    def choose(self, swept: SweepResult, sets: Sequence[Mapping[str, Any]]) -> int:
        self.sharpes = swept.sharpe
        if self.analysis.selection == Selection.PLATEAU:
            return int(np.argmax(smooth(self.grid, self.numbers, swept.sharpe)))
        return best_sharpe(swept, sets)

    def on_fold(self, result: FoldResult) -> None:
        times = self.ground.history.index
        fold = result.fold
        span = (
            times[fold.train_start].to_pydatetime(),
            times[fold.train_stop - 1].to_pydatetime(),
        )
        annual = math.sqrt(self.ground.config.periods_per_year)
        looks = zip(self.keys, (self.sharpes / annual).tolist(), strict=True)
        record_trials(self.analysis, looks, source=Trial.Source.WALK_FORWARD, span=span)
        self.states.append(jsonable(result.as_state()))
        done = len(self.states)
        self.progress.job.done = done
        state = {
            "fingerprint": self.fingerprint,
            "n_sets": len(self.keys),
            "folds": self.states,
        }
        self.progress.save_checkpoint(state)
        if done < self.analysis.n_folds:
            self.progress.update(done, self.analysis.n_folds + 1, f"Fold {done + 1}")


@transaction.atomic
def _store(analysis: WalkForward, outcome: _Outcome, *, at: datetime) -> None:
    result, numbers = outcome.result, outcome.numbers
    columns = measuring.headlines(numbers)
    stored = WalkForward.objects.filter(pk=analysis.pk, status="running").update(
        status="succeeded",
        finished_at=at,
        curves=pack_frame(outcome.frame),
        folds=jsonable([_fold_document(fold, outcome.frame) for fold in result.folds]),
        efficiency=_column(result.efficiency),
        sharpe_efficiency=_column(result.sharpe_efficiency),
        sharpe_ratio=columns["sharpe_ratio"],
        total_return=columns["total_return"],
        max_drawdown=columns["max_drawdown"],
        n_trades=sum(fold.n_trips for fold in result.folds),
        n_evaluated=outcome.n_evaluated,
        summary=jsonable(
            {"strategy": numbers, "benchmark": outcome.benchmark, "paths": outcome.paths}
        ),
        **jsonable(outcome.facts),
    )
    if stored:
        searching.announce(analysis)


def _sets(ground: Ground, grid: Grid) -> tuple[Any, list[dict[str, Any]]]:
    numbers = np.arange(grid.n_sets)
    varied = grid.sets(numbers)
    keep = accepted(ground.key, ground.fixed, varied)
    return numbers[keep], [own for own, ok in zip(varied, keep, strict=True) if ok]


def _finished(progress: JobProgress, fingerprint: str, n_sets: int) -> list[FoldResult]:
    """Return the folds that an earlier attempt stored, unless the bars have changed since."""
    kept = progress.checkpoint
    if kept.get("fingerprint") != fingerprint or kept.get("n_sets") != n_sets:
        return []
    return [FoldResult.from_state(state) for state in kept["folds"]]


def _stored_folds(analysis: WalkForward, n_bars: int) -> tuple[Fold, ...]:
    asked = WalkForwardRequest(
        searching.specification_of(analysis),
        analysis.space,
        scheme=analysis.scheme,
        n_folds=analysis.n_folds,
        train_share=analysis.train_share,
    )
    return _folds(asked, n_bars, gap=analysis.purge + analysis.embargo)


def _folds(asked: WalkForwardRequest, n_bars: int, *, gap: int) -> tuple[Fold, ...]:
    try:
        return default_folds(
            n_bars,
            n_folds=asked.n_folds,
            train_share=asked.train_share,
            purge=gap,
            is_anchored=asked.scheme == Scheme.ANCHORED,
        )
    except (ValueError, ZeroDivisionError):
        raise _too_short(asked, n_bars, gap=gap) from None


def _too_short(asked: WalkForwardRequest, n_bars: int, *, gap: int) -> NotEnoughData:
    ratio = asked.train_share / (1.0 - asked.train_share)
    needed = math.ceil(LEAST_TEST_BARS * max(1.0, 1 / ratio) * (asked.n_folds + ratio)) + gap
    return NotEnoughData(
        f"{asked.n_folds} folds need {needed} bars; the period has about {n_bars}.",
        needed=needed,
        available=n_bars,
        fields={
            "n_folds": f"Take fewer folds, a longer period or smaller gaps: {needed} bars are "
            f"needed and about {n_bars} are there."
        },
    )


def _shifted(folds: tuple[Fold, ...], offset: int) -> tuple[Fold, ...]:
    return tuple(Fold(**{name: at + offset for name, at in asdict(fold).items()}) for fold in folds)


def _gaps(asked: WalkForwardRequest, n_bars: int) -> tuple[int, int]:
    """Return purge and embargo; by themselves the longest holding time and 1 % of the bars."""
    held = int(asked.specification.exit_rules.get("max_bars") or 0)
    # A wish of the last bar in sample fills one bar later.
    purge = held + 1 if asked.purge is None else asked.purge
    embargo = math.ceil(EMBARGO_SHARE * n_bars) if asked.embargo is None else asked.embargo
    return purge, embargo


def _wrong_choices(asked: WalkForwardRequest) -> dict[str, str]:
    problems = {}
    if asked.scheme not in Scheme.values:
        problems["scheme"] = f"Choose {' or '.join(Scheme.values)}."
    if asked.selection not in Selection.values:
        problems["selection"] = f"Choose {' or '.join(Selection.values)}."
    if not 1 <= asked.n_folds <= MAX_FOLDS:
        problems["n_folds"] = f"Choose 1 to {MAX_FOLDS} folds."
    if not 0.1 <= asked.train_share <= 0.95:
        problems["train_share"] = "Choose a share from 10 % to 95 %."
    for name in ("purge", "embargo"):
        value = getattr(asked, name)
        if value is not None and not 0 <= value <= 100_000:
            problems[name] = "Choose 0 or more bars."
    return problems


def _check_size(plan: WalkForwardPlan) -> None:
    limit = searching.memory_limit()
    if plan.peak_bytes > limit:
        fits = max(0, (limit - plan.search.bytes_fixed) // plan.search.bytes_per_set)
        raise InvalidInput(
            f"This would take {plan.peak_bytes / 2**20:,.0f} MB; {limit / 2**20:,.0f} MB are "
            "allowed.",
            fields={
                "space": f"About {fits:,} sets fit with these instruments: take wider steps, or "
                "fewer instruments."
            },
        )
    if plan.seconds > settings.JOB_TIMEOUT_SECONDS:
        raise InvalidInput(
            f"This would take about {plan.seconds / 3600:,.0f} hours.",
            fields={"space": "Take wider steps, fewer instruments or fewer folds."},
        )


def _frame(
    result: WalkForwardResult, loaded: market.Market, *, capital: float, benchmark: str
) -> pd.DataFrame:
    folds = np.concatenate([np.full(len(fold.returns), fold.number + 1) for fold in result.folds])
    held = np.full(len(result.index), np.nan)
    if benchmark != specification.NO_BENCHMARK:
        whole = loaded.benchmark or loaded.panel
        rows = whole.index.get_indexer(result.index)
        held = measuring.buy_and_hold(whole.window(int(rows[0]), whole.n_bars), capital=capital)
        held = held[rows - rows[0]]
    return pd.DataFrame(
        {
            "time": result.index,
            "fold": folds,
            "equity": result.equity,
            "benchmark": held,
            "return": result.returns,
        }
    )


def _measured(
    frame: pd.DataFrame, capital: float, n_periods: float
) -> tuple[dict[str, float], dict[str, float]]:
    held = frame["benchmark"].to_numpy()
    against = None
    alone: dict[str, float] = {}
    if np.isfinite(held).any():
        against = np.diff(np.concatenate(([capital], held))) / np.concatenate(
            ([capital], held[:-1])
        )
        alone = _numbers(measure_all(against, periods_per_year=n_periods))
    returns = frame["return"].to_numpy()
    measured = measure_all(returns, periods_per_year=n_periods, benchmark=against)
    return _numbers(measured), alone


def _numbers(measured: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in measured.items()}


def _paths(
    analysis: WalkForward, ground: Ground, sets: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return the Sharpe ratios of combinatorial out-of-sample paths; None where they do not fit."""
    n_bars = ground.period.n_bars
    gap = analysis.purge + analysis.embargo
    if len(sets) * n_bars * 12 > MAX_PATH_BYTES or n_bars // PATH_FOLDS < LEAST_TEST_BARS + 2 * gap:
        return None
    returns = simulate_sets(ground, sets, keep_returns=True).returns
    if returns is None or not np.isfinite(returns).all():
        return None
    found = combinatorial_sharpes(
        returns,
        n_folds=PATH_FOLDS,
        n_test_folds=PATH_TEST_FOLDS,
        purge=analysis.purge,
        embargo=analysis.embargo,
        periods_per_year=ground.config.periods_per_year,
    )
    document: dict[str, Any] = jsonable(found)
    return document


def _varied_only(result: WalkForwardResult, grid: Grid) -> WalkForwardResult:
    names = {axis.name for axis in grid.axes}
    folds = tuple(
        replace(fold, parameters={n: v for n, v in fold.parameters.items() if n in names})
        for fold in result.folds
    )
    return replace(result, folds=folds)


def _fold_document(fold: FoldResult, frame: pd.DataFrame) -> dict[str, Any]:
    own = frame[frame["fold"] == fold.number + 1]
    document = fold.as_state()
    document.pop("returns")
    spans = {
        "test_start_at": own["time"].iloc[0],
        "test_end_at": own["time"].iloc[-1],
        "n_test": len(own),
        "n_train": fold.fold.train_stop - fold.fold.train_start,
    }
    return {**document, **spans, "number": fold.number + 1}


def _column(value: float) -> str | None:
    return f"{value:.6f}" if math.isfinite(value) and abs(value) < 1e9 else None
