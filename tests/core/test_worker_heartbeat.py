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


@pytest.mark.parametrize(("cores", "share"), [(1, 1), (2, 1), (8, 4), (None, 1)])
def test_the_linear_algebra_of_each_worker_has_its_share_of_the_cores(cores, share, monkeypatch):
    asked = []
    monkeypatch.setattr(run_worker.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(run_worker, "threadpool_limits", lambda *given: asked.append(given))
    monkeypatch.setitem(run_worker.settings.Q_CLUSTER, "workers", 2)
    run_worker._share_cores()
    assert asked == [(share, "blas")]
