"""Signals of many active strategies on one bar close, from bars stored to signals stored.

python -m benchmarks.signals

Limit: 1,000 strategies in under 1 s on two cores. Each strategy has one of 16 instruments and
its own parameters, so that nothing is computed once for several of them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks.scratch import scratch_database, seconds

SYMBOLS = (
    *("AAPL", "MSFT", "JPM", "XOM", "JNJ", "KO", "PG", "WMT"),
    *("BA", "CAT", "CVX", "DIS", "GS", "HD", "IBM", "INTC"),
)
N_STRATEGIES = 1_000
FIRST_CLOSE = datetime(2017, 6, 1, 21, 30, tzinfo=UTC)
N_DAYS = 5


def main() -> None:
    """Print the times per bar close."""
    with scratch_database():
        from alphastrat.accounts.models import User
        from alphastrat.core import jobs
        from strategies.models import Strategy, StrategySignal
        from strategies.services.strategy_engine import generate_signals
        from tests.strategies.builders import make_market, make_strategy

        jobs.async_task = lambda *_, **__: None  # type: ignore[assignment]
        owner = User.objects.create_user("bench", password="bench", role="trader")
        make_market(*SYMBOLS)
        for n in range(N_STRATEGIES):
            make_strategy(
                owner,
                name=f"Strategy {n}",
                symbols=[SYMBOLS[n % len(SYMBOLS)]],
                parameters={"period": 5 + n % 40, "oversold": 20 + (n // 40) % 15},
            )
        Strategy.objects.update(state="paper")
        times = []
        for day in range(N_DAYS):
            close = FIRST_CLOSE + timedelta(days=day)
            before = StrategySignal.objects.count()
            taken = seconds(
                lambda close=close: generate_signals(
                    Strategy.objects.active(), at=close, known_at=close
                )
            )
            made = StrategySignal.objects.count() - before
            print(f"{close:%Y-%m-%d}: {made} signals in {taken:.2f} s")
            if made:
                times.append(taken)
        print(f"{N_STRATEGIES} strategies, one bar close: {median(times[1:]):.2f} s (limit 1 s)")


if __name__ == "__main__":
    main()
