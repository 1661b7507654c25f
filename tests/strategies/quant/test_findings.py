"""Each finding appears when it should, with its numbers, and not otherwise."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from alphastrat.quant.execution import CostModel
from strategies.quant.checks import CheckName, CheckResult
from strategies.quant.findings import (
    Evidence,
    Finding,
    Severity,
    Survivors,
    find_problems,
    undefined_indicators,
)
from strategies.quant.overfitting import Stability
from strategies.quant.panel import Panel
from strategies.quant.signals import LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, PanelSignals
from strategies.quant.simulator import SimulationConfig, simulate
from strategies.quant.sizing import FixedFraction
from tests.strategies.quant.builders import make_bars

COSTS = CostModel(commission_bps=1, slippage_bps=1, borrow_bps_per_year=50)


def _panel(closes: list[float], volume: float = 1e9) -> Panel:
    bars = make_bars([(c, c + 1, c - 1, c) for c in closes])
    bars["volume"] = volume
    return Panel.from_frames({"A": bars})


def _findings(
    panel: Panel,
    wishes: dict[int, int],
    *,
    costs: CostModel = COSTS,
    evidence: Evidence | None = None,
) -> dict[str, Finding]:
    packed = np.zeros((panel.n_bars, panel.n_assets), np.uint8)
    for bar, wish in wishes.items():
        packed[bar, 0] = wish
    signals = PanelSignals(panel.index, panel.symbols, packed, np.ones(packed.shape))
    config = SimulationConfig(periods_per_year=252, costs=costs, sizing=FixedFraction(0.5))
    result = simulate(panel, signals, config=config)
    return {f.code: f for f in find_problems(result, panel, evidence=evidence)}


def _many(n_trips: int) -> dict[int, int]:
    return {2 * k: LONG_ENTRY for k in range(n_trips)} | {
        2 * k + 1: LONG_EXIT for k in range(n_trips)
    }


def _waves(n: int) -> list[float]:
    return [100 + 0.05 * k + 2 * math.sin(k) for k in range(n)]


def test_a_run_without_trips_says_so_first() -> None:
    found = _findings(_panel(_waves(50)), {})
    assert next(iter(found)) == "no_trips"
    assert found["no_trips"].severity is Severity.CRITICAL


@pytest.mark.parametrize(("n_trips", "severity"), [(5, Severity.CRITICAL), (20, Severity.WARNING)])
def test_few_trips(n_trips: int, severity: Severity) -> None:
    finding = _findings(_panel(_waves(100)), _many(n_trips))["few_trips"]
    assert finding.severity is severity
    assert finding.evidence["n_trips"] == n_trips


def test_enough_trips_are_not_complained_about() -> None:
    assert "few_trips" not in _findings(_panel(_waves(100)), _many(40))


def test_one_trip_and_one_month_that_made_everything() -> None:
    closes = [100.0] * 60 + [100 + 5.0 * k for k in range(10)] + [145.0] * 60
    found = _findings(
        _panel(closes), {10: LONG_ENTRY, 12: LONG_EXIT, 58: LONG_ENTRY, 80: LONG_EXIT}
    )
    assert found["one_trip"].evidence["share"] > 0.9
    assert found["one_month"].evidence["share"] > 0.5


def test_gains_that_are_not_realised() -> None:
    found = _findings(_panel([100 + k for k in range(40)]), {2: LONG_ENTRY})
    assert found["unrealised"].evidence["share"] > 0.9


@pytest.mark.parametrize(
    ("costs", "present", "absent"),
    [
        (CostModel(), {"no_costs", "no_borrow_cost"}, {"no_slippage"}),
        (CostModel(commission_bps=5), {"no_slippage"}, {"no_costs"}),
        (COSTS, set(), {"no_costs", "no_slippage", "no_borrow_cost"}),
    ],
)
def test_ignored_costs(costs: CostModel, present: set[str], absent: set[str]) -> None:
    found = set(_findings(_panel(_waves(30)), {2: SHORT_ENTRY}, costs=costs))
    assert present <= found
    assert not absent & found


def test_a_long_time_under_water_and_a_long_idle_curve() -> None:
    falling = _findings(_panel([200 - k for k in range(100)]), {2: LONG_ENTRY})
    assert falling["long_underwater"].evidence["share"] > 0.9
    idle = _findings(_panel(_waves(100)), {80: LONG_ENTRY, 90: LONG_EXIT})
    assert idle["long_idle"].evidence["bars"] == 81


def test_a_sharpe_ratio_that_is_rarely_real() -> None:
    closes = [100 * 1.01**k * (1 + 0.001 * (k % 2)) for k in range(60)]
    finding = _findings(_panel(closes), {0: LONG_ENTRY})["implausible_sharpe"]
    assert finding.severity is Severity.CRITICAL
    assert finding.evidence["sharpe"] > 5


def test_failed_checks_short_warmup_and_grid_problems() -> None:
    evidence = Evidence(
        warmup_bars=50,
        bars_before=10,
        n_free_parameters=4,
        checks=(
            CheckResult(CheckName.LOOKAHEAD, passed=False, message="rsi uses the future"),
            CheckResult(CheckName.DETERMINISM, passed=True, message="fine"),
        ),
        stability=Stability(0.3, 0.2, 8, is_on_edge=True),
        break_even_bps=2.0,
    )
    found = _findings(_panel(_waves(60)), {5: LONG_ENTRY, 20: LONG_EXIT}, evidence=evidence)
    assert found["lookahead"].severity is Severity.CRITICAL
    assert found["lookahead"].text == "rsi uses the future"
    assert found["short_warmup"].evidence == {"available": 16, "needed": 50}
    assert found["many_parameters"].evidence["wanted"] == 40
    assert found["spike"].severity is Severity.CRITICAL
    assert "grid_edge" in found
    assert found["thin_margin"].evidence["break_even_bps"] == 2.0
    assert "not_deterministic" not in found


def test_gaps_while_a_position_was_held() -> None:
    bars = make_bars([(c, c + 1, c - 1, c) for c in _waves(40)])
    bars["volume"] = 1e9
    other = bars.copy()
    panel = Panel.from_frames({"A": bars.drop(bars.index[20:25]), "B": other})
    found = _findings(panel, {10: LONG_ENTRY, 35: LONG_EXIT})
    assert found["gaps_in_positions"].evidence == {"n_bars": 5, "n_instruments": 1}
    assert "A" in found["gaps_in_positions"].text


@pytest.mark.parametrize(
    ("volume", "severity"), [(10_000.0, Severity.WARNING), (1_000.0, Severity.CRITICAL)]
)
def test_fills_larger_than_the_market(volume: float, severity: Severity) -> None:
    found = _findings(_panel(_waves(30), volume), {5: LONG_ENTRY, 20: LONG_EXIT})
    assert found["large_fills"].severity is severity
    assert "large_fills" not in _findings(_panel(_waves(30)), {5: LONG_ENTRY, 20: LONG_EXIT})


def test_fills_without_any_volume_are_critical() -> None:
    found = _findings(_panel(_waves(30), 0.0), {5: LONG_ENTRY})
    assert found["large_fills"].severity is Severity.CRITICAL


def test_findings_come_worst_first() -> None:
    order = [Severity.CRITICAL, Severity.WARNING, Severity.NOTE]
    found = list(_findings(_panel(_waves(60)), {5: SHORT_ENTRY}, costs=CostModel()).values())
    ranks = [order.index(finding.severity) for finding in found]
    assert ranks == sorted(ranks)
    assert isinstance(found[0].text, str)
    assert pd.Series(ranks).nunique() > 1


def test_an_indicator_without_any_value_is_named_with_its_instruments() -> None:
    nothing, late = np.full((50, 2), np.nan), np.full((50, 2), np.nan)
    late[-1, :] = 1.0
    half = np.column_stack([nothing[:, 0], np.ones(50)])
    undefined = undefined_indicators({"mean": nothing, "late": late, "half": half}, ["A", "B"])
    assert undefined == {"mean": ("A", "B"), "half": ("A",)}
    evidence = Evidence(undefined_indicators={"mean": ("A", "B")})
    finding = _findings(_panel(_waves(50)), {}, evidence=evidence)["undefined_indicator"]
    assert finding.severity is Severity.CRITICAL
    assert finding.text.startswith("The indicator mean has no value at any bar of A, B,")


def test_a_period_that_the_bars_do_not_cover_is_named() -> None:
    panel = _panel(_waves(100))
    start, end = panel.index[0], panel.index[-1]

    def found(**moved: pd.Timedelta) -> dict[str, Finding]:
        asked = (
            start - moved.get("before", pd.Timedelta(0)),
            end + moved.get("after", pd.Timedelta(0)),
        )
        return _findings(panel, {}, evidence=Evidence(period=asked))

    days = pd.Timedelta(days=1)
    assert "partial_coverage" not in found(before=5 * days, after=9 * days)
    after = found(after=400 * days)["partial_coverage"]
    assert f"A up to {end:%Y-%m-%d}" in after.text
    assert (after.evidence["n_late"], after.evidence["n_early"]) == (0, 1)
    assert f"A from {start:%Y-%m-%d}" in found(before=40 * days)["partial_coverage"].text


def test_a_universe_of_survivors_is_a_note() -> None:
    panel = _panel(_waves(100))
    assert "survivorship" not in _findings(panel, {})
    maybe = _findings(panel, {}, evidence=Evidence(survivors=Survivors(33, 5.2)))["survivorship"]
    assert maybe.severity is Severity.NOTE
    assert maybe.text.startswith("All 33 instruments still have bars")
    assert "5 years after the period began. If they were chosen today" in maybe.text
    known = Evidence(survivors=Survivors(3, 1.0, is_known=True))
    assert "still existed in 2018" in _findings(panel, {}, evidence=known)["survivorship"].text
