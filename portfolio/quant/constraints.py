"""What an allocation must respect, and the region of weights that is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray

TOLERANCE = 1e-7


class GroupKind(StrEnum):
    """Why strategies are limited together."""

    NAMED = "named"
    CORRELATED = "correlated"


@dataclass(frozen=True, slots=True)
class Group:
    """Strategies whose weights are limited together.

    Parameters
    ----------
    name : str
        As people call it.
    members : tuple of int
        Positions of its strategies.
    max_weight, min_weight : float
        Bounds of the summed weights, fractions of equity in [0, 1].
    kind : GroupKind
        NAMED by a person, or CORRELATED by measurement.
    """

    name: str
    members: tuple[int, ...]
    max_weight: float = 1.0
    min_weight: float = 0.0
    kind: GroupKind = GroupKind.NAMED


@dataclass(frozen=True, slots=True)
class Limits:
    """What weights must respect.

    Parameters
    ----------
    max_weight : float
        Largest weight of one strategy, a fraction of equity in (0, 1].
    min_weight : float
        Smallest weight of a strategy that is included at all, in [0, max_weight].
    cash : float
        Fraction of equity that stays uninvested, in [0, 1).
    max_strategies : int, optional
        Most strategies that are included.
    max_turnover : float, optional
        Largest sum of absolute changes of weights against the current ones.
    groups : tuple of Group
        Strategies that are limited together.
    locked : tuple of int
        Strategies whose capital may not be withdrawn: their weight may not fall.
    excluded : tuple of int
        Strategies that get nothing.
    floors, caps : tuple of (int, float)
        Least and largest weight of single strategies; a floor includes its strategy.
    """

    max_weight: float = 0.30
    min_weight: float = 0.05
    cash: float = 0.0
    max_strategies: int | None = None
    max_turnover: float | None = None
    groups: tuple[Group, ...] = field(default=())
    locked: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    floors: tuple[tuple[int, float], ...] = ()
    caps: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that mean nothing, whatever the strategies are."""
        if not 0.0 < self.max_weight <= 1.0:
            raise ValueError(f"the largest weight lies in (0, 1], was {self.max_weight}")
        if not 0.0 <= self.min_weight <= 1.0:
            raise ValueError(f"the smallest weight lies in [0, 1], was {self.min_weight}")
        if not 0.0 <= self.cash < 1.0:
            raise ValueError(f"the cash buffer lies in [0, 1), was {self.cash}")
        if self.max_strategies is not None and self.max_strategies < 1:
            raise ValueError(f"at least one strategy is needed, was {self.max_strategies}")
        if self.max_turnover is not None and self.max_turnover < 0:
            raise ValueError(f"turnover is not negative, was {self.max_turnover}")

    @property
    def invested(self) -> float:
        """What the weights sum to."""
        return 1.0 - self.cash

    @property
    def is_selective(self) -> bool:
        """Whether strategies must be left out or in, which no convex region can say."""
        return self.min_weight > 0.0 or self.max_strategies is not None

    @property
    def room(self) -> int | None:
        """Most strategies that fit; None where any number does."""
        fitting = []
        if self.min_weight > 0.0:
            fitting.append(int(self.invested / self.min_weight + TOLERANCE))
        if self.max_strategies is not None:
            fitting.append(self.max_strategies)
        return min(fitting) if fitting else None


@dataclass(frozen=True, slots=True)
class Turnover:
    """How far weights may move from where they are."""

    current: FloatArray
    most: float


@dataclass(frozen=True, slots=True)
class Region:
    """A convex set of weights: bounds, group limits, turnover and a sum.

    Attributes
    ----------
    lower, upper : ndarray of shape (n_strategies,)
        Bounds of each weight.
    groups : ndarray of shape (n_limits, n_strategies)
        One row per group limit; ``groups @ weights <= ceilings``.
    ceilings : ndarray of shape (n_limits,)
        Right sides of the group limits.
    total : float
        What the weights sum to.
    turnover : Turnover or None
        Where they come from and how far they may go.
    """

    lower: FloatArray
    upper: FloatArray
    groups: FloatArray
    ceilings: FloatArray
    total: float
    turnover: Turnover | None = None

    @property
    def open(self) -> BoolArray:
        """Strategies that may have a weight."""
        return self.upper > 0.0

    def bounded(self, lower: FloatArray, upper: FloatArray) -> Region:
        """Return the same region with other bounds of each weight."""
        return replace(self, lower=lower, upper=upper)

    def part(self, chosen: BoolArray) -> Region:
        """Return the region of the chosen strategies, all others held at zero."""
        turnover = self.turnover
        if turnover is not None:
            left_out = float(np.abs(turnover.current[~chosen]).sum())
            turnover = Turnover(turnover.current[chosen], turnover.most - left_out)
        return Region(
            self.lower[chosen],
            self.upper[chosen],
            self.groups[:, chosen],
            self.ceilings,
            self.total,
            turnover,
        )

    def admits(self, weights: FloatArray, *, tolerance: float = TOLERANCE) -> bool:
        """Return whether weights lie inside, but for rounding."""
        fits = (
            abs(float(weights.sum()) - self.total) <= tolerance
            and (weights >= self.lower - tolerance).all()
            and (weights <= self.upper + tolerance).all()
            and (self.groups @ weights <= self.ceilings + tolerance).all()
        )
        if not fits or self.turnover is None:
            return bool(fits)
        moved = float(np.abs(weights - self.turnover.current).sum())
        return moved <= self.turnover.most + tolerance


