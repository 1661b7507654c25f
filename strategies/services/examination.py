"""Is it luck, and does an independent engine agree? Asked of every stored run, after storing it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from alphastrat.core import live
from alphastrat.core.jsonable import jsonable
from alphastrat.quant.statistics import (
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe,
)
from strategies.models import BacktestRun, Sweep, WalkForward
from strategies.models.search import SearchStatus
from strategies.quant import monte_carlo, registry
from strategies.quant.findings import undefined_indicators
from strategies.quant.simulator import simulate
from strategies.services import market, second_engine, specification
from strategies.services.backtesting import signals_of
from strategies.services.faults import find_faults, stability_in
from strategies.services.results import Results
from strategies.services.strategy_checks import suspicions
from strategies.services.survivorship import survivors_of
from strategies.services.trials import count_trials

STEPS = (
    "Running the second engine",
    "Resampling round trips",
    "Raising the costs",
    "Looking for faults",
)
N_BAND_POINTS = 100
MIN_TRIPS = 5
CONFIDENCE = 0.95

Report = Callable[[int, str], None]


def examine_run(run_id: str, *, report: Report) -> dict[str, Any]:
    """Compare a stored run with the second engine and with chance, and store what was found.

    Bars that were restated since the run are not compared with: the run then says so.
    """
    run = BacktestRun.objects.get(pk=run_id, status=BacktestRun.Status.SUCCEEDED)
    asked = specification.of_run(run)
    plan = specification.check(asked)
    named = asked.benchmark not in ("", specification.UNIVERSE, specification.NO_BENCHMARK)
    loaded = market.load(
        plan.specification,
        warmup_bars=plan.warmup_bars,
        benchmark=asked.benchmark if named else "",
    )
    if loaded.fingerprint != run.data_fingerprint:
        agreement: dict[str, Any] = {"agrees": None, "explanation": RESTATED, "n_fills": 0}
        _store(run, agreement=agreement, luck=None, findings=run.findings)
        return agreement
    report(0, STEPS[0])
    periods = run.periods_per_year or 252.0
    config = specification.with_periods(specification.check_terms(asked), periods)
    signals = signals_of(plan.specification, loaded)
    result = simulate(loaded.panel, signals, config=config)
    agreement = second_engine.agreement(result, loaded.panel, signals)
    report(1, STEPS[1])
    luck = _resampled(result, seed=run.seed)
    report(2, STEPS[2])
    stress = monte_carlo.cost_stress(loaded.panel, signals, config=config)
    crises = monte_carlo.crisis_results(result.index, np.nan_to_num(result.returns))
    luck |= {"costs": jsonable(stress), "crises": jsonable(crises)}
    report(3, STEPS[3])
    sweep = newest_sweep_of(run)
    findings = find_faults(
        result,
        loaded,
        run=run,
        warmup_bars=plan.warmup_bars,
        undefined=undefined_indicators(signals.indicators, signals.symbols),
        checks=suspicions(registry.build(run.plugin, run.parameters), loaded.history),
        stability=stability_in(sweep, run) if sweep else None,
        survivors=survivors_of(run, plan.series),
        break_even_bps=stress.break_even_bps,
    )
    _store(run, agreement=agreement, luck=luck, findings=findings)
    return agreement


RESTATED = (
    "The bars of this run have been restated since it was computed; run it again to check it."
)


def sharpe_evidence(results: Results) -> dict[str, float | int | None] | None:
    """Return how much a run's Sharpe ratio proves, given every look at its hypothesis.

    Computed when it is shown, because later looks lower the confidence in earlier ones. None
    where the account never moved.
    """
    run = results.run
    returns = results.curves.returns
    returns = returns[np.isfinite(returns)]
    if returns.size < 3 or not returns.std(ddof=1) > 1e-12:
        return None
    looks = count_trials(run)
    n_trials, variance = max(1, looks.n_trials), looks.sharpe_variance_per_bar
    sharpe = float(returns.mean() / returns.std(ddof=1))
    skewness = float(scipy.stats.skew(returns))
    kurtosis = float(scipy.stats.kurtosis(returns, fisher=False))
    terms: dict[str, Any] = {
        "n_observations": returns.size,
        "skewness": skewness,
        "kurtosis": kurtosis,
    }
    minimum = minimum_track_record_length(
        sharpe, confidence=CONFIDENCE, skewness=skewness, kurtosis=kurtosis
    )
    annual = math.sqrt(run.periods_per_year or 252.0)
    # Nobody here knows how often the author of an imported result has looked.
    is_ours = run.engine != BacktestRun.Engine.IMPORTED
    return {
        "n_trials": n_trials if is_ours else None,
        "n_bars": int(returns.size),
        "probabilistic": probabilistic_sharpe(sharpe, **terms),
        "deflated": deflated_sharpe(sharpe, n_trials=n_trials, sharpe_variance=variance, **terms)
        if is_ours
        else None,
        "luck": expected_maximum_sharpe(n_trials, variance) * annual if is_ours else None,
        "minimum_bars": minimum if math.isfinite(minimum) else None,
    }


def newest_sweep_of(run: BacktestRun) -> Sweep | None:
    """Return the newest sweep of a run's hypothesis that says how likely it is overfitted."""
    swept = _of_hypothesis(Sweep, run).filter(overfitting_probability__isnull=False)
    found: Sweep | None = swept.first()
    return found


