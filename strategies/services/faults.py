"""What is wrong with a backtest, as stored beside its result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alphastrat.core.jsonable import jsonable
from strategies.models import BacktestRun, Sweep
from strategies.quant import grid, registry
from strategies.quant.checks import CheckResult
from strategies.quant.findings import Evidence, Survivors, find_problems
from strategies.quant.overfitting import Stability
from strategies.quant.parameters import free_parameters
from strategies.quant.simulator import SimulationResult
from strategies.services.market import Market
from strategies.services.sweep_surface import Surface


def find_faults(
    result: SimulationResult,
    loaded: Market,
    *,
    run: BacktestRun,
    warmup_bars: int,
    undefined: Mapping[str, Sequence[str]],
    checks: Sequence[CheckResult] = (),
    stability: Stability | None = None,
    survivors: Survivors | None = None,
    break_even_bps: float = math.nan,
) -> list[dict[str, Any]]:
    """Return the findings of a run as JSON documents, the gravest first."""
    evidence = Evidence(
        warmup_bars=warmup_bars,
        bars_before=loaded.offset,
        n_free_parameters=len(free_parameters(registry.plugin(run.plugin))),
        checks=checks,
        stability=stability,
        survivors=survivors,
        break_even_bps=break_even_bps,
        period=(run.start_at, run.end_at) if run.start_at else None,
        undefined_indicators=undefined,
    )
    found = find_problems(result, loaded.panel, evidence=evidence)
    return [jsonable(finding) for finding in found]


def stability_in(sweep: Sweep, run: BacktestRun) -> Stability | None:
    """Return how a run compares with its neighbours in a sweep; None if it was not tried there."""
    surface = Surface(sweep)
    chosen, fixed = ({**one.parameters, **one.exit_rules} for one in (run, sweep))
    if chosen.keys() != {*fixed, *surface.names}:
        return None
    if any(chosen[name] != value for name, value in fixed.items()):
        return None
    axes = surface.grid.axes
    if any(chosen[axis.name] not in axis.values for axis in axes):
        return None
    place = [axis.values.index(chosen[axis.name]) for axis in axes]
    number = int(surface.grid.numbers(np.array([place]))[0])
    if not surface.has(number):
        return None
    values = surface.frame[sweep.objective].to_numpy(np.float64)
    return grid.stability(surface.grid, surface.numbers, values, number)
