"""One backtest from claim to stored result, against the bare engine call, in a warm worker.

python -m benchmarks.backtest

Six months of daily bars of one instrument (limits: 0.25 s, and 3 times the bare engine call),
five years of eight, the first run after the worker's start against the tenth, and five years of
505 instruments (limit: 1.5 times; the file of all of them is read where it is present).

The bare call is `Portfolio.from_signals` of vectorbt on arguments that are ready: it has filled
every order and kept cash and positions, and has not yet been asked for anything. Asking it for
what a stored run holds (equity, positions, round trips) is shown beside it. The job and the bare
call take turns, so that both meet the same load of the machine. The result counts as stored when
its transaction is committed; the whole job also asks for the examination of the run and ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks import import_bars
from benchmarks.import_bars import forget_everything
from benchmarks.scratch import in_fork, median_seconds, scratch_database, seconds, warm_worker

SYMBOLS = ("AAPL", "MSFT", "JPM", "XOM", "JNJ", "KO", "PG", "WMT")
CASES: tuple[tuple[str, tuple[str, ...], date, date], ...] = (
    ("six months, 1 instrument", ("AAPL",), date(2017, 1, 3), date(2017, 6, 30)),
    ("five years, 8 instruments", SYMBOLS, date(2013, 2, 8), date(2018, 2, 7)),
)
COSTS = {"commission_bps": 1.0, "slippage_bps": 2.0}
REPEATS, LARGE_REPEATS = 60, 11
STARTS, RUNS_AFTER_START = 5, 10


class Stopwatch:
    """Runs queued backtests and says when each was stored and when its job had ended."""

    def __init__(self) -> None:
        from alphastrat.core import events

        self.stored_at = 0.0
        events.backtest_finished.connect(self._note)

    def _note(self, **_: Any) -> None:
        self.stored_at = time.perf_counter()

    def run(self, ask: Callable[[], Any]) -> tuple[float, float]:
        """Return the seconds from claim to stored, and to the end of the job."""
        from alphastrat.core import jobs

        run = ask()
        began = time.perf_counter()
        jobs.run_job(str(run.job_id))
        ended = time.perf_counter()
        run.refresh_from_db()
        if run.status != "succeeded":
            raise RuntimeError(run.failure_reason)
        return self.stored_at - began, ended - began


def specified(
    symbols: tuple[str, ...], start: date, end: date, *, plugin: str = "rsi_mean_reversion"
) -> Any:
    """Return what is asked for."""
    from strategies.services.specification import Specification

    return Specification(plugin=plugin, symbols=symbols, start=start, end=end, costs=COSTS)


def universe() -> Any:
    """Import the file of all instruments and return a backtest over every one of them."""
    from django.utils.timezone import now

    from alphastrat.marketdata.models import BarSeries, ImportRun
    from alphastrat.marketdata.providers.files import FileFormat, read_file
    from alphastrat.marketdata.services.imports import look_over
    from alphastrat.marketdata.services.ingestion import Target, ingest
    from alphastrat.quant.types import Timeframe

    run = ImportRun.objects.create(source="sp500", requested_at=now())
    form = FileFormat(Timeframe.DAY_1, ZoneInfo("America/New_York"))
    target = Target(Timeframe.DAY_1, "sp500")
    bars = read_file(import_bars.FILE, form)
    look_over(ingest(bars, run=run, target=target, at=now()), at=now())
    symbols = BarSeries.objects.order_by("instrument__symbol")
    names = tuple(symbols.values_list("instrument__symbol", flat=True))
    # Its warm-up is short enough for the instruments that were listed last.
    return specified(names, date(2013, 2, 8), date(2018, 2, 7), plugin="moving_average_cross")


def bare_engines(asked: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the bare calls of vectorbt and of the kernel on what a run of `asked` hands them."""
    import vectorbt

    from strategies.quant import vectorbt_engine
    from strategies.quant.simulator import simulate
    from strategies.services import backtesting, market, specification

    plan = specification.check(asked)
    checked = plan.specification
    loaded = market.load(checked, warmup_bars=plan.warmup_bars, series=plan.series)
    signals = backtesting.signals_of(checked, loaded)
    config = specification.check_terms(checked)
    panel = loaded.panel
    result = simulate(panel, signals, config=config)
    ready = vectorbt_engine.arguments(panel, signals, config=config, result=result)
    return (
        lambda: vectorbt.Portfolio.from_signals(**ready),
        lambda: simulate(panel, signals, config=config),
    )


