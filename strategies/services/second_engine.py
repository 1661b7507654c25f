"""The independent engine: a run computed by it, and the check of every other run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from strategies.quant import vectorbt_engine
from strategies.quant.panel import Panel
from strategies.quant.signals import PanelSignals
from strategies.quant.simulator import SimulationConfig, SimulationResult


def check_expressible(config: SimulationConfig) -> None:
    """Raise InvalidInput if the second engine cannot do what is asked for."""
    if missing := vectorbt_engine.not_expressible(config):
        raise InvalidInput(
            f"vectorbt cannot express {', '.join(missing)}.",
            fields={"engine": f"vectorbt cannot express {', '.join(missing)}; take the simulator."},
        )


def recompute(result: SimulationResult, panel: Panel, signals: PanelSignals) -> SimulationResult:
    """Return the simulation with equity, cash and positions as the second engine finds them.

    Raises InvalidInput where the second engine cannot express what is asked for.
    """
    check_expressible(result.config)
    other = vectorbt_engine.run(panel, signals, config=result.config, result=result)
    return replace(result, equity=other.equity, cash=other.cash, positions=other.positions)


def agreement(result: SimulationResult, panel: Panel, signals: PanelSignals) -> dict[str, Any]:
    """Return how far the second engine agrees with a result, as stored beside the run."""
    other = vectorbt_engine.run(panel, signals, config=result.config, result=result)
    found = vectorbt_engine.compare(result, other)
    first = None if found.first_bar is None else result.index[found.first_bar]
    document: dict[str, Any] = jsonable(found)
    return document | {"first_at": jsonable(first)}
