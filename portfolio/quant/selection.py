"""Which strategies are included at all: a smallest weight makes the question one of choice."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant.constraints import TOLERANCE, Limits, Region

Choices = npt.NDArray[np.int8]
Solve = Callable[[Region, BoolArray], FloatArray | None]
Value = Callable[[FloatArray], float]

_NODES_AT_50 = 300
_LEAST_NODES = 24
_GAP = 1e-6
_BULK = 0.5


@dataclass(frozen=True, slots=True)
class Selection:
    """The best choice found, and how good any choice could be.

    Attributes
    ----------
    weights : ndarray of shape (n_strategies,)
        Weights of the best choice.
    value, bound : float
        What is minimised: as found, and the least that any choice can reach.
    nodes : int
        Problems solved.
    """

    weights: FloatArray
    value: float
    bound: float
    nodes: int

    @property
    def is_proven(self) -> bool:
        """Whether no other choice can be better."""
        return self.value - self.bound <= _GAP * max(1.0, abs(self.value))


@dataclass(frozen=True, slots=True)
class Problem:
    """A convex problem over regions: how it is solved, and what an answer is worth.

    Attributes
    ----------
    solve : callable
        From a region of some strategies, and which these are, to the best weights in it; None
        where there are none.
    value : callable
        From weights to what is minimised.
    """

    solve: Solve
    value: Value


def best_selection(
    problem: Problem,
    region: Region,
    limits: Limits,
    *,
    n_nodes: int | None = None,
    start: BoolArray | None = None,
) -> Selection | None:
    """Return the best weights of which each is zero or at least the smallest weight.

    Branch and bound over including or excluding one strategy at a time, best bound first. The
    count of problems is limited, so that the answer never depends on the speed of the machine.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    region : Region
        Where every strategy may be included or not.
    limits : Limits
        Smallest weight and largest number of what is included.
    n_nodes : int, optional
        Most problems to solve; 300 for fifty strategies and fewer for more by default.
    start : ndarray of bool, shape (n_strategies,), optional
        A choice known to be possible, where the search by itself finds none.

    Returns
    -------
    Selection or None
        None where no choice was found.

    References
    ----------
    .. [1] Bienstock (1996), "Computational study of a family of mixed-integer quadratic
       programming problems", Mathematical Programming 74.
    """
    search = _Search(problem, region, limits)
    most = n_nodes if n_nodes is not None else max(_LEAST_NODES, 50 * _NODES_AT_50 // search.n)
    return search.run(most, start)


def included(weights: FloatArray) -> BoolArray:
    """Return which strategies have a weight, but for rounding.

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Fractions of equity.

    Returns
    -------
    ndarray of bool, shape (n_strategies,)
        True above a tenth of a basis point.
    """
    return np.asarray(weights > 1e-5)


class _Search:
    def __init__(self, problem: Problem, region: Region, limits: Limits) -> None:
        self.problem, self.region, self.limits = problem, region, limits
        self.n = len(region.upper)
        self.least = limits.min_weight
        self.room = limits.room if limits.room is not None else self.n
        self.nodes = 0
        self.best: FloatArray | None = None
        self.best_value = np.inf

    def run(self, most: int, start: BoolArray | None) -> Selection | None:
        undecided = np.zeros(self.n, dtype=np.int8)
        undecided[self.region.lower > 0.0] = 1
        root = self._relaxed(undecided)
        if root is None:
            return None
        self._offer(root)
        self._round_down(root, undecided)
        if start is not None:
            self._include(start)
        bound = self._branch(root, undecided, most)
        if self.best is None:
            return None
        return Selection(self.best, self.best_value, min(bound, self.best_value), self.nodes)

    def _branch(self, root: FloatArray, undecided: Choices, most: int) -> float:
        pending = [(self.problem.value(root), 0, root, undecided)]
        serial = 0
        while pending and self.nodes < most:
            bound, _, weights, decided = heapq.heappop(pending)
            if bound >= self.best_value - _GAP * max(1.0, abs(self.best_value)):
                return self.best_value
            i = self._undecided_most(weights, decided)
            if i is None:
                continue
            for choice in (1, -1):
                child = decided.copy()
                child[i] = choice
                answer = self._relaxed(child)
                if answer is None:
                    continue
                self._offer(answer)
                value = self.problem.value(answer)
                if value < self.best_value:
                    serial += 1
                    heapq.heappush(pending, (value, serial, answer, child))
        return min((entry[0] for entry in pending), default=self.best_value)

    def _relaxed(self, decided: Choices) -> FloatArray | None:
        """Solve with some strategies in, some out, and the others free from zero up."""
        if (decided == 1).sum() > self.room:
            return None
        lower = np.where(decided == 1, np.maximum(self.region.lower, self.least), 0.0)
        upper = np.where(decided == -1, 0.0, self.region.upper)
        return self._solve(self.region.bounded(lower, upper))

    def _solve(self, region: Region) -> FloatArray | None:
        if (region.lower > region.upper + TOLERANCE).any():
            return None
        chosen = region.open
        part = region.part(chosen)
        if not chosen.any() or (part.turnover is not None and part.turnover.most < 0.0):
            return None
        self.nodes += 1
        found = self.problem.solve(part, chosen)
        if found is None:
            return None
        weights = np.zeros(self.n)
        weights[chosen] = found
        return weights

    def _undecided_most(self, weights: FloatArray, decided: Choices) -> int | None:
        """Return the strategy whose weight contradicts the choice most; None without any."""
        free = decided == 0
        small = free & (weights > TOLERANCE) & (weights < self.least - TOLERANCE)
        if small.any():
            # In the middle between out and in.
            return int(np.argmin(np.where(small, np.abs(weights - self.least / 2), np.inf)))
        if (included(weights) & (decided >= 0)).sum() > self.room and (free & (weights > 0)).any():
            return int(np.argmin(np.where(free & (weights > TOLERANCE), weights, np.inf)))
        return None

    def _offer(self, weights: FloatArray) -> None:
        """Keep weights that respect the choice if they are the best so far."""
        held = weights > TOLERANCE
        small = held & (weights < self.least - TOLERANCE)
        if small.any() or held.sum() > self.room:
            return
        value = self.problem.value(weights)
        if value < self.best_value:
            self.best, self.best_value = weights, value

    def _round_down(self, weights: FloatArray, decided: Choices) -> None:
        """Leave out the smallest weights until the rest can all be included: a first answer."""
        decided = decided.copy()
        while True:
            held = (weights > TOLERANCE) & (decided >= 0)
            small = held & (decided == 0) & (weights < self.least - TOLERANCE)
            surplus = int(held.sum()) - self.room
            if not small.any() and surplus <= 0:
                break
            free = held & (decided == 0)
            if not free.any():
                break
            n_out = min(max(1, int(_BULK * max(small.sum(), surplus))), int(free.sum()))
            decided[np.argsort(np.where(free, weights, np.inf))[:n_out]] = -1
            decided[(decided == 0) & ~held] = -1
            answer = self._relaxed(decided)
            if answer is None:
                break
            weights = answer
            self._offer(answer)
        self._include((weights > TOLERANCE) & (decided >= 0) | (decided == 1))

    def _include(self, chosen: BoolArray) -> None:
        """Try one choice, whole."""
        inside = self._relaxed(np.where(chosen, 1, -1).astype(np.int8))
        if inside is not None:
            self._offer(inside)
