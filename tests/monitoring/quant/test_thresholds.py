"""Verdicts, hysteresis, pending periods, cooldown and flapping."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quant import flapping
from monitoring.quant.thresholds import (
    Bounds,
    Comparator,
    Threshold,
    Verdict,
    has_lasted,
    is_told_again,
    judge,
    problems,
)

ABOVE, BELOW = Comparator.ABOVE, Comparator.BELOW
numbers = st.floats(-1e9, 1e9)


@pytest.mark.parametrize(
    ("value", "in_breach", "expected"),
    [
        (-0.04, False, Verdict.OK),
        (-0.05, False, Verdict.OK),  # at the bound is not beyond it
        (-0.051, False, Verdict.WARNING),
        (-0.10, False, Verdict.WARNING),
        (-0.101, False, Verdict.CRITICAL),
        (-0.04, True, Verdict.WARNING),  # not yet back beyond the clear bound of -3 %
        (-0.03, True, Verdict.OK),
        (-0.029, True, Verdict.OK),
        (math.nan, True, Verdict.NO_DATA),
        (-math.inf, True, Verdict.NO_DATA),
        (None, False, Verdict.NO_DATA),
    ],
)
def test_a_drawdown_is_judged_by_its_bounds(value, in_breach, expected):
    threshold = Threshold(BELOW, warning=-0.05, critical=-0.10, clear=-0.03)
    assert threshold.evaluate(value, in_breach=in_breach) is expected


@pytest.mark.parametrize(
    ("value", "in_breach", "expected"),
    [(5, False, Verdict.OK), (5.1, False, Verdict.CRITICAL), (4.5, True, Verdict.CRITICAL)],
)
def test_a_rule_with_a_critical_bound_alone_is_critical_until_it_clears(value, in_breach, expected):
    threshold = Threshold(ABOVE, critical=5.0, clear=4.0)
    assert threshold.evaluate(value, in_breach=in_breach) is expected


@pytest.mark.parametrize(
    ("comparator", "warning", "critical", "clear", "wrong"),
    [
        (BELOW, None, None, None, ["warning"]),
        (BELOW, -0.1, -0.05, None, ["critical"]),
        (ABOVE, 10, 5, None, ["critical"]),
        (ABOVE, 5, 5, None, ["critical"]),
        (BELOW, -0.05, None, -0.06, ["clear"]),
        (ABOVE, 5, 10, 6, ["clear"]),
        (ABOVE, 5, 10, 5, []),
        (ABOVE, math.nan, 10, 5, ["warning"]),
        (ABOVE, 5, math.inf, None, ["critical"]),
        (BELOW, -0.05, -0.1, -0.03, []),
    ],
)
def test_bounds_that_contradict_each_other_are_named(comparator, warning, critical, clear, wrong):
    assert [one.name for one in problems(comparator, warning, critical, clear)] == wrong
    if wrong:
        with pytest.raises(ValueError):
            Threshold(comparator, warning, critical, clear)


@given(
    st.sampled_from(Comparator),
    st.lists(numbers, min_size=1, max_size=20),
    st.tuples(numbers, st.floats(0.001, 1e6), st.floats(0, 1e6)),
    st.booleans(),
)
def test_many_are_judged_as_each_alone(comparator, values, levels, in_breach):
    warning, step, margin = levels
    sign = 1 if comparator is ABOVE else -1
    threshold = Threshold(
        comparator, warning, warning + sign * (step + abs(warning) * 1e-6), warning - sign * margin
    )
    together = judge(
        np.array(values),
        Bounds.of([threshold]).take(np.zeros(len(values), np.int64)),
        in_breach=np.full(len(values), in_breach),
    )
    assert together.tolist() == [threshold.evaluate(v, in_breach=in_breach) for v in values]


@given(st.sampled_from(Comparator), numbers, numbers, st.floats(0, 1e6))
def test_a_breach_that_lasts_is_never_milder_than_one_that_begins(comparator, value, bound, margin):
    sign = 1 if comparator is ABOVE else -1
    threshold = Threshold(comparator, bound, None, bound - sign * margin)
    begins = threshold.evaluate(value, in_breach=False)
    assert threshold.evaluate(value, in_breach=True) >= begins


def test_the_bound_of_a_verdict_is_the_one_that_was_passed():
    bounds = Bounds.of([Threshold(ABOVE, 5.0, 10.0)] * 3 + [Threshold(BELOW, critical=-1.0)])
    verdicts = np.array([Verdict.WARNING, Verdict.CRITICAL, Verdict.OK, Verdict.CRITICAL])
    assert bounds.of_severity(verdicts).tolist() == [5.0, 10.0, 5.0, -1.0]


def test_a_pending_period_ends_on_the_second():
    lasted = has_lasted(np.array([0.0, 59.9, 60.0, 0.0]), np.array([0.0, 60.0, 60.0, 1.0]))
    assert lasted.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("seconds", "severity", "told", "expected"),
    [
        (math.inf, Verdict.WARNING, Verdict.OK, True),
        (3599, Verdict.WARNING, Verdict.WARNING, False),
        (3600, Verdict.WARNING, Verdict.WARNING, True),
        (10, Verdict.CRITICAL, Verdict.WARNING, True),
        (10, Verdict.WARNING, Verdict.CRITICAL, False),
    ],
)
def test_a_cooldown_holds_back_everything_but_worse_news(seconds, severity, told, expected):
    said = is_told_again(seconds, cooldown=3600, severity=severity, told_severity=told)
    assert said is expected


@pytest.mark.parametrize(
    ("ages", "expected"),
    [([], False), ([10], False), ([10, 300], True), ([10, 3601], False), ([5, 9, 20], True)],
)
def test_the_third_episode_within_an_hour_flaps(ages, expected):
    assert flapping.is_flapping(ages) is expected


def test_what_flaps_ends_only_after_a_calm_quarter_of_an_hour():
    assert flapping.is_calm(0, flapping=False)
    assert not flapping.is_calm(899, flapping=True)
    assert flapping.is_calm(900, flapping=True)
