"""Value at risk and its backtests against printed examples, closed forms and simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from portfolio.quant.tail_contributions import normal_contributions, shortfall_contributions
from portfolio.quant.value_at_risk import (
    VarMethod,
    bootstrap_rows,
    is_expansion_valid,
    rolling_value_at_risk,
    tail_risk,
)
from portfolio.quant.var_backtest import (
    Zone,
    conditional,
    coverage,
    independence,
    independence_of_counts,
    proportion_of_failures,
    zone,
)

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "fixtures"
PUBLISHED = json.loads((FIXTURES / "var__backtests.json").read_text(encoding="utf-8"))
EDHEC = json.loads((FIXTURES / "metric__edhec_cta_global.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["mathworks", "jorion_box", "jorion_question"])
def test_backtests_give_the_printed_statistics(name):
    case = PUBLISHED[name]
    failures = proportion_of_failures(
        case["n_exceptions"], case["n_bars"], confidence=case["confidence"]
    )
    serial = independence_of_counts(case["n00"], case["n01"], case["n10"], case["n11"])
    near = {"abs": case["tolerance"]}
    assert failures.statistic == pytest.approx(case["pof"], **near)
    assert serial.statistic == pytest.approx(case["independence"], **near)
    if name == "mathworks":
        both = conditional(failures, serial)
        assert failures.p_value == pytest.approx(case["pof_p"], **near)
        assert serial.p_value == pytest.approx(case["independence_p"], **near)
        assert both.statistic == pytest.approx(case["conditional"], **near)
        assert both.p_value == pytest.approx(case["conditional_p"], **near)


@pytest.mark.parametrize(("p", "n_bars", "below", "above"), PUBLISHED["kupiec_regions"]["rows"])
def test_kupiec_rejects_outside_the_published_regions(p, n_bars, below, above):
    def is_rejected(count):
        return proportion_of_failures(count, n_bars, confidence=1 - p).p_value < 0.05

    assert is_rejected(above)
    assert not is_rejected(above - 1)
    if below is None:
        # Kupiec prints "fewer than 7": the statistic of none at all is just over the bound.
        assert not is_rejected(1)
    else:
        assert is_rejected(below)
        assert not is_rejected(below + 1)


def test_the_traffic_light_is_that_of_basel():
    zones = [zone(count, 250, confidence=0.99) for count in (0, 4, 5, 9, 10)]
    assert zones == [Zone.GREEN, Zone.GREEN, Zone.YELLOW, Zone.YELLOW, Zone.RED]


def test_transitions_are_counted_in_order():
    pattern = np.array([0, 1, 1, 0, 0, 1, 0, 0, 0, 0], bool)
    assert independence(pattern) == independence_of_counts(4, 2, 2, 1)


def test_independence_is_undefined_without_an_exception():
    assert np.isnan(independence(np.zeros(100, bool)).statistic)


def test_coverage_counts_only_bars_with_a_forecast():
    returns = np.array([-0.05, -0.01, -0.05, 0.0])
    forecasts = np.array([np.nan, -0.02, -0.02, -0.02])
    judged = coverage(returns, forecasts, confidence=0.95)
    assert (judged.n_bars, judged.n_exceptions) == (3, 1)
    assert judged.expected == pytest.approx(0.15)


def test_a_right_forecast_is_rarely_rejected_and_a_halved_one_always():
    def forecasts(seed):
        returns = np.random.default_rng(seed).normal(0.0, 0.01, 1250)
        made = rolling_value_at_risk(returns, window=250, confidence=0.95, method=VarMethod.NORMAL)
        return returns, made

    def p_value(scale, seed):
        returns, made = forecasts(seed)
        return coverage(returns, made * scale, confidence=0.95).conditional.p_value

    # Nominal 5 %: more than 8 of 60 would happen once in three hundred times.
    assert sum(p_value(1.0, seed) < 0.05 for seed in range(60)) <= 8
    assert all(p_value(0.5, seed) < 1e-6 for seed in range(10))


@pytest.mark.parametrize("method", list(VarMethod))
def test_a_forecast_knows_nothing_of_its_own_bar_or_later(method):
    returns = np.random.default_rng(3).normal(0.0, 0.01, 120)
    changed = returns.copy()
    changed[80:] = -0.5

    def forecast(values):
        return rolling_value_at_risk(
            values, window=60, confidence=0.95, method=method, rng=np.random.default_rng(1)
        )

    np.testing.assert_array_equal(forecast(returns)[:81], forecast(changed)[:81])
    assert np.isnan(forecast(returns)[:60]).all()
    assert forecast(changed)[81] != forecast(returns)[81]


def test_a_rolling_forecast_is_the_estimate_of_the_window_before():
    returns = np.random.default_rng(4).standard_t(5, 100) * 0.01
    for method in (VarMethod.HISTORICAL, VarMethod.NORMAL, VarMethod.CORNISH_FISHER):
        rolled = rolling_value_at_risk(returns, window=60, confidence=0.99, method=method)
        alone = tail_risk(returns[30:90], confidence=0.99, method=method)
        assert rolled[90] == pytest.approx(alone.value_at_risk, rel=1e-12)


@pytest.mark.parametrize(
    ("method", "var_name", "es_name"),
    [
        (VarMethod.HISTORICAL, "var_95_historical", "es_95_historical"),
        (VarMethod.NORMAL, "var_95_gaussian", "es_95_gaussian"),
        (VarMethod.CORNISH_FISHER, "var_95_modified", None),
    ],
)
def test_each_method_agrees_with_performance_analytics(method, var_name, es_name):
    expected = {row["name"]: row["value"] for row in EDHEC["expected"]}
    returns = np.array(EDHEC["inputs"]["returns"])
    found = tail_risk(returns, confidence=0.95, method=method)
    assert found.value_at_risk == pytest.approx(expected[var_name], abs=1e-7)
    if es_name:
        assert found.expected_shortfall == pytest.approx(expected[es_name], abs=1e-7)


def test_cornish_fisher_shortfall_is_the_mean_of_its_quantiles():
    returns = np.random.default_rng(5).gamma(9.0, 0.01, 4000) - 0.1
    found = tail_risk(-returns, confidence=0.95, method=VarMethod.CORNISH_FISHER)
    tails = np.linspace(1e-7, 0.05, 200_001)[1:]
    z = stats.norm.ppf(tails)
    skew, excess = stats.skew(-returns), stats.kurtosis(-returns)
    quantiles = z + (z**2 - 1) / 6 * skew + (z**3 - 3 * z) / 24 * excess
    quantiles -= (2 * z**3 - 5 * z) / 36 * skew**2
    expected = (-returns).mean() + quantiles.mean() * returns.std()
    assert found.expected_shortfall == pytest.approx(expected, rel=1e-4)


def test_the_expansion_is_valid_for_a_normal_and_not_for_a_wild_distribution():
    assert is_expansion_valid(0.0, 0.0)
    assert is_expansion_valid(-0.5, 2.0)
    assert not is_expansion_valid(-3.0, 2.0)


def test_methods_agree_on_normal_returns_over_ten_bars():
    returns = np.random.default_rng(8).normal(0.0, 0.01, 20_000)
    expected = stats.norm.ppf(0.01) * 0.01 * 10**0.5
    for method in VarMethod:
        found = tail_risk(
            returns,
            confidence=0.99,
            method=method,
            horizon=10,
            rng=np.random.default_rng(9),
            n_paths=40_000,
        )
        assert found.value_at_risk == pytest.approx(expected, rel=0.06)
        assert found.expected_shortfall < found.value_at_risk < 0


def test_monte_carlo_is_seeded():
    returns = np.random.default_rng(1).normal(0.0, 0.01, 300)

    def draw(seed):
        rng = np.random.default_rng(seed)
        return tail_risk(returns, confidence=0.95, method=VarMethod.MONTE_CARLO, horizon=5, rng=rng)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_a_rolling_monte_carlo_is_distributed_as_if_every_draw_were_made(confidence):
    """Against the draws themselves: 2,000 from each of the same windows."""
    window, n = 60, 3_000
    returns = np.tile(np.random.default_rng(3).normal(0.0, 0.01, window), n // window + 1)
    found = rolling_value_at_risk(
        returns,
        window=window,
        confidence=confidence,
        method=VarMethod.MONTE_CARLO,
        rng=np.random.default_rng(4),
    )[window:]
    rng = np.random.default_rng(5)
    drawn = np.array(
        [np.quantile(rng.choice(returns[:window], 2_000), 1 - confidence) for _ in range(n)]
    )
    assert stats.ks_2samp(found, drawn).pvalue > 0.001
    assert found.mean() == pytest.approx(drawn.mean(), rel=0.005)


def test_blocks_follow_each_other_and_have_the_mean_length_asked_for():
    rows = bootstrap_rows(50, 400, 200, rng=np.random.default_rng(2), block=10)
    follows = (rows[:, 1:] == (rows[:, :-1] + 1) % 50).mean()
    # A new block starts with 1/10, and one in fifty of those happens to follow.
    assert follows == pytest.approx(0.9 + 0.1 / 50, abs=0.005)


def test_too_short_a_history_has_no_tail():
    assert np.isnan(
        tail_risk(np.zeros(29), confidence=0.95, method=VarMethod.HISTORICAL).value_at_risk
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 8))
def test_contributions_add_up_to_the_whole(seed, n):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0, 0.01, (200, n)) @ rng.normal(0, 1, (n, n))
    weights = rng.uniform(-0.5, 1.0, n)
    covariance = np.atleast_2d(np.cov(returns.T, ddof=0))
    parts = normal_contributions(weights, returns.mean(axis=0), covariance, confidence=0.95)
    whole = tail_risk(returns @ weights, confidence=0.95, method=VarMethod.NORMAL)
    assert parts.sum() == pytest.approx(whole.value_at_risk, rel=1e-9)
    tail = shortfall_contributions(weights, returns, confidence=0.95)
    history = tail_risk(returns @ weights, confidence=0.95, method=VarMethod.HISTORICAL)
    assert tail.sum() == pytest.approx(history.expected_shortfall, rel=1e-9)
