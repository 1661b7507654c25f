"""The worker says that it lives, also after a server was away."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.db import InterfaceError, OperationalError
from redis import ConnectionError as RedisConnectionError

from alphastrat.core.management.commands import run_worker
from alphastrat.core.models import Heartbeat

CLUSTER = SimpleNamespace(stat=SimpleNamespace(workers=[1, 2]))


@pytest.mark.parametrize("lost", [OperationalError, InterfaceError, RedisConnectionError])
def test_a_lost_server_withholds_a_heartbeat_and_ends_nothing(lost, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise lost("connection refused")

    monkeypatch.setattr(run_worker, "beat", fail)
    monkeypatch.setattr(run_worker.connections, "close_all", lambda: None)
    run_worker._beat(CLUSTER)
    assert "heartbeat withheld: connection refused" in caplog.text


@pytest.mark.django_db
def test_the_heartbeat_of_the_worker_counts_its_workers():
    run_worker._beat(CLUSTER)
    assert Heartbeat.objects.get(process="worker").detail == {"workers": 2}
