"""One backtest from claim to stored result, against the bare engine call, in a warm worker.

python -m benchmarks.backtest

Six months of daily bars of one instrument (limits: 0.25 s, and 3 times the bare engine call of
the second engine), five years of eight, and the first run after start against the tenth.
"""

from __future__ import annotations

import os
from datetime import date
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks.scratch import median_seconds, scratch_database, seconds

SYMBOLS = ("AAPL", "MSFT", "JPM", "XOM", "JNJ", "KO", "PG", "WMT")
CASES = (
    ("six months, 1 instrument", ("AAPL",), date(2017, 1, 3), date(2017, 6, 30)),
    ("five years, 8 instruments", SYMBOLS, date(2013, 2, 8), date(2018, 2, 7)),
)
REPEATS = 10


def from_claim_to_stored(owner: Any, symbols: tuple[str, ...], start: date, end: date) -> float:
    """Return how long a worker takes for a run that is already queued."""
    from django.utils.timezone import now

    from alphastrat.core import jobs
    from strategies.services.backtesting import request_backtest
    from strategies.services.specification import Specification

    asked = Specification(
        plugin="rsi_mean_reversion",
        symbols=symbols,
        start=start,
        end=end,
        costs={"commission_bps": 1.0, "slippage_bps": 2.0},
    )
    run = request_backtest(owner, asked, at=now())
    taken = seconds(lambda: jobs.run_job(str(run.job_id)))
    run.refresh_from_db()
    if run.status != "succeeded":
        raise RuntimeError(run.failure_reason)
    return taken


def bare_engines(symbols: tuple[str, ...], start: date, end: date) -> tuple[float, float]:
    """Return the bare calls of the kernel and of vectorbt on bars already in memory."""
    from strategies.quant import registry, vectorbt_engine
    from strategies.quant.signals import panel_signals
    from strategies.quant.simulator import SimulationConfig, simulate
    from strategies.services import market
    from strategies.services.specification import Specification

    asked = Specification(plugin="rsi_mean_reversion", symbols=symbols, start=start, end=end)
    panel = market.load(asked, warmup_bars=280).panel
    signals = panel_signals(registry.build("rsi_mean_reversion", {}), panel)
    config = SimulationConfig(periods_per_year=252.0)
    result = simulate(panel, signals, config=config)
    kernel = median_seconds(lambda: simulate(panel, signals, config=config), REPEATS)
    vectorbt_engine.run(panel, signals, config=config, result=result)
    second = median_seconds(
        lambda: vectorbt_engine.run(panel, signals, config=config, result=result), REPEATS
    )
    return kernel, second


def main() -> None:
    """Print the times and their ratios."""
    with scratch_database():
        from alphastrat.accounts.models import User
        from alphastrat.core import jobs
        from strategies import tasks
        from tests.strategies.builders import make_market

        jobs.async_task = lambda *_, **__: None  # type: ignore[assignment]
        owner = User.objects.create_user("bench", password="bench", role="trader")
        make_market(*SYMBOLS)
        print(f"warming the worker ({tasks.__name__}): {seconds(jobs.warm_up):.2f} s")
        for label, symbols, start, end in CASES:
            times = [from_claim_to_stored(owner, symbols, start, end) for _ in range(REPEATS)]
            kernel, second = bare_engines(symbols, start, end)
            usual = median(times[1:])
            print(
                f"{label}: claim to stored {usual * 1e3:.0f} ms (first {times[0] * 1e3:.0f} ms); "
                f"bare vectorbt {second * 1e3:.1f} ms, ratio {usual / second:.2f}; "
                f"bare kernel {kernel * 1e3:.3f} ms"
            )


if __name__ == "__main__":
    main()
