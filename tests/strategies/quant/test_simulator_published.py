"""The simulator reproduces published results of other engines on their own data."""

from __future__ import annotations

import numpy as np
import pytest

from alphastrat.quant.drawdown import drawdown
from alphastrat.quant.execution import CostModel
from strategies.quant.indicators import sma
from strategies.quant.plugins.moving_average_cross import MovingAverageCross
from strategies.quant.signals import LONG_EXIT, SHORT_EXIT, Signals, crosses_above, crosses_below
from strategies.quant.simulator import SimulationConfig, SimulationResult, simulate
from strategies.quant.sizing import FixedQuantity
from tests.strategies.quant.builders import load_csv_bars, load_fixture


@pytest.fixture(scope="module")
def goog() -> SimulationResult:
    bars = load_csv_bars("backtesting_py_GOOG.csv")
    config = SimulationConfig(
        periods_per_year=252,
        initial_cash=10_000.0,
        costs=CostModel(commission_bps=20.0),
        granularity=1.0,
    )
    return simulate(bars, MovingAverageCross(10, 20).signals(bars), config=config)


def test_backtesting_py_goog_cross_is_reproduced(goog: SimulationResult) -> None:
    expected = load_fixture("backtest__goog_smacross_10_20")["values"]
    trips = goog.round_trips
    returns = trips.returns

    assert goog.equity[-1] == pytest.approx(expected["equity_final_unfinalised"], abs=1e-4)
    assert len(trips) == expected["trades_closed"]
    assert 100 * (trips.pnl > 0).mean() == pytest.approx(expected["win_rate_pct"], abs=1e-5)
    assert trips.pnl[trips.pnl > 0].sum() / -trips.pnl[trips.pnl < 0].sum() == pytest.approx(
        expected["profit_factor_on_pnl"], abs=1e-9
    )
    assert returns[returns > 0].sum() / -returns[returns < 0].sum() == pytest.approx(
        expected["profit_factor_on_return_pct"], abs=1e-5
    )
    assert 100 * drawdown(goog.equity).min() == pytest.approx(
        expected["max_drawdown_pct"], abs=1e-5
    )
    assert 100 * returns.max() == pytest.approx(expected["best_trade_pct"], abs=1e-5)
    assert 100 * returns.min() == pytest.approx(expected["worst_trade_pct"], abs=1e-5)
    assert 100 * returns.mean() == pytest.approx(expected["expectancy_arithmetic_pct"], abs=1e-5)
    geometric = np.exp(np.log1p(returns).mean()) - 1
    assert 100 * geometric == pytest.approx(expected["avg_trade_geometric_pct"], abs=1e-5)


def test_backtesting_py_goog_first_trades_are_reproduced(goog: SimulationResult) -> None:
    expected = load_fixture("backtest__goog_smacross_10_20")["values"]["first_trades"]
    trips = goog.round_trips
    for k, trade in enumerate(expected):
        assert trips.entry_bar[k] == trade["bar"]
        assert trips.side[k] == (1 if trade["side"] == "long" else -1)
        assert trips.quantity[k] == trade["size"]
        assert trips.entry_price[k] == pytest.approx(trade["price"])


def test_backtesting_py_goog_closed_at_the_last_open_is_reproduced() -> None:
    expected = load_fixture("backtest__goog_smacross_10_20")["values"]
    bars = load_csv_bars("backtesting_py_GOOG.csv")
    signals = MovingAverageCross(10, 20).signals(bars)
    signals.wishes[-2] = LONG_EXIT | SHORT_EXIT  # leave whatever is held at the last open
    config = SimulationConfig(
        periods_per_year=252,
        initial_cash=10_000.0,
        costs=CostModel(commission_bps=20.0),
        granularity=1.0,
    )
    result = simulate(bars, signals, config=config)
    final = expected["equity_final_finalised_at_last_open"]
    assert result.equity[-1] == pytest.approx(final, abs=1e-4)
    assert len(result.round_trips) == expected["trades_finalised"]


def test_backtrader_sma_cross_is_reproduced() -> None:
    expected = load_fixture("backtest__backtrader_sma15_long_only")["values"]
    bars = load_csv_bars("backtrader_2006_day_001.csv")
    close = bars["close"].to_numpy()
    average = sma(close, 15)
    signals = Signals.of(
        bars,
        long_entry=crosses_above(close, average),
        long_exit=crosses_below(close, average),
    )
    config = SimulationConfig(
        periods_per_year=252, initial_cash=10_000.0, sizing=FixedQuantity(1.0)
    )
    result = simulate(bars, signals, config=config)

    fills = result.fills
    np.testing.assert_allclose(fills.price[fills.quantity > 0], expected["buy_prices"], atol=0.005)
    np.testing.assert_allclose(fills.price[fills.quantity < 0], expected["sell_prices"], atol=0.005)
    assert result.equity[-1] == pytest.approx(expected["final_value"], abs=0.005)
    assert result.cash[-1] == pytest.approx(expected["final_cash"], abs=0.005)
    assert len(result.open_trips) == 1
