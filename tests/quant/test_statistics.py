"""Standard errors, Sharpe inference, bootstrap and false discovery control."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphastrat.quant import statistics as s
from alphastrat.quant.measures import sharpe_ratio, total_return

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"


def load(name):
    fixture = json.loads((FIXTURES / f"{name}.json").read_text())
    return fixture["inputs"], {row["name"]: row for row in fixture["expected"]}


def matches(row, value):
    np.testing.assert_allclose(value, row["value"], rtol=0, atol=row["tol"])


@pytest.mark.parametrize("sharpe", ["0.5", "1.0", "2.0", "3.0"])
def test_sharpe_standard_error_agrees_with_lo(sharpe):
    inputs, expected = load("metric__sharpe_standard_error_lo2002")
    errors = [s.sharpe_standard_error(float(sharpe), n) for n in inputs["T"]]
    matches(expected[f"se_SR_{sharpe}"], errors)


def test_probabilistic_sharpe_agrees_with_the_hedge_fund_example():
    inputs, expected = load("psr__psr_hedge_fund_2012")
    psr = partial(s.probabilistic_sharpe, inputs["sr_monthly"], n_observations=inputs["T"])
    matches(expected["psr_normal(skew 0,kurt 3)"], psr())
    moments = {"skewness": inputs["skew"], "kurtosis": inputs["kurtosis"]}
    matches(expected["psr_actual_moments"], psr(**moments))
    # The 2025 form evaluates the variance at the benchmark and is .987 on the same fund.
    assert psr(**moments, form=s.SharpeForm.REVISED_2025) == pytest.approx(0.987, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "periods", "moments"),
    [
        ("years_daily_250_normal", 250, {}),
        ("years_weekly_52_normal", 52, {}),
        ("years_monthly_12_normal", 12, {}),
        ("years_monthly_skew-0.72_kurt5.78", 12, {"skewness": -0.72, "kurtosis": 5.78}),
    ],
)
def test_minimum_track_record_agrees_with_figure_8(name, periods, moments):
    inputs, expected = load("psr__mintrl_fig8_2012")
    bars = s.minimum_track_record_length(
        inputs["sr_annual"] / math.sqrt(periods),
        benchmark=inputs["benchmark_annual"] / math.sqrt(periods),
        **moments,
    )
    matches(expected[name], bars / periods)


def test_deflated_sharpe_agrees_with_the_paper():
    inputs, expected = load("psr__dsr_paper_n100")
    periods = inputs["periods_per_year"]
    variance = inputs["var_sr_trials_annual"] / periods
    matches(
        expected["expected_max_sharpe_daily_SR0"],
        s.expected_maximum_sharpe(inputs["N"], variance),
    )
    dsr = s.deflated_sharpe(
        inputs["sr_annual"] / math.sqrt(periods),
        n_observations=inputs["T"],
        n_trials=inputs["N"],
        sharpe_variance=variance,
        skewness=inputs["skew"],
        kurtosis=inputs["kurtosis"],
    )
    matches(expected["dsr"], dsr)
    matches(expected["dsr_full_precision"], dsr)


def test_the_minimum_track_record_is_where_the_probability_reaches_the_confidence():
    bars = s.minimum_track_record_length(0.1, benchmark=0.02, skewness=-0.5, kurtosis=6)
    reached = s.probabilistic_sharpe(
        0.1, n_observations=math.ceil(bars), benchmark=0.02, skewness=-0.5, kurtosis=6
    )
    assert reached == pytest.approx(0.95, abs=2e-3)
    assert reached >= 0.95


def test_sharpe_probabilities_are_undefined_without_evidence():
    assert math.isnan(s.probabilistic_sharpe(0.1, n_observations=1))
    assert math.isnan(s.minimum_track_record_length(0.1, benchmark=0.1))
    # No distribution has this skewness with this kurtosis: the variance would be negative.
    assert math.isnan(s.probabilistic_sharpe(1.0, n_observations=50, skewness=9.0))


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_more_trials_never_lower_the_bar(few, many):
    few, many = sorted((few, many))
    assert s.expected_maximum_sharpe(few) <= s.expected_maximum_sharpe(many) + 1e-12


def test_expected_maximum_agrees_with_simulation():
    draws = np.random.default_rng(0).standard_normal((20_000, 50)).max(axis=1).mean()
    assert s.expected_maximum_sharpe(50) == pytest.approx(draws, abs=0.03)


def test_minimum_backtest_length_of_45_trials_is_five_years():
    # Bailey et al. (2014), section 3: five years allow no more than 45 independent trials.
    assert s.minimum_backtest_years(45) == pytest.approx(5.0, abs=0.1)


def test_sharpe_floor_pays_for_the_choice_and_is_never_negative():
    assert s.sharpe_floor(0.1, n_trials=1, sharpe_variance=0.01) == 0.1
    assert s.sharpe_floor(0.1, n_trials=100, sharpe_variance=0.01) == 0.0


@pytest.mark.parametrize(
    ("correlation", "expected"), [(np.eye(5), 5.0), (np.ones((5, 5)), 1.0), (np.eye(1), 1.0)]
)
def test_effective_trials_count_what_is_independent(correlation, expected):
    assert s.effective_trials(correlation) == pytest.approx(expected)


def test_hac_standard_error_is_the_classical_one_without_lags():
    values = np.random.default_rng(2).normal(size=400)
    assert s.hac_standard_error(values, lags=0) == pytest.approx(values.std() / 20)


def test_hac_standard_error_equals_statsmodels_on_a_persistent_series():
    ols = pytest.importorskip("statsmodels.api")
    noise = np.random.default_rng(2).normal(size=500)
    values = np.convolve(noise, [1, 0.8, 0.5])[:500]
    fitted = ols.OLS(values, np.ones(500)).fit(
        cov_type="HAC", cov_kwds={"maxlags": 6, "use_correction": False}
    )
    assert s.hac_standard_error(values, lags=6) == pytest.approx(float(fitted.bse[0]))
    assert s.hac_standard_error(values, lags=6) > 1.4 * s.hac_standard_error(values, lags=0)


def test_benjamini_hochberg_agrees_with_the_1995_example():
    inputs, expected = load("fdr__bh1995")
    p_values = np.array(inputs["p"])
    rejected = s.benjamini_hochberg(p_values, rate=inputs["q"])
    assert rejected.sum() == expected["bh_rejections"]["value"]
    shuffled = np.random.default_rng(0).permutation(p_values.size)
    np.testing.assert_array_equal(
        s.benjamini_hochberg(p_values[shuffled], rate=inputs["q"]), rejected[shuffled]
    )


def test_lond_agrees_with_onlinefdr():
    inputs, expected = load("fdr__lond_onlineFDR")
    p_values = np.array(inputs[next(key for key in inputs if key.startswith("p"))])
    thresholds, rejected = s.lond(p_values, rate=inputs.get("alpha", 0.05))
    matches(expected["alpha_i"], thresholds)
    np.testing.assert_array_equal(rejected, np.array(expected["reject"]["value"], bool))


def test_e_benjamini_hochberg_rejects_by_rank():
    # With four tests at rate 0.2 the bounds are 20, 10, 6.67 and 5 for k = 1 to 4.
    e_values = np.array([9.0, 11.0, 0.5, 12.0])
    np.testing.assert_array_equal(
        s.e_benjamini_hochberg(e_values, rate=0.2), [True, True, False, True]
    )
    assert not s.e_benjamini_hochberg(np.array([1.0, 19.0, 0, 0]), rate=0.2).any()


@pytest.mark.parametrize("scheme", s.BlockScheme)
def test_bootstrap_paths_repeat_with_the_seed_and_draw_only_what_was_observed(scheme):
    returns = np.random.default_rng(1).normal(0, 0.01, 120)
    draw = partial(s.bootstrap_paths, returns, n_paths=7, n_bars=300, block=10, scheme=scheme)
    paths = draw(rng=np.random.default_rng(5))
    assert paths.shape == (300, 7)
    assert np.isin(paths, returns).all()
    np.testing.assert_array_equal(paths, draw(rng=np.random.default_rng(5)))
    assert not np.array_equal(paths, draw(rng=np.random.default_rng(6)))


def test_bootstrap_blocks_keep_neighbours_together():
    returns = np.arange(200.0)
    paths = s.bootstrap_paths(returns, n_paths=50, rng=np.random.default_rng(0), block=20)
    following = np.mean(np.diff(paths, axis=0) == 1)
    assert following == pytest.approx(1 - 1 / 20, abs=0.02)


def test_block_length_grows_with_dependence():
    noise = np.random.default_rng(4).normal(size=1000)
    persistent = np.convolve(noise, 0.9 ** np.arange(50))[:1000]
    assert s.block_length(noise) < s.block_length(persistent) <= 60
    assert s.block_length(np.zeros(100)) == 5


def test_bootstrap_interval_holds_the_estimate_and_covers_chance():
    returns = np.random.default_rng(8).normal(0.0, 0.01, 500)
    sharpe = partial(sharpe_ratio, periods_per_year=252)
    low, high = s.bootstrap_interval(
        returns, sharpe, rng=np.random.default_rng(0), n_paths=800, block=5
    )
    assert low < float(sharpe(returns)) < high
    # The half-width of a Sharpe ratio near 0 over two years is about 1.96 / sqrt(500 / 252).
    assert (high - low) / 2 == pytest.approx(1.96 / math.sqrt(500 / 252), rel=0.2)
    narrow = s.bootstrap_interval(
        returns, total_return, rng=np.random.default_rng(0), n_paths=100, confidence=0.5
    )
    assert narrow[0] < narrow[1]


@pytest.mark.parametrize("bad", [np.array([]), np.array([0.1, np.nan])])
def test_the_bootstrap_refuses_series_it_cannot_resample(bad):
    with pytest.raises(ValueError):
        s.bootstrap_paths(bad, n_paths=2, rng=np.random.default_rng(0), block=2)
