"""Backtests: asked for, run once in a worker, stored whole or failed with a reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, transaction
from django.urls import reverse

from alphastrat.core import events, live
from alphastrat.core.errors import AlphaStratError, ConflictError, InvalidInput
from alphastrat.core.jobs import enqueue
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from alphastrat.quant.types import FloatArray
from strategies.models import BacktestRun, StrategyPerformance, StrategyVersion
from strategies.quant import registry
from strategies.quant.findings import undefined_indicators
from strategies.quant.panel import Panel
from strategies.quant.parameters import parameter_specs
from strategies.quant.signals import PanelSignals, panel_signals
from strategies.quant.simulator import SimulationResult, simulate
from strategies.services import (
    market,
    measuring,
    provenance,
    run_archive,
    second_engine,
    specification,
)
from strategies.services.configuration import DEFAULT_SIZING
from strategies.services.faults import find_faults
from strategies.services.trials import record_trial

logger = logging.getLogger(__name__)

TASK = "strategies.tasks.run_backtest"
EXAMINE_TASK = "strategies.tasks.examine_run"
STEPS = ("Reading bars", "Simulating", "Measuring", "Storing")

_CLAIM = """
    UPDATE strategies_backtestrun SET status = 'running', started_at = %s
    WHERE id = %s AND status IN ('queued', 'running')
    RETURNING *
"""

Report = Callable[[int, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A finished simulation with everything measured on it."""

    result: SimulationResult
    panel: Panel
    curves: run_archive.Curves
    numbers: dict[str, Any]
    benchmark_numbers: dict[str, float]
    undefined: dict[str, tuple[str, ...]]


@transaction.atomic
def request_backtest(
    owner: Any,
    asked: specification.Specification,
    *,
    at: datetime,
    version: StrategyVersion | None = None,
) -> BacktestRun:
    """Check what is asked, store it as a queued run and ask a worker for it on commit.

    Raises InvalidInput or NotEnoughData naming each field that is wrong.
    """
    plan = specification.check(asked)
    checked = plan.specification
    run = BacktestRun.objects.create(
        owner=owner,
        strategy_version=version,
        title=checked.title or _title(checked, version),
        plugin=checked.plugin,
        parameters=dict(checked.parameters),
        symbols=list(checked.symbols),
        timeframe=checked.timeframe,
        start_at=checked.start_at,
        end_at=checked.end_at,
        capital=checked.capital,
        currency=plan.currency,
        costs=dict(checked.costs),
        exit_rules=dict(checked.exit_rules),
        sizing=dict(checked.sizing),
        benchmark=checked.benchmark,
        engine=checked.engine,
        seed=checked.seed,
        requested_at=at,
    )
    _enqueue(run)
    return run


@transaction.atomic
def retry_backtest(run: BacktestRun, *, at: datetime) -> BacktestRun:
    """Queue a failed run again; raises ConflictError for one that has not failed."""
    claimed = BacktestRun.objects.filter(pk=run.pk, status=BacktestRun.Status.FAILED).update(
        status=BacktestRun.Status.QUEUED,
        failure_reason="",
        failure_code="",
        requested_at=at,
        started_at=None,
        finished_at=None,
    )
    if not claimed:
        raise ConflictError("Only a backtest that has failed can be run again.")
    run.refresh_from_db()
    _enqueue(run)
    return run


def run_backtest(run_id: str, *, report: Report, at: datetime) -> BacktestRun:
    """Compute a run, store its result and ask for its examination; one that has ended is kept.

    A run that cannot be computed keeps the reason, and the error goes on to the job.
    """
    run = _claim(run_id, at=at)
    if run is None:
        run = BacktestRun.objects.get(pk=run_id)
    else:
        try:
            computed, facts = _compute(run, report=report)
        except AlphaStratError as error:
            fail_backtest(run, reason=str(error), code=error.code, at=at)
            raise
        report(3, STEPS[3])
        _store(run, computed, facts, at=at)
    # Also of a run that had ended: its worker may have been killed between storing and asking.
    if run.status == BacktestRun.Status.SUCCEEDED and run.agreement is None:
        _ask_for_examination(run)
    return run


def _claim(run_id: str, *, at: datetime) -> BacktestRun | None:
    claimed = BacktestRun.objects.raw(_CLAIM, [at, run_id], using=DEFAULT_DB_ALIAS)
    return next(iter(claimed), None)


