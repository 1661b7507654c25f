"""Indicators agree with published tables and refuse gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import talib

from strategies.quant import indicators
from strategies.quant.indicator_specs import Pane, synthetic_bars
from strategies.quant.seeding import ema_warmup, wilder_warmup
from tests.strategies.quant.builders import load_csv_bars, load_fixture, random_panel


def _array(fixture: dict, name: str) -> np.ndarray:
    return np.array(fixture["inputs"][name], dtype=np.float64)


def test_rsi_agrees_with_stockcharts() -> None:
    fixture = load_fixture("indicator__rsi14_stockcharts_qqqq")
    expected = np.array(fixture["values"]["rsi"], dtype=np.float64)
    np.testing.assert_allclose(indicators.rsi(_array(fixture, "close"), 14), expected, atol=5e-5)


def test_bollinger_bands_agree_with_stockcharts() -> None:
    fixture = load_fixture("indicator__bollinger_20_2_stockcharts_spy")
    bands = indicators.bollinger(_array(fixture, "close"), 20, 2.0)
    values = fixture["values"]
    np.testing.assert_allclose(bands.middle[19:], values["middle_from_index_19"], atol=1e-5)
    np.testing.assert_allclose(bands.upper[19:], values["upper_from_index_19"], atol=5e-6)
    np.testing.assert_allclose(bands.lower[19:], values["lower_from_index_19"], atol=5e-6)


def test_macd_agrees_with_investexcel() -> None:
    fixture = load_fixture("indicator__macd_12_26_9_investexcel_aapl")
    close, values = _array(fixture, "close"), fixture["values"]
    macd = indicators.macd(close)
    assert np.isnan(macd.line[:25]).all()
    np.testing.assert_allclose(macd.line[25:], values["macd_from_index_25"], atol=2e-10)
    np.testing.assert_allclose(macd.signal[33:], values["signal_from_index_33"], atol=1e-9)
    np.testing.assert_allclose(macd.histogram[33:], values["histogram_from_index_33"], atol=1e-9)
    assert indicators.ema(close, 12)[11] == pytest.approx(values["ema12_index_11"], abs=1e-4)


def test_macd_is_the_difference_of_two_emas() -> None:
    close = synthetic_bars(300)["close"].to_numpy()
    difference = indicators.ema(close, 12) - indicators.ema(close, 26)
    np.testing.assert_allclose(indicators.macd(close).line, difference, atol=1e-9)


def test_atr_agrees_with_stockcharts_and_talib_converges_to_it() -> None:
    fixture = load_fixture("indicator__atr14_stockcharts_qqqq")
    high, low, close = (_array(fixture, name) for name in ("high", "low", "close"))
    atr = indicators.atr(high, low, close, 14)
    assert np.isnan(atr[:13]).all()
    np.testing.assert_allclose(atr[13:], fixture["values"]["atr_from_index_13"], atol=1e-6)
    bars = synthetic_bars(600)
    arrays = [bars[name].to_numpy() for name in ("high", "low", "close")]
    ours, theirs = indicators.atr(*arrays), talib.ATR(*arrays, 14)
    assert ours[14] != pytest.approx(theirs[14], rel=1e-4)
    assert ours[-1] == pytest.approx(theirs[-1], rel=1e-12)


def test_averages_and_stochastic_agree_with_skender() -> None:
    values = load_fixture("indicator__sma_ema_stoch_skender")["values"]
    bars = load_csv_bars("skender_default_502.csv")
    close = bars["close"].to_numpy()
    stochastic = indicators.compute("stoch", bars, fastk_period=14, slowk_period=3, slowd_period=3)
    cases = [
        (indicators.sma(close, 20), values["sma20"], 1e-9),
        (indicators.ema(close, 20), values["ema20"], 1e-4),
        (stochastic["slowk"], values["slow_k"], 1e-4),
        (stochastic["slowd"], values["slow_d"], 1e-4),
    ]
    for series, table, tolerance in cases:
        for row, value in table.items():
            assert series[int(row)] == pytest.approx(value, abs=tolerance)


def test_every_talib_function_is_offered_with_ranges_and_defaults() -> None:
    known = indicators.catalogue()
    assert {spec.name for spec in known} == set(talib.get_functions())
    for spec in known:
        assert spec.label
        assert spec.outputs
        for parameter in spec.parameters:
            assert parameter.low <= parameter.default <= parameter.high
    rsi = indicators.spec("rsi")
    assert (rsi.parameters[0].low, rsi.parameters[0].high) == (2, 100_000)
    assert rsi.outputs == ("rsi",)
    assert rsi.pane is Pane.SEPARATE
    assert indicators.spec("BBANDS").pane is Pane.OVERLAY


def test_every_talib_function_computes_without_look_ahead() -> None:
    bars = synthetic_bars(400)
    for spec in indicators.catalogue():
        whole = indicators.compute(spec.name, bars)
        known = indicators.compute(spec.name, bars.iloc[:333])
        assert tuple(whole) == spec.outputs
        for name, values in whole.items():
            assert len(values) == 400
            np.testing.assert_allclose(
                values[:333], known[name], 1e-9, 1e-9, equal_nan=True, err_msg=spec.name
            )


@pytest.mark.parametrize(("name", "first"), [("RSI", 14), ("MACD", 33), ("ATR", 13), ("SMA", 29)])
def test_lookback_is_the_first_bar_with_every_value(name: str, first: int) -> None:
    values = indicators.compute(name, synthetic_bars(200))
    assert indicators.lookback(name) == first
    assert max(int(np.flatnonzero(np.isfinite(v))[0]) for v in values.values()) == first


def test_warmup_covers_the_fading_of_the_seed() -> None:
    assert indicators.warmup_bars("SMA", timeperiod=20) == 19
    rsi = indicators.warmup_bars("RSI", timeperiod=14)
    assert rsi is not None
    assert 150 < rsi <= wilder_warmup(14)
    assert ema_warmup(26) >= 250
    assert indicators.warmup_bars("OBV") is None


def test_a_gap_is_refused_and_not_read_as_oversold() -> None:
    close = synthetic_bars(100)["close"].to_numpy().copy()
    close[50] = np.nan
    assert talib.RSI(close, 14)[60] == 0.0
    with pytest.raises(ValueError, match="without gaps"):
        indicators.rsi(close)
    bars = synthetic_bars(100).copy()
    bars["close"] = close
    with pytest.raises(ValueError, match="not finite"):
        indicators.compute("RSI", bars)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("RSIX", {}, "unknown indicator"),
        ("RSI", {"period": 3}, "no parameter"),
        ("RSI", {"timeperiod": 1}, "must lie in"),
        ("RSI", {"timeperiod": 14.5}, "whole number"),
        ("BBANDS", {"matype": 99}, "must lie in"),
    ],
)
def test_bad_requests_are_named(name: str, params: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        indicators.compute(name, synthetic_bars(50), **params)


def test_a_panel_gives_each_instruments_own_values() -> None:
    panel = random_panel(np.random.default_rng(1), 120, 2)
    matrix = indicators.compute_panel("RSI", panel, timeperiod=10)["rsi"]
    for j, symbol in enumerate(panel.symbols):
        own = indicators.compute("RSI", panel.bars(symbol), timeperiod=10)["rsi"]
        np.testing.assert_array_equal(matrix[panel.has_bar[:, j], j], own)
    assert np.isnan(matrix[~panel.has_bar]).all()


def test_a_memo_returns_the_same_array_inside_and_forgets_outside() -> None:
    close = synthetic_bars(100)["close"].to_numpy()
    with indicators.memo():
        assert indicators.sma(close, 5) is indicators.sma(close, 5)
        assert indicators.sma(close, 6) is not indicators.sma(close, 5)
    assert indicators.sma(close, 5) is not indicators.sma(close, 5)


def test_a_memo_forgets_before_it_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.quant.memo.MAX_BYTES", 2_000)
    close = synthetic_bars(100)["close"].to_numpy()
    with indicators.memo():
        first = indicators.sma(close, 5)
        indicators.sma(close, 6)
        assert indicators.sma(close, 5) is first
        indicators.sma(close, 7)
        again = indicators.sma(close, 5)
    assert again is not first
    np.testing.assert_array_equal(again, first)


def test_candle_patterns_are_undefined_while_warming_up() -> None:
    values = indicators.compute("CDLDOJI", pd.DataFrame(synthetic_bars(100)))["cdldoji"]
    assert np.isnan(values[:10]).all()
    assert np.isfinite(values[10:]).all()
