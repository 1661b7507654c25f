"""What walk-forwards and sweeps have in common: checked, estimated, loaded, ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from alphastrat.core import live
from alphastrat.core.errors import AlphaStratError, ConflictError, InvalidInput
from alphastrat.core.jobs import enqueue, retry
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from alphastrat.quant.calendars import periods_per_year
from alphastrat.quant.statistics import minimum_backtest_years
from alphastrat.quant.types import Timeframe
from strategies.models.search import STOPPED, UNFINISHED, Search, SearchStatus
from strategies.quant import registry
from strategies.quant.chunks import EXIT_NAMES, Ground, simulate_sets
from strategies.quant.grid import Grid
from strategies.quant.sweep_kernel import METRICS
from strategies.services import market, provenance, specification
from strategies.services.configuration import check_parameters
from strategies.services.search_space import check_space, probe
from strategies.services.specification import Plan, Specification

MEGABYTE = 2**20
# A trial run for the estimate reads this many instruments at most.
N_TRIAL_SYMBOLS = 8
N_TRIAL_SETS = 4
BYTES_PER_RESULT = 8 * (len(METRICS) + 2 * 16)


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A checked search and what one of its sets takes.

    `plan` is that of the set with the longest warm-up, `fixed` what does not vary, `n_sets` about
    how many sets the plug-in accepts, and the rates are of a trial run on the same bars.
    """

    plan: Plan
    fixed: dict[str, Any]
    grid: Grid
    n_sets: int
    seconds_per_set: float
    bytes_per_set: int
    bytes_fixed: int

    @property
    def n_rows(self) -> int:
        """Return about how many bars the period of one instrument has."""
        return max(2, round(self.plan.n_bars / max(1, self.plan.n_symbols)))

    @property
    def years(self) -> float:
        """Return the length of the period."""
        asked = self.plan.specification
        return (asked.end_at - asked.start_at) / timedelta(days=365.25)

    @property
    def years_needed(self) -> float:
        """Return how many years keep the best of so many lucky sets below a Sharpe ratio of 1."""
        return float(minimum_backtest_years(max(2, self.n_sets), sharpe=1.0))


def memory_limit() -> int:
    """Return how many bytes the arrays of one search may take."""
    return int(settings.SWEEP_MEMORY_MB) * MEGABYTE


def check_search(
    asked: Specification, space: Mapping[str, Any], *, limit: int | None = None
) -> SearchPlan:
    """Return the plan of a search; raises InvalidInput or NotEnoughData naming what is wrong.

    `limit` is the largest number of sets that may be tried.
    """
    problems: dict[str, str] = {}
    grid: Grid | None = None
    try:
        grid = check_space(asked.plugin, space, limit=limit)
    except InvalidInput as error:
        problems |= error.fields
    fixed = {name: value for name, value in asked.parameters.items() if name not in space}
    problems |= _wrong_values(asked.plugin, fixed)
    if grid is None or problems:
        problems |= _other_problems(replace(asked, parameters={}))
        raise InvalidInput(specification.sentence(problems), fields=problems)
    valid, share = probe(asked.plugin, fixed, grid)
    own = _slowest(asked.plugin, fixed, valid)
    plan = specification.check(replace(asked, parameters={**fixed, **own}))
    whole = plan.specification.parameters
    names = {axis.name for axis in grid.axes}
    kept = {name: value for name, value in whole.items() if name not in names}
    return _estimated(plan, kept, grid, valid, share)


def specification_of(search: Search, varied: Mapping[str, Any] | None = None) -> Specification:
    """Return the specification of a search, or of one of its sets."""
    own = {name: v for name, v in (varied or {}).items() if name not in EXIT_NAMES}
    exits = {name: v for name, v in (varied or {}).items() if name in EXIT_NAMES}
    return Specification(
        plugin=search.plugin,
        parameters={**search.parameters, **jsonable(own)},
        symbols=tuple(search.symbols),
        timeframe=search.timeframe,
        start=search.start_at.date(),
        end=(search.end_at - timedelta(days=1)).date(),
        capital=search.capital,
        costs=search.costs,
        exit_rules={**search.exit_rules, **exits},
        sizing=search.sizing,
        benchmark=search.benchmark,
        seed=search.seed,
    )


