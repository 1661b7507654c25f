"""A sweep gives what single runs give."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alphastrat.quant.drawdown import drawdown
from alphastrat.quant.execution import CostModel
from alphastrat.quant.types import FloatArray
from strategies.quant import registry, wanted_sets, wish_rows
from strategies.quant.chunks import accepts
from strategies.quant.exits import ExitRules
from strategies.quant.indicator_specs import synthetic_bars
from strategies.quant.panel import as_panel
from strategies.quant.parameters import ParameterKind, ParameterSpec, parameter_specs
from strategies.quant.registry import is_panel_plugin
from strategies.quant.signals import PanelSignals, Signals, panel_signals
from strategies.quant.simulator import SimulationConfig, simulate
from strategies.quant.sizing import FixedFraction
from strategies.quant.sweep import estimate_sweep, sweep, sweep_wishes
from strategies.quant.wish_rows import consistent_sets, parameter_columns
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
    monkeypatch.setattr("strategies.quant.wanted_sets.ROW_CHUNK", 3)
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


SINGLE = [key for key in registry.plugin_keys() if not is_panel_plugin(registry.plugin(key))]


def random_sets(key: str, rng: np.random.Generator, n_sets: int) -> list[dict[str, Any]]:
    """Values of every parameter, small enough for 400 bars; some contradict each other."""
    specs = parameter_specs(registry.plugin(key))

    def draw(spec: ParameterSpec) -> Any:
        if spec.kind is ParameterKind.CHOICE:
            return str(rng.choice(spec.choices))
        low, high = float(spec.low or 0.0), float(spec.high or 100.0)
        if spec.kind is ParameterKind.INTEGER:
            return int(rng.integers(low, min(high, low + 90)))
        near = float(spec.default) or 0.05
        return round(float(rng.uniform(max(low, 0.4 * near), min(high, 1.6 * near))), 2)

    return [{spec.name: draw(spec) for spec in specs} for _ in range(n_sets)]


@pytest.mark.parametrize("key", SINGLE)
def test_rows_of_many_sets_equal_the_signals_of_each(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = registry.plugin(key)
    bars = synthetic_bars(400)
    sets = random_sets(key, np.random.default_rng(5), 300)
    columns = parameter_columns(cls, sets)
    assert columns is not None
    consistent = consistent_sets(cls, columns)
    assert consistent is not None
    assert consistent.tolist() == [accepts(key, own) for own in sets]
    kept = [own for own, ok in zip(sets, consistent, strict=True) if ok]
    assert len(kept) > 20
    for held in (wish_rows.MAX_HELD, 0):
        monkeypatch.setattr(wish_rows, "MAX_HELD", held)
        monkeypatch.setattr(wanted_sets, "_one_by_one", pytest.fail)
        wanted = wanted_sets.wanted_sets(key, kept, as_panel(bars), exits=ExitRules())
        wishes = wanted.wishes(slice(3, len(kept)))
        assert wishes.any(axis=(1, 2)).mean() > 0.2
        for own, row in zip(kept[3:], wishes, strict=True):
            np.testing.assert_array_equal(
                row[:, 0], registry.build(key, own).signals(bars).wishes, err_msg=str(own)
            )


@pytest.mark.parametrize("key", registry.plugin_keys())
def test_a_sweep_of_any_plugin_equals_the_runs_of_its_sets(key: str) -> None:
    n_assets = 2 if is_panel_plugin(registry.plugin(key)) else 1
    panel = random_panel(np.random.default_rng(8), 300, n_assets)
    exits = ({}, {"max_bars": 6}, {"stop_loss": 0.04, "cooldown_bars": 3})
    drawn = [own for own in random_sets(key, np.random.default_rng(9), 60) if accepts(key, own)]
    sets = [{**own, **exits[k % 3]} for k, own in enumerate(drawn)]
    first = 120
    swept = sweep(key, sets, panel, config=CONFIG, first=first, keep_returns=True)
    inside = panel.window(first, panel.n_bars)
    assert swept.returns is not None
    assert swept.n_trips.max() > 0
    for k, own in enumerate(drawn):
        whole = panel_signals(registry.build(key, own), panel)
        signals = PanelSignals(
            inside.index, whole.symbols, whole.wishes[first:], whole.strength[first:]
        )
        config = replace(CONFIG, exits=ExitRules(**exits[k % 3]))
        single = simulate(inside, signals, config=config)
        assert swept.total_return[k] == pytest.approx(single.equity[-1] / 100_000 - 1, abs=1e-14)
        assert swept.n_trips[k] == len(single.round_trips)
        assert swept.exposure[k] == (single.positions != 0).any(axis=1).mean()
        np.testing.assert_allclose(swept.returns[k], single.returns, atol=1e-7)


def test_every_plugin_for_one_instrument_is_swept_in_rows() -> None:
    assert len(SINGLE) == 7
    assert all(hasattr(registry.plugin(key), "wish_rows") for key in SINGLE)


def test_sets_of_another_form_are_computed_one_by_one() -> None:
    bars = synthetic_bars(300)
    sets = [{"fast": 3, "slow": 20}, {"fast": 4}]
    swept = sweep("moving_average_cross", sets, bars, config=CONFIG)
    for k, own in enumerate(sets):
        alone = sweep("moving_average_cross", [own], bars, config=CONFIG)
        assert swept.frame().iloc[k].equals(alone.frame().iloc[0])


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
