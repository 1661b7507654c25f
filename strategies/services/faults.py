"""What is wrong with a backtest, as stored beside its result."""

from __future__ import annotations

from typing import Any

from alphastrat.core.jsonable import jsonable
from strategies.quant import registry
from strategies.quant.findings import Evidence, find_problems
from strategies.quant.parameters import free_parameters
from strategies.quant.simulator import SimulationResult
from strategies.services.market import Market


def find_faults(
    result: SimulationResult, loaded: Market, *, plugin: str, warmup_bars: int
) -> list[dict[str, Any]]:
    """Return the findings of a run as JSON documents, the gravest first."""
    evidence = Evidence(
        warmup_bars=warmup_bars,
        bars_before=loaded.offset,
        n_free_parameters=len(free_parameters(registry.plugin(plugin))),
    )
    found = find_problems(result, loaded.panel, evidence=evidence)
    return [jsonable(finding) for finding in found]
