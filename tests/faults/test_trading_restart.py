"""PostgreSQL restarts under a trading feed: it waits, goes on, and nothing is lost or doubled."""

from __future__ import annotations

import time

import pytest
from django.db import connection

from tests.faults.test_server_outages import own_database, own_server
from tests.faults.test_trading_killed import (
    check_whole,
    feed,
    finish,
    position_now,
    stage_accounts,
    wait_for_step,
)

pytestmark = [pytest.mark.faults, pytest.mark.servers]

N_RESTARTS = 2


def test_trading_goes_on_after_restarts_of_postgresql(
    tmp_path, monkeypatch, django_db_blocker, capsys
):
    with (
        own_server(tmp_path, "postgres") as servers,
        django_db_blocker.unblock(),
        own_database(servers, monkeypatch),
    ):
        live_accounts = stage_accounts()
        with feed(DATABASE_URL=servers.urls["postgres"]) as process:
            for _ in range(N_RESTARTS):
                wait_for_step(position_now())
                connection.close()
                servers.stop()
                time.sleep(1.0)
                servers.start()
            wait_for_step(position_now())
            assert process.poll() is None
        finish()
        counts = check_whole(live_accounts)
    with capsys.disabled():
        print(f"\n{N_RESTARTS} restarts of PostgreSQL: {counts}, identity holds")  # noqa: T201
