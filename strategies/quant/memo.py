"""Checked bars and indicator values, remembered while a sweep asks for them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from alphastrat.quant.bars import bar_values, check_bars
from alphastrat.quant.types import FloatArray

# Bytes after which everything is forgotten: thousands of sets may share next to nothing.
MAX_BYTES = 64 * 2**20


class _Memory:
    """Values by key, each beside its source."""

    def __init__(self) -> None:
        self.values: dict[Any, tuple[Any, Any]] = {}
        self.n_bytes = 0

    def value(self, key: Any, source: Any, make: Callable[[], Any]) -> Any:
        if key not in self.values:
            made = make()
            n_bytes = sum(array.nbytes for array in _arrays_of(made))
            if self.n_bytes + n_bytes > MAX_BYTES:
                self.values.clear()
                self.n_bytes = 0
            self.n_bytes += n_bytes
            self.values[key] = (source, made)
        return self.values[key][1]


_memo: ContextVar[_Memory | None] = ContextVar("indicator_memo", default=None)


class BarArrays(NamedTuple):
    """The columns of checked bars as contiguous arrays of shape (n_bars,)."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


@contextmanager
def memo() -> Iterator[None]:
    """Remember checked bars and indicator values until the block ends.

    A sweep asks for the same moving average thousands of times. Inside the block the bars must
    not be changed in place; outside it nothing is remembered. More than MAX_BYTES are not held.
    """
    token = _memo.set(_Memory())
    try:
        yield
    finally:
        _memo.reset(token)


def bar_arrays(bars: pd.DataFrame) -> BarArrays:
    """Return the columns of a frame as arrays, refusing gaps.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, 5)
        OHLCV bars.

    Returns
    -------
    BarArrays
        Contiguous float64 arrays of shape (n_bars,).

    Raises
    ------
    ValueError
        If `check_bars` refuses them.
    """
    return remembered(("bars", id(bars)), bars, lambda: _arrays(bars))


def know_bars(bars: pd.DataFrame, arrays: BarArrays) -> None:
    """Spare a frame the check inside a `memo` block.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, 5)
        Made of stored bars, which the database holds to the rules of `check_bars`.
    arrays : BarArrays
        Its columns.
    """
    remembered(("bars", id(bars)), bars, lambda: arrays)


def _arrays(bars: pd.DataFrame) -> BarArrays:
    return BarArrays(*np.ascontiguousarray(bar_values(check_bars(bars)).T))


def remembered(key: Any, source: Any, make: Callable[[], Any]) -> Any:
    """Return the value under `key`, made once inside a `memo` block and every time outside.

    Parameters
    ----------
    key : hashable
        May contain ids of arrays that belong to `source`.
    source : object
        Kept beside the value, so that its id cannot be given to another array.
    make : callable
        Makes the value.

    Returns
    -------
    object
        The value.
    """
    memory = _memo.get()
    if memory is None:
        return make()
    return memory.value(key, source, make)


def recalled(make: Callable[..., Any], source: FloatArray, *params: float) -> Any:
    """Return `make(source, *params)`, see `remembered`.

    Parameters
    ----------
    make : callable
        A function of a module, so that it is the same object at every call.
    source : ndarray of shape (n_bars,)
        A series.
    *params : int or float
        Parameters.

    Returns
    -------
    object
        The value.
    """
    memory = _memo.get()
    if memory is None:
        return make(source, *params)
    return memory.value((make, id(source), params), source, lambda: make(source, *params))


def _arrays_of(made: Any) -> Iterable[Any]:
    return made if isinstance(made, tuple) else (made,)
