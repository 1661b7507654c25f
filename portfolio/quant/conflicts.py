"""Why nothing fits: a smallest set of requirements that contradict, and what would be enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from portfolio.quant.requirements import Kind, Requirement, percent

MOST_TRIALS = 150
# Choices that HiGHS may look at before a question counts as answered with no.
MOST_CHOICES = 300
MOST_SECONDS = 0.5
MOST_ROUNDS = 5
_HALVINGS = 24
# A strategy more or less weighs as much as this in the choice of the nearest relaxation.
_COUNT_DISTANCE = 0.05
_SLACK = 1e-9
_HELD = 1e-4

LeastVolatility = Callable[[Sequence[Requirement]], float | None]


@dataclass(frozen=True, slots=True)
class Relaxation:
    """A requirement that asks for less.

    Attributes
    ----------
    before, after : Requirement
        As asked for, and as it would have to be.
    """

    before: Requirement
    after: Requirement

    @property
    def distance(self) -> float:
        """How far the bound moves, in fractions."""
        step = abs(self.after.value - self.before.value)
        return step * _COUNT_DISTANCE if self.before.kind is Kind.MAX_STRATEGIES else step

    @property
    def words(self) -> str:
        """The relaxation as people say it."""
        if self.before.kind is Kind.MAX_STRATEGIES:
            return f"{self.after.words} instead of {self.before.value:.0f}"
        return f"{self.after.words} instead of {percent(self.before.value)}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Requirements that cannot all be met, and how little less would do.

    Attributes
    ----------
    requirements : tuple of Requirement
        A smallest set that contradicts itself: without any one of them the others can be met.
    alternatives : tuple of Relaxation
        Changes each of which resolves this contradiction, nearest first.
    together : tuple of Relaxation
        Changes that together make everything fit; one where a single one is enough.
    """

    requirements: tuple[Requirement, ...]
    alternatives: tuple[Relaxation, ...]
    together: tuple[Relaxation, ...]

    @property
    def sentence(self) -> str:
        """The conflict and its nearest way out, in words."""
        if not self.requirements:
            return "No weights were found that respect every limit: they leave almost no room."
        asked = _listed([one.words for one in self.requirements])
        said = f"These cannot be met together: {asked}."
        if not self.together:
            return said
        nearest = _listed([one.words for one in self.together])
        return f"{said} The nearest that fits: {nearest}."


class Infeasible(ValueError):
    """Nothing respects every requirement; carries why, what would fit, and what else to know."""

    def __init__(self, conflict: Conflict, remarks: Sequence[str] = ()) -> None:
        super().__init__(" ".join([conflict.sentence, *remarks]))
        self.conflict, self.remarks = conflict, tuple(remarks)


def find_conflict(
    requirements: Sequence[Requirement],
    *,
    allowed: Sequence[bool],
    current: FloatArray | None = None,
    expected: FloatArray | None = None,
    risk_free: float = 0.0,
    least_volatility: LeastVolatility | None = None,
) -> Conflict | None:
    """Return a smallest set of requirements that contradict, and the nearest relaxation.

    A deletion filter gives a set of which nothing can be left out; every smaller combination is
    then tried, so that the set is the smallest there is wherever that can be counted out.

    Parameters
    ----------
    requirements : sequence of Requirement
        Everything that is asked.
    allowed : sequence of bool, length n_strategies
        Which strategies may be included at all.
    current : ndarray of shape (n_strategies,), optional
        Current weights, which turnover is measured against; zero by default.
    expected : ndarray of shape (n_strategies,), optional
        Expected returns per year, needed by a target return.
    risk_free : float
        Rate per year that cash earns.
    least_volatility : callable, optional
        From requirements to the least volatility they allow, or None; needed by a target
        volatility.

    Returns
    -------
    Conflict or None
        None where everything can be met.

    References
    ----------
    .. [1] Chinneck & Dravnieks (1991), "Locating minimal infeasible constraint sets in linear
       programs", ORSA Journal on Computing 3(2): the deletion filter.
    """
    gains = None if expected is None else (expected - risk_free, risk_free)
    fits = _Oracle(allowed, current, gains, least_volatility)
    asked = list(requirements)
    if fits(asked):
        return None
    smallest = _smallest(asked, fits)
    alternatives = _relaxations(smallest, smallest, fits)
    return Conflict(tuple(smallest), alternatives, _together(asked, smallest, fits))