def held_results(portfolio: Any) -> tuple[Any, ...]:
    """Ask a portfolio of vectorbt for what a stored run holds."""
    return portfolio.value(), portfolio.assets(), portfolio.trades.records


def measure(watch: Stopwatch, ask: Callable[[], Any], asked: Any, *, repeats: int = REPEATS) -> str:
    """Return a line of medians: the job and the bare calls take turns."""
    second, kernel = bare_engines(asked)
    second()
    watch.run(ask)
    stored, whole, bare = [], [], []
    for _ in range(repeats):
        until_stored, until_ended = watch.run(ask)
        stored.append(until_stored)
        whole.append(until_ended)
        bare.append(seconds(second))
    asking = median_seconds(lambda: held_results(second()), repeats // 3)
    compiled = median_seconds(kernel, repeats)
    return (
        f"claim to stored {median(stored) * 1e3:.1f} ms, "
        f"{median(stored) / median(bare):.2f} times bare vectorbt ({median(bare) * 1e3:.1f} ms); "
        f"end of job {median(whole) * 1e3:.1f} ms, {median(whole) / median(bare):.2f} times; "
        f"vectorbt asked for its results {asking * 1e3:.1f} ms, "
        f"{median(stored) / asking:.2f} times; bare kernel {compiled * 1e3:.2f} ms"
    )


def after_start(database: str, queued: list[str]) -> None:
    """Print how long the first and later jobs take in workers that have just been forked."""
    print(f"warming the worker: {warm_worker(database):.2f} s", end="; ", flush=True)
    times = [in_fork(lambda n=n: _job_times(queued[n::STARTS])) for n in range(STARTS)]  # type: ignore[misc]
    first, second, tenth = (median(row[n] for row in times) * 1e3 for n in (0, 1, 9))
    print(
        f"whole job after a fork: first {first:.0f} ms, second {second:.0f} ms, "
        f"tenth {tenth:.0f} ms (median of {STARTS} starts)"
    )


def _job_times(queued: list[str]) -> list[float]:
    from alphastrat.core import jobs

    return [seconds(lambda job_id=job_id: jobs.run_job(job_id)) for job_id in queued]  # type: ignore[misc]


def main() -> None:
    """Print the times and their ratios."""
    with scratch_database():
        from django.db import connection
        from django.utils.timezone import now

        from alphastrat.accounts.models import User
        from alphastrat.core import jobs
        from strategies import tasks  # noqa: F401 - registers what a worker can do
        from strategies.services.backtesting import request_backtest
        from tests.strategies.builders import make_market

        jobs.async_task = lambda *_, **__: None  # type: ignore[attr-defined]
        owner = User.objects.create_user("bench", password="bench", role="trader")
        make_market(*SYMBOLS)
        watch = Stopwatch()
        jobs.warm_up()
        cases = {label: specified(names, start, end) for label, names, start, end in CASES}

        def asking(asked: Any) -> Callable[[], Any]:
            return lambda: request_backtest(owner, asked, at=now())

        short = asking(cases[CASES[0][0]])
        watch.run(short)
        queued = [str(short().job_id) for _ in range(STARTS * RUNS_AFTER_START)]
        command = [sys.executable, "-m", "benchmarks.backtest", connection.settings_dict["NAME"]]
        subprocess.run([*command, *queued], check=True)
        for label, asked in cases.items():
            print(f"{label}: {measure(watch, asking(asked), asked)}")
        if import_bars.FILE.is_file():
            forget_everything()
            asked = universe()
            line = measure(watch, asking(asked), asked, repeats=LARGE_REPEATS)
            print(f"five years, {len(asked.symbols)} instruments: {line}")


if __name__ == "__main__":
    if sys.argv[1:]:
        after_start(sys.argv[1], sys.argv[2:])
    else:
        main()
