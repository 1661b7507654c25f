"""A database of its own for a measurement, gone when it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median


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
