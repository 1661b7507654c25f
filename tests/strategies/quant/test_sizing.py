"""Sizing rules agree with Thorp's numbers and with arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.quant.panel import Panel
from strategies.quant.sizing import (
    FixedFraction,
    KellyFraction,
    VolatilityTarget,
    ewma_volatility,
    fixed_fractional_quantity,
    kelly_bet,
    kelly_fraction,
    kelly_growth,
    volatility_weight,
)
from tests.strategies.quant.builders import load_fixture, make_bars


def test_fixed_fractional_and_volatility_target_by_definition() -> None:
    fixture = load_fixture("sizing__fixed_fractional_and_voltarget")
    quantities = [
        fixed_fractional_quantity(c["equity"], c["f"], c["entry"], c["stop"])
        for c in fixture["inputs"]["cases"]
    ]
    assert quantities == fixture["values"]["qty"]
    vol = fixture["inputs"]["vol"]
    weights = volatility_weight(vol["target"], np.array(vol["forecast"]), cap=vol["cap"])
    np.testing.assert_allclose(weights, fixture["values"]["weights"], atol=1e-12)


def test_kelly_agrees_with_thorp() -> None:
    fixture = load_fixture("sizing__kelly_thorp")
    inputs, values = fixture["inputs"], fixture["values"]
    m, s, r = inputs["m"], inputs["s"], inputs["r"]
    best = kelly_fraction(m, s, rate=r)
    assert best == pytest.approx(values["f_star"], abs=5e-5)
    assert kelly_growth(best, m, s, rate=r) == pytest.approx(values["g_f_star"], abs=5e-5)
    assert kelly_growth(1.0, m, s, rate=r) == pytest.approx(values["g_at_f1"], abs=1e-9)
    assert kelly_bet(inputs["p"]) == pytest.approx(values["coin_p0.53"], abs=1e-12)
    half = (kelly_growth(best / 2, m, s, rate=r) - r) / (kelly_growth(best, m, s, rate=r) - r)
    assert half == pytest.approx(values["half_kelly_growth_fraction_of_excess"], abs=1e-12)


def test_volatility_is_known_at_the_close_and_ignores_gaps() -> None:
    close = np.array([[100.0], [110.0], [np.nan], [99.0]])
    volatility = ewma_volatility(close)[:, 0]
    assert np.isnan(volatility[0])
    assert volatility[1] == pytest.approx(0.10)
    assert volatility[2] == pytest.approx(0.10)
    assert volatility[3] == pytest.approx(np.sqrt(0.94 * 0.01 + 0.06 * 0.01))


def test_rules_are_capped_and_undefined_before_the_first_return() -> None:
    panel = Panel.from_frames({"A": make_bars([(100, 101, 99, 100), (100, 102, 99, 101)])})
    target = VolatilityTarget(0.1, cap=0.5).weights(panel, periods_per_year=252)
    assert np.isnan(target[0, 0])
    assert target[1, 0] == 0.5
    losing = KellyFraction(excess_return=-0.05).weights(panel, periods_per_year=252)
    assert losing[1, 0] == 0.0


@pytest.mark.parametrize("multiple", [0.0, 0.6])
def test_kelly_multiple_is_at_most_half(multiple: float) -> None:
    with pytest.raises(ValueError, match="multiple"):
        KellyFraction(multiple=multiple)


def test_a_fraction_must_be_positive() -> None:
    with pytest.raises(ValueError, match="was 0"):
        FixedFraction(0.0)
