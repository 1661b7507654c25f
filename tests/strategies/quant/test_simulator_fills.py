"""Fills worked by hand: bars as (open, high, low, close), one comment on the decisive row."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from alphastrat.quant.execution import CostModel
from strategies.quant.exits import ExitRules
from strategies.quant.panel import Panel
from strategies.quant.signals import (
    LONG_ENTRY,
    LONG_EXIT,
    SHORT_ENTRY,
    SHORT_EXIT,
    PanelSignals,
)
from strategies.quant.simulator import SimulationConfig, reason_words, simulate, simulate_each
from strategies.quant.sizing import FixedCash, FixedFraction, FixedQuantity, FixedRisk
from tests.strategies.quant.builders import make_bars, make_wishes


@dataclass(frozen=True)
class Case:
    """Ten units unless said otherwise; `trips` are (side, entry, exit, reason)."""

    name: str
    rows: list[tuple[float, ...]]
    wishes: dict[int, int]
    trips: list[tuple[int, float, float, str]]
    exits: ExitRules = field(default_factory=ExitRules)
    costs: CostModel = field(default_factory=CostModel)
    open_at: list[float] = field(default_factory=list)


CASES = [
    Case(
        "a signal fills at the next open, not at its own close",
        [
            (10, 11, 9, 10.5),
            (12, 13, 11, 12.5),  # bought here at 12, not at 10.5
            (14, 15, 13, 14.5),
            (15, 16, 14, 15.5),  # sold here at 15
        ],
        {0: LONG_ENTRY, 2: LONG_EXIT},
        [(1, 12.0, 15.0, "signal")],
    ),
    Case(
        "a signal on the last bar is never filled",
        [(10, 11, 9, 10), (10, 11, 9, 10)],
        {1: LONG_ENTRY},
        [],
    ),
    Case(
        "a gap through the stop fills at the open",
        [
            (100, 101, 99, 100),
            (100, 101, 99, 100),
            (90, 92, 89, 91),  # stop at 95, but it opens at 90
            (91, 92, 90, 91),
        ],
        {0: LONG_ENTRY},
        [(1, 100.0, 90.0, "stop")],
        ExitRules(stop_loss=0.05),
    ),
    Case(
        "a stop within the bar fills at the stop",
        [(100, 101, 99, 100), (100, 101, 99, 100), (99, 100, 94, 98), (98, 99, 97, 98)],
        {0: LONG_ENTRY},
        [(1, 100.0, 95.0, "stop")],
        ExitRules(stop_loss=0.05),
    ),
    Case(
        "a bar that reaches stop and target is taken at the stop",
        [
            (100, 101, 99, 100),
            (100, 101, 99, 100),
            (100, 112, 94, 105),  # 95 and 110 both inside: pessimistic
            (105, 106, 104, 105),
        ],
        {0: LONG_ENTRY},
        [(1, 100.0, 95.0, "stop")],
        ExitRules(stop_loss=0.05, take_profit=0.10),
    ),
    Case(
        "a gap over the target fills at the open even if the bar falls to the stop later",
        [
            (100, 101, 99, 100),
            (100, 101, 99, 100),
            (113, 114, 94, 95),  # the open came first
            (95, 96, 94, 95),
        ],
        {0: LONG_ENTRY},
        [(1, 100.0, 113.0, "target")],
        ExitRules(stop_loss=0.05, take_profit=0.10),
    ),
    Case(
        "a stop can be hit on the bar of the entry",
        [(100, 101, 99, 100), (100, 101, 94, 100), (100, 101, 99, 100)],
        {0: LONG_ENTRY},
        [(1, 100.0, 95.0, "stop")],
        ExitRules(stop_loss=0.05),
    ),
    Case(
        "a short is stopped above its entry",
        [(100, 101, 99, 100), (100, 101, 99, 100), (101, 106, 100, 105), (105, 106, 104, 105)],
        {0: SHORT_ENTRY},
        [(-1, 100.0, 105.0, "stop")],
        ExitRules(stop_loss=0.05),
    ),
    Case(
        "a trailing stop follows the highs of closed bars",
        [
            (100, 101, 99, 100),
            (100, 110, 100, 109),  # the high of 110 counts from the next bar on
            (108, 109, 104, 105),  # 110 less 5 % is 104.5
            (105, 106, 104, 105),
        ],
        {0: LONG_ENTRY},
        [(1, 100.0, 104.5, "trailing")],
        ExitRules(trailing_stop=0.05),
    ),
    Case(
        "a trailing stop follows the open of its bar",
        [
            (100, 101, 99, 100),
            (100, 101, 99, 100),
            (120, 121, 113, 115),  # 120 less 5 % is 114: the open came before the low
            (115, 116, 114, 115),
        ],
        {0: LONG_ENTRY},
        [(1, 100.0, 114.0, "trailing")],
        ExitRules(trailing_stop=0.05),
    ),
    Case(
        "a time stop leaves at the open after its last bar",
        [(10, 11, 9, 10)] * 2 + [(11, 12, 10, 11), (12, 13, 11, 12), (13, 14, 12, 13)],
        {0: LONG_ENTRY},
        [(1, 10.0, 12.0, "time")],  # held over the closes of bars 1 and 2
        ExitRules(max_bars=2),
    ),
    Case(
        "a reversal closes and opens at the same open",
        [(10, 11, 9, 10), (10, 11, 9, 10), (12, 13, 11, 12), (9, 10, 8, 9), (8, 9, 7, 8)],
        {0: LONG_ENTRY, 1: SHORT_ENTRY, 2: SHORT_EXIT},
        [(1, 10.0, 12.0, "reversal"), (-1, 12.0, 9.0, "signal")],
    ),
    Case(
        "an entry and an exit of the same side cancel",
        [(10, 11, 9, 10)] * 4,
        {0: LONG_ENTRY | LONG_EXIT, 1: LONG_ENTRY | SHORT_ENTRY},
        [],
    ),
    Case(
        "a cool-down blocks the entry after a stop",
        [
            (100, 101, 99, 100),
            (100, 101, 94, 95),  # stopped at 95
            (96, 97, 95.5, 96),  # blocked
            (97, 98, 96, 97),  # entered
            (98, 99, 97, 98),
        ],
        {0: LONG_ENTRY, 1: LONG_ENTRY, 2: LONG_ENTRY},
        [(1, 100.0, 95.0, "stop")],
        ExitRules(stop_loss=0.05, cooldown_bars=1),
        open_at=[97.0],
    ),
    Case(
        "slippage moves every market fill against the order, a target fills at its price",
        [(100, 101, 99, 100), (100, 101, 99, 100), (100, 120, 99, 100), (100, 101, 99, 100)],
        {0: LONG_ENTRY},
        [(1, 101.0, 111.1, "target")],
        ExitRules(take_profit=0.10),
        CostModel(slippage_bps=100),
    ),
]


def _config(**changes: object) -> SimulationConfig:
    terms: dict[str, object] = {"periods_per_year": 252.0, "initial_cash": 10_000.0}
    return SimulationConfig(**{**terms, "sizing": FixedQuantity(10.0), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fills_worked_by_hand(case: Case) -> None:
    bars = make_bars(case.rows)
    config = _config(exits=case.exits, costs=case.costs)
    result = simulate(bars, make_wishes(bars, case.wishes), config=config)

    trips = result.round_trips
    reasons = reason_words(trips.exit_reason)
    found = list(zip(trips.side, trips.entry_price, trips.exit_price, reasons, strict=True))
    assert [(s, pytest.approx(e), pytest.approx(x), r) for s, e, x, r in case.trips] == found
    np.testing.assert_allclose(result.open_trips.entry_price, case.open_at)


RISING = [(100, 101, 99, 100), (100, 101, 99, 100), (110, 111, 109, 110), (120, 121, 119, 120)]


def test_commission_per_share_percent_and_minimum_are_charged_on_both_sides() -> None:
    bars = make_bars(RISING)
    wishes = make_wishes(bars, {0: LONG_ENTRY, 1: LONG_EXIT})
    cases = {
        CostModel(commission_per_share=0.5): 10 * 0.5 * 2,
        CostModel(commission_bps=20): 0.002 * 10 * (100 + 110),
        CostModel(commission_minimum=7): 14.0,
        CostModel(commission_per_share=0.5, commission_minimum=4): 10.0,
    }
    for costs, paid in cases.items():
        result = simulate(bars, wishes, config=_config(costs=costs))
        assert result.round_trips.commission[0] == pytest.approx(paid)
        assert result.round_trips.pnl[0] == pytest.approx(100 - paid)
        assert result.equity[-1] == pytest.approx(10_100 - paid)


def test_volatility_slippage_uses_the_volatility_known_at_the_signal() -> None:
    bars = make_bars([(100, 101, 99, 100), (100, 111, 99, 110), (110, 111, 109, 110)])
    costs = CostModel(slippage_volatility=0.5)
    result = simulate(bars, make_wishes(bars, {1: LONG_ENTRY}), config=_config(costs=costs))
    # The only return known at the close of bar 1 is +10 %.
    assert result.fills.price[0] == pytest.approx(110 * (1 + 0.5 * 0.10))
    assert result.fills.slippage[0] == pytest.approx(10 * 5.5)


def test_borrow_cost_is_charged_at_each_close_of_a_short() -> None:
    bars = make_bars(
        [(100, 101, 99, 100), (100, 101, 99, 100), (110, 111, 109, 110), (90, 91, 89, 90)]
    )
    costs = CostModel(borrow_bps_per_year=252)
    wishes = make_wishes(bars, {0: SHORT_ENTRY, 2: SHORT_EXIT})
    result = simulate(bars, wishes, config=_config(costs=costs))
    # One basis point a day of 1,000 and of 1,100.
    assert result.round_trips.borrow[0] == pytest.approx(0.1 + 0.11)
    assert result.round_trips.pnl[0] == pytest.approx(100 - 0.21)


def test_an_entry_takes_what_cash_allows() -> None:
    bars = make_bars(RISING)
    wishes = make_wishes(bars, {0: LONG_ENTRY})
    config = _config(sizing=FixedQuantity(150.0), granularity=1.0)
    result = simulate(bars, wishes, config=config)
    assert result.positions[-1, 0] == 100.0
    assert result.n_partial == 1


def test_an_entry_without_cash_is_denied() -> None:
    bars = make_bars(RISING)
    config = _config(initial_cash=50.0, granularity=1.0)
    result = simulate(bars, make_wishes(bars, {0: LONG_ENTRY}), config=config)
    assert result.n_denied == 1
    assert len(result.fills) == 0


def test_sizing_rules_give_the_quantity_by_hand() -> None:
    bars = make_bars(RISING)
    wishes = make_wishes(bars, {0: LONG_ENTRY})
    cases = [
        (FixedFraction(0.5), ExitRules(), 50.0),
        (FixedCash(2_000.0), ExitRules(), 20.0),
        (FixedRisk(0.01), ExitRules(stop_loss=0.04), 25.0),  # 100 lost over 4 per unit
    ]
    for sizing, exits, quantity in cases:
        result = simulate(bars, wishes, config=_config(sizing=sizing, exits=exits))
        assert result.fills.quantity[0] == pytest.approx(quantity)


def test_a_fraction_of_equity_pays_its_commission_from_the_fraction() -> None:
    bars = make_bars(RISING)
    config = _config(sizing=FixedFraction(1.0), costs=CostModel(commission_bps=100))
    result = simulate(bars, make_wishes(bars, {0: LONG_ENTRY}), config=config)
    assert result.fills.quantity[0] == pytest.approx(10_000 / 101)
    assert result.cash[1] == pytest.approx(0.0, abs=1e-9)


def _two(
    first: dict[int, int], second: dict[int, int], strength: float
) -> tuple[Panel, PanelSignals]:
    bars = make_bars(RISING)
    panel = Panel.from_frames({"A": bars, "B": bars})
    columns = [make_wishes(bars, first).wishes, make_wishes(bars, second).wishes]
    strengths = np.ones((4, 2))
    strengths[:, 0] = strength
    return panel, PanelSignals(panel.index, panel.symbols, np.column_stack(columns), strengths)


@pytest.mark.parametrize(("strength", "quantities"), [(1.0, [80, 20]), (0.5, [20, 80])])
def test_the_stronger_entry_is_served_first_and_ties_by_column(
    strength: float, quantities: list[float]
) -> None:
    panel, signals = _two({0: LONG_ENTRY}, {0: LONG_ENTRY}, strength)
    result = simulate(panel, signals, config=_config(sizing=FixedFraction(0.8)))
    np.testing.assert_allclose(result.positions[-1], quantities)


def test_cash_of_an_exit_pays_for_an_entry_at_the_same_open() -> None:
    panel, signals = _two({1: LONG_ENTRY}, {0: LONG_ENTRY, 1: LONG_EXIT}, 1.0)
    result = simulate(panel, signals, config=_config(sizing=FixedFraction(1.0)))
    # B is sold at 110 before A, though A is the first column: 11,000 buys 100 of A.
    np.testing.assert_allclose(result.positions[-1], [100, 0])


def test_a_short_ties_up_its_whole_value() -> None:
    panel, signals = _two({0: SHORT_ENTRY}, {1: LONG_ENTRY}, 1.0)
    result = simulate(panel, signals, config=_config(sizing=FixedFraction(1.0)))
    # Short 100 at 100; at 110 equity is 9,000 and the short's 11,000 exceeds it.
    np.testing.assert_allclose(result.positions[-1], [-100, 0])
    assert result.n_denied == 1


def test_each_instrument_can_have_its_own_account() -> None:
    panel, signals = _two({0: LONG_ENTRY}, {0: SHORT_ENTRY}, 1.0)
    results = simulate_each(panel, signals, config=_config(sizing=FixedFraction(1.0)))
    assert results["A"].equity[-1] == pytest.approx(12_000)
    assert results["B"].equity[-1] == pytest.approx(8_000)


def test_a_ruined_account_leaves_and_stays_out() -> None:
    bars = make_bars(
        [(10, 11, 9, 10), (10, 11, 9, 10), (25, 26, 24, 25), (30, 31, 29, 30), (5, 6, 4, 5)]
    )
    wishes = make_wishes(bars, {0: SHORT_ENTRY, 3: LONG_ENTRY})
    result = simulate(bars, wishes, config=_config(sizing=FixedFraction(1.0)))
    assert result.is_ruined
    assert reason_words(result.round_trips.exit_reason) == ["ruin"]
    assert (result.positions[3:] == 0).all()


def test_a_wish_waits_for_the_next_bar_of_its_instrument() -> None:
    bars = make_bars(RISING)
    panel = Panel.from_frames({"A": bars, "B": bars.iloc[[0, 1, 3]]})
    wishes = np.zeros((4, 2), np.uint8)
    wishes[1, 1] = LONG_ENTRY
    signals = PanelSignals(panel.index, panel.symbols, wishes, np.ones((4, 2)))
    result = simulate(panel, signals, config=_config())
    assert result.fills.bar.tolist() == [3]
    assert result.fills.price.tolist() == [120.0]


def test_excursions_are_measured_from_the_entry_until_the_exit() -> None:
    bars = make_bars(
        [(100, 101, 99, 100), (100, 108, 97, 104), (104, 120, 103, 110), (105, 130, 50, 60)]
    )
    result = simulate(bars, make_wishes(bars, {0: LONG_ENTRY, 2: LONG_EXIT}), config=_config())
    # Sold at the open of the last bar: its high of 130 and low of 50 came later.
    assert result.round_trips.mae[0] == pytest.approx(-0.03)
    assert result.round_trips.mfe[0] == pytest.approx(0.20)


def test_an_open_position_is_marked_and_kept_apart() -> None:
    bars = make_bars(RISING)
    result = simulate(bars, make_wishes(bars, {0: LONG_ENTRY}), config=_config())
    assert len(result.round_trips) == 0
    assert result.open_trips.pnl.tolist() == [200.0]
    assert result.open_trips.exit_bar.tolist() == [-1]
    assert reason_words(result.open_trips.exit_reason) == ["open"]


def test_signals_of_other_bars_are_refused() -> None:
    bars = make_bars(RISING)
    with pytest.raises(ValueError, match="do not belong"):
        simulate(bars, make_wishes(bars.iloc[:3], {}), config=_config())


def test_risk_sizing_without_a_stop_is_refused() -> None:
    with pytest.raises(ValueError, match="stop_loss"):
        _config(sizing=FixedRisk(0.01))
