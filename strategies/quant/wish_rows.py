"""Wishes of many parameter sets at once: one row per set, computed for a span of sets at a time.

An indicator that many sets share is computed once and held as a row of a matrix; a set names its
rows. What is compared bar by bar comes out as bytes, which are combined eight times as fast as
the numbers they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from strategies.quant.compiled import compiled
from strategies.quant.parameters import Direction, ParameterKind, ParameterSpec, parameter_specs
from strategies.quant.signals import LONG_ENTRY, SHORT_ENTRY, WishArray

ABOVE, BELOW, EQUAL = 1, 2, 4

Columns = Mapping[str, npt.NDArray[Any]]
WishRows = Callable[[slice], WishArray]
Relation = npt.NDArray[np.uint8]


class SweptPlugin(Protocol):
    """A plug-in class that answers for many parameter sets at once.

    Parameters arrive as columns of shape (n_sets,), within their ranges. What it answers is
    tested to equal what `signals` and `check_consistency` say of each set.
    """

    @classmethod
    def are_consistent(cls, sets: Columns) -> BoolArray:
        """Return which sets do not contradict themselves, shape (n_sets,)."""

    @classmethod
    def wish_rows(cls, bars: pd.DataFrame, sets: Columns) -> WishRows:
        """Return a function from a span of sets to wishes of shape (n_span, n_bars)."""


class Rows(NamedTuple):
    """A series for every set, many of them shared.

    Attributes
    ----------
    values : ndarray of shape (n_levels, n_bars)
        Each different series once.
    level : ndarray of int, shape (n_sets,)
        Row of `values` that belongs to a set.
    """

    values: FloatArray
    level: IntArray


def rows(make: Callable[..., FloatArray], *columns: npt.NDArray[Any]) -> Rows:
    """Return an indicator for every set, computed once for each different combination.

    Parameters
    ----------
    make : callable
        From one value of every column to an array of shape (n_bars,).
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
    return Rows(np.array([make(*values) for values in chosen]), level)


def row_of(series: FloatArray, n_sets: int) -> Rows:
    """Return one series that all sets share."""
    return Rows(series[None], np.zeros(n_sets, np.int64))


def levels(column: npt.NDArray[Any], n_bars: int) -> Rows:
    """Return a number of each set as a series that stays the same.

    Parameters
    ----------
    column : ndarray of shape (n_sets,)
        A parameter.
    n_bars : int
        Bars.

    Returns
    -------
    Rows
        One series per different number.
    """
    return rows(lambda value: np.full(n_bars, float(value)), column)


def compare(first: Rows, second: Rows, span: slice) -> Relation:
    """Return how two series of each set stand to each other at every bar.

    Parameters
    ----------
    first, second : Rows
        For the same sets and bars.
    span : slice
        Sets.

    Returns
    -------
    ndarray of uint8, shape (n_span, n_bars)
        ABOVE, BELOW or EQUAL for the first against the second; 0 where either is NaN.
    """
    own = first.level[span]
    relation = np.empty((len(own), first.values.shape[1]), np.uint8)
    _compare(first.values, own, second.values, second.level[span], relation)
    return relation


@compiled
def _compare(
    first: FloatArray,
    first_level: IntArray,
    second: FloatArray,
    second_level: IntArray,
    relation: Relation,
) -> None:
    for i in range(relation.shape[0]):
        one, other, row = first[first_level[i]], second[second_level[i]], relation[i]
        for t in range(row.size):
            row[t] = (
                np.uint8(one[t] > other[t])
                | (np.uint8(one[t] < other[t]) << np.uint8(1))
                | (np.uint8(one[t] == other[t]) << np.uint8(2))
            )


def cross_wishes(first: Rows, second: Rows, span: slice, *, up: int, down: int) -> WishArray:
    """Return wishes made where a series crosses another.

    Parameters
    ----------
    first, second, span
        As in `compare`.
    up, down : int
        Bits of the wishes made where the first crosses above and below the second, as
        `signals.crosses_above` and `signals.crosses_below` say.

    Returns
    -------
    ndarray of uint8, shape (n_span, n_bars)
        0 elsewhere.
    """
    wishes = compare(first, second, span)
    _cross(wishes, up, down)
    return wishes


@compiled
def _cross(relation: Relation, up: int, down: int) -> None:
    for i in range(relation.shape[0]):
        before = relation[i].copy()
        relation[i, 0] = 0
        for t in range(1, before.size):
            # A side is new if it is taken now and was not before, when both were known.
            was = before[t - 1]
            fresh = before[t] & ~was if was != 0 else np.uint8(0)
            relation[i, t] = (fresh & 1) * up | (fresh >> 1 & 1) * down


def above(relation: Relation) -> BoolArray:
    """Return where the first series is above the second."""
    return (relation & ABOVE).view(np.bool_)


def below(relation: Relation) -> BoolArray:
    """Return where the first series is below the second."""
    return (relation >> 1 & 1).view(np.bool_)


def allowed_wishes(directions: npt.NDArray[Any]) -> WishArray:
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


def parameter_columns(
    cls: type[Any], sets: Sequence[Mapping[str, Any]]
) -> dict[str, npt.NDArray[Any]] | None:
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


def _column(spec: ParameterSpec, values: list[Any]) -> npt.NDArray[Any] | None:
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
    """Compile the comparisons, or load them from the cache."""
    one = row_of(np.arange(2.0), 1)
    cross_wishes(one, one, slice(0, 1), up=1, down=2)