def fail_backtest(run: BacktestRun, *, reason: str, code: str, at: datetime) -> None:
    """Record why a run has no result; one that has ended is left as it is."""
    BacktestRun.objects.filter(pk=run.pk, status__in=["queued", "running"]).update(
        status=BacktestRun.Status.FAILED,
        failure_reason=reason or "It failed without saying why.",
        failure_code=code,
        finished_at=at,
    )


def compute(
    asked: specification.Specification, loaded: market.Market, *, n_periods: float
) -> Computed:
    """Simulate and measure a checked specification on loaded bars."""
    signals = signals_of(asked, loaded)
    config = specification.check_terms(asked)
    config = specification.with_periods(config, n_periods)
    panel = loaded.panel
    result = simulate(panel, signals, config=config)
    if asked.engine == BacktestRun.Engine.VECTORBT:
        result = second_engine.recompute(result, panel, signals)
    benchmark = _benchmark(asked, loaded, capital=config.initial_cash)
    curves = measuring.curves_of(result, panel, benchmark=benchmark)
    return Computed(
        result=result,
        panel=panel,
        curves=curves,
        numbers=measuring.measure(result, curves, panel),
        benchmark_numbers=measuring.measure_benchmark(curves, periods_per_year=n_periods),
        undefined=undefined_indicators(signals.indicators, signals.symbols),
    )


def signals_of(asked: specification.Specification, loaded: market.Market) -> PanelSignals:
    """Return the plug-in's wishes inside the period, knowing the warm-up bars before it."""
    try:
        strategy = registry.build(asked.plugin, asked.parameters)
        whole = panel_signals(strategy, loaded.history)
    except ValueError as error:
        raise InvalidInput(f"The strategy cannot use these bars: {error}.") from error
    rows = slice(loaded.offset, None)
    return PanelSignals(
        whole.index[rows],
        whole.symbols,
        whole.wishes[rows],
        whole.strength[rows],
        {name: values[rows] for name, values in whole.indicators.items()},
    )


def _compute(run: BacktestRun, *, report: Report) -> tuple[Computed, dict[str, Any]]:
    report(0, STEPS[0])
    asked = specification.of_run(run)
    plan = specification.check(asked)
    loaded = market.load(
        plan.specification,
        warmup_bars=plan.warmup_bars,
        benchmark=_benchmark_symbol(asked),
        series=plan.series,
    )
    n_periods = specification.annualisation(run, plan.exchange)
    report(1, f"{STEPS[1]} {loaded.panel.n_bars} bars of {loaded.panel.n_assets} instruments")
    computed = compute(plan.specification, loaded, n_periods=n_periods)
    report(2, STEPS[2])
    facts = _facts(run, computed, loaded, n_periods=n_periods, warmup_bars=plan.warmup_bars)
    return computed, facts


def _facts(
    run: BacktestRun,
    computed: Computed,
    loaded: market.Market,
    *,
    n_periods: float,
    warmup_bars: int,
) -> dict[str, Any]:
    return {
        "data_fingerprint": loaded.fingerprint,
        "code_version": provenance.code_version(run.plugin),
        "library_versions": provenance.library_versions(),
        "n_bars": int(loaded.panel.has_bar.sum()),
        "periods_per_year": n_periods,
        "findings": find_faults(
            computed.result,
            loaded,
            run=run,
            warmup_bars=warmup_bars,
            undefined=computed.undefined,
        ),
    }


@transaction.atomic
def _store(run: BacktestRun, computed: Computed, facts: dict[str, Any], *, at: datetime) -> None:
    """Store a result with all that follows from it; leave a run that has ended meanwhile."""
    columns = measuring.headlines(computed.numbers)
    if not _write(run, computed, columns, facts, at=at):
        run.refresh_from_db()
        return
    run.status, run.finished_at = BacktestRun.Status.SUCCEEDED, at
    for name, value in columns.items():
        setattr(run, name, value)
    periods = facts["periods_per_year"]
    record_trial(run, sharpe_per_bar=computed.numbers["sharpe_ratio"] / periods**0.5)
    if run.strategy_version_id is not None:
        versions = StrategyVersion.objects.filter(pk=run.strategy_version_id)
        _record_performance(
            run,
            columns,
            strategy_id=versions.values_list("strategy_id", flat=True).get(),
            measured_at=computed.curves.times[-1].to_pydatetime(),
        )
    events.send_on_commit(events.backtest_finished, run_id=str(run.pk))


