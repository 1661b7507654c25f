"""A sweep gives what single runs give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from alphastrat.quant.drawdown import drawdown
from alphastrat.quant.execution import CostModel
from alphastrat.quant.types import FloatArray
from strategies.quant import registry
from strategies.quant.chunks import accepts
from strategies.quant.exits import ExitRules
from strategies.quant.indicator_specs import synthetic_bars
from strategies.quant.panel import as_panel
from strategies.quant.signals import Signals, panel_signals
from strategies.quant.simulator import SimulationConfig, simulate
from strategies.quant.sizing import FixedFraction
from strategies.quant.sweep import estimate_sweep, sweep, sweep_wishes, wish_cube
from strategies.quant.wish_rows import parameter_columns
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
    monkeypatch.setattr("strategies.quant.sweep.ROW_CHUNK", 3)
    seen: list[int] = []
    parts = sweep("rsi_mean_reversion", iter(sets), bars, config=CONFIG, progress=seen.append)
    np.testing.assert_array_equal(whole.total_return, parts.total_return)
    assert seen == [3, 6, 9, 10]


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        SimulationConfig(
            252, costs=CostModel(borrow_bps_per_year=300, commission_minimum=1), granularity=1
        ),
        SimulationConfig(252, max_leverage=8.0, sizing=FixedFraction(8.0)),
        SimulationConfig(252, exits=ExitRules(max_bars=5, cooldown_bars=2)),
        SimulationConfig(252, exits=ExitRules(trailing_stop=0.03, cooldown_bars=3)),
    ],
    ids=["costs", "borrowing", "ruin", "time", "stops"],
)
def test_wishes_swept_equal_wishes_simulated(config: SimulationConfig) -> None:
    rng = np.random.default_rng(11)
    bars = synthetic_bars(600)
    wishes = np.where(rng.random((40, 600)) < 0.1, rng.integers(0, 16, (40, 600)), 0)
    wishes = wishes.astype(np.uint8)
    wishes[:4] = rng.integers(0, 16, (4, 600))
    swept = sweep_wishes(bars, wishes, config=config, keep_returns=True)
    assert swept.returns is not None
    n_ruined = 0
    for k, row in enumerate(wishes):
        single = simulate(bars, Signals(bars.index, row, np.ones(600)), config=config)
        n_ruined += single.is_ruined
        fall = drawdown_of(single.equity)
        assert swept.n_trips[k] == len(single.round_trips)
        assert swept.exposure[k] == (single.positions != 0).mean()
        assert swept.total_return[k] == single.equity[-1] / 100_000 - 1
        assert swept.max_drawdown[k] == pytest.approx(fall, rel=1e-12)
        assert swept.mean_return[k] == pytest.approx(_returns(single.equity).mean(), rel=1e-9)
        assert swept.turnover[k] == pytest.approx(
            np.abs(single.fills.quantity * single.fills.price).sum() / 100_000, rel=1e-12
        )
    assert (n_ruined > 0) == (config.max_leverage > 1)


def _returns(equity: FloatArray) -> FloatArray:
    before = np.concatenate([[100_000.0], equity[:-1]])
    return np.where(equity == before, 0.0, equity / before - 1.0)


def drawdown_of(equity: FloatArray) -> float:
    curve = np.concatenate([[100_000.0], equity])
    return float((curve / np.maximum.accumulate(curve) - 1.0).min())


SPACES: dict[str, dict[str, Any]] = {
    "moving_average_cross": {"fast": (2, 40), "slow": (3, 90)},
    "rsi_mean_reversion": {"period": (2, 40), "oversold": (5, 60), "overbought": (40, 95)},
}


@pytest.mark.parametrize(
    "key", [key for key in registry.plugin_keys() if hasattr(registry.plugin(key), "wish_rows")]
)
def test_rows_of_many_sets_equal_the_signals_of_each(key: str) -> None:
    cls = registry.plugin(key)
    rng = np.random.default_rng(5)
    bars = synthetic_bars(400)
    space = SPACES[key]
    sets = [
        {name: int(rng.integers(*span)) for name, span in space.items()}
        | {"direction": str(rng.choice(["long", "short", "both"]))}
        for _ in range(200)
    ]
    columns = parameter_columns(cls, sets)
    assert columns is not None
    consistent = cls.are_consistent(columns)
    assert consistent.tolist() == [accepts(key, own) for own in sets]
    assert 20 < consistent.sum() < 200
    kept = [own for own, ok in zip(sets, consistent, strict=True) if ok]
    cube = wish_cube(key, kept, as_panel(bars), exits=ExitRules())
    for own, wishes in zip(kept, cube.wishes, strict=True):
        np.testing.assert_array_equal(
            wishes[:, 0], registry.build(key, own).signals(bars).wishes, err_msg=str(own)
        )


def test_one_set_that_is_out_of_range_is_named() -> None:
    sets = [{"fast": 3, "slow": 10}, {"fast": 3, "slow": 10_000}]
    with pytest.raises(ValueError, match="slow: must lie in"):
        sweep("moving_average_cross", sets, synthetic_bars(100), config=CONFIG)


@pytest.mark.parametrize("bad", [True, "5", 2.5, float("nan"), 10_000, None])
def test_a_column_with_an_odd_value_is_left_to_the_single_check(bad: Any) -> None:
    cls = registry.plugin("moving_average_cross")
    assert parameter_columns(cls, [{"fast": 3}, {"fast": bad}]) is None
    assert parameter_columns(cls, [{"fast": 3}, {"slow": 5}]) is None


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
