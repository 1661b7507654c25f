"""Statistics of round trips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphastrat.quant.trade_statistics import exposure, trade_statistics, turnover

PNL = np.array([100.0, -50.0, 200.0, 0.0, -50.0, -100.0])


def test_round_trip_statistics_of_a_worked_example():
    result = trade_statistics(PNL, PNL / 1000, np.array([1.0, 2, 3, 4, 5, 6]))
    assert (result.n_round_trips, result.n_winners, result.n_losers) == (6, 2, 3)
    assert result.win_rate == pytest.approx(2 / 6)
    assert result.profit_factor == pytest.approx(300 / 200)
    assert result.expectancy == pytest.approx(100 / 6)
    assert result.expectancy_return == pytest.approx(0.1 / 6)
    assert (result.average_win, result.average_loss) == (150.0, pytest.approx(-200 / 3))
    assert result.payoff_ratio == pytest.approx(150 / (200 / 3))
    assert result.sqn == pytest.approx(math.sqrt(6) * PNL.mean() / PNL.std(ddof=1))
    assert (result.best_return, result.worst_return) == (0.2, -0.1)
    assert result.average_bars_held == 3.5
    assert (result.longest_winning_run, result.longest_losing_run) == (1, 2)
    assert result.largest_share_of_gains == pytest.approx(200 / 300)


def test_no_round_trip_has_counts_and_no_numbers():
    result = trade_statistics(np.array([]), np.array([]))
    assert (result.n_round_trips, result.longest_losing_run) == (0, 0)
    for name in ("win_rate", "profit_factor", "expectancy", "sqn", "best_return"):
        assert math.isnan(getattr(result, name)), name


def test_a_run_without_losers_has_no_profit_factor():
    result = trade_statistics(np.array([10.0, 20.0]), np.array([0.1, 0.2]))
    assert result.win_rate == 1.0
    assert math.isnan(result.profit_factor)
    assert math.isnan(result.payoff_ratio)
    assert math.isnan(result.average_bars_held)


def test_expectancy_is_the_weighted_sum_of_wins_and_losses():
    rng = np.random.default_rng(0)
    pnl = rng.normal(1, 10, 200)
    result = trade_statistics(pnl, pnl / 100)
    weighted = result.win_rate * result.average_win + (1 - result.win_rate) * result.average_loss
    assert result.expectancy == pytest.approx(weighted)


@pytest.mark.parametrize("returns", [np.zeros(2), np.array([0.0, np.nan, 0.0])])
def test_round_trips_that_do_not_fit_are_refused(returns):
    with pytest.raises(ValueError):
        trade_statistics(np.zeros(3), returns)


def test_exposure_counts_bars_and_gross_value():
    value = np.array([[0.0, 0.0], [50.0, -50.0], [100.0, 0.0], [0.0, 0.0]])
    assert exposure(value, np.full(4, 100.0)) == (0.5, 0.5)
    assert exposure(value[:, 0], np.full(4, 100.0)) == (0.5, 0.375)


def test_turnover_of_one_full_replacement_a_year_is_one():
    traded = np.zeros(252)
    traded[[10, 100]] = 100.0  # sold everything, bought something else
    value = turnover(traded, np.full(252, 100.0), periods_per_year=252)
    assert value == pytest.approx(1.0)


def test_exposure_needs_an_account():
    with pytest.raises(ValueError):
        exposure(np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError):
        turnover(np.array([]), np.array([]), periods_per_year=252)
