"""Measures over a moving window."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from alphastrat.quant.measures import max_drawdown, sharpe_ratio
from alphastrat.quant.rolling import half_year, rolling_measure, rolling_sharpe

RETURNS = np.random.default_rng(0).normal(0, 0.01, 90)
sharpe = partial(sharpe_ratio, periods_per_year=252)


def test_rolling_sharpe_equals_that_of_pandas_windows():
    windows = pd.Series(RETURNS).rolling(30)
    expected = windows.mean() / windows.std() * np.sqrt(252)
    np.testing.assert_allclose(rolling_measure(RETURNS, sharpe, window=30), expected)
    np.testing.assert_allclose(rolling_sharpe(RETURNS, periods_per_year=252, window=30), expected)


def test_half_a_year_has_at_least_twenty_bars():
    assert (half_year(252), half_year(12)) == (126, 20)


def test_rolling_values_never_change_when_bars_arrive():
    whole = rolling_measure(RETURNS, max_drawdown, window=20)
    np.testing.assert_array_equal(
        rolling_measure(RETURNS[:50], max_drawdown, window=20), whole[:50]
    )


def test_a_window_longer_than_the_series_is_never_full():
    assert np.isnan(rolling_measure(RETURNS[:5], sharpe, window=30)).all()


@pytest.mark.parametrize(("returns", "window"), [(RETURNS, 0), (RETURNS.reshape(9, 10), 3)])
def test_impossible_windows_are_refused(returns, window):
    with pytest.raises(ValueError):
        rolling_measure(returns, sharpe, window=window)
