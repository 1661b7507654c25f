"""What a grid's stability and smoothing are by definition, one set beside all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alphastrat.quant.types import FloatArray
from strategies.quant.overfitting import Stability


def parameter_stability(
    parameter_sets: Sequence[Mapping[str, Any]], values: FloatArray, chosen: int
) -> Stability:
    """Compare a parameter set with its neighbours on the grid."""
    steps, is_edge = _grid_steps(parameter_sets)
    distance = np.abs(steps - steps[chosen])
    near = (distance <= 1).all(axis=1) & (distance.sum(axis=1) > 0)
    filled = np.nan_to_num(values, nan=0.0)
    n_near = int(near.sum())
    if n_near == 0:
        return Stability(math.nan, math.nan, 0, bool(is_edge[chosen]))
    point = float(filled[chosen])
    ratio = float(filled[near].mean()) / point if point > 0 else math.nan
    share = float((filled[near] > 0).mean())
    return Stability(ratio, share, n_near, bool(is_edge[chosen]))


def smoothed_values(
    parameter_sets: Sequence[Mapping[str, Any]], values: FloatArray, *, width: float = 1.0
) -> FloatArray:
    """Return the performance surface smoothed by a Gaussian kernel in grid steps."""
    steps, _ = _grid_steps(parameter_sets)
    filled = np.nan_to_num(values, nan=0.0)
    smoothed = np.empty(len(filled))
    for start in range(0, len(steps), 512):
        squared = ((steps[start : start + 512, None, :] - steps[None]) ** 2).sum(axis=2)
        weights = np.exp(-0.5 * squared / width**2)
        smoothed[start : start + 512] = weights @ filled / weights.sum(axis=1)
    return smoothed


def _grid_steps(parameter_sets: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, Any]:
    """Return each set's position on every axis in grid steps, and whether it is on a border."""
    names = list(parameter_sets[0])
    steps = np.zeros((len(parameter_sets), len(names)))
    is_edge = np.zeros(len(parameter_sets), np.bool_)
    for k, name in enumerate(names):
        values = [params[name] for params in parameter_sets]
        is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        levels = sorted(set(values), key=lambda v: v if is_number else str(v))
        position = {value: place for place, value in enumerate(levels)}
        # Choices have no neighbours: two steps apart is beyond any.
        steps[:, k] = [position[value] * (1 if is_number else 2) for value in values]
        if is_number and len(levels) > 2:
            is_edge |= (steps[:, k] == 0) | (steps[:, k] == len(levels) - 1)
    return steps, is_edge
