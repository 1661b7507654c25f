"""One pass of verification over many live strategies, against its own bare computation.

python -m benchmarks.verification

Limits: 1,000 strategies x 126 bars in 2 s, at most 3 times the bare vectorised computation plus
one bulk read, and a cost that grows linearly. Each strategy has an account with six months of
equity points and 40 fills, an expectation and a shadow whose fills are matched and whose signals
are compared; in one of ten some differ. A pass locks the
verdicts, reads, assesses, decides, and writes every verdict with its checks, because a bar of
every strategy is new to it. The bare computation is the assessment of arrays in memory;
the bulk read is what brings them there. A pass without new bars is measured too: that is what the
monitor does every few seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

import numpy as np

from benchmarks.scratch import scratch_database, seconds

N_BARS, N_FILLS = 126, 40
SIZES = (250, 500, 1_000)
REPEATS = 9
START = datetime(2026, 1, 2, 21, tzinfo=UTC)
AT = START + timedelta(days=N_BARS)


def make_fleet(n_strategies: int) -> None:
    """Store strategies that trade, with what verification knows about each."""
    from alphastrat.accounts.models import User
    from alphastrat.marketdata.models import Instrument
    from strategies.models import Strategy, StrategyVersion

    rng = np.random.default_rng(n_strategies)
    owner = User.objects.create_user(f"owner{n_strategies}", password="x", role="trader")
    instrument, _ = Instrument.objects.get_or_create(symbol="BENCH")
    strategies = Strategy.objects.bulk_create(
        Strategy(owner=owner, name=f"Strategy {n_strategies}-{k}", plugin="rsi_mean_reversion")
        for k in range(n_strategies)
    )
    versions = StrategyVersion.objects.bulk_create(
        StrategyVersion(
            strategy=one,
            number=1,
            plugin=one.plugin,
            symbols=["BENCH"],
            timeframe="1d",
            created_by=owner,
        )
        for one in strategies
    )
    accounts = store_accounts(strategies)
    store_points(accounts)
    store_fills(accounts, instrument)
    store_promises(strategies, versions, rng)
    store_shadows(accounts, versions, rng)


def store_accounts(strategies: Any) -> Any:
    from portfolio.models import Account

    return Account.objects.bulk_create(
        Account(
            strategy=one, opening_cash=100_000, opened_at=START - timedelta(days=1), marked_to=AT
        )
        for one in strategies
    )


_POINTS = """
    INSERT INTO portfolio_equitypoint (account_id, marked_at, cash, position_value, equity,
        realised, unrealised, commission, net_flow, bar_return, gross_exposure, is_reported)
    SELECT a.id, %s + t * interval '1 day', 100000, 0, 100000, 0, 0, 0, 0,
        0.0005 + 0.0173 * (random() + random() + random() + random() - 2), 0.5, false
    FROM unnest(%s::uuid[]) AS a (id), generate_series(0, %s - 1) AS t
"""
_FILLS = """
    INSERT INTO portfolio_fill (id, account_id, instrument_id, source, execution_id, side,
        quantity, price, commission, filled_at, recorded_at, is_cancelled)
    SELECT gen_random_uuid(), a.id, %s, 'paper', k::text, CASE k %% 2 WHEN 0 THEN 'buy' ELSE 'sell'
        END, 10, 99 + 2 * random(), 0, %s + (1 + 3 * k) * interval '1 day' - interval '6 hours',
        %s, false
    FROM unnest(%s::uuid[]) AS a (id), generate_series(0, %s - 1) AS k