def _write(
    run: BacktestRun,
    computed: Computed,
    columns: dict[str, Any],
    facts: dict[str, Any],
    *,
    at: datetime,
) -> bool:
    running = BacktestRun.objects.filter(pk=run.pk, status=BacktestRun.Status.RUNNING)
    written = running.update(
        status=BacktestRun.Status.SUCCEEDED,
        finished_at=at,
        **_documents(computed),
        **columns,
        **jsonable(facts),
    )
    return bool(written)


def _documents(computed: Computed) -> dict[str, Any]:
    return {
        "metrics": jsonable(
            {
                "strategy": computed.numbers,
                "benchmark": computed.benchmark_numbers,
                "worst_drawdowns": measuring.worst_drawdowns(computed.curves),
            }
        ),
        "curves": run_archive.pack_curves(computed.curves),
        "trades": run_archive.pack_round_trips(computed.result),
    }


def _record_performance(
    run: BacktestRun, columns: dict[str, Any], *, strategy_id: UUID, measured_at: datetime
) -> None:
    names = set(columns) - {"n_trades", "exposure"}
    performance = StrategyPerformance(
        run=run,
        strategy_id=strategy_id,
        source=StrategyPerformance.Source.BACKTEST,
        measured_at=measured_at,
        total_trades=columns["n_trades"],
        **{name: columns[name] for name in names},
    )
    StrategyPerformance.objects.bulk_create([performance], ignore_conflicts=True)
    live.publish(
        f"strategy:{strategy_id}",
        "invalidate",
        {"fragment": "backtests", "run": str(run.pk)},
    )


@transaction.atomic
def _ask_for_examination(run: BacktestRun) -> None:
    enqueue(
        EXAMINE_TASK,
        key=f"examine:{run.pk}",
        title=f"Examine {run.title}"[:200],
        owner=run.owner_id,
        result_url=run.get_absolute_url() + "#agreement",
        run_id=str(run.pk),
    )


def _enqueue(run: BacktestRun) -> Job:
    job = enqueue(
        TASK,
        key=f"backtest:{run.pk}",
        title=f"Backtest {run.title}"[:200],
        owner=run.owner_id,
        result_url=reverse("strategies:backtest-detail", args=[run.pk]),
        run_id=str(run.pk),
    )
    BacktestRun.objects.filter(pk=run.pk).update(job=job)
    run.job = job
    return job


def _benchmark_symbol(asked: specification.Specification) -> str:
    named = asked.benchmark not in ("", specification.UNIVERSE, specification.NO_BENCHMARK)
    return asked.benchmark if named else ""


def _benchmark(
    asked: specification.Specification, loaded: market.Market, *, capital: float
) -> FloatArray | None:
    if asked.benchmark == specification.NO_BENCHMARK:
        return None
    return measuring.buy_and_hold(loaded.benchmark or loaded.panel, capital=capital)


def _title(asked: specification.Specification, version: StrategyVersion | None) -> str:
    label = str(version) if version is not None else _variant(asked)
    shown = ", ".join(asked.symbols[:3])
    more = f" and {len(asked.symbols) - 3} more" if len(asked.symbols) > 3 else ""
    return f"{label} on {shown}{more}"[:200]


def _variant(asked: specification.Specification) -> str:
    """Name the strategy type and what differs from its defaults, so that runs can be told apart."""
    plugin = registry.plugin(asked.plugin)
    words = [
        f"{spec.label} {_plain(asked.parameters[spec.name])}"
        for spec in parameter_specs(plugin)
        if asked.parameters.get(spec.name, spec.default) != spec.default
    ]
    words += [
        f"{name.replace('_', ' ')} {_plain(value)}" for name, value in asked.exit_rules.items()
    ]
    kind = asked.sizing.get("kind", DEFAULT_SIZING)
    if kind != DEFAULT_SIZING:
        words.append(f"{kind.replace('_', ' ')} sizing")
    return f"{plugin.label} ({', '.join(words)})" if words else str(plugin.label)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
