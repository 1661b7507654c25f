"""Crossings, strength and the fold of wishes into positions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.quant.signals import (
    LONG_ENTRY,
    LONG_EXIT,
    SHORT_ENTRY,
    SHORT_EXIT,
    Signals,
    SignalType,
    crosses_above,
    crosses_below,
    fold_positions,
    next_position,
    pack_wishes,
    strength,
)
from tests.strategies.quant.builders import make_bars, make_wishes
from tests.strategies.quant.reference import wanted_side

BARS = make_bars([(10.0, 11.0, 9.0, 10.0)] * 6)


@pytest.mark.parametrize("position", [-1, 0, 1])
@pytest.mark.parametrize("wish", range(16))
def test_next_position_follows_the_rule(position: int, wish: int) -> None:
    assert next_position(position, wish) == wanted_side(position, wish)


@pytest.mark.parametrize(
    ("position", "wish", "target"),
    [
        (0, LONG_ENTRY, 1),
        (0, SHORT_ENTRY, -1),
        (0, LONG_EXIT, 0),
        (1, LONG_EXIT, 0),
        (1, SHORT_EXIT, 1),
        (-1, SHORT_EXIT, 0),
        (1, SHORT_ENTRY, -1),
        (-1, LONG_ENTRY, 1),
        (1, LONG_ENTRY | LONG_EXIT, 1),
        (1, LONG_EXIT | SHORT_ENTRY, -1),
        (0, LONG_ENTRY | SHORT_ENTRY, 0),
    ],
)
def test_next_position_by_hand(position: int, wish: int, target: int) -> None:
    assert next_position(position, wish) == target


def test_fold_holds_until_told_otherwise() -> None:
    signals = make_wishes(BARS, {1: LONG_ENTRY, 3: SHORT_ENTRY, 5: SHORT_EXIT})
    assert fold_positions(signals).tolist() == [0, 1, 1, -1, -1, 0]


@given(st.lists(st.integers(0, 15), min_size=1, max_size=40), st.integers(0, 39))
def test_folding_in_two_parts_gives_the_same_positions(wishes: list[int], cut: int) -> None:
    bars = make_bars([(10.0, 11.0, 9.0, 10.0)] * len(wishes))
    cut = min(cut, len(wishes))
    whole = fold_positions(make_wishes(bars, dict(enumerate(wishes))))
    first = fold_positions(make_wishes(bars.iloc[:cut], dict(enumerate(wishes[:cut]))))
    held = int(first[-1]) if cut else 0
    rest = make_wishes(bars.iloc[cut:], dict(enumerate(wishes[cut:])))
    assert [*first, *fold_positions(rest, position=held)] == whole.tolist()


def test_crossings_need_a_value_before() -> None:
    first = np.array([np.nan, 2.0, 1.0, 1.0, 2.0, 3.0])
    assert crosses_above(first, 1.0).tolist() == [False, False, False, False, True, False]
    assert crosses_below(first, 1.5).tolist() == [False, False, True, False, False, False]


def test_strength_is_clipped_and_never_undefined() -> None:
    values = strength(np.array([-5.0, 0.5, np.nan, 1.0]), np.array([1.0, 1.0, 1.0, 0.0]))
    assert values.tolist() == [1.0, 0.5, 0.0, 1.0]


def test_a_bars_signal_carries_its_cause() -> None:
    signals = Signals.of(
        BARS,
        long_entry=np.arange(6) == 2,
        strength=np.full(6, 0.4),
        indicators={"rsi": np.arange(6.0)},
    )
    at = signals.at(2)
    assert (at.type, at.target, at.strength) == (SignalType.BUY, 1, 0.4)
    assert at.indicators == {"rsi": 2.0}
    assert signals.at(2, position=1).type is SignalType.HOLD
    assert signals.at(2, position=-1).type is SignalType.BUY
    assert make_wishes(BARS, {0: LONG_EXIT}).at(0, position=1).type is SignalType.SELL


def test_wishes_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        pack_wishes(3, np.zeros(2, np.bool_))
