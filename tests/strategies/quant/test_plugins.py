"""Properties that every registered plug-in has."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strategies.quant import registry
from strategies.quant.checks import check_determinism, check_lookahead, check_warmup
from strategies.quant.panel import Panel
from strategies.quant.parameters import MAX_FREE_PARAMETERS, free_parameters, parameter_schema
from strategies.quant.plugins.bollinger_breakout import BollingerBreakout
from strategies.quant.plugins.cross_sectional_momentum import CrossSectionalMomentum
from strategies.quant.plugins.donchian_breakout import DonchianBreakout
from strategies.quant.plugins.moving_average_cross import MovingAverageCross
from strategies.quant.plugins.pairs_spread import PairsSpread
from strategies.quant.plugins.rsi_mean_reversion import RsiMeanReversion
from strategies.quant.plugins.time_series_momentum import TimeSeriesMomentum
from strategies.quant.signals import LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, panel_signals
from tests.strategies.quant.builders import make_bars, random_panel

registry.load_builtin_plugins()
BUILTIN = (
    "bollinger_breakout",
    "cross_sectional_momentum",
    "donchian_breakout",
    "keltner_channel",
    "macd_momentum",
    "moving_average_cross",
    "pairs_spread",
    "rsi_mean_reversion",
    "time_series_momentum",
)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return random_panel(np.random.default_rng(7), 900, 2)


def test_all_built_in_plugins_are_registered() -> None:
    assert set(BUILTIN) <= set(registry.plugin_keys())


@pytest.mark.parametrize("key", BUILTIN)
class TestEveryPlugin:
    def test_it_makes_wishes(self, key: str, panel: Panel) -> None:
        signals = panel_signals(registry.build(key, {}), panel)
        assert signals.wishes.any()
        assert (signals.wishes[~panel.has_bar] == 0).all()
        assert ((signals.strength >= 0) & (signals.strength <= 1)).all()
        assert signals.indicators

    def test_it_does_not_look_ahead(self, key: str, panel: Panel) -> None:
        result = check_lookahead(registry.build(key, {}), panel)
        assert result.passed, result.message

    def test_a_live_window_gives_the_backtests_answer(self, key: str, panel: Panel) -> None:
        result = check_warmup(registry.build(key, {}), panel)
        assert result.passed, result.message

    def test_it_answers_the_same_twice(self, key: str, panel: Panel) -> None:
        result = check_determinism(registry.build(key, {}), panel)
        assert result.passed, result.message

    def test_it_has_few_free_parameters_and_words(self, key: str) -> None:
        cls = registry.plugin(key)
        assert len(free_parameters(cls)) <= MAX_FREE_PARAMETERS
        assert cls.label
        assert cls.description
        assert "References" in (inspect.getdoc(cls) or "")
        assert parameter_schema(cls)["properties"]

    def test_it_bears_a_history_shorter_than_its_warmup(self, key: str, panel: Panel) -> None:
        signals = panel_signals(registry.build(key, {}), panel.window(0, 3))
        assert (signals.wishes == 0).all()


SINGLE = [k for k in BUILTIN if not registry.is_panel_plugin(registry.plugin(k))]


@pytest.mark.parametrize("key", SINGLE)
def test_a_gap_is_refused(key: str) -> None:
    bars = make_bars([(10.0, 11.0, 9.0, 10.0)] * 50)
    bars.iloc[20, bars.columns.get_loc("close")] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        registry.build(key, {}).signals(bars)


def _closes(closes: list[float]) -> pd.DataFrame:
    return make_bars([(c, c + 1, c - 1, c) for c in closes])


def test_rsi_mean_reversion_buys_oversold_and_leaves_at_the_midline() -> None:
    bars = _closes([100 - i for i in range(20)] + [81 + 3 * i for i in range(20)])
    signals = RsiMeanReversion().signals(bars)
    rsi = signals.indicators["rsi"]
    assert signals.wishes[19] & LONG_ENTRY
    assert rsi[19] == 0.0
    first_exit = np.flatnonzero(signals.wishes & LONG_EXIT)[0]
    assert rsi[first_exit] > 50 >= rsi[first_exit - 1]


def test_rsi_direction_long_never_enters_short() -> None:
    bars = _closes([100 + i for i in range(40)])
    both = RsiMeanReversion().signals(bars)
    long_only = registry.build("rsi_mean_reversion", {"direction": "long"}).signals(bars)
    assert (both.wishes & SHORT_ENTRY).any()
    assert not (long_only.wishes & SHORT_ENTRY).any()


def test_moving_average_cross_enters_on_the_bar_of_the_cross_only() -> None:
    bars = _closes([50 - i for i in range(25)] + [26 + 4 * i for i in range(15)])
    entries = np.flatnonzero(MovingAverageCross(3, 10).signals(bars).wishes & LONG_ENTRY)
    assert len(entries) == 1


def test_bollinger_breakout_needs_volume() -> None:
    bars = _closes([100 + (i % 2) for i in range(30)] + [110])
    bars.iloc[-1, bars.columns.get_loc("volume")] = 500.0
    assert not BollingerBreakout().signals(bars).wishes[-1] & LONG_ENTRY
    bars.iloc[-1, bars.columns.get_loc("volume")] = 5_000.0
    assert BollingerBreakout().signals(bars).wishes[-1] & LONG_ENTRY


def test_donchian_channel_ends_before_the_bar() -> None:
    bars = _closes([100.0] * 21 + [101.5])
    signals = DonchianBreakout().signals(bars)
    assert signals.indicators["top"][-1] == 101.0
    assert signals.wishes[-1] & LONG_ENTRY


def test_time_series_momentum_skips_the_most_recent_bars() -> None:
    bars = _closes([100.0] * 10 + [110.0] * 3 + [50.0])
    plugin = TimeSeriesMomentum(lookback=5, skip=1)
    assert plugin.signals(bars).indicators["momentum"][-1] == pytest.approx(0.10)


def test_cross_sectional_momentum_holds_the_strongest_and_shorts_the_weakest() -> None:
    growth = {"A": 1.000, "B": 1.002, "C": 0.998, "D": 1.001}
    frames = {s: _closes([1000 * g**i for i in range(300)]) for s, g in growth.items()}
    panel = Panel.from_frames(frames)
    plugin = registry.build("cross_sectional_momentum", {"share": 0.25, "direction": "both"})
    assert isinstance(plugin, CrossSectionalMomentum)
    wishes = plugin.panel_signals(panel).wishes
    entered = np.flatnonzero((wishes & LONG_ENTRY).any(axis=1))
    assert len(entered)
    assert ((wishes[entered] & LONG_ENTRY > 0) == [False, True, False, False]).all()
    assert ((wishes[entered] & SHORT_ENTRY > 0) == [False, False, True, False]).all()


def test_spread_buys_the_cheap_one_and_sells_the_dear_one() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, 100)
    first = _closes([100 + x for x in noise] + [110.0])
    panel = Panel.from_frames({"A": first, "B": _closes([100.0] * 101)})
    wishes = PairsSpread().panel_signals(panel).wishes
    assert wishes[-1].tolist() == [SHORT_ENTRY, LONG_ENTRY]


def test_spread_refuses_another_number_of_instruments() -> None:
    with pytest.raises(ValueError, match="exactly 2"):
        PairsSpread().panel_signals(Panel.from_frames({"A": _closes([1.5, 2.0])}))


@pytest.mark.parametrize(
    ("key", "params", "words"),
    [
        ("rsi_mean_reversion", {"oversold": 60.0}, "oversold < exit_level"),
        ("rsi_mean_reversion", {"period": 1}, "period: must lie in"),
        ("rsi_mean_reversion", {"periods": 14}, "periods: no such parameter"),
        ("rsi_mean_reversion", {"direction": "up"}, "must be one of"),
        ("rsi_mean_reversion", {"period": 14.5}, "whole number"),
        ("rsi_mean_reversion", {"period": None}, "must be a number"),
        ("moving_average_cross", {"fast": 20, "slow": 10}, "fast must be below slow"),
        ("macd_momentum", {"fast": 26}, "fast must be below slow"),
        ("pairs_spread", {"leave": 3.0}, "leave must be below entry"),
        ("nothing", {}, "known: "),
    ],
)
def test_bad_parameters_are_named(key: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        registry.build(key, params)
