"""Work that is spread over the cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


def on_every_core(worker: Callable[[], Callable[[slice], None]], n: int, *, span: int) -> None:
    """Go through spans of `n` independent items on every core.

    Parameters
    ----------
    worker : callable
        Called once on each core, in a thread of its own; returns what does a span of items.
        Whatever takes long in it lets go of the interpreter lock.
    n : int
        Items.
    span : int
        Items that are taken at a time.
    """
    starts = range(0, n, span)
    spans = iter([slice(start, min(start + span, n)) for start in starts])

    def go() -> None:
        work = worker()
        for own in spans:
            work(own)

    n_others = min(os.cpu_count() or 1, len(starts)) - 1
    if n_others < 1:
        go()
        return
    with ThreadPoolExecutor(n_others) as pool:
        others: list[Future[None]] = [pool.submit(go) for _ in range(n_others)]
        go()
        for other in others:
            other.result()
