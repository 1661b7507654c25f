"""Paper trading of 1,000 accounts at a bar: from signals stored to fills, marks and orders stored.

python -m benchmarks.paper_execution

Signals are given beforehand and nothing trades on them by itself, so that all of the trading is in
the time. Limit: under 2 s per bar on two cores, and as many queries for 1,000 accounts as for 10.
"""

from __future__ import annotations

import os
from datetime import date
from statistics import median
from time import process_time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks.scratch import scratch_database, seconds

SYMBOLS = ("AAPL", "MSFT", "JPM", "XOM", "JNJ", "KO", "PG", "WMT")
N_ACCOUNTS, N_FEW = 1_000, 10
N_BARS = 30
START = date(2017, 6, 1)


def main() -> None:
    """Print the times per bar."""
    with scratch_database():
        from django.db import connection
        from django.test.utils import CaptureQueriesContext
        from django.utils.timezone import now

        from alphastrat.accounts.models import User
        from alphastrat.core import events, jobs, messenger
        from alphastrat.marketdata.models import BarSeries
        from portfolio.models import Account, Fill, Order
        from portfolio.services import execution
        from strategies.models import Strategy
        from strategies.services.strategy_engine import generate_signals
        from tests.portfolio.trading_builders import Replay, make_account
        from tests.strategies.builders import make_market, make_strategy

        jobs.async_task = lambda *_, **__: None  # type: ignore[assignment]
        messenger.send = lambda *_: None  # type: ignore[assignment]
        events.signals_stored.disconnect(dispatch_uid="portfolio.act_on_signals")
        owner = User.objects.create_user("bench", password="bench", role="trader")
        make_market(*SYMBOLS)
        replay = Replay(start=START)
        opened_at = BarSeries.objects.order_by("-last_closed_at")[0].last_closed_at
        for n in range(N_ACCOUNTS):
            strategy = make_strategy(
                owner,
                name=f"Strategy {n}",
                symbols=[SYMBOLS[n % 8], SYMBOLS[(n + 3) % 8]],
                parameters={"period": 5 + n % 20, "oversold": 35.0, "exit_level": 55.0},
                exit_rules={"stop_loss": 0.03} if n % 2 else {},
            )
            make_account(owner, broker="paper", strategy=strategy, at=opened_at)
        Strategy.objects.update(state="paper")
        few = list(Account.objects.order_by("pk").values_list("pk", flat=True)[:N_FEW])
        times: list[float] = []
        cores: list[float] = []
        counts: dict[int, int] = {}
        for _ in range(N_BARS):
            replay.step()
            generate_signals(Strategy.objects.active(), at=now())
            with CaptureQueriesContext(connection) as captured:
                execution.advance(few, at=now())
            counts[N_FEW] = max(counts.get(N_FEW, 0), len(captured))
            fills = Fill.objects.count()
            began = process_time()
            with CaptureQueriesContext(connection) as captured:
                times.append(seconds(lambda: execution.advance(at=now())))
            cores.append(process_time() - began)
            counts[N_ACCOUNTS] = max(counts.get(N_ACCOUNTS, 0), len(captured))
            made = Fill.objects.count() - fills
            print(
                f"{N_ACCOUNTS - N_FEW} accounts: {made} fills in {times[-1]:.2f} s, "
                f"{cores[-1]:.2f} s of them on a core of this process"
            )
        print(f"orders {Order.objects.count()}, fills {Fill.objects.count()}")
        print(f"queries per bar: {counts[N_FEW]} for {N_FEW}, {counts[N_ACCOUNTS]} for the rest")
        print(
            f"median {median(times):.2f} s, worst {max(times):.2f} s (limit 2 s); "
            f"on a core {median(cores):.2f} s, worst {max(cores):.2f} s"
        )


if __name__ == "__main__":
    main()