def columns_of(plan: SearchPlan, space: Mapping[str, Any], *, title: str) -> dict[str, Any]:
    """Return the columns of a search row that say what was asked for."""
    checked = plan.plan.specification
    label = registry.plugin(checked.plugin).label
    shown = ", ".join(checked.symbols[:3])
    more = f" and {len(checked.symbols) - 3} more" if len(checked.symbols) > 3 else ""
    return {
        "title": (title or f"{label} on {shown}{more}")[:200],
        "plugin": checked.plugin,
        "parameters": plan.fixed,
        "space": jsonable(space),
        "symbols": list(checked.symbols),
        "timeframe": checked.timeframe,
        "start_at": checked.start_at,
        "end_at": checked.end_at,
        "capital": checked.capital,
        "currency": plan.plan.currency,
        "costs": dict(checked.costs),
        "exit_rules": dict(checked.exit_rules),
        "sizing": dict(checked.sizing),
        "benchmark": checked.benchmark,
        "seed": checked.seed,
    }


def prepare(search: Search) -> tuple[Ground, Grid, market.Market]:
    """Read the bars of a stored search and lay out what its sets are tried on."""
    grid = check_space(search.plugin, search.space, limit=None)
    valid, _ = probe(search.plugin, search.parameters, grid)
    slowest = _slowest(search.plugin, search.parameters, valid)
    plan = specification.check(specification_of(search, slowest))
    named = search.benchmark not in ("", specification.UNIVERSE, specification.NO_BENCHMARK)
    loaded = market.load(
        plan.specification,
        warmup_bars=plan.warmup_bars,
        benchmark=search.benchmark if named else "",
    )
    config = specification.with_periods(
        specification.check_terms(specification_of(search)),
        periods_per_year(Timeframe(search.timeframe), plan.exchange),
    )
    ground = Ground(search.plugin, search.parameters, loaded.history, loaded.offset, config)
    return ground, grid, loaded


def facts_of(search: Search, ground: Ground, loaded: market.Market) -> dict[str, Any]:
    """Return what is needed to compute the same search again."""
    return {
        "data_fingerprint": loaded.fingerprint,
        "code_version": provenance.code_version(search.plugin),
        "library_versions": provenance.library_versions(),
        "n_bars": int(loaded.panel.has_bar.sum()),
        "periods_per_year": ground.config.periods_per_year,
    }


def start(search: Search, *, at: datetime) -> bool:
    """Claim a search for this attempt; False where it has ended."""
    waiting = type(search).objects.filter(pk=search.pk, status__in=UNFINISHED)
    return bool(waiting.update(status=SearchStatus.RUNNING, started_at=at))


def stop(search: Search, *, status: str, reason: str, code: str, at: datetime) -> None:
    """Record why a search has not come to its end; one that has ended is left as it is."""
    type(search).objects.filter(pk=search.pk, status__in=UNFINISHED).update(
        status=SearchStatus.CANCELLED if status == "cancelled" else SearchStatus.FAILED,
        failure_reason=reason or "It stopped without saying why.",
        failure_code=code,
        finished_at=at,
    )


def send(search: Search, *, task: str, kind: str) -> Job:
    """Ask a worker for a search on commit."""
    job = enqueue(
        task,
        key=f"{kind}:{search.pk}",
        title=f"{str(search._meta.verbose_name).capitalize()} {search.title}"[:200],
        owner=search.owner,
        result_url=reverse(f"strategies:{kind}-detail", args=[search.pk]),
        search_id=str(search.pk),
    )
    type(search).objects.filter(pk=search.pk).update(job=job)
    search.job = job
    return job


