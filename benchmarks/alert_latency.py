"""From a breach to its alert on 100 open pages, with 1,000 live strategies.

python -m benchmarks.alert_latency

The real monitor and the real web process, real sockets. The clock starts before the transaction
that stores the mark in breach begins, and stops when a page has the alert's frame. First one
strategy at a time is marked, then all of them at once with ten in breach. Limit: 1 s at the 99th
percentile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

import numpy as np

from benchmarks import verification
from benchmarks.alert_sockets import Pages, server
from benchmarks.scratch import scratch_database

N_STRATEGIES, N_PAGES = 1_000, 100
N_SINGLE, N_FULL, N_BREACHES = 150, 8, 10
PAUSE_SECONDS = 0.15
BREACH = -0.25
START_SECONDS = 120

_MARK = """
    INSERT INTO portfolio_equitypoint (account_id, marked_at, cash, position_value, equity,
        realised, unrealised, commission, net_flow, bar_return, gross_exposure, is_reported)
    SELECT id, %(at)s, 100000, 0, 100000, 0, 0, 0, 0,
        CASE WHEN id = ANY(%(breached)s) THEN %(breach)s ELSE 0.001 END, 0.5, false
    FROM unnest(%(ids)s::uuid[]) AS a (id)
"""


def mark(ids: Sequence[UUID], *, breached: Sequence[UUID], at: datetime) -> None:
    """Store one mark for each account, as the execution of a bar does."""
    from django.db import connection, transaction
    from django.db.models import F

    from alphastrat.core.notify import notify
    from portfolio.models import Account

    with transaction.atomic():
        values = {"at": at, "ids": list(ids), "breached": list(breached), "breach": BREACH}
        with connection.cursor() as cursor:
            cursor.execute(_MARK, values)
        chosen = Account.objects.filter(pk__in=ids)
        chosen.update(revision=F("revision") + 1, marked_to=at)
        for one in ids:
            notify("monitor", f"account:{one}")


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


def follow(pages: Pages, began: float, *, seconds: float) -> list[float]:
    """Return the delay on each page that got the alert of a strategy."""
    deadline = time.monotonic() + seconds
    while len(pages.arrived) < N_PAGES and time.monotonic() < deadline:
        time.sleep(0.005)
    return [at - began for at in pages.arrived.values()]


def watch(pages: Pages, name: str) -> None:
    pages.arrived, pages.marker = {}, f'"strategy": "{name}"'.encode()


def say(what: str, delays: list[float], n_expected: int) -> None:
    p50, p95, p99 = np.percentile(np.array(delays) * 1e3, [50, 95, 99])
    print(
        f"{what}: {len(delays)} of {n_expected} alerts on pages; p50 {p50:.0f} ms, p95 {p95:.0f} "
        f"ms, p99 {p99:.0f} ms, worst {max(delays) * 1e3:.0f} ms; limit 1,000 ms at p99"
    )


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
            singles: list[float] = []
            for number, (account, name) in enumerate(accounts[:N_SINGLE], start=1):
                watch(pages, name)
                began = time.perf_counter()
                mark([account], breached=[account], at=at + timedelta(hours=1, seconds=number))
                singles += follow(pages, began, seconds=10)
                time.sleep(PAUSE_SECONDS)
            say("one strategy marked", singles, N_SINGLE * N_PAGES)
            together: list[float] = []
            every = [account for account, _ in accounts]
            for number in range(N_FULL):
                first = N_SINGLE + number * N_BREACHES
                breached = accounts[first : first + N_BREACHES]
                watch(pages, breached[-1][1])
                began = time.perf_counter()
                mark(
                    every,
                    breached=[account for account, _ in breached],
                    at=at + timedelta(hours=2, seconds=number),
                )
                together += follow(pages, began, seconds=20)
                time.sleep(2)
            say(
                f"all {N_STRATEGIES} marked at once, {N_BREACHES} in breach",
                together,
                N_FULL * N_PAGES,
            )
            detail = Heartbeat.objects.filter(process="monitor").latest("beat_at").detail
            print(f"monitor: {detail}")
            pages.close()
    finally:
        monitor.kill()
        monitor.wait()


if __name__ == "__main__":
    with scratch_database():
        main()