def relaxed_region(limits: Limits, n_strategies: int, current: FloatArray | None = None) -> Region:
    """Return the region in which every strategy may be included or not.

    Parameters
    ----------
    limits : Limits
        What must be respected.
    n_strategies : int
        Strategies there are.
    current : ndarray of shape (n_strategies,), optional
        Current weights, which turnover and lock-ups are measured against; zero by default.

    Returns
    -------
    Region
        Without the smallest weight of what is included, except where a lock-up includes it.

    Raises
    ------
    ValueError
        If a member, lock-up or exclusion is no position, or `current` has another shape.
    """
    if n_strategies < 1:
        raise ValueError("an allocation needs at least one strategy")
    held = np.zeros(n_strategies) if current is None else current
    if held.shape != (n_strategies,) or not np.isfinite(held).all():
        raise ValueError(f"{n_strategies} current weights are needed, were of shape {held.shape}")
    upper = np.full(n_strategies, min(limits.max_weight, limits.invested))
    for i, cap in limits.caps:
        upper[_positions([i], n_strategies)] = min(cap, upper[i])
    upper[_positions(limits.excluded, n_strategies)] = 0.0
    lower = _floors(limits, held)
    matrix, ceilings = _group_rows(limits.groups, n_strategies)
    turnover = None if limits.max_turnover is None else Turnover(held, limits.max_turnover)
    return Region(lower, upper, matrix, ceilings, limits.invested, turnover)


def _floors(limits: Limits, held: FloatArray) -> FloatArray:
    lower = np.zeros(len(held))
    for i, floor in limits.floors:
        lower[_positions([i], len(held))] = floor
    locked = _positions([i for i in limits.locked if held[i] > 0.0], len(held))
    lower[locked] = np.maximum(held[locked], lower[locked])
    lower[lower > 0.0] = np.maximum(lower[lower > 0.0], limits.min_weight)
    return lower


def _positions(chosen: Sequence[int], n_strategies: int) -> IntArray:
    positions = np.asarray(chosen, dtype=np.int64)
    if positions.size and (positions.min() < 0 or positions.max() >= n_strategies):
        raise ValueError(f"there are {n_strategies} strategies, position {positions.max()} is none")
    return positions


def _group_rows(groups: Sequence[Group], n_strategies: int) -> tuple[FloatArray, FloatArray]:
    rows, ceilings = [], []
    for group in groups:
        row = np.zeros(n_strategies)
        row[_positions(group.members, n_strategies)] = 1.0
        if group.max_weight < 1.0:
            rows.append(row)
            ceilings.append(group.max_weight)
        if group.min_weight > 0.0:
            rows.append(-row)
            ceilings.append(-group.min_weight)
    matrix = np.array(rows) if rows else np.zeros((0, n_strategies))
    return matrix, np.asarray(ceilings, dtype=np.float64)


def correlated_groups(
    correlation: FloatArray, *, above: float = 0.60, max_weight: float = 0.50
) -> tuple[Group, ...]:
    """Return the groups in which every two strategies correlate above a bound.

    Parameters
    ----------
    correlation : ndarray of shape (n_strategies, n_strategies)
        In [-1, 1]; NaN, which means insufficient, counts as uncorrelated.
    above : float
        The bound, in [-1, 1).
    max_weight : float
        Largest summed weight of such a group, in [0, 1].

    Returns
    -------
    tuple of Group
        Disjoint groups of at least two, largest first, named A, B, C...

    Notes
    -----
    Complete linkage: chains, in which the ends have nothing in common, do not make a group.

    References
    ----------
    .. [1] Everitt, Landau, Leese & Stahl (2011), "Cluster Analysis", 5th ed., section 4.2.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    n_strategies = len(correlation)
    if n_strategies < 2:
        return ()
    known = np.where(np.isfinite(correlation), correlation, 0.0)
    distance = 1.0 - (known + known.T) / 2.0
    np.fill_diagonal(distance, 0.0)
    # A pair exactly at the bound is not above it.
    cut = np.nextafter(1.0 - above, 0.0) - 1e-12
    labels = fcluster(linkage(squareform(distance, checks=False), "complete"), cut, "distance")
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    found = sorted((m for m in members if len(m) > 1), key=lambda m: (-len(m), int(m[0])))
    return tuple(
        Group(_letter(k), tuple(int(i) for i in m), max_weight, kind=GroupKind.CORRELATED)
        for k, m in enumerate(found)
    )


def _letter(position: int) -> str:
    return chr(ord("A") + position) if position < 26 else f"A{position - 25}"
