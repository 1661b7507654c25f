"""The pages of a portfolio of a hundred strategies: queries and server time.

python -m benchmarks.portfolio_page
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from benchmarks.scratch import scratch_database

REPEATS = 15
N_STRATEGIES = 100
N_DAYS = 252
N_FILLS = 101
CAPITAL = 100_000
LIMITS = "limits: 25 queries and 200 ms server time, each page with 100 strategies"
PAGES = (
    "/portfolio/allocation/",
    "/portfolio/performance/",
    "/portfolio/performance/?period=month",
    "/portfolio/performance/?format=pdf",
    "/portfolio/risk/",
    "/portfolio/rebalancing/",
    "/portfolio/correlation/",
    "/portfolio/risk/tail/",
    "/portfolio/rebalancing/laboratory/",
)
START = datetime(2017, 1, 3, 21, tzinfo=UTC)


def seed() -> Any:
    """Make a hundred strategies with a year of sessions, a position and a backtest each."""
    import numpy as np
    from django.contrib.auth import get_user_model
    from django.utils.timezone import now

    from alphastrat.marketdata.models import Instrument
    from alphastrat.marketdata.services.sample_market import load_sample_market
    from portfolio.models import Portfolio, PortfolioMember

    load_sample_market(at=now())
    user = get_user_model().objects.create_user("bench", password="bench", role="trader")
    portfolio = Portfolio.objects.create(owner=user, name="Hundred", reserve=CAPITAL)
    instruments = list(Instrument.objects.order_by("symbol"))
    rng = np.random.default_rng(1)
    for number in range(N_STRATEGIES):
        instrument = instruments[number % len(instruments)]
        strategy = _strategy(user, number, instrument.symbol)
        _account(strategy, instrument, rng.normal(0.0004, 0.01, N_DAYS))
        _backtest(strategy, rng.normal(0.0004, 0.01, 5 * N_DAYS))
        PortfolioMember.objects.create(
            portfolio=portfolio, strategy=strategy, target_weight=0.9 / N_STRATEGIES, added_at=START
        )
    return user


def _strategy(user: Any, number: int, symbol: str) -> Any:
    from strategies.services.lifecycle import StrategyDraft, create_strategy

    draft = StrategyDraft(name=f"Strategy {number}", plugin="rsi_mean_reversion", symbols=[symbol])
    return create_strategy(user, draft)


def _account(strategy: Any, instrument: Any, returns: Any) -> None:
    import numpy as np

    from portfolio.models import Account, EquityPoint, Fill, Position

    curve = CAPITAL * np.cumprod(1.0 + returns)
    last = Decimal(str(round(float(curve[-1]), 4)))
    account = Account.objects.create(
        strategy=strategy,
        opening_cash=CAPITAL,
        deposits=CAPITAL,
        cash=last - 5_000,
        equity=last,
        opened_at=START - timedelta(days=1),
        marked_to=START + timedelta(days=N_DAYS),
    )
    EquityPoint.objects.bulk_create(
        EquityPoint(
            account=account,
            marked_at=START + timedelta(days=day),
            cash=Decimal(str(round(value, 4))),
            position_value=0,
            equity=Decimal(str(round(value, 4))),
            bar_return=float(gained),
        )
        for day, (value, gained) in enumerate(zip(curve.tolist(), returns, strict=True))
    )
    Position.objects.create(
        account=account,
        instrument=instrument,
        quantity=50,
        cost=5_000,
        realised=0,
        mark_price=100,
        protection={"stop": 95},
    )
    Fill.objects.bulk_create(
        Fill(
            account=account,
            instrument=instrument,
            source=Fill.Source.PAPER,
            execution_id=str(number),
            side="sell" if number % 2 else "buy",
            quantity=50,
            price=100,
            commission=1,
            filled_at=START + timedelta(days=number * N_DAYS / N_FILLS),
            recorded_at=START,
        )
        for number in range(N_FILLS)
    )


def _backtest(strategy: Any, returns: Any) -> None:
    import numpy as np
    import pandas as pd

    from strategies.models import BacktestRun
    from strategies.services.run_archive import Curves, pack_curves

    times = pd.bdate_range(end="2018-02-07 21:00", periods=len(returns), tz="UTC")
    curves = Curves(
        times=times,
        symbols=("AAPL",),
        capital=float(CAPITAL),
        equity=CAPITAL * np.cumprod(1.0 + returns),
        benchmark=np.full(len(returns), np.nan),
        gross=np.ones(len(returns)),
        net=np.ones(len(returns)),
        positions=np.ones((len(returns), 1), dtype=np.float32),
    )
    BacktestRun.objects.create(
        owner=strategy.owner,
        strategy_version=strategy.current_version,
        title=f"{strategy.name} backtest",
        plugin=strategy.plugin,
        symbols=["AAPL"],
        timeframe="1d",
        start_at=times[0],
        end_at=times[-1] + timedelta(hours=1),
        capital=CAPITAL,
        status="succeeded",
        requested_at=times[-1],
        finished_at=times[-1],
        periods_per_year=252.0,
        curves=pack_curves(curves),
        trades=b"",
    )


def measure() -> None:
    """Ask for each page again and again."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    call_command("collectstatic", interactive=False, verbosity=0)
    user = seed()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for page in PAGES:
        answer = client.get(page)
        if answer.status_code != 200:
            print(f"{page:<40} status {answer.status_code}")
            continue
        statements: list[str] = []

        def note(
            execute: Any, sql: str, params: Any, many: bool, context: Any, kept: Any = statements
        ) -> Any:
            kept.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note):
            client.get(page)
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            client.get(page)
            times.append(time.perf_counter() - began)
        size = len(answer.content) / 1e3
        spent = median(times) * 1e3
        print(f"{page:<40}{len(statements):>4} queries {spent:>7.1f} ms {size:>7.1f} KB")
    print(LIMITS)


if __name__ == "__main__":
    # As in the web processes, see alphastrat/wsgi.py.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with scratch_database():
        measure()
