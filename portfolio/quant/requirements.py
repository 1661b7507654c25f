"""What is asked of an allocation as single requirements that can be named, and given up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from alphastrat.quant.types import FloatArray
from portfolio.quant.constraints import Group, GroupKind, Limits

NAMED_MEMBERS = 2
STEP = 0.001


class Kind(StrEnum):
    """What a requirement limits."""

    MAX_WEIGHT = "max_weight"
    MIN_WEIGHT = "min_weight"
    CASH = "cash"
    MAX_STRATEGIES = "max_strategies"
    MAX_TURNOVER = "max_turnover"
    GROUP_MAX = "group_max"
    GROUP_MIN = "group_min"
    LOCKED = "locked"
    FLOOR = "floor"
    CAP = "cap"
    TARGET_RETURN = "target_return"
    TARGET_VOLATILITY = "target_volatility"


# Whether a larger value is the looser one.
_LOOSER_UP = {
    Kind.MAX_WEIGHT,
    Kind.MAX_STRATEGIES,
    Kind.MAX_TURNOVER,
    Kind.GROUP_MAX,
    Kind.CAP,
    Kind.TARGET_VOLATILITY,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that is asked of an allocation.

    Attributes
    ----------
    kind : Kind
        What it limits.
    value : float
        The bound: a fraction, or a number of strategies.
    name : str
        The strategy or group it is about; empty where it is about all.
    members : tuple of int
        Positions of the strategies it is about; empty where it is about all.
    """

    kind: Kind
    value: float
    name: str = ""
    members: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """What distinguishes it from the others: its kind, and whom it is about."""
        return f"{self.kind.value}:{self.name}" if self.name else self.kind.value

    @property
    def words(self) -> str:
        """The requirement as people say it."""
        if self.kind is Kind.MAX_STRATEGIES:
            return f"at most {self.value:.0f} {'strategy' if self.value == 1 else 'strategies'}"
        if self.kind is Kind.CASH and self.value == 0.0:
            return "everything is invested"
        return _WORDS[self.kind].format(value=percent(self.value), name=self.name)

    @property
    def is_looser_up(self) -> bool:
        """Whether a larger bound asks for less."""
        return self.kind in _LOOSER_UP

    def with_value(self, value: float) -> Requirement:
        """Return the same requirement with another bound."""
        return replace(self, value=value)

    def rounded(self, value: float, *, nearest: bool = False) -> float:
        """Return a bound that reads well, in whole counts or tenths of a percent.

        At least as loose as `value`, or the nearest.
        """
        step = 1.0 if self.kind is Kind.MAX_STRATEGIES else STEP
        if nearest:
            return round(value / step) * step
        loosen = math.ceil if value >= self.value else math.floor
        nudge = -1e-9 if value >= self.value else 1e-9
        return loosen(value / step + nudge) * step


_WORDS = {
    Kind.MAX_WEIGHT: "at most {value} per strategy",
    Kind.MIN_WEIGHT: "at least {value} for a strategy that is included",
    Kind.CASH: "exactly {value} in cash",
    Kind.MAX_TURNOVER: "changes of weights of at most {value} in all",
    Kind.GROUP_MAX: "{name} together at most {value}",
    Kind.GROUP_MIN: "{name} together at least {value}",
    Kind.LOCKED: "{name} keeps its locked {value}",
    Kind.FLOOR: "{name} at least {value}",
    Kind.CAP: "{name} at most {value}",
    Kind.TARGET_RETURN: "an expected return of at least {value} a year",
    Kind.TARGET_VOLATILITY: "a volatility of at most {value} a year",
}


def percent(value: float) -> str:
    """Return a fraction in percent, with at most one decimal.

    Parameters
    ----------
    value : float
        Fraction.

    Returns
    -------
    str
        E.g. ``30 %`` or ``33.4 %``.
    """
    text = f"{value * 100:.1f}".removesuffix(".0")
    return f"{'0' if text == '-0' else text} %"


