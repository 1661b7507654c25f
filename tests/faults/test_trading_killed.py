"""Trading is killed, cut off and mixed up: the ledger holds, no fill is lost or doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils.timezone import now

from alphastrat.marketdata.models import FeedPosition, ImportRun
from alphastrat.marketdata.services.ingestion import Target, ingest
from alphastrat.quant.types import Timeframe
from portfolio.models import Account, EquityPoint, Fill, Order
from portfolio.services import accounting, execution
from portfolio.services.accounting import record_fills
from strategies.models import Strategy, StrategySignal
from tests.factories import make_user
from tests.portfolio.test_paper_parity import simulated
from tests.portfolio.trading_builders import (
    START,
    content,
    fill_in,
    identity_gap,
    make_account,
)
from tests.strategies.builders import SYMBOLS, make_strategy, sample_bars

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

ROOT = Path(__file__).resolve().parents[2]
LIVE_DAYS = 120
N_SESSIONS = 82
SPEED = "1728000"  # twenty sessions a second
COSTS = {"commission_bps": 1.0, "slippage_bps": 2.0, "borrow_bps_per_year": 50.0}
PLUGINS = {
    "RSI": {"plugin": "rsi_mean_reversion", "parameters": {"oversold": 40.0, "exit_level": 55.0}},
    "MACD": {"plugin": "macd_momentum", "exit_rules": {"stop_loss": 0.03, "cooldown_bars": 2}},
    "Bollinger": {"plugin": "bollinger_breakout", "exit_rules": {"trailing_stop": 0.03}},
}


@pytest.fixture
def live_accounts() -> list[Account]:
    return stage_accounts()


def stage_accounts() -> list[Account]:
    """Store the sample and put three strategies on paper where the replay will begin."""
    rows = sample_bars()
    rows = rows[rows["symbol"].isin(SYMBOLS) & (pd.to_datetime(rows["date"]).dt.year >= 2016)]
    delivery = pd.DataFrame(
        {
            "row_number": range(1, len(rows) + 1),
            "symbol": rows["symbol"],
            "time": pd.to_datetime(rows["date"]),
            **{name: rows[name] for name in ("open", "high", "low", "close", "volume")},
        }
    )
    at = now()
    run = ImportRun.objects.create(source="sample", status="running", requested_at=at)
    ingest([delivery], run=run, target=Target(Timeframe.DAY_1, "sample"), at=at)
    alice = make_user("alice")
    for name, options in PLUGINS.items():
        strategy = make_strategy(alice, name=name, **options)
        Strategy.objects.filter(pk=strategy.pk).update(state="paper")
        newest = max(s.last_closed_at for i in strategy.universe.all() for s in i.series.all())
        opened_at = newest - timedelta(days=LIVE_DAYS)
        make_account(alice, broker="paper", strategy=strategy, at=opened_at, costs=COSTS)
    return list(Account.objects.select_related("strategy__current_version"))


@contextmanager
def feed(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    to = connection.settings_dict
    address = f"{to['HOST']}:{to['PORT']}" if to["PORT"] else to["HOST"]
    password = f":{quote(to['PASSWORD'])}" if to["PASSWORD"] else ""
    url = f"postgres://{quote(to['USER'])}{password}@{address}/{to['NAME']}"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_feed", f"--speed={SPEED}", f"--live-days={LIVE_DAYS}"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def position_now() -> datetime | None:
    return FeedPosition.objects.values_list("position_at", flat=True).first()


def wait_for_step(after: datetime | None) -> None:
    for _ in range(1200):
        if (position := position_now()) is not None and position != after:
            return
        time.sleep(0.05)
    pytest.fail("the feed does not move")


def wait_for_signals() -> None:
    """Wait until every strategy has begun: from then on no bar may go without its signals."""
    for _ in range(2400):
        if StrategySignal.objects.values("strategy").distinct().count() == len(PLUGINS):
            return
        time.sleep(0.05)
    pytest.fail("the strategies give no signals")


def finish() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    said = StringIO()
    call_command("replay_bars", f"--live-days={LIVE_DAYS}", "--json", stdout=said)
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
        signal.signal(number, handler)
    assert json.loads(said.getvalue())["state"] == "replay finished"
    execution.sweep(at=now())


def check_whole(live_accounts: list[Account]) -> dict[str, int]:
    """Hold every account against one simulation of the same bars, and against a rebuild."""
    counts = {"bars": 0, "fills": 0, "orders": Order.objects.count()}
    for account in live_accounts:
        account.refresh_from_db()
        points = list(EquityPoint.objects.filter(account=account).order_by("marked_at"))
        expected = simulated(account, n_bars=len(points))
        assert [point.marked_at for point in points] == [
            time.to_pydatetime() for time in expected.index
        ]
        fills = Fill.objects.filter(account=account)
        assert fills.count() == len(expected.fills)
        assert points[-1].equity == pytest.approx(Decimal(expected.equity[-1]), abs=Decimal("0.05"))
        assert identity_gap(account) == 0
        derived = content(account)
        accounting.rebuild(account)
        assert content(account) == derived
        counts["bars"] += len(points)
        counts["fills"] += fills.count()
    # Three accounts over the sessions of the live days.
    assert counts["bars"] == 3 * N_SESSIONS
    assert counts["fills"] > 10
    return counts


def test_a_feed_killed_at_random_points_loses_and_doubles_no_fill(live_accounts, capsys):
    chance, n_kills = random.Random(), 0
    for _ in range(6):
        before = position_now()
        with feed() as process:
            wait_for_step(before)
            wait_for_signals()
            time.sleep(chance.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
            n_kills += 1
    finish()
    counts = check_whole(live_accounts)
    with capsys.disabled():
        print(f"\n{n_kills} kills: {counts}, identity holds")  # noqa: T201


def test_cut_connections_and_a_jumping_clock_change_nothing(live_accounts, capsys):
    n_cuts = 0
    with feed() as process:
        wait_for_step(None)
        for _ in range(4):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            n_cuts += 1
            wait_for_step(position_now())
        assert process.poll() is None
    # The clock jumps back and far ahead: bars are known by their own times.
    for at in (now() - timedelta(days=4000), now() + timedelta(days=400)):
        execution.sweep(at=at)
        execution.advance(at=at)
    finish()
    counts = check_whole(live_accounts)
    with capsys.disabled():
        print(f"\n{n_cuts} cuts, 2 clock jumps: {counts}, identity holds")  # noqa: T201


def test_two_feeds_at_once_trade_every_bar_once(live_accounts, capsys):
    with feed(), feed():
        wait_for_step(None)
        time.sleep(3)
    finish()
    counts = check_whole(live_accounts)
    assert StrategySignal.objects.count() == len(
        set(StrategySignal.objects.values_list("strategy", "instrument", "closed_at"))
    )
    with capsys.disabled():
        print(f"\n2 feeds at once: {counts}, identity holds")  # noqa: T201


def test_duplicated_and_reordered_fills_come_to_one_ledger(live_accounts, capsys):
    owner = make_user("bob")
    plain = make_account(owner, strategy=make_strategy(owner, name="In order"))
    mixed = make_account(owner, strategy=make_strategy(owner, name="Mixed up"))
    chance = random.Random()
    fills = [
        fill_in(
            f"{n:05}",
            chance.choice(["buy", "sell"]),
            Decimal(chance.randrange(1, 10**6)) / 10**4,
            Decimal(chance.randrange(10**6, 10**8)) / 10**6,
            symbol=chance.choice(SYMBOLS),
            filled_at=START + timedelta(minutes=chance.randrange(300_000)),
        )
        for n in range(2_000)
    ]
    record_fills(plain, sorted(fills, key=lambda f: f.filled_at), source="api", at=now())
    stream = fills + chance.sample(fills, 1_000)
    chance.shuffle(stream)
    n_recorded = n_known = 0
    while stream:
        batch, stream = stream[:137], stream[137:]
        recorded = record_fills(mixed, batch, source="api", at=now())
        n_recorded += recorded.n_recorded
        n_known += recorded.count("known")
        assert identity_gap(mixed) == 0
    assert (n_recorded, n_known) == (2_000, 1_000)
    assert content(mixed)["positions"] == content(plain)["positions"]
    assert mixed.cash == plain.cash
    with capsys.disabled():
        print(f"\n{n_recorded} fills recorded once, {n_known} repeats: one ledger")  # noqa: T201