"""


def store_points(accounts: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_POINTS, [START, [one.pk for one in accounts], N_BARS])


def store_fills(accounts: Any, instrument: Any) -> None:
    from django.db import connection

    ids = [one.pk for one in accounts]
    with connection.cursor() as cursor:
        cursor.execute(_FILLS, [instrument.pk, START, AT, ids, N_FILLS])
        cursor.execute("ANALYZE")


def store_promises(strategies: Any, versions: Any, rng: np.random.Generator) -> None:
    from monitoring.models import Expectation
    from monitoring.quant.expectations import ReferenceTrips, expected_of
    from monitoring.services import packing
    from strategies.models import BacktestRun

    returns = rng.normal(0.0005, 0.01, 1_260)
    trips = ReferenceTrips(
        rng.normal(0.002, 0.02, 200), np.full(200, 3.0), np.ones(200), np.ones(200)
    )
    envelope = packing.pack_expected(expected_of(returns, trips, periods_per_year=252, rng=rng))
    run = BacktestRun.objects.create(
        owner=strategies[0].owner,
        title="bench",
        plugin="rsi_mean_reversion",
        symbols=["BENCH"],
        timeframe="1d",
        start_at=START,
        end_at=AT,
        capital=1,
        requested_at=AT,
    )
    Expectation.objects.bulk_create(
        Expectation(
            strategy=strategy,
            version=version,
            run=run,
            is_out_of_sample=False,
            frozen_at=START,
            n_bars=1_260,
            n_trades=200,
            periods_per_year=252,
            returns=b"",
            envelope=envelope,
        )
        for strategy, version in zip(strategies, versions, strict=True)
    )


def store_shadows(accounts: Any, versions: Any, rng: np.random.Generator) -> None:
    from alphastrat.core.moments import microseconds
    from monitoring.models import Shadow
    from monitoring.quant.divergence import Reason
    from monitoring.quant.signal_tally import TALLY
    from monitoring.services import packing

    times = np.array([microseconds(START + timedelta(days=t)) for t in range(N_BARS)])
    differing = np.zeros(2, TALLY)
    differing["time"], differing["reason"], differing["n"] = times[[40, 90]], Reason.RESTATED, 1
    made = []
    for k, (account, version) in enumerate(zip(accounts, versions, strict=True)):
        matched = np.zeros(N_FILLS, packing.MATCHED)
        matched["time"] = rng.choice(times[1:], N_FILLS)
        matched["is_matched"], matched["gap_bps"] = 1.0, rng.normal(0, 5, N_FILLS)
        made.append(
            Shadow(
                account=account,
                version=version,
                computed_at=AT,
                computed_to=AT,
                n_bars=N_BARS,
                curves=packing.pack_curve(times, rng.normal(0.0005, 0.01, N_BARS)),
                fills=b"",
                matched=np.sort(matched, order="time").tobytes(),
                signals=packing.pack_signals(np.full(N_BARS, 3), differing[: 2 * (k % 10 == 0)]),
            )
        )
    Shadow.objects.bulk_create(made)


def measure(n_strategies: int) -> tuple[float, float, float, float]:
    """Return seconds of a pass, of one without new bars, of the bulk read and of the assessment.

    They take turns, so that all meet the same load of the machine.
    """
    from monitoring.models import Verification
    from monitoring.quant.degradation import assess
    from monitoring.services import observations, performance_validator
    from strategies.models import Strategy

    mine = Strategy.objects.filter(name__startswith=f"Strategy {n_strategies}-")
    ids = list(mine.values_list("pk", flat=True))
    loaded = observations.load_with_standings(ids, at=AT)
    terms = performance_validator.terms_of(loaded.standings)
    steps: list[Callable[[], Any]] = [
        lambda: performance_validator.evaluate(ids, at=AT),
        lambda: performance_validator.evaluate(ids, at=AT),
        lambda: observations.load_with_standings(ids, at=AT),
        lambda: assess(loaded.observations, terms),
    ]
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(REPEATS + 1):
        # The newest bar is new to the first pass of a round.
        stored = Verification.objects.filter(strategy__in=ids)
        stored.update(observed_to=AT - timedelta(days=2))
        for step, times in zip(steps, taken, strict=True):
            times.append(seconds(step))
    # The first round compiles and plans.
    whole, idle, read, bare = (median(times[1:]) for times in taken)
    return whole, idle, read, bare


def main() -> None:
    print(f"{N_BARS} bars and {N_FILLS} fills each, median of {REPEATS} rounds, milliseconds")
    print("strategies   pass   nothing new   bulk read   bare computation   pass / (read + bare)")
    for n_strategies in SIZES:
        make_fleet(n_strategies)
        whole, idle, read, bare = measure(n_strategies)
        print(
            f"{n_strategies:>10,} {1e3 * whole:>6.0f} {1e3 * idle:>13.0f} {1e3 * read:>11.0f} "
            f"{1e3 * bare:>18.0f} {whole / (read + bare):>22.2f}"
        )


if __name__ == "__main__":
    with scratch_database():
        main()