def possible_choice(
    requirements: Sequence[Requirement],
    *,
    allowed: Sequence[bool],
    preference: FloatArray,
    current: FloatArray | None = None,
    expected: FloatArray | None = None,
    risk_free: float = 0.0,
) -> BoolArray | None:
    """Return a choice of strategies with which every linear requirement can be met.

    Parameters
    ----------
    requirements : sequence of Requirement
        Everything that is asked.
    allowed : sequence of bool, length n_strategies
        Which strategies may be included at all.
    preference : ndarray of shape (n_strategies,)
        What weight in each strategy is worth.
    current, expected, risk_free
        As for `find_conflict`.

    Returns
    -------
    ndarray of bool, shape (n_strategies,) or None
        None where there is no such choice.
    """
    gains = None if expected is None else (expected - risk_free, risk_free)
    weights = _Oracle(allowed, current, gains, None).weights(tuple(requirements), preference)
    return None if weights is None else np.asarray(weights > _HELD)


class _Oracle:
    """Whether requirements can be met, by mixed-integer programming; answers are remembered."""

    def __init__(
        self,
        allowed: Sequence[bool],
        current: FloatArray | None,
        gains: tuple[FloatArray, float] | None,
        least_volatility: LeastVolatility | None,
    ) -> None:
        self.open = np.asarray(allowed, dtype=np.float64)
        self.n = len(self.open)
        self.current = np.zeros(self.n) if current is None else current
        self.gains = gains
        self.least_volatility = least_volatility
        self._known: dict[tuple[Requirement, ...], bool] = {}

    def __call__(self, requirements: Sequence[Requirement]) -> bool:
        key = tuple(requirements)
        if key not in self._known:
            self._known[key] = self._linear(key) and self._calm(key)
        return self._known[key]

    def _calm(self, requirements: Sequence[Requirement]) -> bool:
        targets = [one.value for one in requirements if one.kind is Kind.TARGET_VOLATILITY]
        if not targets or self.least_volatility is None:
            return True
        others = [one for one in requirements if one.kind is not Kind.TARGET_VOLATILITY]
        least = self.least_volatility(others)
        return least is not None and least <= min(targets) * (1.0 + 1e-6)

    def _linear(self, requirements: Sequence[Requirement]) -> bool:
        return self.weights(requirements, np.zeros(self.n)) is not None

    def weights(
        self, requirements: Sequence[Requirement], preference: FloatArray
    ) -> FloatArray | None:
        """Return weights that meet the linear requirements, by preference; None without any."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import vstack

        rows = _Rows(self.open, self.current, self.gains)
        for one in requirements:
            rows.add(one)
        if (rows.lower > rows.upper + _SLACK).any():
            return None
        found: Any = milp(
            np.concatenate([-preference, np.zeros(2 * self.n)]),
            constraints=LinearConstraint(vstack(rows.blocks, "csr"), rows.low, rows.high),
            bounds=Bounds(np.minimum(rows.lower, rows.upper), rows.upper),
            integrality=rows.integrality,
            options={"node_limit": MOST_CHOICES, "time_limit": MOST_SECONDS},
        )
        return None if found.x is None else np.asarray(found.x[: self.n])


class _Rows:
    """Requirements over weights, whether each is included, and how far each moves."""

    def __init__(
        self, is_open: FloatArray, current: FloatArray, gains: tuple[FloatArray, float] | None
    ) -> None:
        from scipy import sparse

        self.n = len(is_open)
        self.current, self.gains = current, gains
        self.lower = np.zeros(3 * self.n)
        self.upper = np.concatenate([is_open, is_open, np.full(self.n, 2.0)])
        self.integrality = np.zeros(3 * self.n, dtype=np.int64)
        self.blocks: list[Any] = []
        self._low: list[FloatArray] = []
        self._high: list[FloatArray] = []
        self._eye: Any = sparse.identity(self.n, format="csr")
        self._every = np.ones(self.n)
        self._row(self._every, 0.0, 1.0)

    @property
    def low(self) -> FloatArray:
        return np.concatenate(self._low) - _SLACK

    @property
    def high(self) -> FloatArray:
        return np.concatenate(self._high) + _SLACK

    def add(self, one: Requirement) -> None:
        """Add what one requirement asks for."""
        about = np.zeros(self.n)
        about[list(one.members)] = 1.0
        match one.kind:
            case Kind.CASH:
                self._row(self._every, 1.0 - one.value, 1.0 - one.value)
            case Kind.MAX_WEIGHT:
                self.upper[: self.n] = np.minimum(self.upper[: self.n], one.value)
            case Kind.MIN_WEIGHT | Kind.MAX_STRATEGIES:
                self._add_selection(one)
            case Kind.MAX_TURNOVER:
                self._add_turnover(one.value)
            case Kind.GROUP_MAX | Kind.CAP:
                self._row(about, -np.inf, one.value)
            case Kind.TARGET_RETURN if self.gains is not None:
                # What is not invested earns the risk-free rate.
                excess, risk_free = self.gains
                self._row(excess, one.value - risk_free, np.inf)
            case _:
                self._row(about, one.value if one.members else -np.inf, np.inf)

    def _add_selection(self, one: Requirement) -> None:
        self.integrality[self.n : 2 * self.n] = 1
        self._block(self._eye, -self._eye, None, (-np.inf, 0.0))
        if one.kind is Kind.MIN_WEIGHT:
            self._block(self._eye, -one.value * self._eye, None, (0.0, np.inf))
        else:
            self._block(None, self._every[None, :], None, (-np.inf, one.value))

    def _add_turnover(self, most: float) -> None:
        self._block(self._eye, None, -self._eye, (-np.inf, self.current))
        self._block(self._eye, None, self._eye, (self.current, np.inf))
        self._block(None, None, self._every[None, :], (-np.inf, most))

    def _row(self, row: FloatArray, least: float, most: float) -> None:
        self._block(row[None, :], None, None, (least, most))

    def _block(self, weights: Any, included: Any, moves: Any, bounds: tuple[Any, Any]) -> None:
        from scipy import sparse

        parts = [part for part in (weights, included, moves) if part is not None]
        height = parts[0].shape[0]
        empty = sparse.csr_matrix((height, self.n))
        self.blocks.append(
            sparse.hstack([empty if p is None else p for p in (weights, included, moves)], "csr")
        )
        self._low.append(np.broadcast_to(np.asarray(bounds[0], np.float64), height))
        self._high.append(np.broadcast_to(np.asarray(bounds[1], np.float64), height))


def _smallest(asked: Sequence[Requirement], fits: _Oracle) -> list[Requirement]:
    kept = list(asked)
    # What people set for the occasion is named rather than the standing limits.
    for one in list(asked):
        without = [other for other in kept if other is not one]
        if not fits(without):
            kept = without
    trials = 0
    for size in range(1, len(kept)):
        for chosen in combinations(asked, size):
            trials += 1
            if trials > MOST_TRIALS:
                return kept
            if not fits(chosen):
                return list(chosen)
    return kept


def _relaxations(
    candidates: Sequence[Requirement], asked: Sequence[Requirement], fits: _Oracle
) -> tuple[Relaxation, ...]:
    found = []
    for one in candidates:
        others = [other for other in asked if other is not one]
        for loosest in _loosest(one, fits.n):
            value = _least_change(one, loosest, others, fits)
            if value is not None:
                found.append(Relaxation(one, one.with_value(value)))
    return tuple(sorted(found, key=lambda relaxation: relaxation.distance))


def _loosest(one: Requirement, n_strategies: int) -> tuple[float, ...]:
    """Return the ends up to which a bound can give way."""
    if one.kind is Kind.CASH:
        return (0.999, 0.0)
    if one.kind is Kind.MAX_STRATEGIES:
        return (float(n_strategies),)
    if one.kind is Kind.TARGET_RETURN:
        return (-10.0,)
    if one.kind is Kind.TARGET_VOLATILITY:
        return (10.0,)
    if one.kind is Kind.MAX_TURNOVER:
        return (2.0,)
    return (1.0,) if one.is_looser_up else (0.0,)


def _least_change(
    one: Requirement, loosest: float, others: Sequence[Requirement], fits: _Oracle
) -> float | None:
    def works(value: float) -> bool:
        return fits([*others, one.with_value(value)])

    if loosest == one.value or not works(loosest):
        return None
    bad, good = one.value, loosest
    for _ in range(_HALVINGS):
        if abs(good - bad) < 1e-4:
            break
        middle = (bad + good) / 2.0
        if works(middle):
            good = middle
        else:
            bad = middle
    readable = [one.rounded(good, nearest=True), one.rounded(good)]
    return next((value for value in readable if works(value)), good)


def _together(
    asked: Sequence[Requirement], smallest: Sequence[Requirement], fits: _Oracle
) -> tuple[Relaxation, ...]:
    """Return the nearest single change that makes everything fit, or several."""
    single = _relaxations(smallest, asked, fits)
    if single:
        return single[:1]
    changes: list[Relaxation] = []
    now = list(asked)
    for _ in range(MOST_ROUNDS):
        if fits(now):
            return tuple(changes)
        conflict = _smallest(now, fits)
        options = _relaxations(conflict, conflict, fits)
        if not options:
            return ()
        nearest = options[0]
        changes.append(nearest)
        now = [nearest.after if other is nearest.before else other for other in now]
    return tuple(changes) if fits(now) else ()


def _listed(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
