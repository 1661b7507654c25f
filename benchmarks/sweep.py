"""A sweep of 10,000 parameter sets on five years of daily bars, ours and vectorbt's, in one run.

python -m benchmarks.sweep

Both start from the parameter sets and end with total return, Sharpe ratio and maximum drawdown of
every set. vectorbt gets its documented fastest form: its own moving averages computed once for all
windows (`MA.run_combs`), its Rust engine, `from_signals` on whole chunks of columns and the chunk
size that is fastest here. It is asked for the same ten measures that our sweep gives, and once more
for three of them only (ours gives ten either way). Prices are filled at the next open on both
sides, and both take turns. Memory is that of a worker as it runs in the product, everything that
it has imported included. Limits: 100 times, 500 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

import numpy as np

from benchmarks.scratch import (
    in_fork,
    median_seconds,
    peak_memory,
    scratch_database,
    seconds,
    warm_worker,
)

N_FAST, N_SLOW = 100, 100
FAST = range(2, 2 + N_FAST)
SLOW = range(2 + N_FAST, 2 + N_FAST + N_SLOW)
SETS = [{"fast": fast, "slow": slow} for fast in FAST for slow in SLOW]
FEES = 1e-4


def ours(panel: Any, sets: list[dict[str, int]]) -> Any:
    """Sweep with the kernel, from parameter sets to metrics."""
    from alphastrat.quant.execution import CostModel
    from strategies.quant.simulator import SimulationConfig
    from strategies.quant.sweep import sweep

    config = SimulationConfig(periods_per_year=252.0, costs=CostModel(commission_bps=1.0))
    return sweep("moving_average_cross", sets, panel, config=config)


def kernel_alone(panel: Any, sets: list[dict[str, int]]) -> float:
    """Return the time of simulating and measuring wishes that are ready."""
    from alphastrat.quant.execution import CostModel
    from strategies.quant.simulator import SimulationConfig
    from strategies.quant.sweep import sweep_wanted
    from strategies.quant.wanted_sets import ready, wanted_sets

    config = SimulationConfig(periods_per_year=252.0, costs=CostModel(commission_bps=1.0))
    lazy = wanted_sets("moving_average_cross", sets, panel, exits=config.exits)
    wanted = ready(lazy.wishes(slice(0, len(sets))), lazy.priority, lazy.exits)
    return median_seconds(lambda: sweep_wanted(panel, wanted, config=config), 5)


def theirs(close: Any, opening: Any, chunk: int, *, measures: Callable[[Any], list[Any]]) -> Any:
    """Sweep with vectorbt, from parameter sets to measures."""
    import vectorbt as vbt

    fast_windows = np.repeat(np.array(FAST), N_SLOW)
    slow_windows = np.tile(np.array(SLOW), N_FAST)
    averages = vbt.MA.run(close, window=[*FAST, *SLOW], short_name="ma").ma.to_numpy()
    column = {window: k for k, window in enumerate([*FAST, *SLOW])}
    found = []
    for start in range(0, len(fast_windows), chunk):
        fast = averages[:, [column[w] for w in fast_windows[start : start + chunk]]]
        slow = averages[:, [column[w] for w in slow_windows[start : start + chunk]]]
        above, below = fast > slow, fast < slow
        known = np.isfinite(slow)
        entries, exits = np.zeros_like(above), np.zeros_like(above)
        entries[2:] = above[1:-1] & ~above[:-2] & known[:-2]
        exits[2:] = below[1:-1] & ~below[:-2] & known[:-2]
        portfolio = vbt.Portfolio.from_signals(
            *(close, entries, exits),
            short_entries=exits,
            short_exits=entries,
            price=opening,
            fees=FEES,
            init_cash=1e5,
            freq="1D",
        )
        found.append(np.column_stack([np.asarray(one) for one in measures(portfolio)]))
    return np.concatenate(found)


def three(portfolio: Any) -> list[Any]:
    """Return what is asked for most."""
    return [portfolio.total_return(), portfolio.sharpe_ratio(), portfolio.max_drawdown()]


def ten(portfolio: Any) -> list[Any]:
    """Return what our sweep gives, as cheaply as vectorbt can."""
    returns, trades = portfolio.returns(), portfolio.trades
    orders = portfolio.orders.values
    value = orders["size"] * orders["price"]
    return [
        *three(portfolio),
        *(returns.mean(), returns.std()),
        *(trades.closed.count(), trades.closed.win_rate(), trades.closed.profit_factor()),
        portfolio.position_coverage(),
        np.bincount(orders["col"], value, minlength=returns.shape[1]) / 1e5,
    ]


def queue() -> str:
    """Ask for the same sweep as a job of the product and return its id."""
    from django.utils.timezone import now

    from alphastrat.accounts.models import User
    from alphastrat.core import jobs
    from strategies.services.specification import Specification
    from strategies.services.sweeps import SweepRequest, request_sweep

    jobs.async_task = lambda *_, **__: None  # type: ignore[attr-defined]
    owner = User.objects.create_user("bench", password="bench", role="trader")
    asked = SweepRequest(
        Specification(
            plugin="moving_average_cross",
            symbols=("AAPL",),
            start=date(2013, 2, 8),
            end=date(2018, 2, 7),
            costs={"commission_bps": 1.0},
        ),
        {
            "fast": {"low": FAST[0], "high": FAST[-1]},
            "slow": {"low": SLOW[0], "high": SLOW[-1]},
        },
    )
    return str(request_sweep(owner, asked, at=now()).job_id)


def in_worker(database: str, job_id: str) -> None:
    """Print the memory and time of the bare sweep and of the whole job in a forked worker."""
    print(f"warming the worker: {warm_worker(database):.2f} s", end="; ", flush=True)
    before, swept, taken, after = in_fork(lambda: _in_fork(job_id))
    print(
        f"peak of a worker that has swept: {swept:.0f} MB, {swept - before:.0f} MB of it for that"
    )
    print(
        f"the whole job, every trial counted, stored and judged: {taken:.2f} s, peak of the worker "
        f"{after:.0f} MB (limit 500 MB)"
    )


def _in_fork(job_id: str) -> tuple[float, float, float, float]:
    from alphastrat.core import jobs
    from alphastrat.core.models import Job
    from strategies.services import market

    panel = market.load_panel(("AAPL",), "1d")
    before = peak_memory()
    ours(panel, SETS)
    swept = peak_memory()
    taken = seconds(lambda: jobs.run_job(job_id))
    job = Job.objects.get(pk=job_id)
    if job.status != "succeeded":
        raise RuntimeError(job.error)
    return before, swept, taken, peak_memory()


def main() -> None:
    """Print times, their ratio and memory."""
    with scratch_database():
        from django.db import connection

        from strategies.quant import registry, simulator
        from strategies.services import market
        from tests.strategies.builders import make_market

        registry.load_builtin_plugins()
        make_market("AAPL")
        command = [sys.executable, "-m", "benchmarks.sweep", connection.settings_dict["NAME"]]
        subprocess.run([*command, queue()], check=True)
        simulator.warm()
        panel = market.load_panel(("AAPL",), "1d")
        own = median_seconds(lambda: ours(panel, SETS), 9)
        print(
            f"ours: {len(SETS):,} sets x {panel.n_bars:,} bars in {own * 1e3:.1f} ms, of which "
            f"simulating and measuring {kernel_alone(panel, SETS) * 1e3:.1f} ms"
        )
        close, opening = panel.close[:, :1], panel.open[:, :1]
        agreement(ours(panel, SETS), theirs(close, opening, 500, measures=three))
        for label, measures in (("ten", ten), ("three", three)):
            print(f"vectorbt, {label} measures: {against(panel, measures)}")


def against(panel: Any, measures: Callable[[Any], list[Any]]) -> str:
    """Return the times of both, which take turns, and their ratio."""
    close, opening = panel.close[:, :1], panel.open[:, :1]
    theirs(close, opening, 100, measures=measures)
    own, other = [], {}
    for chunk in (250, 500):
        taken = []
        for _ in range(3):
            taken.append(seconds(lambda c=chunk: theirs(close, opening, c, measures=measures)))  # type: ignore[misc]
            own += [seconds(lambda: ours(panel, SETS)) for _ in range(5)]
        other[chunk] = median(taken)
    best = min(other, key=lambda chunk: other[chunk])
    each = ", ".join(f"{chunk:,}: {taken:.2f} s" for chunk, taken in other.items())
    return (
        f"{other[best]:.2f} s with {best:,} columns at once ({each}), peak {peak_memory():.0f} MB; "
        f"ours {median(own) * 1e3:.1f} ms; ratio {other[best] / median(own):.0f} (target 100)"
    )


def agreement(own: Any, other: Any) -> None:
    """Print how far the two are apart."""
    gap = np.nanmax(np.abs(own.total_return - other[:, 0]))
    print(f"total returns differ by at most {gap:.1e}")


if __name__ == "__main__":
    if sys.argv[1:]:
        in_worker(*sys.argv[1:])
    else:
        main()
