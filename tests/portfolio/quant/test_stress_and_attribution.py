"""Stress windows and attributions that add up."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.quant.attribution import StrategyResult, attribute, linked_contributions
from portfolio.quant.stress import STRESS_WINDOWS, StressWindow, stress, worst_window

DAYS = [date(2024, 1, 1) + timedelta(days=i) for i in range(10)]
WINDOW = StressWindow("Three days", DAYS[3], DAYS[5])


def test_a_window_is_bought_at_its_start_and_held():
    returns = np.zeros((10, 2))
    returns[3:6, 0] = [-0.10, 0.05, -0.10]
    returns[3:6, 1] = [0.02, 0.00, 0.02]
    found = stress(np.array([0.5, 0.3]), returns, DAYS, windows=[WINDOW])[0]
    first, second = 0.9 * 1.05 * 0.9 - 1, 1.02**2 - 1
    np.testing.assert_allclose(found.by_strategy, [0.5 * first, 0.3 * second])
    assert found.portfolio_return == pytest.approx(0.5 * first + 0.3 * second)
    assert found.by_strategy.sum() == pytest.approx(found.portfolio_return)
    assert found.n_bars == 3
    assert found.covered == 1.0
    assert found.max_drawdown <= found.portfolio_return < 0


def test_a_strategy_without_history_is_left_out_and_said_so():
    returns = np.full((10, 2), -0.01)
    returns[:5, 1] = np.nan
    found = stress(np.array([0.25, 0.75]), returns, DAYS, windows=[WINDOW])[0]
    assert found.covered == pytest.approx(0.25)
    assert np.isnan(found.by_strategy[1])
    assert found.portfolio_return == pytest.approx(0.25 * (0.99**3 - 1))


def test_a_history_that_begins_inside_a_window_does_not_count():
    late = StressWindow("Before", date(2023, 12, 1), DAYS[3])
    found = stress(np.array([1.0]), np.full((10, 1), -0.01), DAYS, windows=[late])[0]
    assert np.isnan(found.portfolio_return)
    assert found.covered == 0.0


def test_the_windows_are_in_order_and_named_once():
    assert len({window.name for window in STRESS_WINDOWS}) == len(STRESS_WINDOWS)
    starts = [window.starts_on for window in STRESS_WINDOWS]
    assert starts == sorted(starts)


def test_the_worst_run_of_bars_is_found():
    returns = np.array([0.01, -0.02, -0.05, 0.01, -0.03, 0.02, 0.0, 0.0, -0.04, 0.01])
    found = worst_window(returns, DAYS, n_bars=3)
    assert (found.starts_on, found.ends_on) == (DAYS[2], DAYS[4])
    assert worst_window(returns, DAYS, n_bars=11) is None


amounts = st.decimals(min_value=-(10**6), max_value=10**6, places=4)


@given(st.lists(st.tuples(*[amounts] * 6), min_size=1, max_size=12))
def test_every_column_sums_to_the_total_exactly(rows):
    results = [StrategyResult(i, *row) for i, row in enumerate(rows)]
    found = attribute(results)
    for name in ("opening", "closing", "net_flow", "realised", "unrealised", "commission"):
        assert sum(getattr(r, name) for r in results) == getattr(found.total, name)
    assert sum(r.pnl for r in results) == found.total.pnl
    assert sum(r.other for r in results) == found.total.other
    profits = [line.result.pnl for line in found.lines]
    assert profits == sorted(profits, reverse=True)


def test_profit_is_what_flows_do_not_explain():
    result = StrategyResult(
        "a", Decimal(100), Decimal(130), Decimal(20), Decimal(12), Decimal(1), Decimal(2)
    )
    assert result.pnl == Decimal(10)
    # 12 + 1 - 2 from fills and marks; one was paid as interest.
    assert result.other == Decimal(-1)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n_bars=st.integers(0, 60), n=st.integers(1, 6))
def test_linked_contributions_sum_to_the_time_weighted_return(seed, n_bars, n):
    rng = np.random.default_rng(seed)
    profits = rng.normal(0, 100, (n_bars, n))
    equity = 10_000 + rng.uniform(0, 5_000, n_bars)
    total = np.prod(1 + profits.sum(axis=1) / equity) - 1
    assert linked_contributions(profits, equity).sum() == pytest.approx(total, abs=1e-12)
