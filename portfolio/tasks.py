"""What the workers do for portfolios: registered where they look for it."""

from __future__ import annotations

from alphastrat.core.jobs import on_worker_start
from portfolio import (  # noqa: F401 - register their tasks
    allocation_tasks,
    rebalancing_tasks,
    trading_tasks,
)
from portfolio.services import portfolio_optimizer


@on_worker_start
def warm_up() -> None:
    """Load what every optimisation needs: the solvers, the bootstrap and the compiled kernels."""
    portfolio_optimizer.rehearse()
