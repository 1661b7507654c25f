"""A sweep gives what single runs give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from alphastrat.quant.drawdown import drawdown
from alphastrat.quant.execution import CostModel
from strategies.quant import registry
from strategies.quant.exits import ExitRules
from strategies.quant.indicator_specs import synthetic_bars
from strategies.quant.signals import panel_signals
from strategies.quant.simulator import SimulationConfig, simulate
from strategies.quant.sizing import FixedFraction
from strategies.quant.sweep import estimate_sweep, sweep, sweep_wishes
from tests.strategies.quant.builders import random_panel

registry.load_builtin_plugins()
CONFIG = SimulationConfig(periods_per_year=252, costs=CostModel(commission_bps=5, slippage_bps=2))


def test_a_sweep_equals_single_runs() -> None:
    bars = synthetic_bars(500)
    sets: list[dict[str, Any]] = [{"fast": f, "slow": s} for f in (3, 8) for s in (15, 40)]
    sets += [{"fast": 5, "slow": 20, "stop_loss": 0.02, "max_bars": 7}]
    result = sweep("moving_average_cross", sets, bars, config=CONFIG, keep_returns=True)
    for k, params in enumerate(sets):
        own = {name: params[name] for name in ("fast", "slow")}
        exits = ExitRules(params.get("stop_loss"), max_bars=params.get("max_bars"))
        config = SimulationConfig(252, costs=CONFIG.costs, exits=exits)
        plugin = registry.build("moving_average_cross", own)
        single = simulate(bars, plugin.signals(bars), config=config)
        returns, trips = single.returns, single.round_trips
        sharpe = returns.mean() / returns.std(ddof=1) * math.sqrt(252)
        traded = np.abs(single.fills.quantity * single.fills.price).sum()
        expected = {
            "total_return": single.equity[-1] / 100_000 - 1,
            "mean_return": returns.mean(),
            "volatility": returns.std(ddof=1),
            "sharpe": sharpe,
            "max_drawdown": drawdown(np.concatenate([[100_000.0], single.equity])).min(),
            "n_trips": len(trips),
            "win_rate": (trips.pnl > 0).mean(),
            "profit_factor": trips.pnl[trips.pnl > 0].sum() / -trips.pnl[trips.pnl <= 0].sum(),
            "exposure": (single.positions != 0).mean(),
            "turnover": traded / 100_000,
        }
        for name, value in expected.items():
            assert getattr(result, name)[k] == pytest.approx(value, rel=1e-9), name
        assert result.block_sums[k].sum() == pytest.approx(returns.sum())
        assert result.returns is not None
        np.testing.assert_allclose(result.returns[k], returns, atol=1e-7)


def test_a_sweep_over_several_instruments_equals_single_runs() -> None:
    panel = random_panel(np.random.default_rng(3), 400, 2)
    config = SimulationConfig(252, sizing=FixedFraction(0.7))
    sets = [{"period": p, "entry": 1.0} for p in (20, 40)]
    result = sweep("pairs_spread", sets, panel, config=config)
    for k, params in enumerate(sets):
        signals = panel_signals(registry.build("pairs_spread", params), panel)
        single = simulate(panel, signals, config=config)
        assert result.total_return[k] == pytest.approx(single.equity[-1] / 100_000 - 1)
        assert result.n_trips[k] == len(single.round_trips) > 0


def test_chunks_do_not_change_the_answer_and_report_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bars = synthetic_bars(300)
    sets = [{"period": p} for p in range(5, 15)]
    whole = sweep("rsi_mean_reversion", sets, bars, config=CONFIG)
    monkeypatch.setattr("strategies.quant.sweep.CHUNK", 3)
    seen: list[int] = []
    parts = sweep("rsi_mean_reversion", iter(sets), bars, config=CONFIG, progress=seen.append)
    np.testing.assert_array_equal(whole.total_return, parts.total_return)
    assert seen == [3, 6, 9, 10]


def test_a_set_that_never_trades_has_undefined_ratios() -> None:
    bars = synthetic_bars(100)
    result = sweep_wishes(bars, np.zeros((2, 100), np.uint8), config=CONFIG)
    assert result.total_return.tolist() == [0.0, 0.0]
    assert np.isnan(result.sharpe).all()
    assert np.isnan(result.win_rate).all()


def test_no_sets_give_an_empty_answer() -> None:
    result = sweep("rsi_mean_reversion", [], synthetic_bars(100), config=CONFIG)
    assert len(result) == 0
    assert result.frame().empty


def test_an_estimate_grows_with_the_sets_and_the_kept_returns() -> None:
    bars = synthetic_bars(300)
    ticks = iter(range(100))
    sets = [{"period": p} for p in range(5, 25)]
    small = estimate_sweep(
        "rsi_mean_reversion", sets, bars, config=CONFIG, clock=lambda: float(next(ticks))
    )
    kept = estimate_sweep(
        "rsi_mean_reversion",
        sets,
        bars,
        config=CONFIG,
        clock=lambda: float(next(ticks)),
        keep_returns=True,
    )
    assert small.n_sets == 20
    assert small.seconds > 0
    assert kept.peak_bytes - small.peak_bytes == 20 * 300 * 4


def test_wishes_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="do not belong"):
        sweep_wishes(synthetic_bars(100), np.zeros((2, 99), np.uint8), config=CONFIG)
