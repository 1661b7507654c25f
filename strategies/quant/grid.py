"""Parameter grids: their sets by number, neighbours, and the smoothed surface over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.overfitting import Stability

DENSE_CELLS = 500_000


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter and the values that it takes.

    Attributes
    ----------
    name : str
        Parameter of the plug-in, or an exit rule.
    values : tuple
        Levels, ascending where they are ordered.
    is_ordered : bool
        Whether neighbouring levels resemble each other; False for choices and switches.
    """

    name: str
    values: tuple[Any, ...]
    is_ordered: bool = True


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of the levels of some axes; the last axis moves fastest.

    Attributes
    ----------
    axes : tuple of Axis
        At least one.
    """

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of levels of each axis."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def n_sets(self) -> int:
        """Number of combinations."""
        return math.prod(self.shape)

    def positions(self, numbers: IntArray) -> IntArray:
        """Return the level on every axis of numbered sets, shape (n, n_axes)."""
        return np.column_stack(np.unravel_index(numbers, self.shape)).astype(np.int64)

    def numbers(self, positions: IntArray) -> IntArray:
        """Return the numbers of sets given by their levels, shape (n,)."""
        columns = tuple(np.asarray(positions).T)
        return np.asarray(np.ravel_multi_index(columns, self.shape), np.int64)

    def sets(self, numbers: IntArray) -> list[dict[str, Any]]:
        """Return numbered sets as mappings of parameter to value."""
        names = [axis.name for axis in self.axes]
        columns = [
            [axis.values[level] for level in levels]
            for axis, levels in zip(self.axes, self.positions(numbers).T.tolist(), strict=True)
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def neighbours(self, number: int) -> IntArray:
        """Return the sets within one step on every ordered axis, without the set itself."""
        centre = self.positions(np.array([number]))[0]
        spans = [
            range(max(0, level - 1), min(len(axis.values), level + 2))
            if axis.is_ordered
            else range(level, level + 1)
            for axis, level in zip(self.axes, centre.tolist(), strict=True)
        ]
        grid = np.meshgrid(*spans, indexing="ij")
        found = self.numbers(np.stack([axis.ravel() for axis in grid], axis=1))
        return found[found != number]

    def edges(self, number: int) -> tuple[str, ...]:
        """Return the ordered axes of more than two levels on whose border a set lies."""
        levels = self.positions(np.array([number]))[0].tolist()
        return tuple(
            axis.name
            for axis, level in zip(self.axes, levels, strict=True)
            if axis.is_ordered and len(axis.values) > 2 and level in (0, len(axis.values) - 1)
        )


def smooth(grid: Grid, numbers: IntArray, values: FloatArray, *, width: float = 1.0) -> FloatArray:
    """Return the performance surface smoothed by a Gaussian kernel in grid steps.

    Parameters
    ----------
    grid : Grid
        The axes.
    numbers : ndarray of int, shape (n,)
        Sets that were tried, each once.
    values : ndarray of shape (n,)
        Performance; NaN counts as 0.
    width : float
        Standard deviation of the kernel in grid steps.

    Returns
    -------
    ndarray of shape (n,)
        Averages over the sets that were tried, choices apart. Its maximum is a plateau's, not a
        spike's.

    Notes
    -----
    The kernel is a product over the axes, so a whole grid is smoothed axis by axis.
    """
    kernels = [_kernel(axis, width) for axis in grid.axes]
    filled = np.nan_to_num(values, nan=0.0)
    if grid.n_sets > DENSE_CELLS:
        return _smooth_sparse(kernels, grid.positions(numbers), filled)
    surface = np.zeros((2, grid.n_sets))
    surface[0, numbers], surface[1, numbers] = filled, 1.0
    smoothed = surface.reshape(2, *grid.shape)
    for k, kernel in enumerate(kernels, start=1):
        smoothed = np.moveaxis(np.tensordot(smoothed, kernel, axes=(k, 0)), -1, k)
    total, weight = smoothed.reshape(2, -1)[:, numbers]
    averaged: FloatArray = total / weight
    return averaged


def stability(grid: Grid, numbers: IntArray, values: FloatArray, chosen: int) -> Stability:
    """Compare a parameter set with those within one grid step that were tried.

    Parameters
    ----------
    grid, numbers, values
        As in `smooth`.
    chosen : int
        Number of the set in question; one of `numbers`.

    Returns
    -------
    Stability
        Over the sets within one grid step on every axis; NaN counts as 0.
    """
    place = {int(number): row for row, number in enumerate(numbers)}
    near = [place[int(number)] for number in grid.neighbours(chosen) if int(number) in place]
    is_on_edge = bool(grid.edges(chosen))
    if not near:
        return Stability(math.nan, math.nan, 0, is_on_edge)
    filled = np.nan_to_num(values, nan=0.0)
    point, around = float(filled[place[chosen]]), filled[near]
    ratio = float(around.mean()) / point if point > 0 else math.nan
    return Stability(ratio, float((around > 0).mean()), len(near), is_on_edge)


def _kernel(axis: Axis, width: float) -> FloatArray:
    steps = np.arange(len(axis.values), dtype=np.float64)
    if not axis.is_ordered:
        return np.eye(len(steps))
    kernel: FloatArray = np.exp(-0.5 * ((steps[:, None] - steps) / width) ** 2)
    return kernel


def _smooth_sparse(
    kernels: Sequence[FloatArray], positions: IntArray, filled: FloatArray
) -> FloatArray:
    smoothed = np.empty(len(filled))
    for start in range(0, len(filled), 256):
        span = slice(start, start + 256)
        weights = np.ones((len(positions[span]), len(filled)))
        for k, kernel in enumerate(kernels):
            weights *= kernel[positions[span, k]][:, positions[:, k]]
        smoothed[span] = weights @ filled / weights.sum(axis=1)
    return smoothed
