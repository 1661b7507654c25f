"""From a breach to its alert on 100 open pages, with 1,000 live strategies.

python -m benchmarks.alert_latency

The real monitor and the real web process, real sockets. The clock starts before the transaction
that stores the marks begins, and stops when a page has the alert's frame; each page has to have
each alert. First one strategy at a time is marked; then all of them in one transaction, as when a
daily bar closes, with ten in breach; then all of them with a hundred. Limit: 1 s at the 99th
percentile of each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

import numpy as np

from benchmarks import verification
from benchmarks.alert_sockets import Pages, server
from benchmarks.scratch import scratch_database

N_STRATEGIES, N_PAGES = 1_000, 100
N_SINGLE, N_TOGETHER = 150, 7
# How many are in breach where all are marked.
BREACHES = (10, 100)
PAUSE_SECONDS, PAUSE_TOGETHER = 0.15, 2.0
BREACH = -0.25
START_SECONDS, PATIENCE_SECONDS = 120, 20

_MARK = """
    INSERT INTO portfolio_equitypoint (account_id, marked_at, cash, position_value, equity,
        realised, unrealised, commission, net_flow, bar_return, gross_exposure, is_reported)
    SELECT id, %(at)s, 100000, 0, 100000, 0, 0, 0, 0,
        CASE WHEN id = ANY(%(breached)s) THEN %(breach)s ELSE 0.001 END, 0.5, false
    FROM unnest(%(ids)s::uuid[]) AS a (id)
"""
_NOTIFY = "SELECT pg_notify('monitor', 'account:' || id) FROM unnest(%s::text[]) AS id"


def mark(ids: Sequence[UUID], *, breached: Sequence[UUID], at: datetime) -> None:
    """Store one mark for each account, as the execution of a bar does."""
    from django.db import connection, transaction
    from django.db.models import F

    from portfolio.models import Account

    with transaction.atomic():
        values = {"at": at, "ids": list(ids), "breached": list(breached), "breach": BREACH}
        with connection.cursor() as cursor:
            cursor.execute(_MARK, values)
        chosen = Account.objects.filter(pk__in=ids)
        chosen.update(revision=F("revision") + 1, marked_to=at)
        with connection.cursor() as cursor:
            cursor.execute(_NOTIFY, [[str(one) for one in ids]])


def prepare() -> tuple[Any, list[tuple[UUID, str]], datetime]:
    """Store the strategies and the rule; return the owner, accounts with names, the last mark."""
    from django.contrib.auth import get_user_model

    from monitoring.models import ThresholdRule
    from portfolio.models import Account

    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    verification.START = today - timedelta(days=verification.N_BARS)
    verification.AT = today
    verification.make_fleet(N_STRATEGIES)
    owner = get_user_model().objects.get(username=f"owner{N_STRATEGIES}")
    ThresholdRule.objects.create(
        owner=owner,
        name="Bad day",
        metric="day_return",
        comparator="below",
        critical_bound=BREACH * 0.8,
        cooldown_seconds=0,
    )
    accounts = Account.objects.order_by("pk").values_list("pk", "strategy__name")
    return owner, list(accounts), today


def await_monitor(process: subprocess.Popen[bytes]) -> None:
    """Wait until the monitor has judged everything once."""
    from alphastrat.core.models import Heartbeat

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the monitor ended by itself"
        beats = Heartbeat.objects.filter(process="monitor").values_list("detail", flat=True)
        if any(detail.get("n_strategies", 0) >= N_STRATEGIES for detail in beats):
            return
        time.sleep(0.5)
    raise SystemExit("the monitor did not judge all strategies")


def follow(pages: Pages, names: Sequence[str], store: Callable[[], None]) -> list[float]:
    """Store marks; return the delay of each of the alerts of these strategies on each page."""
    pages.arrived, pages.markers = {}, tuple(f'"strategy": "{one}"'.encode() for one in names)
    began = time.perf_counter()
    store()
    deadline = began + PATIENCE_SECONDS
    while len(pages.arrived) < N_PAGES * len(names) and time.perf_counter() < deadline:
        time.sleep(0.005)
    return [at - began for at in pages.arrived.values()]


def say(what: str, delays: list[float], n_expected: int) -> None:
    p50, p95, p99 = np.percentile(np.array(delays) * 1e3, [50, 95, 99])
    print(
        f"{what}: {len(delays)} of {n_expected} alerts on pages; p50 {p50:.0f} ms, p95 {p95:.0f} "
        f"ms, p99 {p99:.0f} ms, worst {max(delays) * 1e3:.0f} ms; limit 1,000 ms at p99"
    )


def single(pages: Pages, accounts: Sequence[tuple[UUID, str]], at: datetime) -> None:
    """Mark one strategy at a time, each in breach."""
    delays: list[float] = []
    for number, (account, name) in enumerate(accounts[:N_SINGLE], start=1):
        store = partial(mark, [account], breached=[account], at=at + timedelta(seconds=number))
        delays += follow(pages, [name], store)
        time.sleep(PAUSE_SECONDS)
    say("one strategy marked", delays, N_SINGLE * N_PAGES)


def together(
    pages: Pages,
    accounts: Sequence[tuple[UUID, str]],
    at: datetime,
    sound: Iterator[tuple[UUID, str]],
    n_breaches: int,
) -> None:
    """Mark all strategies in one transaction, some of those that are sound in breach."""
    every, delays = [account for account, _ in accounts], []
    for number in range(N_TOGETHER):
        chosen = list(islice(sound, n_breaches))
        breached = [account for account, _ in chosen]
        store = partial(mark, every, breached=breached, at=at + timedelta(seconds=number))
        delays += follow(pages, [name for _, name in chosen], store)
        time.sleep(PAUSE_TOGETHER)
    what = f"all {len(every):,} marked at once, {n_breaches} in breach"
    say(what, delays, N_TOGETHER * N_PAGES * n_breaches)


def main() -> None:
    from django.db import connection
    from django.test import Client

    from alphastrat.core.models import Heartbeat
    from tests.browser.processes import environment

    owner, accounts, at = prepare()
    client = Client()
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    variables = {**environment(dict(connection.settings_dict)), "LOG_LEVEL": "ERROR"}
    monitor = subprocess.Popen([sys.executable, "manage.py", "run_monitor"], env=variables)
    try:
        with server(variables, "alphastrat.servers.web", "--fd") as (port, _):
            pages = Pages(port, cookie)
            pages.start()
            pages.open(N_PAGES)
            await_monitor(monitor)
            single(pages, accounts, at + timedelta(hours=1))
            # Others each time: an alert that is open is not told again.
            sound = iter(accounts[N_SINGLE:])
            for hour, n_breaches in enumerate(BREACHES, start=2):
                together(pages, accounts, at + timedelta(hours=hour), sound, n_breaches)
            detail = Heartbeat.objects.filter(process="monitor").latest("beat_at").detail
            print(f"monitor: {detail}")
            pages.close()
    finally:
        monitor.kill()
        monitor.wait()


if __name__ == "__main__":
    with scratch_database():
        main()
