"""Where the chunks of a search are computed: in this worker, or on a Dask cluster.

Both sides take the same calls as `concurrent.futures` and give identical results, because a
chunk is a pure function of its bars and parameter sets.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from alphastrat.core.errors import ProviderError

CONNECT_SECONDS = 10


class InProcessExecutor(Executor):
    """Computes what is submitted at once, in the calling worker.

    The kernel itself uses every core; the queue's workers are daemons and may not start
    processes of their own.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True, slots=True)
class Site:
    """An executor, how many chunks it takes at once, and how it holds what all of them need."""

    executor: Executor
    n_parallel: int
    share: Callable[[Any], Any]
    name: str


@contextmanager
def connect() -> Iterator[Site]:
    """Open the configured place of work.

    Raises ProviderError where the cluster does not answer, so that the job is tried again.
    """
    if settings.DASK_SCHEDULER:
        yield from _on_dask(settings.DASK_SCHEDULER)
        return
    with InProcessExecutor() as executor:
        yield Site(executor, n_parallel=1, share=lambda value: value, name="this worker")


def _on_dask(address: str) -> Iterator[Site]:
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise ProviderError(
            "DASK_SCHEDULER is set, but dask is not installed: pip install 'dask[distributed]'.",
            permanent=True,
        ) from None
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ProviderError(f"The Dask scheduler {address} does not answer.") from error
    with client:
        n_threads = sum(client.nthreads().values())
        yield Site(
            client.get_executor(),
            n_parallel=max(2, 2 * n_threads),
            share=lambda value: client.scatter(value, broadcast=True, hash=False),
            name=f"Dask at {address}",
        )
