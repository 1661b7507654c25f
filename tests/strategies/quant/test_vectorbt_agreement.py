"""The kernel equals vectorbt wherever vectorbt can express the run."""

from __future__ import annotations

import numpy as np
import pytest

from alphastrat.quant.execution import CostModel
from strategies.quant import vectorbt_engine
from strategies.quant.exits import ExitRules
from strategies.quant.panel import Panel
from strategies.quant.plugins.moving_average_cross import MovingAverageCross
from strategies.quant.signals import LONG_ENTRY, PanelSignals
from strategies.quant.simulator import SimulationConfig, simulate
from strategies.quant.sizing import FixedFraction, VolatilityTarget
from tests.strategies.quant.builders import (
    load_csv_bars,
    make_bars,
    make_wishes,
    random_panel,
    random_signals,
)

pytest.importorskip("vectorbt")

EXITS = [
    ExitRules(),
    ExitRules(stop_loss=0.05),
    ExitRules(trailing_stop=0.05),
    ExitRules(stop_loss=0.03, take_profit=0.05),
    ExitRules(take_profit=0.04),
]
SHARED = FixedFraction(0.5)
WITH_SLIPPAGE = CostModel(commission_bps=10, slippage_bps=7, slippage_volatility=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_random_runs_agree_bar_for_bar(seed: int) -> None:
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, 80, 1 + seed % 3)
    signals = random_signals(rng, panel)
    exits = EXITS[seed % len(EXITS)]
    config = SimulationConfig(
        periods_per_year=252,
        initial_cash=10_000.0,
        costs=CostModel(commission_bps=10) if exits.take_profit else WITH_SLIPPAGE,
        exits=exits,
        sizing=[FixedFraction(1.0), FixedFraction(0.3), VolatilityTarget(0.2)][seed % 3],
        granularity=float(seed % 2),
    )
    result = simulate(panel, signals, config=config)
    other = vectorbt_engine.run(panel, signals, config=config, result=result)
    agreement = vectorbt_engine.compare(result, other)

    assert not agreement.not_expressible
    assert agreement.agrees, agreement.explanation
    assert agreement.n_matched == agreement.n_fills > 0


@pytest.mark.parametrize("exits", EXITS)
def test_instruments_checked_in_parts_agree_like_all_of_them_together(
    monkeypatch: pytest.MonkeyPatch, exits: ExitRules
) -> None:
    rng = np.random.default_rng(11)
    panel = random_panel(rng, 80, 5)
    signals = random_signals(rng, panel)
    config = SimulationConfig(
        periods_per_year=252, costs=CostModel(commission_bps=10), exits=exits, sizing=SHARED
    )
    result = simulate(panel, signals, config=config)
    assert result.n_partial + result.n_denied > 0  # the instruments do contend for cash
    together = vectorbt_engine.run(panel, signals, config=config, result=result)
    monkeypatch.setattr(vectorbt_engine, "MAX_CELLS", 160)
    apart = vectorbt_engine.run(panel, signals, config=config, result=result)
    agreement = vectorbt_engine.compare(result, apart)

    assert (together.n_blocks, apart.n_blocks) == (1, 3)
    assert agreement.agrees, agreement.explanation
    assert "3 parts" in agreement.explanation
    assert agreement.n_matched == agreement.n_fills > 0
    assert apart.equity == pytest.approx(together.equity)


def test_the_published_goog_run_agrees() -> None:
    bars = load_csv_bars("backtesting_py_GOOG.csv")
    signals = MovingAverageCross(10, 20).signals(bars)
    config = SimulationConfig(
        periods_per_year=252,
        initial_cash=10_000.0,
        costs=CostModel(commission_bps=20),
        granularity=1.0,
    )
    result = simulate(bars, signals, config=config)
    other = vectorbt_engine.run(bars, signals, config=config, result=result)
    assert vectorbt_engine.compare(result, other).agrees
    assert len(other.fill_bar) == 94
    assert other.equity[-1] == pytest.approx(56_263.51934, abs=1e-4)


def test_a_difference_is_named_with_its_reason() -> None:
    bars = make_bars([(100, 101, 99, 100)] * 5)
    config = SimulationConfig(
        periods_per_year=252, costs=CostModel(commission_minimum=50), sizing=FixedFraction(0.1)
    )
    signals = make_wishes(bars, {1: LONG_ENTRY})
    result = simulate(bars, signals, config=config)
    agreement = vectorbt_engine.compare(result, vectorbt_engine.run(bars, signals, config=config))
    assert not agreement.agrees
    assert agreement.first_bar == 2
    assert "2024-01-03" in agreement.explanation
    assert agreement.not_expressible == ("minimum commission",)


def test_a_panel_without_signals_agrees() -> None:
    panel = Panel.from_frames({"A": make_bars([(100, 101, 99, 100)] * 5)})
    signals = PanelSignals.of(panel)
    config = SimulationConfig(periods_per_year=252)
    result = simulate(panel, signals, config=config)
    agreement = vectorbt_engine.compare(
        result, vectorbt_engine.run(panel, signals, config=config, result=result)
    )
    assert agreement.agrees
    assert agreement.n_fills == 0
