"""What the workers do for research."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task, on_worker_start
from alphastrat.quant import calendars
from alphastrat.quant.types import Timeframe
from strategies import search_tasks  # noqa: F401 - registers their tasks
from strategies.quant import registry, simulator
from strategies.services import backtesting, examination, rehearsal


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
def examine_run(progress: JobProgress, *, run_id: str) -> dict[str, Any]:
    """Compare a stored backtest with the second engine and with chance."""
    n_steps = len(examination.STEPS)
    return examination.examine_run(
        run_id, report=lambda done, step: progress.update(done, n_steps, step)
    )


@on_worker_start
def warm_up() -> None:
    """Load what every backtest needs: the compiled kernels, plug-ins, calendars, both engines."""
    simulator.warm()
    registry.load_builtin_plugins()
    calendars.periods_per_year(Timeframe.DAY_1, "XNYS")
    rehearsal.rehearse()
