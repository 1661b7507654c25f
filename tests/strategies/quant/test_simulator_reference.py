"""The kernel equals a slow and plain second writing of itself on random markets."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alphastrat.quant.execution import CostModel
from strategies.quant.exits import ExitRules
from strategies.quant.simulator import SimulationConfig, simulate
from strategies.quant.sizing import (
    FixedCash,
    FixedFraction,
    FixedQuantity,
    FixedRisk,
    KellyFraction,
    VolatilityTarget,
)
from tests.strategies.quant.builders import random_panel, random_signals
from tests.strategies.quant.reference import simulate_slowly, trips_array


def _maybe(values: st.SearchStrategy[float]) -> st.SearchStrategy[float | None]:
    return st.one_of(st.none(), values)


COSTS = st.builds(
    CostModel,
    commission_per_share=st.sampled_from([0.0, 0.01]),
    commission_bps=st.sampled_from([0.0, 20.0]),
    commission_minimum=st.sampled_from([0.0, 1.0, 25.0]),
    slippage_bps=st.sampled_from([0.0, 5.0, 50.0]),
    slippage_volatility=st.sampled_from([0.0, 0.1]),
    borrow_bps_per_year=st.sampled_from([0.0, 300.0]),
)
EXITS = st.builds(
    ExitRules,
    stop_loss=st.sampled_from([0.02, 0.1]),
    take_profit=_maybe(st.sampled_from([0.03, 0.2])),
    trailing_stop=_maybe(st.sampled_from([0.03, 0.1])),
    max_bars=_maybe(st.sampled_from([1, 4])),
    cooldown_bars=st.sampled_from([0, 1, 3]),
)
SIZINGS = st.sampled_from(
    [
        FixedFraction(1.0),
        FixedFraction(0.3),
        FixedCash(4_000.0),
        FixedQuantity(70.0),
        FixedRisk(0.02),
        VolatilityTarget(0.15),
        KellyFraction(0.1, 0.5),
    ]
)
CONFIGS = st.builds(
    SimulationConfig,
    periods_per_year=st.just(252.0),
    initial_cash=st.sampled_from([1_000.0, 10_000.0]),
    costs=COSTS,
    exits=st.one_of(EXITS, st.just(ExitRules(stop_loss=0.99))),
    sizing=SIZINGS,
    granularity=st.sampled_from([0.0, 1.0, 0.1]),
    max_leverage=st.sampled_from([1.0, 3.0]),
)


@settings(max_examples=150, deadline=None)
@given(config=CONFIGS, seed=st.integers(0, 10_000), n_assets=st.integers(1, 4))
def test_the_kernel_equals_the_reference(
    config: SimulationConfig, seed: int, n_assets: int
) -> None:
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, 60, n_assets)
    signals = random_signals(rng, panel)

    result = simulate(panel, signals, config=config)
    reference = simulate_slowly(panel, signals, config)

    np.testing.assert_allclose(result.equity, reference.equity, rtol=1e-9, atol=1e-7)
    trips = result.round_trips
    expected = trips_array(reference)
    names = ["asset", "side", "entry_bar", "exit_bar", "quantity", "entry_price", "exit_price"]
    names += ["pnl", "mae", "mfe", "exit_reason"]
    assert len(trips) == len(expected)
    for k, name in enumerate(names):
        np.testing.assert_allclose(
            getattr(trips, name), expected[:, k], rtol=1e-9, atol=1e-7, err_msg=name
        )


@settings(max_examples=40, deadline=None)
@given(config=CONFIGS, seed=st.integers(0, 10_000))
def test_cash_and_fills_account_for_every_penny(config: SimulationConfig, seed: int) -> None:
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, 50, 3)
    result = simulate(panel, random_signals(rng, panel), config=config)

    fills = result.fills
    paid = (fills.quantity * fills.price + fills.commission).sum()
    borrowed = result.round_trips.borrow.sum() + result.open_trips.borrow.sum()
    assert np.isclose(result.cash[-1], config.initial_cash - paid - borrowed)
    pnl = result.round_trips.pnl.sum() + result.open_trips.pnl.sum()
    assert np.isclose(result.equity[-1], config.initial_cash + pnl)
    assert (result.round_trips.mae <= 0).all()
    assert (result.round_trips.mfe >= 0).all()
