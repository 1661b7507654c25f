"""Wishes of many parameter sets at once: one row per set, computed for a span of sets at a time.

An indicator that many sets share is computed once and held as a row of a matrix; a set names its
rows. Where there are too many different ones to hold, each span computes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from strategies.quant.compiled import compiled, compiled_elementwise
from strategies.quant.parameters import Direction, ParameterKind, ParameterSpec, parameter_specs
from strategies.quant.registry import Plugin
from strategies.quant.signals import LONG_ENTRY, SHORT_ENTRY, WishArray

# Bytes of one indicator that are held for all sets.
MAX_HELD = 16 * 2**20

Column = npt.NDArray[Any]
Columns = Mapping[str, Column]
WishRows = Callable[[slice], WishArray]


class SweptPlugin(Protocol):
    """A plug-in class that answers for many parameter sets at once.

    Parameters arrive as columns of shape (n_sets,), within their ranges. What it answers is
    tested to equal what `signals` and `check_consistency` say of each set; a plug-in whose
    parameters cannot contradict each other needs no `are_consistent`.
    """

    @classmethod
    def are_consistent(cls, sets: Columns) -> BoolArray:
        """Return which sets do not contradict themselves, shape (n_sets,)."""

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        """Return a function from a span of sets to wishes of shape (n_span, n_bars).

        It is called from several threads.
        """


class Rows:
    """A series for every set, many of them shared; made by `rows`."""

    def __init__(
        self, make: Callable[..., FloatArray], chosen: Sequence[tuple[Any, ...]], level: IntArray
    ) -> None:
        self._make, self._chosen, self._level = make, chosen, level
        self._held: FloatArray | None = None
        if len(chosen) * make(*chosen[0]).nbytes <= MAX_HELD:
            self._held = self._made(range(len(chosen)))

    def of(self, span: slice) -> tuple[FloatArray, IntArray]:
        """Return different series, one per row, and which of them each set of a span has."""
        own = self._level[span]
        if self._held is not None:
            return self._held, own
        different, place = np.unique(own, return_inverse=True)
        return self._made(different.tolist()), place

    def matrix(self, span: slice) -> FloatArray:
        """Return the series of each set of a span, one row per set."""
        series, level = self.of(span)
        return series[level]

    def _made(self, places: Sequence[int]) -> FloatArray:
        return np.array([self._make(*self._chosen[place]) for place in places])


def rows(make: Callable[..., FloatArray], *columns: Column) -> Rows:
    """Return an indicator for every set, computed once for each different combination.

    Parameters
    ----------
    make : callable
        From one value of every column to an array of shape (n_bars,), or several such stacked.
    *columns : ndarray of shape (n_sets,)
        The parameters that the indicator depends on.

    Returns
    -------
    Rows
        One series per set.
    """
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        different, code = np.unique(column, return_inverse=True)
        codes = codes * len(different) + code
    _, first, level = np.unique(codes, return_index=True, return_inverse=True)
    chosen = zip(*(column[first].tolist() for column in columns), strict=True)
    return Rows(make, list(chosen), level)


def cross_wishes(first: Rows, second: Rows, span: slice, *, up: int, down: int) -> WishArray:
    """Return wishes made where a series crosses another.

    Parameters
    ----------
    first, second : Rows
        For the same sets and bars.
    span : slice
        Sets.
    up, down : int
        Bits of the wishes made where the first crosses above and below the second, as
        `signals.crosses_above` and `signals.crosses_below` say.

    Returns
    -------
    ndarray of uint8, shape (n_span, n_bars)
        0 elsewhere.
    """
    one, other = first.of(span), second.of(span)
    wishes = np.zeros((len(one[1]), one[0].shape[1]), np.uint8)
    _cross_all(*one, *other, np.uint8(up), np.uint8(down), wishes)
    return wishes


@compiled
def _cross_all(
    first: FloatArray,
    first_level: IntArray,
    second: FloatArray,
    second_level: IntArray,
    up: np.uint8,
    down: np.uint8,
    wishes: WishArray,
) -> None:
    for i in range(wishes.shape[0]):
        one, other = first[first_level[i]], second[second_level[i]]
        _cross(one[1:], one[:-1], other[1:], other[:-1], up, down, wishes[i, 1:])


@compiled_elementwise
def _cross(
    one: FloatArray,
    one_before: FloatArray,
    other: FloatArray,
    other_before: FloatArray,
    up: np.uint8,
    down: np.uint8,
    wishes: WishArray,
) -> None:
    for t in range(wishes.size):
        rises = (one[t] > other[t]) & (one_before[t] <= other_before[t])
        falls = (one[t] < other[t]) & (one_before[t] >= other_before[t])
        wishes[t] = np.uint8(rises) * up | np.uint8(falls) * down


def column_of(numbers: Column, span: slice) -> Column:
    """Return a parameter of the sets of a span, shape (n_span, 1), to compare series with."""
    column: Column = numbers[span, None]
    return column


def allowed_wishes(directions: Column) -> WishArray:
    """Return the wishes that each set may make: no entry on a side that it does not take.

    Parameters
    ----------
    directions : ndarray of str, shape (n_sets,)
        Values of `parameters.Direction`.

    Returns
    -------
    ndarray of uint8, shape (n_sets, 1)
        To be applied to wishes with `&`.
    """
    allowed = np.full(len(directions), 15, np.uint8)
    allowed[directions == Direction.SHORT] &= 15 - LONG_ENTRY
    allowed[directions == Direction.LONG] &= 15 - SHORT_ENTRY
    return allowed[:, None]


def consistent_sets(cls: type[Any], sets: Columns) -> BoolArray | None:
    """Return which sets do not contradict themselves.

    Parameters
    ----------
    cls : type
        A plug-in class.
    sets : mapping of name to ndarray of shape (n_sets,)
        As `parameter_columns` returns them.

    Returns
    -------
    ndarray of bool, shape (n_sets,), or None
        None where each set has to be built to know.
    """
    if hasattr(cls, "are_consistent"):
        answer: BoolArray = cls.are_consistent(sets)
        return answer
    checks = (cls.check_consistency, cls.__post_init__)
    if checks != (Plugin.check_consistency, Plugin.__post_init__):
        return None
    return np.ones(len(next(iter(sets.values()))), np.bool_)


def parameter_columns(
    cls: type[Any], sets: Sequence[Mapping[str, Any]]
) -> dict[str, Column] | None:
    """Return the parameters of many sets as columns, defaults included.

    Parameters
    ----------
    cls : type
        A plug-in class.
    sets : sequence of mapping
        Parameters of each set; all must name the same ones.

    Returns
    -------
    dict of name to ndarray of shape (n_sets,), or None
        Whole numbers, numbers and booleans as such, choices as strings. None where a set has to
        be looked at by itself: another form, a value out of range, an unknown name.
    """
    names = sets[0].keys()
    specs = {spec.name: spec for spec in parameter_specs(cls)}
    if names - specs.keys() or set(map(len, sets)) != {len(names)}:
        return None
    columns = {}
    for name, spec in specs.items():
        if name not in names:
            columns[name] = np.full(len(sets), spec.default)
            continue
        values = [own.get(name) for own in sets]
        column = _column(spec, values)
        if column is None:
            return None
        columns[name] = column
    return columns


def _column(spec: ParameterSpec, values: list[Any]) -> Column | None:
    if spec.kind not in (ParameterKind.INTEGER, ParameterKind.NUMBER):
        if any(spec.check(value) for value in values):
            return None
        return np.array(values if spec.kind is ParameterKind.BOOLEAN else [str(v) for v in values])
    if not set(map(type, values)) <= {int, float}:
        return None
    column = np.array(values, np.float64)
    low, high = column.min(), column.max()
    # A NaN is neither below nor above anything.
    if not (spec.low is not None and spec.low <= low and spec.high is not None):
        return None
    if not high <= spec.high:
        return None
    if spec.kind is ParameterKind.NUMBER:
        return column
    return column.astype(np.int64) if (column == np.floor(column)).all() else None


def warm() -> None:
    """Compile the comparison, or load it from the cache."""
    one = rows(lambda _: np.arange(2.0), np.zeros(1))
    cross_wishes(one, one, slice(0, 1), up=1, down=2)