@transaction.atomic
def resume(search: Search, *, task: str, kind: str, at: datetime) -> Job:
    """Let a stopped search go on from what it has stored.

    Raises ConflictError for one that runs or has succeeded.
    """
    stopped = type(search).objects.filter(pk=search.pk)
    if search.state not in STOPPED:
        raise ConflictError("Only a search that was cancelled or has failed can go on.")
    stopped.exclude(status=SearchStatus.SUCCEEDED).update(
        status=SearchStatus.QUEUED,
        failure_reason="",
        failure_code="",
        requested_at=at,
        started_at=None,
        finished_at=None,
    )
    job = search.job
    search.refresh_from_db()
    if job is None or not job.can_retry:
        return send(search, task=task, kind=kind)
    retry(job, at=at)
    return job


def announce(search: Search) -> None:
    """Tell open pages that the result is there."""
    live.publish(f"jobs:u{search.owner_id}", "invalidate", {"fragment": f"search-{search.pk}"})


def _estimated(
    plan: Plan, fixed: dict[str, Any], grid: Grid, valid: list[dict[str, Any]], share: float
) -> SearchPlan:
    trial = replace(plan.specification, symbols=plan.specification.symbols[:N_TRIAL_SYMBOLS])
    loaded = market.load(trial, warmup_bars=plan.warmup_bars)
    # Positions are sized as in the whole universe; only the time is wanted here.
    config = specification.with_periods(specification.check_terms(trial), 252.0)
    ground = Ground(plan.specification.plugin, fixed, loaded.history, loaded.offset, config)
    step = max(1, len(valid) // N_TRIAL_SETS)
    seconds = _seconds_per_set(ground, valid[::step][:N_TRIAL_SETS])
    n_symbols = plan.n_symbols
    rows = loaded.history.n_bars
    cells = rows * n_symbols
    # Wishes, and between instruments their priority; both are cut to the period once more.
    per_set = 2 * cells * (1 + 8 * (n_symbols > 1))
    scratch = cells * 8 * 24 + rows * 8 * 4
    return SearchPlan(
        plan=plan,
        fixed=fixed,
        grid=grid,
        n_sets=max(1, round(grid.n_sets * share)),
        seconds_per_set=seconds * n_symbols / len(trial.symbols),
        bytes_per_set=per_set,
        bytes_fixed=scratch,
    )


def _seconds_per_set(ground: Ground, sets: list[dict[str, Any]]) -> float:
    try:
        simulate_sets(ground, sets[:1])
        began = time.perf_counter()
        simulate_sets(ground, sets)
    except ValueError as error:
        raise InvalidInput(
            f"The strategy cannot use these bars: {error}.",
            fields={"symbols": f"Choose other instruments: {error}."},
        ) from error
    return (time.perf_counter() - began) / len(sets)


def _slowest(
    plugin: str, fixed: Mapping[str, Any], valid: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the parameters, without exit rules, that need the longest warm-up."""
    names = [name for name in valid[0] if name not in EXIT_NAMES]
    different = dict.fromkeys(tuple(own[name] for name in names) for own in valid)
    varied = [dict(zip(names, values, strict=True)) for values in different]
    return max(varied, key=lambda own: registry.build(plugin, {**fixed, **own}).warmup_bars)


def _wrong_values(plugin: str, fixed: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with single values; contradictions depend on what varies."""
    try:
        check_parameters(plugin, fixed)
    except InvalidInput as error:
        return {name: reason for name, reason in error.fields.items() if name != "parameters"}
    return {}


def _other_problems(asked: Specification) -> dict[str, str]:
    try:
        specification.check(asked)
    except AlphaStratError as error:
        return {
            name: reason
            for name, reason in error.fields.items()
            if not name.startswith("parameters")
        }
    return {}
