"""What each rebalancing policy would have done to a portfolio over its strategies' history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from portfolio.quant.rebalance_policies import CANDIDATES
from portfolio.quant.trigger_laboratory import PolicyResult, compare_policies
from portfolio.services.portfolio_state import DAYS_PER_YEAR, LEAST_DAYS, Snapshot
from portfolio.services.strategy_returns import StrategyReturns

OWN = "As set now"


@dataclass(frozen=True, slots=True)
class Laboratory:
    """The policies compared, and what they were compared on."""

    results: list[PolicyResult]
    returns: StrategyReturns

    @property
    def own(self) -> PolicyResult:
        return self.results[0]


def run_laboratory(snapshot: Snapshot, returns: StrategyReturns) -> Laboratory | None:
    """Replay the portfolio's own policy and the usual others; None with too short a history."""
    targets = snapshot.targets[:-1]
    if len(returns.dates) < LEAST_DAYS or not targets.size or targets.sum() <= 0:
        return None
    settings = snapshot.settings
    results = compare_policies(
        np.asarray(returns.matrix),
        targets,
        returns.dates,
        cost=settings.cost,
        periods_per_year=DAYS_PER_YEAR,
        policies={OWN: settings.policy, **CANDIDATES},
        target_sharpe=settings.target_sharpe,
    )
    return Laboratory(results, returns)
