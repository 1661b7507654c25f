"""When a rule would have fired, and how often by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quant.rule_preview import chance, firing_bars, firings, in_breach
from monitoring.quant.thresholds import Comparator, Threshold, Verdict

ABOVE, BELOW = Comparator.ABOVE, Comparator.BELOW
NAN = math.nan


@pytest.mark.parametrize(
    ("values", "clear", "pending", "fired", "ended"),
    [
        ([0, 6, 0, 6, 0], None, 0, [1, 3], [2, 4]),
        ([0, 6, 4.5, 6, 0], 4, 0, [1], [4]),  # hysteresis joins them
        ([0, 6, NAN, NAN, 6, 0], None, 0, [1], [5]),  # missing values end nothing
        ([NAN, NAN], None, 0, [], []),
        ([6, 6, 6], None, 0, [0], [3]),  # and it still fires
        ([0, 6, 0, 6, 6, 6, 0], None, 2, [5], [6]),  # the short one never fires
    ],
)
def test_a_rule_fires_once_per_episode(values, clear, pending, fired, ended):
    found = firings(
        np.array(values, float), Threshold(ABOVE, 5.0, 10.0, clear), pending_bars=pending
    )
    assert found.fired.tolist() == fired
    assert found.ended.tolist() == ended
    assert set(found.worst.tolist()) <= {Verdict.WARNING}


def test_an_episode_is_as_bad_as_its_worst_bar():
    found = firings(np.array([6.0, 12.0, 6.0, 0.0]), Threshold(ABOVE, 5.0, 10.0))
    assert found.worst.tolist() == [Verdict.CRITICAL]


@given(
    st.sampled_from(Comparator),
    st.lists(st.one_of(st.just(NAN), st.floats(-10, 10)), min_size=1, max_size=40),
    st.floats(0, 5),
    st.integers(0, 3),
)
def test_the_flip_flop_equals_judging_bar_by_bar(comparator, values, margin, pending):
    sign = 1 if comparator is ABOVE else -1
    threshold = Threshold(comparator, 2.0 * sign, 4.0 * sign, 2.0 * sign - sign * margin)
    expected, held, run, fired = [], False, 0, []
    for value in values:
        verdict = threshold.evaluate(value, in_breach=held)
        if verdict is Verdict.NO_DATA:
            verdict = Verdict.WARNING if held else Verdict.OK
        held = verdict.is_breach
        run = run + 1 if held else 0
        expected.append(int(verdict))
        fired.append(int(run == pending + 1))
    verdicts = in_breach(np.array([values]), threshold)
    assert verdicts[0].tolist() == expected
    assert firing_bars(verdicts, pending_bars=pending)[0].tolist() == fired


def test_chance_of_a_daily_loss_is_that_of_the_reference():
    rng = np.random.default_rng(0)
    reference = rng.normal(0, 0.01, 1500)
    threshold = Threshold(BELOW, -0.02)
    found = chance(
        reference,
        key="day_return",
        threshold=threshold,
        window=None,
        periods_per_year=252,
        seed=1,
        block=1,
        n_paths=2000,
    )
    # Independent days: an episode begins where a day is beyond and the one before was not.
    p = (reference < -0.02).mean()
    assert found.per_year == pytest.approx(252 * p * (1 - p), rel=0.05)
    assert found.share_of_years == pytest.approx(1 - (1 - p) ** 252, abs=0.03)


def test_chance_is_the_same_for_the_same_seed_and_tells_its_error():
    reference = np.random.default_rng(3).normal(0.0005, 0.01, 600)
    options = {
        "key": "drawdown",
        "threshold": Threshold(BELOW, -0.08),
        "window": None,
        "periods_per_year": 252,
    }
    first, again = (chance(reference, seed=7, **options) for _ in range(2))
    assert first == again
    other = chance(reference, seed=8, **options)
    assert abs(first.per_year - other.per_year) < 5 * math.hypot(first.error, other.error)


def test_a_looser_bound_fires_less_by_chance():
    reference = np.random.default_rng(3).normal(0.0005, 0.01, 600)
    rates = [
        chance(
            reference,
            key="sharpe_ratio",
            threshold=Threshold(BELOW, bound),
            window=60,
            periods_per_year=252,
            seed=1,
        ).per_year
        for bound in (1.0, 0.0, -1.0, -3.0)
    ]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("key", "length"), [("slippage_bps", 500), ("drawdown", 59)])
def test_chance_is_unknown_without_a_model_or_a_reference(key, length):
    threshold = Threshold(ABOVE, 5.0)
    options = {"window": None, "periods_per_year": 252, "seed": 1}
    assert chance(np.full(length, 0.001), key=key, threshold=threshold, **options) is None


def test_a_window_is_full_before_the_simulated_year_begins():
    reference = np.tile([0.01, -0.01], 200)
    found = chance(
        reference,
        key="volatility",
        threshold=Threshold(BELOW, 0.10),
        window=20,
        periods_per_year=252,
        seed=1,
        block=400,
    )
    # Half-filled windows of this series have every volatility; full ones have about 16 %.
    assert found.per_year < 1