def newest_walk_forward_of(run: BacktestRun) -> WalkForward | None:
    """Return the newest walk-forward of a run's hypothesis that has a result."""
    walked = _of_hypothesis(WalkForward, run).filter(status=SearchStatus.SUCCEEDED)
    found: WalkForward | None = walked.first()
    return found


def _of_hypothesis(model: type[Any], run: BacktestRun) -> Any:
    found = model.objects.filter(
        owner_id=run.owner_id,
        plugin=run.plugin,
        symbols__contains=run.symbols,
        symbols__contained_by=run.symbols,
        timeframe=run.timeframe,
    )
    return found.defer(*model.DOCUMENTS).order_by("-requested_at")


def _resampled(result: Any, *, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    capital = result.config.initial_cash
    found: dict[str, Any] = {}
    n_trips, n_bars = len(result.round_trips), len(result.index)
    if n_trips >= MIN_TRIPS:
        by_trips = monte_carlo.resample_trips(
            monte_carlo.trip_returns_on_equity(result),
            initial_cash=capital,
            rng=rng,
            n_runs=monte_carlo.affordable_runs(n_trips),
        )
        found["trips"] = _thinned(by_trips)
    returns = result.returns
    if np.isfinite(returns).all() and returns.std() > 1e-12:
        n_runs = monte_carlo.affordable_runs(n_bars)
        by_bars = monte_carlo.resample_returns(
            returns, initial_cash=capital, rng=rng, n_runs=n_runs
        )
        found["bars"] = _thinned(by_bars)
    return found


def _thinned(drawn: monte_carlo.MonteCarloResult) -> dict[str, Any]:
    """Return a distribution with as many steps as a chart shows."""
    steps = len(drawn.bands)
    keep = np.unique(np.linspace(0, steps - 1, min(steps, N_BAND_POINTS)).astype(int))
    document: dict[str, Any] = jsonable(drawn)
    document["bands"] = [[round(float(v), 2) for v in row] for row in drawn.bands[keep]]
    document["steps"] = keep.tolist()
    return document


def _store(
    run: BacktestRun,
    *,
    agreement: dict[str, Any],
    luck: dict[str, Any] | None,
    findings: list[dict[str, Any]],
) -> None:
    BacktestRun.objects.filter(pk=run.pk).update(agreement=agreement, luck=luck, findings=findings)
    live.publish(f"jobs:u{run.owner_id}", "invalidate", {"fragment": f"examination-{run.pk}"})
