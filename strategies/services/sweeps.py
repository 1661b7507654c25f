"""Parameter sweeps: estimated before the start, computed in chunks, stored as they come."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from django.conf import settings
from django.db import transaction

from alphastrat.core.errors import AlphaStratError, InvalidInput
from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jsonable import jsonable
from alphastrat.quant.types import FloatArray, IntArray
from strategies.models import Sweep, SweepChunk, Trial
from strategies.models.sweep import Method, Objective
from strategies.quant.bayesian import BayesianSearch
from strategies.quant.chunks import ChunkResult, Ground, evaluate
from strategies.quant.grid import Grid
from strategies.services import executors, searching, sweep_archive, sweep_judging
from strategies.services.search_space import MAX_SETS
from strategies.services.specification import Specification
from strategies.services.trials import record_trials, set_keys

TASK = "strategies.search_tasks.run_sweep"
KIND = "sweep"
MAX_CHUNK = 2_500
# A chunk is what a crash loses and what a cancellation waits for.
CHUNK_SECONDS = 5.0
BATCH = 16
MAX_BUDGET = 5_000
# Comparing every split with every judged trial for the overfitting probability.
JUDGING_BYTES = 32 * 2**20
JUDGING_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A sweep as asked for; `budget` is how many sets a Bayesian one may try."""

    specification: Specification
    space: Mapping[str, Any]
    method: str = Method.GRID.value
    objective: str = Objective.SHARPE.value
    budget: int = 200


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A checked sweep and what it will take."""

    search: searching.SearchPlan
    request: SweepRequest
    n_sets: int
    chunk_size: int

    @property
    def n_chunks(self) -> int:
        return math.ceil(self.n_tried / self.chunk_size)

    @property
    def n_tried(self) -> int:
        """Return how many sets are gone through, those that contradict themselves included."""
        is_grid = self.request.method == Method.GRID
        return self.search.grid.n_sets if is_grid else self.n_sets

    @property
    def seconds(self) -> float:
        """Return about how long a warm worker takes, by the rate of a trial run."""
        proposing = 0.0 if self.request.method == Method.GRID else 0.02 * self.n_sets
        return JUDGING_SECONDS + self.n_sets * (self.search.seconds_per_set + 1e-4) + proposing

    @property
    def peak_bytes(self) -> int:
        return _bytes(self.search, self.n_sets, self.chunk_size)


def check(asked: SweepRequest) -> SweepPlan:
    """Return the plan of a sweep; raises InvalidInput or NotEnoughData per field.

    What does not fit into memory at once is cut into chunks; what cannot be cut is refused.
    """
    problems = _wrong_choices(asked)
    is_grid = asked.method == Method.GRID
    try:
        search = searching.check_search(
            asked.specification, asked.space, limit=MAX_SETS if is_grid else None
        )
    except InvalidInput as error:
        raise InvalidInput(str(error), fields={**error.fields, **problems}) from None
    if problems:
        raise InvalidInput("Some of the settings cannot be used.", fields=problems)
    n_sets = search.n_sets if is_grid else min(asked.budget, search.n_sets)
    plan = SweepPlan(search, asked, n_sets, _chunk_size(search, n_sets, is_grid=is_grid))
    if plan.seconds > settings.JOB_TIMEOUT_SECONDS:
        raise InvalidInput(
            f"This would take about {plan.seconds / 3600:,.0f} hours.",
            fields={
                "space": "Take wider steps or fewer instruments, or search with the Bayesian "
                "method."
            },
        )
    return plan


@transaction.atomic
def request_sweep(owner: Any, asked: SweepRequest, *, at: datetime, version: Any = None) -> Sweep:
    """Check what is asked, store it as queued and ask a worker for it on commit."""
    plan = check(asked)
    sweep = Sweep.objects.create(
        owner=owner,
        strategy_version=version,
        requested_at=at,
        n_sets=plan.search.grid.n_sets,
        method=asked.method,
        objective=asked.objective,
        budget=plan.n_sets if asked.method == Method.BAYESIAN else None,
        chunk_size=plan.chunk_size,
        **searching.columns_of(plan.search, asked.space, title=asked.specification.title),
    )
    searching.send(sweep, task=TASK, kind=KIND)
    return sweep


def run_sweep(search_id: str, progress: JobProgress, *, at: datetime) -> Sweep:
    """Compute a sweep and store it; after a crash it goes on at the next chunk."""
    sweep = Sweep.objects.get(pk=search_id)
    if not searching.start(sweep, at=at):
        return sweep
    try:
        ground, grid, loaded = searching.prepare(sweep)
        facts = searching.facts_of(sweep, ground, loaded)
        _forget_other_bars(sweep, loaded.fingerprint)
        frames = _Run(sweep, ground, grid, progress).frames()
        _store(sweep, grid, ground, sweep_archive.join_chunks(frames), facts, at=at)
    except AlphaStratError as error:
        searching.stop(sweep, status="failed", reason=str(error), code=error.code, at=at)
        raise
    sweep.refresh_from_db()
    return sweep


class _Run:
    """Goes through the chunks of one sweep, those of an earlier attempt first."""

    def __init__(self, sweep: Sweep, ground: Ground, grid: Grid, progress: JobProgress) -> None:
        self.sweep, self.ground, self.grid, self.progress = sweep, ground, grid, progress
        self.stored = {
            number: sweep_archive.unpack_chunk(block)
            for number, block in sweep.chunks.values_list("number", "results")
        }
        self.n_done = sum(len(frame) for frame in self.stored.values())
        self.n_wanted = grid.n_sets if sweep.method == Method.GRID else int(sweep.budget or 1)

    def frames(self) -> list[pd.DataFrame]:
        """Return the frame of every chunk, computing those that are not stored."""
        self._say()
        with executors.connect() as site:
            if self.sweep.method == Method.GRID:
                self._whole_grid(site)
            else:
                self._bayesian(site)
        return [self.stored[number] for number in sorted(self.stored)]

    def _whole_grid(self, site: executors.Site) -> None:
        shared = site.share(self.ground)
        waiting: deque[tuple[int, IntArray, Future[ChunkResult]]] = deque()
        for number, numbers in self._chunks():
            if number in self.stored:
                continue
            future = site.executor.submit(evaluate, shared, self.grid.sets(numbers))
            waiting.append((number, numbers, future))
            if len(waiting) >= site.n_parallel:
                self._keep(*waiting.popleft())
        while waiting:
            self._keep(*waiting.popleft())

    def _chunks(self) -> Iterator[tuple[int, IntArray]]:
        size = self.sweep.chunk_size
        for number, start in enumerate(range(0, self.grid.n_sets, size)):
            yield number, np.arange(start, min(start + size, self.grid.n_sets))

    def _bayesian(self, site: executors.Site) -> None:
        """Ask, try and tell, batch after batch; then try the neighbours of the best."""
        search = BayesianSearch(self.grid, seed=self.sweep.seed)
        shared = site.share(self.ground)
        known: dict[int, float] = {}
        n_batches = math.ceil(self.n_wanted / BATCH)
        for number in range(n_batches):
            asked = search.ask(min(BATCH, self.n_wanted - number * BATCH))
            fresh = np.array([n for n in dict.fromkeys(asked.tolist()) if n not in known], int)
            known |= self._try(site, shared, number, fresh)
            search.tell(np.array([known[n] for n in asked.tolist()]))
        finite = {n: value for n, value in known.items() if math.isfinite(value)}
        if finite:
            near = self.grid.neighbours(max(finite, key=lambda n: finite[n]))
            fresh = np.array([n for n in near.tolist() if n not in known], int)
            self._try(site, shared, n_batches, fresh)

    def _try(
        self, site: executors.Site, shared: Any, number: int, numbers: IntArray
    ) -> dict[int, float]:
        if number not in self.stored:
            future = site.executor.submit(evaluate, shared, self.grid.sets(numbers))
            self._keep(number, numbers, future)
        frame = self.stored[number]
        values = frame[self.sweep.objective].where(frame["is_valid"].astype(bool))
        return dict(zip(frame["number"].tolist(), values.tolist(), strict=True))

    def _keep(self, number: int, numbers: IntArray, future: Future[ChunkResult]) -> None:
        try:
            found = future.result()
        except ValueError as error:
            raise InvalidInput(f"The strategy cannot use these bars: {error}.") from error
        block = sweep_archive.pack_chunk(numbers, found)
        with transaction.atomic():
            _count(self.sweep, self.grid, numbers, found, self.ground.config.periods_per_year)
            SweepChunk.objects.bulk_create(
                [SweepChunk(sweep=self.sweep, number=number, n_sets=len(numbers), results=block)],
                ignore_conflicts=True,
            )
        self.stored[number] = sweep_archive.unpack_chunk(block)
        self.n_done += len(numbers)
        self.progress.job.done = min(self.n_done, self.n_wanted)
        self.progress.save_checkpoint({"chunks": len(self.stored), "sets": self.n_done})
        self._say()

    def _say(self) -> None:
        done = min(self.n_done, self.n_wanted)
        self.progress.update(done, self.n_wanted, f"{self.n_done:,} sets tried")


def _count(sweep: Sweep, grid: Grid, numbers: IntArray, found: ChunkResult, periods: float) -> None:
    """Count every set that was tried as a look at the hypothesis."""
    sharpes: FloatArray = found.metrics[:, 3] / math.sqrt(periods)
    keys = set_keys(sweep, grid.sets(numbers[found.is_valid]))
    looks = zip(keys, sharpes[found.is_valid].tolist(), strict=True)
    record_trials(sweep, looks, source=Trial.Source.SWEEP, span=(sweep.start_at, sweep.end_at))


def _forget_other_bars(sweep: Sweep, fingerprint: str) -> None:
    """Start over where bars were restated between two attempts: chunks must not be a mixture."""
    if sweep.data_fingerprint and sweep.data_fingerprint != fingerprint:
        sweep.chunks.all().delete()
    Sweep.objects.filter(pk=sweep.pk).update(data_fingerprint=fingerprint)


@transaction.atomic
def _store(
    sweep: Sweep,
    grid: Grid,
    ground: Ground,
    frame: pd.DataFrame,
    facts: dict[str, Any],
    *,
    at: datetime,
) -> None:
    if frame.empty:
        raise InvalidInput("No set that was tried is allowed; choose other ranges.")
    summary = sweep_judging.judge(sweep, grid, ground, frame)
    overfitting = summary["overfitting"] or {}
    smoothed = sweep_judging.smoothed_of(sweep, grid, frame)
    stored = Sweep.objects.filter(pk=sweep.pk, status="running").update(
        status="succeeded",
        finished_at=at,
        results=sweep_archive.pack_results(frame, smoothed),
        summary=jsonable(summary),
        n_evaluated=len(frame),
        best_sharpe=_column(summary["best"]["metrics"]["sharpe"]),
        plateau_sharpe=_column(summary["plateau"]["metrics"]["sharpe"]),
        stability=_column(summary["plateau"]["stability"]["ratio"]),
        overfitting_probability=_column(overfitting.get("probability")),
        **jsonable(facts),
    )
    if stored:
        sweep.chunks.all().delete()
        searching.announce(sweep)


def _wrong_choices(asked: SweepRequest) -> dict[str, str]:
    problems = {}
    if asked.method not in Method.values:
        problems["method"] = f"Choose {' or '.join(Method.values)}."
    if asked.objective not in Objective.values:
        problems["objective"] = f"Choose {' or '.join(Objective.values)}."
    if asked.method == Method.BAYESIAN and not 10 <= asked.budget <= MAX_BUDGET:
        problems["budget"] = f"Choose 10 to {MAX_BUDGET:,} sets."
    return problems


def _chunk_size(search: searching.SearchPlan, n_sets: int, *, is_grid: bool) -> int:
    """Return how many sets are tried at once; raises InvalidInput where not even one fits."""
    limit = searching.memory_limit()
    free = limit - _bytes(search, n_sets, 0)
    fits = free // search.bytes_per_set
    if fits < 1:
        needed = _bytes(search, n_sets, 1)
        raise InvalidInput(
            f"Not even one set fits: {needed / 2**20:,.0f} MB are needed, {limit / 2**20:,.0f} MB "
            "are allowed.",
            fields={
                "symbols": "Take fewer instruments, a shorter period or fewer sets, or raise "
                "SWEEP_MEMORY_MB."
            },
        )
    if not is_grid:
        return min(BATCH, int(fits))
    quick = max(1, int(CHUNK_SECONDS / max(search.seconds_per_set, 1e-6)))
    return int(min(fits, quick, MAX_CHUNK, search.grid.n_sets))


def _bytes(search: searching.SearchPlan, n_sets: int, chunk_size: int) -> int:
    judging = min(JUDGING_BYTES, n_sets * 16 * 2**10)
    results = n_sets * 2 * searching.BYTES_PER_RESULT
    return search.bytes_fixed + chunk_size * search.bytes_per_set + results + judging


def _column(value: Any) -> str | None:
    known = value is not None and math.isfinite(value) and abs(value) < 1e9
    return f"{value:.6f}" if known else None