def requirements_of(
    limits: Limits,
    names: Sequence[str],
    *,
    current: FloatArray | None = None,
    target_return: float | None = None,
    target_volatility: float | None = None,
) -> tuple[Requirement, ...]:
    """Return limits and targets as single requirements.

    Parameters
    ----------
    limits : Limits
        What weights must respect.
    names : sequence of str
        The strategies' names, by position.
    current : ndarray of shape (n_strategies,), optional
        Current weights, which lock-ups keep.
    target_return, target_volatility : float, optional
        Fractions per year.

    Returns
    -------
    tuple of Requirement
        In the order in which they are least willingly given up last.
    """
    found = [Requirement(Kind.CASH, limits.cash)]
    if limits.max_weight < 1.0:
        found.append(Requirement(Kind.MAX_WEIGHT, limits.max_weight))
    if limits.min_weight > 0.0:
        found.append(Requirement(Kind.MIN_WEIGHT, limits.min_weight))
    if limits.max_strategies is not None:
        found.append(Requirement(Kind.MAX_STRATEGIES, float(limits.max_strategies)))
    if limits.max_turnover is not None:
        found.append(Requirement(Kind.MAX_TURNOVER, limits.max_turnover))
    for group in limits.groups:
        found += _group_requirements(group, names)
    found += [
        Requirement(Kind.LOCKED, float(current[i]), names[i], (i,))
        for i in limits.locked
        if current is not None and current[i] > 0.0
    ]
    found += [Requirement(Kind.FLOOR, value, names[i], (i,)) for i, value in limits.floors]
    found += [Requirement(Kind.CAP, value, names[i], (i,)) for i, value in limits.caps]
    if target_return is not None:
        found.append(Requirement(Kind.TARGET_RETURN, target_return))
    if target_volatility is not None:
        found.append(Requirement(Kind.TARGET_VOLATILITY, target_volatility))
    return tuple(found)


def _group_requirements(group: Group, names: Sequence[str]) -> list[Requirement]:
    name = group_words(group, names)
    found = []
    if group.max_weight < 1.0:
        found.append(Requirement(Kind.GROUP_MAX, group.max_weight, name, group.members))
    if group.min_weight > 0.0:
        found.append(Requirement(Kind.GROUP_MIN, group.min_weight, name, group.members))
    return found


def group_words(group: Group, names: Sequence[str]) -> str:
    """Return what a group is called in a sentence.

    Parameters
    ----------
    group : Group
        Named or correlated.
    names : sequence of str
        The strategies' names, by position.

    Returns
    -------
    str
        Its name, and for a correlated one its first members.
    """
    if group.kind is GroupKind.NAMED:
        return f"the group {group.name}"
    shown = [names[i] for i in group.members[:NAMED_MEMBERS]]
    more = len(group.members) - len(shown)
    listed = " and ".join(shown) if more == 0 else f"{', '.join(shown)} and {more} more"
    return f"correlated group {group.name} ({listed})"


def limits_of(requirements: Sequence[Requirement], like: Limits) -> tuple[Limits, float | None]:
    """Return the limits and the target return that single requirements make up.

    Parameters
    ----------
    requirements : sequence of Requirement
        What is asked.
    like : Limits
        Whose exclusions are kept.

    Returns
    -------
    tuple of Limits and float or None
        What is not required is as loose as it can be.
    """
    values = {one.kind: one.value for one in requirements}
    most = values.get(Kind.MAX_STRATEGIES)
    groups = tuple(
        Group(one.name, one.members, one.value)
        if one.kind is Kind.GROUP_MAX
        else Group(one.name, one.members, min_weight=one.value)
        for one in requirements
        if one.kind in {Kind.GROUP_MAX, Kind.GROUP_MIN}
    )
    floors = {Kind.FLOOR, Kind.LOCKED}
    limits = Limits(
        max_weight=values.get(Kind.MAX_WEIGHT, 1.0),
        min_weight=values.get(Kind.MIN_WEIGHT, 0.0),
        cash=values.get(Kind.CASH, 0.0),
        max_strategies=None if most is None else int(most),
        max_turnover=values.get(Kind.MAX_TURNOVER),
        groups=groups,
        excluded=like.excluded,
        floors=tuple((one.members[0], one.value) for one in requirements if one.kind in floors),
        caps=tuple((one.members[0], one.value) for one in requirements if one.kind is Kind.CAP),
    )
    return limits, values.get(Kind.TARGET_RETURN)
