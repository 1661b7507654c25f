"""Returns, compounding and annualisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alphastrat.quant import returns as r

PRICES = hnp.arrays(np.float64, st.integers(2, 50), elements=st.floats(1.0, 1000.0))


def test_simple_and_log_returns_of_a_worked_example():
    prices = np.array([100.0, 110.0, 99.0])
    np.testing.assert_allclose(r.simple_returns(prices), [0.1, -0.1])
    np.testing.assert_allclose(r.log_returns(prices), np.log([1.1, 0.9]))


@given(PRICES)
def test_returns_compound_back_to_the_prices(prices):
    returns = r.simple_returns(prices)
    np.testing.assert_allclose(r.equity_curve(returns, initial=prices[0]), prices, rtol=1e-9)
    np.testing.assert_allclose(np.expm1(r.log_returns(prices)), returns, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        r.compound(returns), prices[-1] / prices[0] - 1, rtol=1e-6, atol=1e-9
    )


def test_a_series_that_starts_later_keeps_its_gap():
    prices = np.array([[1.0, np.nan], [2.0, 4.0], [4.0, 5.0]])
    returns = r.simple_returns(prices)
    np.testing.assert_allclose(returns[:, 0], [1, 1])
    assert np.isnan(returns[0, 1])
    assert returns[1, 1] == 0.25


@pytest.mark.parametrize("bad", [[0.0, 1.0], [-1.0], [np.inf], []])
def test_impossible_prices_are_refused(bad):
    with pytest.raises(ValueError):
        r.simple_returns(np.array(bad))


def test_compounding_by_month_multiplies_within_the_month():
    labels = np.array([1, 1, 2, 4])
    months, returns = r.compound_by(np.array([0.1, 0.1, -0.5, 0.02]), labels)
    np.testing.assert_array_equal(months, [1, 2, 4])
    np.testing.assert_allclose(returns, [0.21, -0.5, 0.02])
    assert r.compound(returns) == pytest.approx(1.21 * 0.5 * 1.02 - 1)


@pytest.mark.parametrize("labels", [[2, 1], [1]])
def test_compounding_refuses_labels_that_do_not_fit(labels):
    with pytest.raises(ValueError):
        r.compound_by(np.zeros(2), np.array(labels))


@pytest.mark.parametrize(
    ("total", "n_periods", "expected"),
    [(0.21, 504, 0.1), (-1.0, 100, -1.0), (-1.5, 100, np.nan), (0.1, 0, np.nan)],
)
def test_annual_return_is_the_rate_that_compounds(total, n_periods, expected):
    value = r.annualise_return(np.array(total), n_periods, periods_per_year=252)
    assert value == pytest.approx(expected, nan_ok=True)


def test_volatility_grows_with_the_square_root_of_time():
    assert r.annualise_volatility(np.array(0.01), periods_per_year=256) == pytest.approx(0.16)


def test_an_account_starts_with_something():
    with pytest.raises(ValueError, match="initial"):
        r.equity_curve(np.zeros(2), initial=0.0)
