"""Performance measures against published tables, empyrical and their own identities."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alphastrat.quant import measures as m

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"


def load(name):
    fixture = json.loads((FIXTURES / f"{name}.json").read_text())
    return fixture["inputs"], {row["name"]: row for row in fixture["expected"]}


def matches(expected, name, value):
    row = expected[name]
    assert value == pytest.approx(row["value"], abs=row["tol"]), name


# The published table states drawdowns as positive numbers; ours are negative.
EDHEC = {
    "annualized_return_geometric": lambda r, b: m.annual_return(r, periods_per_year=12),
    "annualized_vol": lambda r, b: m.annual_volatility(r, periods_per_year=12),
    "cumulative_return": lambda r, b: m.total_return(r),
    "sharpe_per_period_rf0": lambda r, b: m.sharpe_ratio(r, periods_per_year=1),
    "sharpe_annualized_rf0_arithmetic": lambda r, b: m.sharpe_ratio(r, periods_per_year=12),
    "sharpe_per_period_rf_0.035_over_12": lambda r, b: m.sharpe_ratio(
        r, periods_per_year=1, risk_free=0.035 / 12
    ),
    "downside_deviation_mar0": lambda r, b: m.downside_risk(r, periods_per_year=1),
    "sortino_per_period_mar0": lambda r, b: m.sortino_ratio(r, periods_per_year=1),
    "sortino_per_period_mar_0.005": lambda r, b: m.sortino_ratio(
        r, periods_per_year=1, required_return=0.005
    ),
    "omega_L0": lambda r, b: m.omega_ratio(r),
    "omega_L_0.005": lambda r, b: m.omega_ratio(r, required_return=0.005),
    "max_drawdown": lambda r, b: -m.max_drawdown(r),
    "calmar": lambda r, b: m.calmar_ratio(r, periods_per_year=12),
    "ulcer_index": lambda r, b: m.ulcer_index(r),
    "pain_index": lambda r, b: m.pain_index(r),
    "martin": lambda r, b: m.martin_ratio(r, periods_per_year=12),
    "skewness_moment": lambda r, b: m.skewness(r),
    "kurtosis_moment": lambda r, b: m.kurtosis(r),
    "var_95_historical": lambda r, b: m.value_at_risk(r),
    "es_95_historical": lambda r, b: m.conditional_value_at_risk(r),
    "var_95_gaussian": lambda r, b: m.gaussian_value_at_risk(r),
    "es_95_gaussian": lambda r, b: m.gaussian_conditional_value_at_risk(r),
    "var_95_modified": lambda r, b: m.modified_value_at_risk(r),
    "capm_beta_rf0": m.beta,
    "capm_alpha_rf0_per_period": lambda r, b: m.alpha(r, b, periods_per_year=1),
    "tracking_error_annualized": lambda r, b: m.tracking_error(r, b, periods_per_year=12),
    "information_ratio": lambda r, b: m.information_ratio(r, b, periods_per_year=12),
    "up_capture": m.up_capture,
    "down_capture": m.down_capture,
    "correlation": m.correlation,
}


@pytest.mark.parametrize("name", EDHEC)
def test_measures_agree_with_the_published_edhec_table(name):
    inputs, expected = load("metric__edhec_cta_global")
    value = EDHEC[name](np.array(inputs["returns"]), np.array(inputs["benchmark"]))
    matches(expected, name, value)


def test_the_edhec_table_is_covered_completely():
    assert set(load("metric__edhec_cta_global")[1]) == set(EDHEC)


# Bacon's skewness is the sample form, ours the moment form: the ratio is sqrt(n(n-1)) / (n-2).
BACON = {
    "mean_absolute_deviation": lambda r, t: m.mean_absolute_deviation(r),
    "skewness_sample": lambda r, t: m.skewness(r) * np.sqrt(r.size * (r.size - 1)) / (r.size - 2),
    "kurtosis_moment": lambda r, t: m.kurtosis(r),
    "excess_kurtosis_moment": lambda r, t: m.kurtosis(r) - 3,
    "pain_index": lambda r, t: m.pain_index(r),
    "upside_risk_mar_0.5%": lambda r, t: m.upside_risk(r, required_return=t),
    "upside_potential_mar_0.5%": lambda r, t: m.upside_potential(r, required_return=t),
    "downside_frequency_mar_0.5%": lambda r, t: m.downside_frequency(r, required_return=t),
    "omega_sharpe_mar_0.5%": lambda r, t: m.omega_ratio(r, required_return=t) - 1,
    "sortino_per_period_mar_0.5% (=Kappa_2)": lambda r, t: m.sortino_ratio(
        r, periods_per_year=1, required_return=t
    ),
}


@pytest.mark.parametrize("name", BACON)
def test_measures_agree_with_bacons_worked_example(name):
    inputs, expected = load("metric__bacon_portfolio_a")
    matches(expected, name, BACON[name](np.array(inputs["portfolio"]), inputs["mar"]))


def test_sortino_agrees_with_the_red_rock_example():
    inputs, expected = load("metric__sortino_red_rock")
    returns = np.array(inputs["returns"])
    matches(expected, "average_excess", returns.mean())
    risk = m.downside_risk(returns, periods_per_year=1)
    matches(expected, "target_downside_deviation", risk)
    matches(expected, "sortino", m.sortino_ratio(returns, periods_per_year=1))


def mixed(frequency="mixed"):
    inputs, _ = load("metric__empyrical_mixed")
    return np.array(inputs[f"{frequency}_returns"], dtype=float)


# empyrical counts the leading NaN of "mixed" when it annualises; its own values for the vectors
# without NaN show the convention we share.
EMPYRICAL = {
    "annual_return_weekly(weekly)": lambda: m.annual_return(mixed("weekly"), periods_per_year=52),
    "annual_return_monthly(monthly)": lambda: m.annual_return(
        mixed("monthly"), periods_per_year=12
    ),
    "annual_volatility_daily(mixed)": lambda: m.annual_volatility(mixed(), periods_per_year=252),
    "annual_volatility_weekly": lambda: m.annual_volatility(mixed("weekly"), periods_per_year=52),
    "annual_volatility_monthly": lambda: m.annual_volatility(mixed("monthly"), periods_per_year=12),
    "max_drawdown(mixed)": lambda: m.max_drawdown(mixed()),
    "max_drawdown(udu=+10%,-10%,+10%)": lambda: m.max_drawdown(np.array([0.1, -0.1, 0.1])),
    "calmar_weekly": lambda: m.calmar_ratio(mixed("weekly"), periods_per_year=52),
    "calmar_monthly": lambda: m.calmar_ratio(mixed("monthly"), periods_per_year=12),
    "sharpe_daily(mixed,rf=0)": lambda: m.sharpe_ratio(mixed(), periods_per_year=252),
    "downside_risk_daily(mixed,0)": lambda: m.downside_risk(mixed(), periods_per_year=252),
    "downside_risk_daily(mixed,0.1)": lambda: m.downside_risk(
        mixed(), periods_per_year=252, required_return=0.1
    ),
    "sortino_daily(mixed,0)": lambda: m.sortino_ratio(mixed(), periods_per_year=252),
    "omega(mixed,rf=0,required_return_annual=10.0)": lambda: m.omega_ratio(
        mixed(), required_return=11.0 ** (1 / 252) - 1
    ),
    "tail_ratio(mixed, NaN dropped)": lambda: m.tail_ratio(mixed()),
    "stability_of_timeseries(mixed)": lambda: m.stability(mixed()),
    "value_at_risk([1,81,82,83,84,85],0.1)": lambda: m.value_at_risk(
        np.array([1.0, 81, 82, 83, 84, 85]), confidence=0.9
    ),
    "value_at_risk([1,81,82,83,84,85],0.3)": lambda: m.value_at_risk(
        np.array([1.0, 81, 82, 83, 84, 85]), confidence=0.7
    ),
}


@pytest.mark.parametrize("name", EMPYRICAL)
def test_measures_agree_with_empyricals_published_values(name):
    matches(load("metric__empyrical_mixed")[1], name, EMPYRICAL[name]())


def test_annualising_counts_observations_and_not_a_leading_gap():
    value = m.annual_return(mixed(), periods_per_year=252)
    assert value == pytest.approx(m.annual_return(mixed()[1:], periods_per_year=252))


@pytest.fixture(scope="module")
def oracle():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("empyrical")


def test_measures_equal_empyrical_on_many_series(oracle):
    rng = np.random.default_rng(7)
    returns = rng.standard_t(4, (300, 12)) * 0.01
    benchmark = rng.normal(0.0003, 0.01, 300)
    ours = m.measure_all(returns, periods_per_year=252, benchmark=benchmark)
    theirs = {
        "total_return": oracle.cum_returns_final,
        "annual_return": oracle.annual_return,
        "annual_volatility": oracle.annual_volatility,
        "sharpe_ratio": oracle.sharpe_ratio,
        "sortino_ratio": oracle.sortino_ratio,
        "calmar_ratio": oracle.calmar_ratio,
        "omega_ratio": oracle.omega_ratio,
        "max_drawdown": oracle.max_drawdown,
        "downside_risk": oracle.downside_risk,
        "value_at_risk": oracle.value_at_risk,
        "conditional_value_at_risk": oracle.conditional_value_at_risk,
        "tail_ratio": oracle.tail_ratio,
        "stability": oracle.stability_of_timeseries,
        "alpha": lambda series: oracle.alpha(series, benchmark),
        "beta": lambda series: oracle.beta(series, benchmark),
        "information_ratio_per_bar": lambda series: oracle.excess_sharpe(series, benchmark),
    }
    for key, function in theirs.items():
        expected = [float(function(column)) for column in returns.T]
        np.testing.assert_allclose(ours[key], expected, rtol=1e-9, err_msg=key)


RETURNS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(20, 60), st.integers(1, 4)),
    elements=st.floats(-0.5, 0.5).map(lambda value: round(value, 6)),
)


@settings(max_examples=60, deadline=None)
@given(RETURNS)
def test_measures_keep_their_bounds(returns):
    values = m.measure_all(returns, periods_per_year=252, benchmark=returns[:, 0])
    for key, low, high in [
        ("max_drawdown", -1, 0),
        ("stability", 0, 1),
        ("winning_bars", 0, 1),
        ("correlation", -1, 1),
        ("ulcer_index", 0, 1),
        ("total_return", -1, np.inf),
        ("kurtosis", 1 - 1e-9, np.inf),
    ]:
        known = values[key][np.isfinite(values[key])]
        assert ((known >= low - 1e-12) & (known <= high + 1e-12)).all(), key
    assert (values["conditional_value_at_risk"] <= values["value_at_risk"] + 1e-12).all()
    assert (values["pain_index"] <= values["ulcer_index"] + 1e-12).all()
    assert (values["worst_bar"] <= values["best_bar"]).all()


@settings(max_examples=40, deadline=None)
@given(RETURNS, st.data())
def test_a_series_is_measured_the_same_alone_and_among_others(returns, data):
    gaps = data.draw(st.integers(0, 5))
    returns[:gaps, -1] = np.nan
    together = m.measure_all(returns, periods_per_year=252)
    alone = m.measure_all(returns[gaps:, -1], periods_per_year=252)
    for key, value in alone.items():
        np.testing.assert_allclose(together[key][-1], value, rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("n_bars", [0, 1, 5, 19])
def test_few_observations_give_no_number(n_bars):
    values = m.measure_all(np.full(n_bars, 0.01), periods_per_year=252)
    assert np.isnan(values["sharpe_ratio"])
    assert np.isnan(values["annual_return"])
    assert np.isnan(values["total_return"]) == (n_bars == 0)


def test_undefined_ratios_are_nan_and_not_a_sentinel():
    values = m.measure_all(np.full(50, 0.001), periods_per_year=252)
    for key in ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio", "skewness"):
        assert np.isnan(values[key]), key
    assert values["max_drawdown"] == 0.0
    assert values["longest_drawdown"] == 0.0


def test_ruin_is_a_total_loss_that_stays():
    returns = np.array([0.1, -1.2, 5.0] + [0.01] * 30)
    values = m.measure_all(returns, periods_per_year=252)
    assert values["total_return"] == -1.0
    assert values["annual_return"] == -1.0
    assert values["max_drawdown"] == -1.0


def test_longest_drawdown_counts_bars_below_the_peak():
    returns = np.array([0.1, -0.05, 0.01, 0.2, -0.1, -0.1, -0.1, 0.05])
    assert m.longest_drawdown(returns) == 4
    assert m.longest_drawdown(np.array([-0.1, 0.05, 0.5])) == 2


def test_winning_bars_leave_out_bars_that_did_not_move():
    assert m.winning_bars(np.array([0.01, 0.0, 0.0, -0.01, 0.02, 0.0])) == pytest.approx(2 / 3)


def test_a_series_against_itself_has_beta_one_and_no_alpha():
    returns = np.random.default_rng(3).normal(0, 0.01, 100)
    assert m.beta(returns, returns) == pytest.approx(1.0)
    assert m.alpha(returns, returns, periods_per_year=252) == pytest.approx(0.0, abs=1e-12)
    assert m.up_capture(returns, returns) == pytest.approx(1.0)
    assert np.isnan(m.information_ratio(returns, returns, periods_per_year=252))


def test_a_gap_in_the_benchmark_shortens_only_what_compares_with_it():
    returns = np.random.default_rng(3).normal(0, 0.01, 100)
    benchmark = np.r_[[np.nan] * 10, returns[::-1][10:]]
    values = m.measure_all(returns, periods_per_year=252, benchmark=benchmark)
    assert values["total_return"] == m.total_return(returns)
    assert values["beta"] == pytest.approx(m.beta(returns[10:], benchmark[10:]))


def test_each_series_may_have_its_own_benchmark():
    returns = np.random.default_rng(3).normal(0, 0.01, (100, 3))
    benchmark = returns[:, ::-1] * 2
    apart = [m.beta(returns[:, i], benchmark[:, i]) for i in range(3)]
    np.testing.assert_allclose(m.beta(returns, benchmark), apart)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinite_returns_are_refused(bad):
    with pytest.raises(ValueError, match="infinite"):
        m.measure_all(np.array([0.1, bad]), periods_per_year=252)


def test_a_benchmark_of_another_length_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        m.beta(np.zeros(10), np.zeros(9))


def test_annualisation_must_be_positive():
    with pytest.raises(ValueError, match="periods_per_year"):
        m.measure_all(np.zeros(10), periods_per_year=0)


@pytest.mark.parametrize("key", m.MEASURES)
def test_the_catalogue_explains_every_measure(key):
    entry = m.MEASURES[key]
    assert entry.key == key
    assert callable(getattr(m, key))
    assert entry.label
    assert entry.definition.endswith(".")
    assert entry.formula
    assert entry.reference
    assert entry.min_observations >= 1


def test_measure_all_gives_the_catalogue_in_its_order():
    returns = np.random.default_rng(1).normal(0, 0.01, 50)
    own = m.measure_all(returns, periods_per_year=252)
    assert list(own) == [key for key, entry in m.MEASURES.items() if not entry.needs_benchmark]
    everything = m.measure_all(returns, periods_per_year=252, benchmark=returns[::-1])
    assert list(everything) == list(m.MEASURES)
    assert everything["beta"].shape == ()
