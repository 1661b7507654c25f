"""Judge metrics against bounds, for one subject or for thousands at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray


class Comparator(StrEnum):
    """The side of a bound that is in breach."""

    ABOVE = "above"
    BELOW = "below"


class Verdict(IntEnum):
    """What an observation means; beyond a bound is a breach of that bound's severity."""

    NO_DATA = -1
    OK = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def is_breach(self) -> bool:
        return self > Verdict.OK


class Problem(NamedTuple):
    """What is wrong with bounds, and which of them."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """The bounds that a metric must respect, and where a breach ends.

    Attributes
    ----------
    comparator : Comparator
        The side that is in breach; a value equal to a bound is not.
    warning, critical : float or None
        Levels in the metric's own unit; at least one of them.
    clear : float or None
        Where a breach ends: further from breach than the milder bound, so that a metric that
        hovers there does not flap. None ends it at the bound itself.

    Raises
    ------
    ValueError
        If the bounds contradict each other; see `problems`.
    """

    comparator: Comparator
    warning: float | None = None
    critical: float | None = None
    clear: float | None = None

    def __post_init__(self) -> None:
        found = problems(self.comparator, self.warning, self.critical, self.clear)
        if found:
            raise ValueError(found[0].text)

    @property
    def sign(self) -> float:
        """1 where larger is worse, -1 where smaller is."""
        return 1.0 if self.comparator is Comparator.ABOVE else -1.0

    def evaluate(self, value: float | None, *, in_breach: bool) -> Verdict:
        """Judge one value; `in_breach` says whether the evaluation before was a breach."""
        number = math.nan if value is None else value
        verdict = judge(
            np.array([number]), Bounds.of([self]), in_breach=np.array([in_breach], dtype=np.bool_)
        )
        return Verdict(int(verdict[0]))


def problems(
    comparator: Comparator, warning: float | None, critical: float | None, clear: float | None
) -> list[Problem]:
    """Return what is wrong with bounds; empty where they can be used.

    Parameters
    ----------
    comparator : Comparator
        The side that is in breach.
    warning, critical, clear : float or None
        As in `Threshold`.

    Returns
    -------
    list of Problem
        Each names the bound it is about.
    """
    found = [
        Problem(name, "This must be a finite number.")
        for name, level in (("warning", warning), ("critical", critical), ("clear", clear))
        if level is not None and not math.isfinite(level)
    ]
    if found:
        return found
    if warning is None and critical is None:
        return [Problem("warning", "Give a warning bound, a critical bound, or both.")]
    sign = 1.0 if comparator is Comparator.ABOVE else -1.0
    beyond = "above" if sign > 0 else "below"
    if warning is not None and critical is not None and sign * critical <= sign * warning:
        text = f"The critical bound must be {beyond} the warning bound of {warning:g}."
        found.append(Problem("critical", text))
    milder = warning if warning is not None else critical
    if clear is not None and milder is not None and sign * clear > sign * milder:
        text = f"The clear bound must not be {beyond} the bound of {milder:g}: a breach never ends."
        found.append(Problem("clear", text))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Thresholds as columns of shape (n_subjects,); NaN where a bound is not set.

    Attributes
    ----------
    sign : ndarray
        1 where larger is worse, -1 where smaller is.
    warning, critical, clear : ndarray
        As in `Threshold`; `clear` is the milder bound where none is set.
    """

    sign: FloatArray
    warning: FloatArray
    critical: FloatArray
    clear: FloatArray

    @classmethod
    def of(cls, thresholds: list[Threshold]) -> Bounds:
        """Return thresholds as columns."""
        sign = np.array([one.sign for one in thresholds], dtype=np.float64)
        warning, critical, clear = (
            np.array([_number(getattr(one, name)) for one in thresholds], dtype=np.float64)
            for name in ("warning", "critical", "clear")
        )
        milder = np.where(np.isnan(warning), critical, warning)
        return cls(sign, warning, critical, np.where(np.isnan(clear), milder, clear))

    def take(self, indices: IntArray) -> Bounds:
        """Return the bounds at `indices`, repeated as often as they are named."""
        columns = (self.sign, self.warning, self.critical, self.clear)
        return Bounds(*(column[indices] for column in columns))

    def of_severity(self, verdicts: IntArray) -> FloatArray:
        """Return the bound that each verdict is about; the milder one where it is no breach."""
        milder = np.where(np.isnan(self.warning), self.critical, self.warning)
        return np.where(verdicts == Verdict.CRITICAL, self.critical, milder)


def judge(values: FloatArray, bounds: Bounds, *, in_breach: BoolArray) -> IntArray:
    """Judge many values at once.

    Parameters
    ----------
    values : ndarray of shape (n_subjects,)
        Each in the unit of its bounds; NaN or infinite for nothing known.
    bounds : Bounds
        One row per value.
    in_breach : ndarray of bool, shape (n_subjects,)
        Whether the evaluation before was a breach; it then lasts until the clear bound.

    Returns
    -------
    ndarray of int, shape (n_subjects,)
        `Verdict` values. Between the clear bound and the milder bound a breach that lasts is
        judged by the milder bound.
    """
    known = np.isfinite(values)
    # Any value will do where nothing is known: it is overwritten below.
    signed = bounds.sign * np.where(known, values, 0.0)
    is_critical = signed > bounds.sign * bounds.critical
    is_warning = signed > bounds.sign * bounds.warning
    lasts = in_breach & (signed > bounds.sign * bounds.clear)
    held = np.where(np.isnan(bounds.warning), int(Verdict.CRITICAL), int(Verdict.WARNING))
    verdicts = np.where(lasts, held, int(Verdict.OK))
    verdicts = np.where(is_warning, int(Verdict.WARNING), verdicts)
    verdicts = np.where(is_critical, int(Verdict.CRITICAL), verdicts)
    return np.asarray(np.where(known, verdicts, int(Verdict.NO_DATA)), np.int64)


def has_lasted(seconds: FloatArray, needed: FloatArray) -> BoolArray:
    """Return whether breaches have lasted their pending period.

    Parameters
    ----------
    seconds : ndarray of shape (n_subjects,)
        Time since the breach was first seen.
    needed : ndarray of shape (n_subjects,)
        Pending periods in seconds, >= 0.

    Returns
    -------
    ndarray of bool, shape (n_subjects,)
        True from the end of the period on, at once for a period of 0.
    """
    return np.asarray(seconds >= needed, np.bool_)


def is_told_again(
    seconds: float, *, cooldown: float, severity: Verdict, told_severity: Verdict
) -> bool:
    """Return whether people are told of a new episode although they were told of one before.

    Parameters
    ----------
    seconds : float
        Time since they were last told of this cause; infinite for never.
    cooldown : float
        Least time between two messages of one cause, seconds.
    severity, told_severity : Verdict
        Of this episode, and of what they were told.

    Returns
    -------
    bool
        True after the cooldown, and at any time for something worse than they know of.
    """
    return seconds >= cooldown or severity > told_severity


def _number(value: float | None) -> float:
    return math.nan if value is None else value
