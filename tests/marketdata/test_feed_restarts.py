"""The feed as a process: killed, told to stop, and cut off from its database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.core.management import call_command
from django.db import connection

from alphastrat.core.models import Heartbeat
from alphastrat.marketdata.models import Bar, FeedPosition, ImportRun
from alphastrat.marketdata.services.ingestion import Target, ingest
from alphastrat.quant.calendars import session_times
from alphastrat.quant.types import Timeframe
from tests.faults.staging import Forked, kill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2024, 6, 3, 12, tzinfo=UTC)
SESSIONS = session_times(
    "XNYS", datetime(2023, 1, 2, tzinfo=UTC), datetime(2024, 1, 31, tzinfo=UTC)
).index
LIVE_DAYS = 60
TEN_SESSIONS_A_SECOND = "864000"
PACE = [f"--speed={TEN_SESSIONS_A_SECOND}", f"--live-days={LIVE_DAYS}"]


@pytest.fixture(autouse=True)
def market() -> None:
    """Store two symbols; the second one does not trade on every session."""
    for symbol, skipped in (("AAA", set()), ("BBB", {250, 251, 255})):
        kept = [n for n in range(len(SESSIONS)) if n not in skipped]
        closes = 100 + np.sin(np.array(kept))
        rows = pd.DataFrame(
            {
                "row_number": range(1, len(kept) + 1),
                "symbol": symbol,
                "time": SESSIONS[kept],
                "open": closes,
                "high": closes + 1,
                "low": closes - 1,
                "close": closes,
                "volume": 1e6,
            }
        )
        run = ImportRun.objects.create(source="sample", status="running", requested_at=AT)
        ingest([rows], run=run, target=Target(Timeframe.DAY_1, "sample"), at=AT)


@contextmanager
def feed() -> Iterator[subprocess.Popen[str]]:
    """Run the feed as `make run` does; whatever a test leaves of it is killed."""
    database = connection.settings_dict
    process = subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "run_feed",
            *PACE,
            "--json",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the feed ended"
    return json.loads(line)


def steps_taken(more_than: int) -> int:
    """Wait until the feed has stored more than so many live bars."""
    for _ in range(300):
        n_bars = FeedPosition.objects.values_list("n_bars", flat=True).first() or 0
        if n_bars > more_than:
            return n_bars
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.05)")
    pytest.fail("the feed does not move")


def bars_of(source: str) -> list[tuple[Any, ...]]:
    values = ("opened_at", "closed_at", "open", "high", "low", "close", "volume")
    found = Bar.objects.filter(series__source=source)
    return sorted(found.values_list("series__instrument__symbol", *values))


def finish() -> None:
    output = StringIO()
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    call_command("replay_bars", f"--live-days={LIVE_DAYS}", "--json", stdout=output)
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
        signal.signal(number, handler)
    assert json.loads(output.getvalue())["state"] == "replay finished"


def test_a_feed_killed_again_and_again_doubles_and_loses_nothing() -> None:
    n_bars = 0
    for _ in range(3):
        process = Forked("run_feed", *PACE)
        try:
            n_bars = steps_taken(more_than=n_bars)
        finally:
            kill(process)
    finish()
    assert bars_of("replay") == bars_of("sample")
    position = FeedPosition.objects.get()
    live = Bar.objects.filter(series__source="replay", closed_at__gt=position.starts_at)
    assert position.n_bars == live.count()


def test_a_feed_told_to_stop_ends_well_and_says_so() -> None:
    with feed() as process:
        assert said(process)["state"] == "replaying"
        process.send_signal(signal.SIGTERM)
        # The first feed on a machine may be compiling the kernels, and ends its turn first.
        assert process.wait(timeout=180) == 0
    assert Heartbeat.objects.get(process="feed").detail["state"] == "stopped"


def test_a_feed_goes_on_after_its_database_connection_was_cut() -> None:
    with feed() as process:
        said(process)
        n_bars = steps_taken(more_than=0)
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            n_bars = steps_taken(more_than=n_bars)
        assert process.poll() is None
    finish()
    assert bars_of("replay") == bars_of("sample")
