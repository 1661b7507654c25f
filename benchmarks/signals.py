"""A bar close with 1,000 active strategies, and one strategy beside a bare NOTIFY, in one run.

DJANGO_SETTINGS_MODULE=alphastrat.settings python -m benchmarks.signals

Every bar is stored the way an import stores it: for all strategies a session of 16 instruments at
a time, for the one strategy its own bar alone. The clock runs from the announcement that it is
stored until the signals are committed, that is while `give_signals` reads the strategies, their
last signals and the new bars, computes, stores and tells. Whoever acts on stored signals then
looks for orders: that is in the second number. What other receivers of the stored bars do (fills,
monitors) is in neither. Time on a core is this process alone, orders included; PostgreSQL's is
only in the wall time. The strategies differ in their parameters, so that nothing is computed once
for several of them. Limits: 1 s, 10 times.

The NOTIFY that one strategy is compared with goes there and back where the bar close would: after
every other bar, the same moment after it was stored, when processor and server come from other
work. Repeated in a loop, as nothing in live operation is, it takes a quarter of that; this is said
too. Of one strategy it is also said where its time goes. Storing waits until the disk has the
signal; what that alone takes is shown by a row stored in a table without indexes. A NOTIFY waits
for no disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks.scratch import scratch_database, seconds

SYMBOLS = (
    *("AAPL", "MSFT", "JPM", "XOM", "JNJ", "KO", "PG", "WMT"),
    *("BA", "CAT", "CVX", "DIS", "GS", "HD", "IBM", "INTC"),
)
N_STRATEGIES = 1_000
UNTIL = date(2017, 8, 31)
N_BARS = 30
# Bars until caches, plans and compiled code are those of a process that has been running.
N_WARM = 3


def main() -> None:
    """Print the times per bar close, and their ratio to a round trip."""
    with scratch_database():
        from alphastrat.accounts.models import User
        from alphastrat.core import jobs
        from strategies.models import Strategy
        from tests.strategies.builders import make_market, make_strategy

        jobs.async_task = lambda *_, **__: None  # type: ignore[assignment]
        owner = User.objects.create_user("bench", password="bench", role="trader")
        make_market(*SYMBOLS, until=UNTIL)
        for n in range(N_STRATEGIES):
            make_strategy(
                owner,
                name=f"Strategy {n}",
                symbols=[SYMBOLS[n % len(SYMBOLS)]],
                parameters={"period": 5 + n % 40, "oversold": 20 + (n // 40) % 15},
            )
        Strategy.objects.update(state="paper")
        sessions = later_bars()
        report(f"{N_STRATEGIES:,} strategies", [bar_close(next(sessions)) for _ in range(N_BARS)])
        only = Strategy.objects.with_version().order_by("name")[0]
        Strategy.objects.exclude(pk=only.pk).update(state="research")
        (symbol,) = only.current_version.symbols
        bars = (session[session["symbol"] == symbol] for session in sessions)
        closes, bare, in_a_loop = beside_round_trips(bars)
        one = report("one strategy", closes)
        report_parts(closes[N_WARM:])
        print(
            f"NOTIFY, there and back after a bar: {bare * 1e3:.2f} ms; ratio {one / bare:.1f} "
            f"(limit 10); in a loop {in_a_loop * 1e3:.2f} ms"
        )


class BarClose(NamedTuple):
    """What a bar close took in seconds, and how many signals it gave."""

    stored: float
    with_orders: float
    on_core: float
    statements: dict[str, float]
    n_signals: int


def report(label: str, taken: list[BarClose]) -> float:
    """Print what bar closes took; return the median of the warm ones."""
    warm = taken[N_WARM:]
    walls = [one.stored for one in warm]
    print(
        f"{label}, {len(warm)} bar closes of {warm[0].n_signals} signals: "
        f"median {median(walls):.4f} s, slowest {max(walls):.4f} s, fastest {min(walls):.4f} s; "
        f"with a look for orders {median(one.with_orders for one in warm):.4f} s; "
        f"on a core {median(one.on_core for one in warm):.4f} s; the first {taken[0].stored:.2f} s"
    )
    return median(walls)


def report_parts(warm: list[BarClose]) -> None:
    """Print the medians of each statement, of the rest, and of a bare commit."""
    names = warm[0].statements
    parts = {name: median(one.statements.get(name, 0.0) for one in warm) for name in names}
    rest = median(one.stored - sum(one.statements.values()) for one in warm)
    told = ", ".join(f"{name} {took * 1e3:.2f} ms" for name, took in parts.items())
    print(
        f"of it {len(names)} statements: {told}; the rest {rest * 1e3:.2f} ms; "
        f"a bare row and its commit {median(commits(50)) * 1e3:.2f} ms"
    )


def commits(n_times: int) -> list[float]:
    """Return how long it takes to store a row in a table without indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bare (at int)")
        insert = partial(cursor.execute, "INSERT INTO bare VALUES (1)")
        return [seconds(insert) for _ in range(n_times)]


