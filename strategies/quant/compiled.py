"""numba compilation whose cache is never stale.

numba's own cache watches the file of the function, not the files of the functions it calls: after
an upgrade it would go on running the old ones. So the cache folder is named after the content
of every source that compiled code is made from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core import config

from alphastrat.quant import execution

Function = TypeVar("Function", bound=Callable[..., Any])


def _folder() -> str | None:
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(execution.__file__)]
    fingerprint = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    base = os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parent / "__pycache__"
    folder = Path(base) / f"alphastrat-{fingerprint[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder)


_FOLDER = _folder()


def compiled(function: Function) -> Function:
    """Compile a function with numba, without the interpreter lock and with a safe cache.

    Parameters
    ----------
    function : callable
        Of arrays and scalars, written for numba.

    Returns
    -------
    callable
        Compiles on first use, or loads from a folder below NUMBA_CACHE_DIR.
    """
    return _dispatcher(function)


def compiled_bare(function: Function) -> Function:
    """Compile a function that allocates nothing, so that it counts no references either.

    Counting is what short functions that pass arrays on would spend their time with, and two
    threads would wait for each other at the counter of an array that they share. numba refuses a
    function that allocates, and one that calls such a function.

    Parameters
    ----------
    function : callable
        As for `compiled`; it may look at parts of arrays.

    Returns
    -------
    callable
        As for `compiled`.
    """
    return _dispatcher(function, _nrt=False)


def compiled_elementwise(function: Function) -> Function:
    """Compile a loop whose steps do not depend on each other, several of which are done at a time.

    Count from 0 to the length of a slice: an index that might be negative would have to be looked
    at one by one. Dividing by zero gives infinity or NaN.

    Parameters
    ----------
    function : callable
        As for `compiled_bare`.

    Returns
    -------
    callable
        As for `compiled`.
    """
    return _dispatcher(function, error_model="numpy", _nrt=False)


def compiled_wide(function: Function) -> Function:
    """Compile a loop that sums up finite numbers, several of them at a time.

    They may be added up in another order, which is the same order every time. Otherwise as
    `compiled_elementwise`.

    Parameters
    ----------
    function : callable
        As for `compiled_bare`.

    Returns
    -------
    callable
        As for `compiled`.
    """
    fast = {"reassoc", "nnan", "nsz"}
    return _dispatcher(function, fastmath=fast, error_model="numpy", _nrt=False)


def _dispatcher(function: Any, **options: Any) -> Any:
    before = config.CACHE_DIR  # type: ignore[attr-defined]
    if _FOLDER is not None:
        config.CACHE_DIR = _FOLDER  # type: ignore[attr-defined]
    try:
        return njit(cache=True, nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]
