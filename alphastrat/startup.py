"""How processes start: what they import is not looked through for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage meanwhile, and leave out what is there at the end from then on.

    Modules stay as long as their process. To look through all of them again and again takes a
    quarter of a start, and would copy the memory that forked workers share.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
