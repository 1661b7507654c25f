"""A database of its own for a measurement, gone when it ends, and a worker that uses it."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any


@contextmanager
def scratch_database() -> Iterator[None]:
    """Set Django up on an empty database beside the configured one."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    django.setup()
    from django.db import connection

    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"bench_{name}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def median_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the median time of a call."""
    return median(seconds(call) for _ in range(repeats))


def warm_worker(database: str) -> float:
    """Make this process what workers are forked from; return how long warming took."""
    import django

    django.setup()
    from django.db import connection, connections
    from django.utils.module_loading import autodiscover_modules

    from alphastrat.core import jobs

    connection.settings_dict["NAME"] = database
    autodiscover_modules("tasks")
    jobs.async_task = lambda *_, **__: None  # type: ignore[attr-defined]
    taken = seconds(jobs.warm_up)
    connections.close_all()
    gc.collect()
    gc.freeze()
    return taken


def in_fork(call: Callable[[], Any]) -> Any:
    """Return what a call answers in a forked worker, warmed as `run_worker` does it."""
    from alphastrat.core import jobs

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            jobs.warm_up()
            os.write(writing, json.dumps(call()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def peak_memory() -> float:
    """Return the most memory that this process has had so far, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024
