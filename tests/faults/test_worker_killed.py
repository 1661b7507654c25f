"""A killed worker loses nothing: the job runs again and ends with the same result, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from django.db import connection
from django.utils.timezone import now
from django_q.brokers import get_broker

from alphastrat.core import jobs
from alphastrat.core.models import Job, LiveTopic
from tests.faults import slow_tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


def worker_environment() -> dict[str, str]:
    """Point a worker at the test's own database."""
    to = connection.settings_dict
    address = f"{to['HOST']}:{to['PORT']}" if to["PORT"] else to["HOST"]
    password = f":{quote(to['PASSWORD'])}" if to["PASSWORD"] else ""
    url = f"postgres://{quote(to['USER'])}{password}@{address}/{to['NAME']}"
    settings = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "alphastrat.settings_test"}
    return {**os.environ, **settings, "WORKERS": "1"}


@pytest.fixture
def start_worker() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    get_broker().purge_queue()
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "manage.py", "run_worker"]
        started.append(subprocess.Popen(command, env=worker_environment()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_job_whose_worker_is_killed_ends_once_with_every_step_done(start_worker, capsys):
    marker = f"count{random.randrange(10**9)}"
    path = f"{slow_tasks.__name__}.count_slowly"
    job = jobs.enqueue(path, key=marker, title="Count", marker=marker)
    worker = start_worker()

    def reached(step: int) -> bool:
        job.refresh_from_db()
        return job.done >= step

    wait_until(lambda: reached(5), seconds=60)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    done_when_killed = job.done
    time.sleep(0.5)  # were a child still running, it would go on writing
    job.refresh_from_db()
    assert job.done - done_when_killed <= 1
    Job.objects.filter(pk=job.pk).update(heartbeat_at=now() - jobs.LOST_AFTER)
    assert jobs.requeue_lost_jobs(at=now()) == 1
    start_worker()
    wait_until(lambda: reached(slow_tasks.N_STEPS) and job.status == "succeeded", seconds=60)

    assert job.attempts == 2
    assert job.result["started_at_step"] >= 5
    steps = LiveTopic.objects.filter(topic__startswith=f"{marker}:").count()
    assert steps == slow_tasks.N_STEPS
    with capsys.disabled():
        print(f"\nkilled at step {done_when_killed}, resumed, {steps} steps, 1 result")  # noqa: T201
