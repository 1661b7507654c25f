"""E-processes, e-detectors and confidence sequences against published values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quant import control_charts as charts
from monitoring.quant import detectors
from monitoring.quant.evidence import (
    Observations,
    accumulate,
    alarm_counts,
    average_evidence,
    first_alarm,
)
from monitoring.quant.sequential import (
    confidence_sequence,
    mixture_parameter,
    normal_mixture_bound,
)

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"


def load(name):
    fixture = json.loads((FIXTURES / f"changedetect__{name}.json").read_text())
    return fixture["inputs"], {row["name"]: row for row in fixture["expected"]}


def test_normal_mixture_bound_agrees_with_howard_et_al():
    inputs, expected = load("confseq_normal_mixture")
    rho = mixture_parameter(inputs["v_opt"], level=inputs["alpha"])
    assert rho == pytest.approx(expected["rho"]["value"], abs=1e-5)
    bound = normal_mixture_bound(
        np.array([inputs["v"]]), level=inputs["alpha"], tuned_for=inputs["v_opt"]
    )
    assert bound[0] == pytest.approx(expected["bound_at_v100"]["value"], abs=1e-5)


def test_cusum_run_lengths_agree_with_lucas_and_crosier():
    inputs, expected = load("cusum_k0.5_h4")
    lengths = [
        charts.cusum_run_length(inputs["k"], inputs["h"], shift=shift) for shift in inputs["shift"]
    ]
    np.testing.assert_allclose(lengths, expected["arl"]["value"], rtol=0.006)
    np.testing.assert_allclose(lengths, expected["arl_exact"]["value"], atol=1e-3)


def test_cusum_limits_agree_with_hawkins():
    inputs, expected = load("cusum_hawkins_kh_arl370")
    limits = [charts.cusum_limit(slack, 370) for slack in inputs["k"]]
    np.testing.assert_allclose(limits, expected["h"]["value"], atol=0.01)
    np.testing.assert_allclose(limits, expected["h_exact"]["value"], atol=1e-4)


def test_siegmund_approximation_agrees():
    _, expected = load("cusum_siegmund_approx")
    in_control = charts.siegmund_run_length(0.5, 4)
    assert in_control == pytest.approx(expected["one_sided_arl0_k0.5_h4"]["value"])
    shifted = charts.siegmund_run_length(0.5, 4, shift=1.0)
    assert shifted == pytest.approx(expected["one_sided_arl_shift1"]["value"])
    assert charts.siegmund_run_length(0.5, 4, shift=0.5) == pytest.approx(5.166**2)


def test_ewma_run_lengths_agree_with_lucas_and_saccucci():
    inputs, expected = load("ewma_lucas_saccucci_l0.5")
    lengths = [
        charts.ewma_run_length(inputs["lam"], inputs["L"], shift=shift) for shift in inputs["shift"]
    ]
    np.testing.assert_allclose(lengths, expected["arl"]["value"], rtol=0.006)


def test_cusum_and_ewma_follow_their_recursions():
    values = np.array([[1.0, -2.0, np.nan, 3.0]])
    upper, lower = charts.cusum(values, slack=0.5)
    np.testing.assert_allclose(upper, [[0.5, 0.0, 0.0, 2.5]])
    np.testing.assert_allclose(lower, [[0.0, 1.5, 1.5, 0.0]])
    np.testing.assert_allclose(charts.ewma(values, weight=0.5), [[0.5, -0.75, -0.75, 1.125]])


def test_the_detector_has_the_published_run_lengths_of_shiryaev_roberts():
    inputs, expected = load("shiryaev_roberts_theta1")
    rng = np.random.default_rng(7)
    normal = rng.standard_normal((4_000, 1_000))
    factors = np.exp(inputs["theta"] * normal - inputs["theta"] ** 2 / 2)[:, :, None]
    for place in (0, 1):
        delays = first_alarm(factors, inputs["A"][place])
        assert np.isfinite(delays).all()
        published = expected["arl_false_alarm_exact"]["value"][place]
        assert delays.mean() == pytest.approx(published, rel=0.05)


def test_alarms_are_counted_with_a_restart_after_each():
    factors = np.full((1, 6, 1), 2.0)
    # R is 2, 6, then starts anew: 2, 6, 2, 6.
    assert alarm_counts(factors, np.array([6.0, 7.0, 1.0])).tolist() == [3, 2, 6]


def test_evidence_equals_the_plain_recursion():
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((3, 40))
    matrix[1, :7] = np.nan
    observed = Observations.of_matrix(matrix)
    log_factors = detectors.catoni_log_factors(observed.value)
    first = np.array([0, 0, 5])
    found = accumulate(log_factors, observed, shape=matrix.shape, first=first)
    for i in range(3):
        factors = np.exp(detectors.catoni_log_factors(matrix[i]))
        product, total = np.ones(5), np.zeros(5)
        for t in range(40):
            if t >= first[i] and not np.isnan(matrix[i, t]):
                product *= factors[t]
                total = (1 + total) * factors[t]
            assert found.log_e[i, t] == pytest.approx(math.log(product.mean()), abs=1e-9)
            if total.any():
                assert found.log_r[i, t] == pytest.approx(math.log(total.mean()), abs=1e-9)
            else:
                assert found.log_r[i, t] == -math.inf
    assert found.n_observations[:, -1].tolist() == [40, 33, 35]


def test_several_observations_of_one_bar_all_count():
    observed = Observations.sorted(np.array([0, 0, 0]), np.array([1, 0, 1]), np.zeros(3))
    assert observed.column.tolist() == [0, 1, 1]
    found = accumulate(np.full((3, 1), math.log(2.0)), observed, shape=(1, 3))
    np.testing.assert_allclose(np.exp(found.log_e), [[2, 8, 8]])
    np.testing.assert_allclose(np.exp(found.log_r), [[2, 14, 14]])


def test_average_evidence_leaves_out_what_cannot_speak():
    log_e = np.log(np.array([[[3.0]], [[100.0]], [[1.0]]]))
    included = np.array([[1.0], [0.0], [1.0]])
    assert np.exp(average_evidence(log_e, included))[0, 0] == pytest.approx(2.0)
    assert average_evidence(log_e, np.zeros((3, 1)))[0, 0] == 0.0


@given(st.floats(0, 3), st.floats(0.02, 0.25))
def test_a_catoni_factor_is_no_gain_for_a_strategy_that_keeps_its_promise(mean, shape):
    """The definition of an e-value, by quadrature over a two-point law of mean square 1.15."""
    mean = min(mean, 1.0)
    spread = math.sqrt(1.15 - mean**2) if mean**2 < 1.15 else 0.0
    outcomes = np.array([mean - spread, mean + spread])
    factors = np.exp(detectors.catoni_log_factors(outcomes, grid=(shape,)))
    assert factors.mean() <= 1.0 + 1e-12


@given(st.floats(0.05, 0.95), st.floats(0, 1))
def test_a_win_rate_factor_is_no_gain_above_the_promise(limit, more):
    rate = limit + more * (1 - limit)
    factors = np.exp(
        detectors.bernoulli_log_factors(np.array([1.0, 0.0]), np.array([limit, limit]))
    )
    assert (rate * factors[0] + (1 - rate) * factors[1] <= 1.0 + 1e-9).all()


def test_a_frequency_factor_is_no_gain_at_the_promise():
    counts = np.arange(60.0)
    rate = np.full(60, 2.0)
    weights = np.exp(counts * np.log(2.0) - 2.0 - [math.lgamma(n + 1) for n in counts])
    factors = np.exp(detectors.poisson_log_factors(counts, rate, rate))
    np.testing.assert_allclose(weights @ factors, 1.0, atol=1e-9)


@pytest.mark.parametrize(
    ("true_rate", "published"),
    [(0.45, 112), (0.35, 53)],
)
def test_a_lower_win_rate_is_found_in_the_stated_number_of_round_trips(true_rate, published):
    """METHODS: 0.55 to 0.45 in a median of 112 round trips at A = 1000, to 0.35 in 53."""
    won = (np.random.default_rng(1).random((1_500, 600)) < true_rate).astype(float)
    log_factors = detectors.bernoulli_log_factors(won.ravel(), np.full(won.size, 0.55))
    factors = np.exp(log_factors).reshape(*won.shape, -1)
    assert np.median(first_alarm(factors, 1_000)) == pytest.approx(published, rel=0.12)


def test_half_the_round_trips_are_missed_within_a_month():
    """METHODS: from two per day to one, 21 days at A = 2520."""
    counts = np.random.default_rng(2).poisson(1.0, (1_500, 120)).astype(float)
    flat = np.full(counts.size, 2.0)
    log_factors = detectors.poisson_log_factors(counts.ravel(), flat, flat)
    factors = np.exp(log_factors).reshape(*counts.shape, -1)
    assert np.median(first_alarm(factors, 2_520)) == pytest.approx(21, abs=3)


def test_worse_fills_are_found_in_tens_of_fills():
    """METHODS: 2 bp with a deviation of 5 bp in a median of 79 fills, 5 bp in 32."""
    rng = np.random.default_rng(5)
    for shift, published in [(2.0, 79), (5.0, 32)]:
        gaps = rng.normal(shift, 5.0, (600, 400))
        observed = Observations.of_matrix(gaps)
        z = detectors.standardise(observed, centre=np.zeros(600), scale=np.full(600, 5.0))
        factors = np.exp(detectors.catoni_log_factors(-z)).reshape(600, 400, -1)
        assert np.median(first_alarm(factors, 1_000)) < 1.6 * published


@pytest.mark.parametrize("tails", ["normal", "t4"])
def test_healthy_strategies_rarely_show_evidence_within_a_year(tails):
    """METHODS: 0.9 to 1.1 % of healthy years reach E = 20, whatever the tails."""
    rng = np.random.default_rng(11)
    noise = rng.standard_normal((4_000, 252))
    if tails == "t4":
        noise = rng.standard_t(4, (4_000, 252)) / math.sqrt(2.0)
    observed = Observations.of_matrix(noise)
    z = detectors.standardise(observed, centre=np.zeros(4_000), scale=np.ones(4_000))
    found = accumulate(detectors.catoni_log_factors(z), observed, shape=noise.shape)
    share = (found.log_e.max(axis=1) >= math.log(20)).mean()
    assert share <= 0.02


def test_standardising_never_looks_ahead():
    values = np.random.default_rng(4).standard_normal((1, 50))
    whole = detectors.standardise(
        Observations.of_matrix(values), centre=np.zeros(1), scale=np.ones(1)
    )
    part = detectors.standardise(
        Observations.of_matrix(values[:, :30]), centre=np.zeros(1), scale=np.ones(1)
    )
    np.testing.assert_array_equal(whole[:30], part)
    assert whole[0] == values[0, 0]


def test_the_variance_cusum_follows_its_recursion():
    found = detectors.variance_cusum(np.array([[2.0, np.nan, 0.0, 3.0]]))
    np.testing.assert_allclose(found, [[2.54, 2.54, 1.08, 8.62]])


def test_a_confidence_sequence_covers_the_mean_at_every_moment():
    rng = np.random.default_rng(9)
    gaps = rng.normal(3.0, 8.0, (1_000, 200))
    found = confidence_sequence(
        Observations.of_matrix(gaps), shape=gaps.shape, scale=np.full(1_000, 8.0)
    )
    outside = ((found.lower > 3.0) | (found.upper < 3.0)).any(axis=1).mean()
    assert outside <= 0.05
    width = (found.upper - found.lower)[:, -1].mean() / 2
    assert width < 1.6 * 1.96 * 8.0 / math.sqrt(200)


def test_equal_fills_do_not_prove_that_there_is_no_dispersion():
    found = confidence_sequence(
        Observations.of_matrix(np.zeros((1, 20))), shape=(1, 20), scale=np.array([10.0])
    )
    assert found.mean[0, -1] == 0.0
    assert found.upper[0, 2] > 10.0 > found.upper[0, -1] > 0.0
