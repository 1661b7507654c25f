"""Resampling keeps what it says it keeps; cost and crisis numbers are exact."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from alphastrat.quant.execution import CostModel
from alphastrat.quant.types import FloatArray
from strategies.quant import monte_carlo
from strategies.quant.monte_carlo import (
    CrisisWindow,
    MonteCarloResult,
    Resampling,
    cost_stress,
    crisis_results,
    resample_returns,
    resample_trips,
    trip_returns_on_equity,
)
from strategies.quant.signals import LONG_ENTRY, LONG_EXIT
from strategies.quant.simulator import SimulationConfig, simulate
from tests.strategies.quant.builders import make_bars, make_wishes

TRIPS = np.array([0.05, -0.02, 0.03, -0.04, 0.06, 0.01, -0.01, 0.02])


@pytest.mark.parametrize("scheme", list(Resampling))
def test_runs_are_reproducible_and_ordered(scheme: Resampling) -> None:
    first, second = (
        resample_trips(
            TRIPS, initial_cash=1e5, rng=np.random.default_rng(1), scheme=scheme, n_runs=500
        )
        for _ in range(2)
    )
    assert first.final_equity == second.final_equity
    assert first.final_equity[5] <= first.final_equity[50] <= first.final_equity[95]
    assert -1 <= first.drawdown_95 <= first.drawdown_median <= 0
    assert first.bands.shape == (9, 5)
    assert first.keeps


def test_a_permutation_keeps_the_end_and_varies_the_path() -> None:
    result = resample_trips(
        TRIPS, initial_cash=1e5, rng=np.random.default_rng(2), scheme=Resampling.PERMUTE, n_runs=300
    )
    end = 1e5 * np.prod(1 + TRIPS)
    assert result.final_equity[5] == pytest.approx(end)
    assert result.final_equity[95] == pytest.approx(end)
    assert result.drawdown_95 < result.drawdown_median


def test_only_losses_lose_and_only_gains_gain() -> None:
    rng = np.random.default_rng(3)
    losing = resample_trips(np.full(5, -0.1), initial_cash=1.0, rng=rng, drawdown_limit=-0.3)
    assert (losing.loss_probability, losing.limit_probability) == (1.0, 1.0)
    assert losing.drawdown_95 == pytest.approx(0.9**5 - 1)
    gaining = resample_trips(np.full(5, 0.1), initial_cash=1.0, rng=rng)
    assert (gaining.loss_probability, gaining.drawdown_95) == (0.0, 0.0)


def test_bands_of_returns_cover_their_mean() -> None:
    returns = np.random.default_rng(4).normal(0.001, 0.01, 250)
    result = resample_returns(
        returns, initial_cash=1e5, rng=np.random.default_rng(5), n_runs=400, block=10
    )
    assert result.bands.shape == (251, 5)
    assert result.final_equity[5] < 1e5 * np.prod(1 + returns) < result.final_equity[95]


def test_spans_of_steps_give_what_all_steps_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = np.random.default_rng(6).normal(0.001, 0.02, 50)
    whole, cut = (
        _resampled_in_parts(monkeypatch, returns, together=together) for together in (10_000, 700)
    )
    assert np.array_equal(whole.bands, cut.bands)
    assert (whole.final_equity, whole.drawdown_95) == (cut.final_equity, cut.drawdown_95)


def _resampled_in_parts(
    monkeypatch: pytest.MonkeyPatch, returns: FloatArray, *, together: int
) -> MonteCarloResult:
    monkeypatch.setattr(monte_carlo, "MAX_TOGETHER", together)
    return resample_trips(returns, initial_cash=1e5, rng=np.random.default_rng(7), n_runs=100)


def test_a_long_list_of_trips_is_drawn_in_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monte_carlo, "MAX_DRAWN", 1_000)
    result = resample_trips(TRIPS, initial_cash=1e5, rng=np.random.default_rng(8), n_runs=400)
    assert result.bands.shape == (len(TRIPS) + 1, 5)
    assert result.loss_probability == pytest.approx(
        _resampled_in_parts(monkeypatch, TRIPS, together=10_000).loss_probability, abs=0.15
    )


@pytest.mark.parametrize(
    ("n_steps", "expected"), [(1, 5_000), (4_000, 5_000), (20_000, 1_000), (10_000_000, 500)]
)
def test_more_steps_leave_time_for_fewer_runs(n_steps: int, expected: int) -> None:
    assert monte_carlo.affordable_runs(n_steps) == expected


def test_nothing_to_resample_is_refused() -> None:
    with pytest.raises(ValueError, match="no round trips"):
        resample_trips(np.array([]), initial_cash=1.0, rng=np.random.default_rng(0))


BARS = make_bars(
    [(100, 101, 99, 100), (100, 101, 99, 100), (102, 103, 101, 102), (102, 103, 101, 102)]
)


def test_break_even_cost_is_half_the_margin_per_fill() -> None:
    config = SimulationConfig(periods_per_year=252)
    stress = cost_stress(BARS, make_wishes(BARS, {0: LONG_ENTRY, 1: LONG_EXIT}), config=config)
    # Bought at 100 (1 + c) and sold at 102 (1 - c): c = 2 / 202.
    assert stress.break_even_bps == pytest.approx(1e4 * 2 / 202, abs=0.01)
    assert stress.total_returns[0] == pytest.approx(0.02)
    assert list(stress.total_returns) == sorted(stress.total_returns, reverse=True)


def test_break_even_cost_of_a_loss_is_zero_and_of_nothing_undefined() -> None:
    costs = CostModel(commission_bps=500)
    config = SimulationConfig(periods_per_year=252, costs=costs)
    losing = cost_stress(BARS, make_wishes(BARS, {0: LONG_ENTRY, 1: LONG_EXIT}), config=config)
    assert losing.break_even_bps == 0.0
    idle = cost_stress(BARS, make_wishes(BARS, {}), config=config)
    assert np.isnan(idle.break_even_bps)


def test_trip_returns_compound_to_the_final_equity() -> None:
    bars = make_bars([(100 + i, 102 + i, 98 + i, 101 + i) for i in range(10)])
    wishes = make_wishes(bars, {0: LONG_ENTRY, 2: LONG_EXIT, 4: LONG_ENTRY, 7: LONG_EXIT})
    result = simulate(bars, wishes, config=SimulationConfig(periods_per_year=252))
    growth = np.prod(1 + trip_returns_on_equity(result))
    assert 1e5 * growth == pytest.approx(result.equity[-1])


def test_a_crisis_counts_only_if_the_record_spans_it() -> None:
    index = pd.date_range("2020-01-01", periods=100, tz="UTC")
    returns = np.zeros(100)
    returns[20:22] = (-0.1, 0.05)
    inside = CrisisWindow("inside", date(2020, 1, 15), date(2020, 2, 15))
    beyond = CrisisWindow("beyond", date(2020, 3, 15), date(2020, 12, 31))
    results = crisis_results(index, returns, windows=(inside, beyond))
    assert [r.window.name for r in results] == ["inside"]
    assert results[0].total_return == pytest.approx(0.9 * 1.05 - 1)
    assert results[0].max_drawdown == pytest.approx(-0.1)
    assert results[0].n_bars == 32