def later_bars() -> Iterator[Any]:
    """Yield sessions of the sample after those that are stored."""
    import pandas as pd

    from tests.strategies.builders import sample_bars

    rows = sample_bars()
    days = pd.to_datetime(rows["date"]).dt.date
    later = rows[(days > UNTIL) & rows["symbol"].isin(SYMBOLS)]
    for _, session in later.groupby("date"):
        yield session


def bar_close(session: Any) -> BarClose:
    """Store one session and give its signals."""
    from strategies.models import StrategySignal
    from strategies.signal_receivers import give_signals

    ids = store(session)
    before = StrategySignal.objects.count()
    with watched() as (statements, stored):
        began, began_on_core = time.perf_counter(), time.process_time()
        give_signals(series_ids=ids)
        ended, core = time.perf_counter(), time.process_time() - began_on_core
    n_signals = StrategySignal.objects.count() - before
    return BarClose(stored[0] - began, ended - began, core, statements, n_signals)


@contextmanager
def watched() -> Iterator[tuple[dict[str, float], list[float]]]:
    """Give the seconds of each statement, and the instant before others hear of the signals."""
    from alphastrat.core import events
    from alphastrat.core.prepared import PreparedStatement

    took: dict[str, float] = {}
    stored: list[float] = []
    run, tell = PreparedStatement.__call__, events.signals_stored.send_robust

    def timed(statement: PreparedStatement, document: Any) -> Any:
        began = time.perf_counter()
        answer = run(statement, document)
        took[statement.name] = took.get(statement.name, 0.0) + time.perf_counter() - began
        return answer

    def noted(*arguments: Any, **named: Any) -> Any:
        stored.append(time.perf_counter())
        return tell(*arguments, **named)

    with (
        patch.object(PreparedStatement, "__call__", timed),
        patch.object(events.signals_stored, "send_robust", noted),
    ):
        yield took, stored


def store(session: Any) -> list[str]:
    """Append a bar to each series, as an import does, and tell nobody."""
    from django.db import transaction
    from django.db.models import F

    from alphastrat.marketdata.models import Bar, BarSeries
    from tests.strategies.builders import session_closes

    series = {one.instrument.symbol: one for one in BarSeries.objects.select_related("instrument")}
    opened_at, closed_at = session_closes()[date.fromisoformat(str(session["date"].iloc[0])[:10])]
    at = datetime.now(UTC)
    numbers = ("open", "high", "low", "close", "volume")
    bars = [
        Bar(
            series=series[row.symbol],
            opened_at=opened_at,
            closed_at=closed_at,
            ingested_at=at,
            **{name: float(getattr(row, name)) for name in numbers},
        )
        for row in session.itertuples()
    ]
    ids = [bar.series_id for bar in bars]
    with transaction.atomic():
        Bar.objects.bulk_create(bars)
        BarSeries.objects.filter(pk__in=ids).update(
            bar_count=F("bar_count") + 1, revision=F("revision") + 1, last_closed_at=closed_at
        )
    return [str(one) for one in ids]


def beside_round_trips(bars: Iterator[Any]) -> tuple[list[BarClose], float, float]:
    """Close bars and send notifications in turns.

    Return the closes, and the medians of a notification's way to a listener on another connection:
    after a bar, and in a loop.
    """
    import psycopg
    from django.db import connection

    from strategies.signal_receivers import give_signals

    parameters = connection.get_connection_params()
    known = ("host", "port", "user", "password", "dbname")
    target = {name: parameters[name] for name in known if parameters.get(name)}
    closes, trips = [], []
    with psycopg.connect(**target, autocommit=True) as listener:
        listener.execute("LISTEN bench")
        round_trip = partial(_heard, listener, connection)
        for _ in range(N_BARS):
            closes.append(bar_close(next(bars)))
            ids = store(next(bars))
            trips.append(seconds(round_trip))
            give_signals(series_ids=ids)
        in_a_loop = [seconds(round_trip) for _ in range(200)]
    return closes, median(trips[N_WARM:]), median(in_a_loop)


def _heard(listener: Any, sender: Any) -> None:
    with sender.cursor() as cursor:
        cursor.execute("SELECT pg_notify('bench', 'x')")
    next(iter(listener.notifies(stop_after=1)))


if __name__ == "__main__":
    main()
