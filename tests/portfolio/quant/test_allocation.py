"""Risk budgets and correlations against published examples, closed forms and identities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.quant.correlation import correlation_matrix, diversification_ratio, effective_bets
from portfolio.quant.covariances import (
    check_covariance,
    portfolio_volatility,
    risk_contributions,
)
from portfolio.quant.risk_parity import risk_budget_weights

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "fixtures"


def fixture(name):
    document = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return document["inputs"], {row["name"]: row for row in document["expected"]}


def random_covariance(seed, n_assets):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_assets, 3))
    volatility = rng.uniform(0.05, 0.6, n_assets)
    loaded = factors @ factors.T + np.eye(n_assets)
    scale = volatility / np.sqrt(np.diag(loaded))
    return loaded * np.outer(scale, scale)


def test_equal_risk_gives_the_weights_of_bai_scheinberg_and_tutuncu():
    inputs, expected = fixture("portfolio__erc_bai_scheinberg_tutuncu")
    covariance = np.array(inputs["cov"])
    weights = risk_budget_weights(covariance)
    np.testing.assert_allclose(weights, expected["weights"]["value"], atol=1e-3)
    assert portfolio_volatility(weights, covariance) == pytest.approx(
        expected["volatility"]["value"], abs=1e-6
    )


@pytest.mark.parametrize(("matrix", "name"), [("cov_rho0", "rho0"), ("cov_rho05", "rho0.5")])
def test_equal_risk_gives_the_weights_of_maillard_roncalli_and_teiletche(matrix, name):
    inputs, expected = fixture("portfolio__erc_mrt_example1")
    weights = risk_budget_weights(np.array(inputs[matrix]))
    np.testing.assert_allclose(weights * 100, expected[f"weights_pct_{name}"]["value"], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_assets=st.integers(2, 30))
def test_risk_contributions_follow_the_budgets_and_sum_to_the_volatility(seed, n_assets):
    covariance = random_covariance(seed, n_assets)
    budgets = np.random.default_rng(seed).uniform(0.1, 1.0, n_assets)
    weights = risk_budget_weights(covariance, budgets)
    contributions = risk_contributions(weights, covariance)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights > 0).all()
    assert contributions.sum() == pytest.approx(portfolio_volatility(weights, covariance))
    np.testing.assert_allclose(
        contributions / contributions.sum(), budgets / budgets.sum(), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 0.0]], "square"),
        ([[1.0, np.nan], [np.nan, 1.0]], "finite"),
        ([[1.0, 0.5], [0.2, 1.0]], "symmetric"),
        ([[0.0, 0.0], [0.0, 1.0]], "variance"),
        ([[1.0, 2.0], [2.0, 1.0]], "positive semi-definite"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        check_covariance(np.array(matrix))


@pytest.mark.parametrize("budgets", [[1.0], [1.0, 0.0], [1.0, np.nan]])
def test_a_missing_budget_is_refused(budgets):
    with pytest.raises(ValueError, match="risk budget"):
        risk_budget_weights(np.eye(2), np.array(budgets))


def test_correlations_equal_numpy_s_where_every_bar_is_known():
    returns = np.random.default_rng(3).normal(0, 0.01, (200, 6))
    np.testing.assert_allclose(
        correlation_matrix(returns), np.corrcoef(returns, rowvar=False), atol=1e-12
    )


def test_a_pair_is_measured_over_its_common_bars_only():
    rng = np.random.default_rng(4)
    returns = rng.normal(0, 0.01, (300, 2))
    returns[:100, 0] = np.nan
    returns[250:, 1] = np.nan
    common = returns[100:250]
    expected = np.corrcoef(common, rowvar=False)[0, 1]
    assert correlation_matrix(returns)[0, 1] == pytest.approx(expected)


def test_too_few_common_bars_and_a_strategy_that_never_trades_are_undefined():
    returns = np.random.default_rng(5).normal(0, 0.01, (100, 3))
    returns[:80, 1] = np.nan
    returns[:, 2] = 0.0
    found = correlation_matrix(returns)
    assert np.isnan(found[0, 1])
    assert np.isnan(found[0, 2])
    assert (np.diag(found) == 1.0).all()


@pytest.mark.parametrize(("correlation", "bets"), [(0.0, 4.0), (1.0, 1.0), (0.5, 1.6)])
def test_effective_bets_of_four_equal_assets(correlation, bets):
    # DR^2 = n / (1 + (n - 1) rho) for n equal volatilities and weights.
    covariance = 0.04 * (np.full((4, 4), correlation) + (1 - correlation) * np.eye(4))
    weights = np.full(4, 0.25)
    assert effective_bets(weights, covariance) == pytest.approx(bets)
    assert diversification_ratio(weights, covariance) == pytest.approx(np.sqrt(bets))
