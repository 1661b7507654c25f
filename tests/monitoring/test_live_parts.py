"""Which part moved is said of the part that moved, and only where it can be known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from monitoring.quant.checks import Check, CheckState
from monitoring.quant.observations import LiveTrips
from monitoring.services.live_parts import _profit_factor, live_parts

PASS, WARN, FAIL = CheckState.PASS, CheckState.WARN, CheckState.FAIL
NOT_RUN = CheckState.NOT_RUN
KEYS = ("return", "drawdown", "slippage", "matching")


def examined(states, *, live=0.0, shadow=0.0):
    """Return ten bars beside a promise of nothing, with a spread of 1 % and a band of 2."""
    envelopes = SimpleNamespace(
        horizon=np.array([10]), centre=np.zeros((1, 10)), spread=np.full((1, 10), 0.01)
    )
    seen = SimpleNamespace(
        envelopes=envelopes,
        returns=np.array([[live, *[0.0] * 9]]),
        shadow=np.array([[shadow, *[0.0] * 9]]),
    )
    checks = tuple(
        Check(key, key, state, None, None, None, "percent", None, f"{key} says so.")
        for key, state in zip(KEYS, states, strict=True)
    )
    found = SimpleNamespace(band=np.array([2.0]))
    return SimpleNamespace(
        observations=seen, kept=np.ones(10, np.bool_), checks=checks, assessment=found
    )


@pytest.mark.parametrize(
    ("states", "live", "shadow", "expected", "says"),
    [
        ((PASS, PASS, PASS, PASS), 0.0, 0.0, ("pass", "pass"), "Neither part has moved"),
        ((PASS, PASS, FAIL, PASS), -0.05, 0.0, ("fail", "pass"), "Execution has moved: slippage"),
        # Live lost by execution alone: the returns that fail are no evidence against the edge.
        ((FAIL, FAIL, FAIL, PASS), -0.05, 0.0, ("fail", "pass"), "Execution has moved: slippage"),
        ((FAIL, PASS, PASS, PASS), -0.01, -0.01, ("pass", "fail"), "1.0 spreads of healthy paths"),
        # Live stopped and lost nothing; the shadow went on and left its envelope.
        ((PASS, PASS, NOT_RUN, NOT_RUN), 0.0, -0.3, ("not_run", "warn"), "cannot be tested yet"),
        ((PASS, PASS, WARN, PASS), 0.0, -0.3, ("warn", "warn"), "The edge has moved"),
    ],
)
def test_each_part_stands_on_its_own_evidence(states, live, shadow, expected, says):
    found = live_parts(examined(states, live=live, shadow=shadow))
    assert found is not None
    assert tuple(row.state for row in found.rows) == expected
    assert says in found.sentence
    assert found.rows[0].difference == pytest.approx(live - shadow)
    assert ("Neither" in found.sentence) == (set(expected) == {"pass"})


def trips(pnl):
    """Return round trips of 1,000 that closed at bars 0, 1, 2 and so on, and an open one."""
    pnl = np.array([*pnl, np.nan])
    n = len(pnl)
    exited = np.array([*range(n - 1), -1])
    return LiveTrips(np.zeros(n, int), np.zeros(n, int), exited, pnl / 1_000.0, pnl)


def test_the_profit_factor_is_gains_over_losses_of_what_closed_since_the_evidence_began():
    # The first loss is from before; then twelve of 30 against eight of 15.
    value, note = _profit_factor(trips([-500.0, *[30.0] * 12, *[-15.0] * 8]), first=1)
    assert (value, note) == (pytest.approx(360 / 120), "20 round trips")


@pytest.mark.parametrize(
    ("pnl", "note"),
    [
        ([10.0, -5.0] * 9, "Insufficient data: 18 of 20 round trips."),
        ([], "Insufficient data: 0 of 20 round trips."),
        ([10.0] * 20, "No losing round trip has closed."),
    ],
)
def test_no_profit_factor_without_enough_round_trips_or_a_loss(pnl, note):
    assert _profit_factor(trips(pnl), first=0) == (None, note)
