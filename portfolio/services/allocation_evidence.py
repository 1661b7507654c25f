"""What is stored with an allocation so that a person can judge it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from alphastrat.quant.measures import measure_all
from alphastrat.quant.statistics import hac_standard_error
from alphastrat.quant.types import FloatArray
from portfolio.quant.allocation_problem import Allocation, AllocationProblem, Method
from portfolio.quant.allocation_walk_forward import AllocationWalkForward, walk_forward_allocation
from portfolio.quant.constraints import GroupKind
from portfolio.quant.covariances import portfolio_volatility
from portfolio.quant.diversification import correlation_change, summary
from portfolio.quant.frontier import efficient_frontier
from portfolio.quant.resampling import resample_weights
from portfolio.services.allocation_inputs import (
    DAYS_PER_YEAR,
    AllocationInputs,
    rebuild,
)
from strategies.services.provenance import library_versions

MEASURES = ("total_return", "annual_return", "annual_volatility", "sharpe_ratio", "max_drawdown")
DRAWS = 100
# Solving some problems a hundred times takes too long to wait for.
DRAWS_OF_CVAR = 40
DRAWS_OF_MANY = 20
HOLD_OF_MANY = 63
MANY = 120
LEAST_COMMON = 30


def headline(
    inputs: AllocationInputs, problem: AllocationProblem, allocation: Allocation
) -> dict[str, Any]:
    """Return weights and what they are worth, beside the current ones."""
    from portfolio.quant.allocation import measured

    before = measured(problem, inputs.current)
    common = inputs.common
    change: dict[str, Any] | None = None
    if len(common) >= LEAST_COMMON:
        found = correlation_change(
            common,
            inputs.current,
            allocation.weights,
            rng=np.random.default_rng(inputs.options.seed),
        )
        change = {
            "before": found.before,
            "after": found.after,
            "low": found.low,
            "high": found.high,
            "verdict": found.verdict,
        }
    return {
        "strategies": _rows(inputs, problem, allocation),
        "cash": max(0.0, 1.0 - float(allocation.weights.sum())),
        "chosen": _worth(problem, allocation),
        "current": _worth(problem, before) if inputs.current.sum() > 0 else None,
        "correlation": change,
        "binding": list(allocation.binding),
        "notes": [*inputs.remarks, *inputs.notes, *allocation.notes],
        "solver": allocation.solver,
        "gap": allocation.gap,
        "groups": [
            {
                "name": group.name,
                "kind": group.kind.value,
                "members": [inputs.names[i] for i in group.members],
                "max_weight": group.max_weight,
                "weight": float(allocation.weights[list(group.members)].sum()),
            }
            for group in inputs.groups
            if group.kind is GroupKind.NAMED or len(group.members) > 1
        ],
        "n_days": len(inputs.matrix),
        "n_common": len(common),
        "first_day": inputs.returns.dates[0],
        "last_day": inputs.returns.dates[-1],
        "libraries": library_versions(),
    }


def _worth(problem: AllocationProblem, allocation: Allocation) -> dict[str, Any]:
    return {
        "expected_return": allocation.expected_return,
        "volatility": allocation.volatility,
        "sharpe": allocation.sharpe,
        "n_strategies": int((allocation.weights > 1e-5).sum()),
        **summary(allocation.weights, problem.covariance),
    }


def _rows(
    inputs: AllocationInputs, problem: AllocationProblem, allocation: Allocation
) -> list[dict[str, Any]]:
    volatilities = np.sqrt(np.diag(problem.covariance))
    lines = [line for line, one in zip(inputs.snapshot.lines, inputs.usable, strict=True) if one]
    sources = [one for one, used in zip(inputs.returns.sources, inputs.usable, strict=True) if used]
    n_days = np.isfinite(inputs.matrix).sum(axis=0)
    return [
        {
            "id": str(line.strategy_id),
            "name": line.name,
            "group": line.member.group,
            "source": sources[i],
            "n_days": int(n_days[i]),
            "expected_return": float(problem.expected[i]),
            "volatility": float(volatilities[i]),
            "current": float(inputs.current[i]),
            "weight": float(allocation.weights[i]),
            "risk_share": float(allocation.risk_shares[i]),
        }
        for i, line in enumerate(lines)
    ]


def frontier(
    inputs: AllocationInputs, problem: AllocationProblem, allocation: Allocation
) -> dict[str, Any]:
    """Return the efficient frontier of the strategies included."""
    found = efficient_frontier(problem, allocation.weights)
    current = inputs.current
    return {
        "expected_returns": found.expected_returns.tolist(),
        "volatilities": found.volatilities.tolist(),
        "current": None
        if current.sum() <= 0
        else [
            portfolio_volatility(current, problem.covariance),
            float(current @ problem.expected + (1.0 - current.sum()) * problem.risk_free),
        ],
    }


def sensitivity(
    inputs: AllocationInputs, _: AllocationProblem, allocation: Allocation
) -> dict[str, Any]:
    """Return how the weights vary over resampled histories."""
    n_draws = DRAWS_OF_CVAR if inputs.options.method == Method.MIN_CVAR else DRAWS
    if inputs.matrix.shape[1] > MANY:
        n_draws = DRAWS_OF_MANY
    found = resample_weights(
        inputs.matrix,
        partial(rebuild, inputs),
        rng=np.random.default_rng(inputs.options.seed),
        n_draws=n_draws,
    )
    names = ("mean", "low", "high", "inclusion")
    return {
        "n_draws": found.n_draws,
        "n_failed": found.n_failed,
        "strategies": [
            dict(zip(names, row, strict=True))
            for row in zip(
                *(getattr(found, name).tolist() for name in names),
                strict=True,
            )
        ],
        "largest_width": float(np.nanmax(found.high - found.low))
        if np.isfinite(found.low).any()
        else None,
        "outside": [
            inputs.names[i]
            for i in np.flatnonzero(
                (allocation.weights < found.low - 1e-6) | (allocation.weights > found.high + 1e-6)
            )
        ],
    }


def walk_forward(
    inputs: AllocationInputs, _: AllocationProblem, __: Allocation
) -> dict[str, Any] | None:
    """Return what the allocation would have earned out of sample; None with too short a history."""
    options = inputs.options
    is_large = inputs.matrix.shape[1] > MANY
    hold = max(options.hold_days, HOLD_OF_MANY) if is_large else options.hold_days
    found = walk_forward_allocation(
        inputs.matrix,
        partial(rebuild, inputs, is_history=True),
        train_bars=options.train_days,
        hold_bars=hold,
        cost_bps=options.cost_bps,
    )
    if found is None:
        return None
    dates = inputs.returns.dates[found.first :]
    difference = found.chosen.returns - found.equal.returns
    error = hac_standard_error(difference)
    mean = float(difference.mean())
    return {
        "days": [day.isoformat() for day in dates],
        "chosen": np.cumprod(1.0 + found.chosen.returns).tolist(),
        "equal": np.cumprod(1.0 + found.equal.returns).tolist(),
        "chosen_measures": _measures(found.chosen.returns),
        "equal_measures": _measures(found.equal.returns),
        "chosen_turnover": _yearly(found, found.chosen.turnover),
        "equal_turnover": _yearly(found, found.equal.turnover),
        "chosen_cost": found.chosen.cost,
        "equal_cost": found.equal.cost,
        "n_rebalances": len(found.rebalanced),
        "hold_days": hold,
        "n_kept": found.n_kept,
        "difference": mean * DAYS_PER_YEAR,
        "low": (mean - 1.645 * error) * DAYS_PER_YEAR,
        "high": (mean + 1.645 * error) * DAYS_PER_YEAR,
    }


def _yearly(found: AllocationWalkForward, turnover: float) -> float:
    return turnover * DAYS_PER_YEAR / len(found.chosen.returns)


def _measures(returns: FloatArray) -> dict[str, float]:
    measured = measure_all(returns, periods_per_year=DAYS_PER_YEAR)
    return {name: float(measured[name]) for name in MEASURES if name in measured}


Part = Callable[[AllocationInputs, AllocationProblem, Allocation], Any]
PARTS: tuple[tuple[str, str, Part], ...] = (
    ("frontier", "Efficient frontier", frontier),
    ("sensitivity", "Resampled weights", sensitivity),
    ("walk_forward", "Out-of-sample walk-forward", walk_forward),
)
