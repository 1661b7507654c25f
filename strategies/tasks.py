"""What the workers do for research."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task, on_worker_start
from alphastrat.quant import calendars
from strategies.quant import registry, simulator
from strategies.services import backtesting, second_engine


@job_task
def run_backtest(progress: JobProgress, *, run_id: str) -> dict[str, Any]:
    """Compute and store a backtest run."""
    n_steps = len(backtesting.STEPS)
    run = backtesting.run_backtest(
        run_id, report=lambda done, step: progress.update(done, n_steps, step), at=now()
    )
    progress.update(n_steps, n_steps, "Stored")
    return {"run": str(run.pk), "sharpe_ratio": run.sharpe_ratio, "n_trades": run.n_trades}


@job_task
def check_agreement(progress: JobProgress, *, run_id: str) -> dict[str, Any] | None:
    """Run a stored backtest through the second engine and store how far they agree."""
    progress.update(0, 1, "Running the second engine")
    return second_engine.check_agreement(run_id)


@on_worker_start
def warm_up() -> None:
    """Load what every backtest needs: the compiled kernel, plug-ins and calendars."""
    simulator.warm()
    registry.load_builtin_plugins()
    calendars.periods_per_year(calendars.Timeframe.DAY_1, "XNYS")
