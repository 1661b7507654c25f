"""Rebalancing against R's Return.portfolio, published widths, identities and by hand."""

from __future__ import annotations

import json
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio.quant.rebalance_policies import (
    Calendar,
    Destination,
    PortfolioState,
    RebalancePolicy,
    Trigger,
    calendar_closes,
    readings,
    weights_after,
)
from portfolio.quant.rebalancing import (
    drifted_weights,
    no_trade_band,
    risk_drift,
    to_edge,
    turnover,
    volatility_ratio,
)
from portfolio.quant.trigger_laboratory import compare_policies

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "fixtures"
DOCUMENT = json.loads(
    (FIXTURES / "rebalance__edhec_none_and_years.json").read_text(encoding="utf-8")
)
EXPECTED = {row["name"]: row["value"] for row in DOCUMENT["expected"]}
RETURNS = np.array(DOCUMENT["inputs"]["returns"])
TARGETS = np.array(DOCUMENT["inputs"]["weights"])
DAYS = [date.fromisoformat(day) for day in DOCUMENT["inputs"]["dates"]]


def laboratory(policy, **options):
    arguments = {"cost": 0.0, "periods_per_year": 12.0} | options
    return compare_policies(RETURNS, TARGETS, DAYS, policies={"it": policy}, **arguments)[0]


@pytest.mark.parametrize(("name", "due"), [("none", None), ("years", Calendar.YEARLY)])
def test_the_laboratory_agrees_with_performance_analytics(name, due):
    if due is None:
        found = laboratory(RebalancePolicy())
    else:
        # Its rebalance is at the close of the last month of a year, ours is asked for at the
        # first close of a new one: give it the sessions one month later.
        shifted = [*DAYS[1:], date(2002, 1, 31)]
        found = compare_policies(
            RETURNS,
            TARGETS,
            shifted,
            cost=0.0,
            periods_per_year=12.0,
            policies={"it": RebalancePolicy(calendar=due)},
        )[0]
    near = {"abs": 1e-9}
    assert 1 + found.total_return == pytest.approx(EXPECTED[f"{name}_final_wealth"], **near)
    assert found.annual_return == pytest.approx(EXPECTED[f"{name}_annual_return"], **near)
    assert found.volatility == pytest.approx(EXPECTED[f"{name}_annual_vol"], **near)
    assert found.max_drawdown == pytest.approx(-EXPECTED[f"{name}_max_drawdown"], **near)
    if due is None:
        assert found.n_rebalances == 0
        np.testing.assert_allclose(
            found.final_weights[:3], EXPECTED["none_final_weights"], atol=1e-9
        )
    else:
        # The last close asks once more, which R's record does not have.
        assert found.n_rebalances == 5
        assert found.turned[:-1].sum() == pytest.approx(
            EXPECTED["years_turnover_sum_abs_weights"], **near
        )
        np.testing.assert_allclose(found.final_weights[:3], TARGETS, atol=1e-12)


def test_costs_are_paid_out_of_equity_at_each_rebalance():
    free = laboratory(RebalancePolicy(calendar=Calendar.MONTHLY))
    paid = laboratory(RebalancePolicy(calendar=Calendar.MONTHLY), cost=0.001)
    # The first bar has the targets from the start; every later close is a new month.
    np.testing.assert_allclose(
        1 + paid.returns, (1 + free.returns) * (1 - 0.001 * free.turned), rtol=1e-12
    )
    assert paid.cost == pytest.approx(0.001 * free.turnover)


def test_a_portfolio_at_its_targets_every_bar_has_no_tracking_error():
    found = laboratory(RebalancePolicy(absolute=1e-9))
    assert found.tracking_error == pytest.approx(0.0, abs=1e-9)
    assert laboratory(RebalancePolicy()).tracking_error > 0.005


def test_wider_bands_trade_less_and_track_worse():
    results = [laboratory(RebalancePolicy(absolute=width)) for width in (0.01, 0.03, 0.08)]
    for narrow, wide in pairwise(results):
        assert narrow.n_rebalances > wide.n_rebalances
        assert narrow.turnover > wide.turnover
        assert narrow.tracking_error < wide.tracking_error


def test_trading_to_the_edge_turns_over_less_than_to_the_target():
    to_target = laboratory(RebalancePolicy(absolute=0.02))
    edge = laboratory(RebalancePolicy(absolute=0.02, destination=Destination.EDGE))
    assert edge.turnover < to_target.turnover


POLICIES = [
    RebalancePolicy(calendar=Calendar.MONTHLY),
    RebalancePolicy(absolute=0.02),
    RebalancePolicy(relative=0.1, destination=Destination.EDGE),
    RebalancePolicy(risk_band=0.1, rest_bars=3),
    RebalancePolicy(sharpe_share=0.8, sharpe_window=20),
    RebalancePolicy(is_cost_aware=True, destination=Destination.EDGE),
    RebalancePolicy(volatility_high=1.1, volatility_low=0.9, volatility_window=10),
]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_looks_ahead(policy):
    rng = np.random.default_rng(11)
    returns = rng.normal(0.0005, 0.01, (300, 4))
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(300)]
    changed = returns.copy()
    changed[200:] = rng.normal(-0.01, 0.05, (100, 4))
    targets = np.array([0.3, 0.3, 0.2, 0.1])

    def run(values):
        return compare_policies(
            values,
            targets,
            days,
            cost=0.001,
            periods_per_year=252,
            policies={"it": policy},
            target_sharpe=1.0,
        )[0]

    before, after = run(returns), run(changed)
    assert before.n_rebalances > 0
    np.testing.assert_array_equal(before.turned[:200], after.turned[:200])
    np.testing.assert_array_equal(before.returns[:200], after.returns[:200])


def test_a_suspended_strategy_goes_to_cash_and_comes_back():
    returns = np.tile([0.01, -0.02], (6, 1))
    active = np.ones((6, 2), bool)
    active[2:4, 1] = False
    found = compare_policies(
        returns,
        np.array([0.5, 0.5]),
        [date(2024, 1, 1 + i) for i in range(6)],
        cost=0.0,
        periods_per_year=252,
        policies={"it": RebalancePolicy()},
        active=active,
    )[0]
    assert found.by_trigger == {Trigger.STATUS: 2}
    # Known at the third close: bars four and five earn half of one per cent only.
    assert found.returns[3] == pytest.approx(0.005)
    assert found.final_weights.sum() == pytest.approx(1.0)


def test_the_sharpe_trigger_asks_below_eighty_per_cent_of_the_target():
    rng = np.random.default_rng(2)
    returns = rng.normal(0.001, 0.01, (200, 2))
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(200)]
    policy = RebalancePolicy(sharpe_share=0.8, sharpe_window=60)

    def count(target):
        return compare_policies(
            returns,
            np.array([0.5, 0.5]),
            days,
            cost=0.0,
            periods_per_year=252,
            policies={"it": policy},
            target_sharpe=target,
        )[0].n_rebalances

    assert count(0.01) < count(2.0) < count(50.0) == 200 - 59
    assert count(None) == 0


@pytest.mark.parametrize(
    ("target", "cost", "aversion", "expected"),
    [
        # (3/2 x 0.01 x 0.25 x 0.25 / 3)^(1/3) = 0.0003125^(1/3).
        (0.5, 0.01, 3.0, 0.067860),
        (0.2, 0.001, 3.0, (1.5 * 0.001 / 3 * 0.04 * 0.64) ** (1 / 3)),
        (0.0, 0.01, 3.0, 0.0),
        (1.0, 0.01, 3.0, 0.0),
    ],
)
def test_the_no_trade_region_has_the_asymptotic_width(target, cost, aversion, expected):
    width = no_trade_band(np.array([target]), cost=cost, risk_aversion=aversion)
    assert width[0] == pytest.approx(expected, abs=1e-6)


def weights_of(n, seed):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n)), rng.uniform(0.0, 0.2, n)


@settings(max_examples=200, deadline=None)
@given(n=st.integers(2, 12), seed=st.integers(0, 100_000))
def test_the_edge_is_inside_every_band_and_keeps_the_sum(n, seed):
    weights, targets, widths = weights_of(n, seed)
    after = to_edge(weights, targets, widths)
    assert after.sum() == pytest.approx(1.0)
    assert (np.abs(after - targets) <= widths + 1e-9).all()
    # Nobody is pushed through its target, and it never costs more than going there.
    assert ((after - targets) * (weights - targets) >= -1e-12).all()
    assert turnover(weights, after) <= turnover(weights, targets) + 1e-12


@given(seed=st.integers(0, 1000))
def test_weights_drift_with_their_returns_and_keep_their_sum(seed):
    rng = np.random.default_rng(seed)
    weights, returns = rng.dirichlet(np.ones(4)), rng.normal(0, 0.05, 4)
    after = drifted_weights(weights, returns)
    assert after.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(
        after / after[0],
        weights * (1 + returns) / after[0] * after[0] / (weights[0] * (1 + returns[0])),
        rtol=1e-9,
    )


def test_risk_drift_is_that_of_the_most_misplaced_share():
    # Independent and equally volatile: shares of variance 0.64/0.68 and 0.04/0.68 for 80/20.
    found = risk_drift(np.array([0.8, 0.2]), np.array([0.5, 0.5]), np.eye(2))
    assert found == pytest.approx(abs(0.04 / 0.68 - 0.5) / 0.5)


def test_calendar_closes_are_the_first_of_each_period():
    days = [date(2023, 12, 28), date(2023, 12, 29), date(2024, 1, 2), date(2024, 1, 3)]
    for calendar in (Calendar.WEEKLY, Calendar.MONTHLY, Calendar.QUARTERLY, Calendar.YEARLY):
        assert calendar_closes(days, calendar).tolist() == [False, False, True, False]
    assert not calendar_closes(days, Calendar.NEVER).any()


def state(**options):
    values = {
        "weights": np.array([0.36, 0.24, 0.40]),
        "targets": np.array([0.30, 0.30, 0.40]),
        "last_rebalanced_on": date(2024, 1, 31),
    }
    return PortfolioState(**(values | options))


REGIMES = RebalancePolicy(volatility_high=1.5, volatility_low=0.5)


@pytest.mark.parametrize(
    ("policy", "options", "due"),
    [
        (RebalancePolicy(absolute=0.05), {}, [Trigger.BAND]),
        (RebalancePolicy(absolute=0.061), {}, []),
        (RebalancePolicy(relative=0.19), {}, [Trigger.BAND]),
        (RebalancePolicy(calendar=Calendar.MONTHLY), {}, [Trigger.CALENDAR]),
        (RebalancePolicy(calendar=Calendar.QUARTERLY), {}, []),
        (RebalancePolicy(risk_band=0.2), {"covariance": np.diag([1.0, 1.0, 0.0])}, [Trigger.RISK]),
        (RebalancePolicy(risk_band=0.2), {}, []),
        (RebalancePolicy(sharpe_share=0.8), {"sharpe": 0.79, "target_sharpe": 1.0}, ["sharpe"]),
        (RebalancePolicy(sharpe_share=0.8), {"sharpe": 0.81, "target_sharpe": 1.0}, []),
        (RebalancePolicy(sharpe_share=0.8), {"sharpe": None, "target_sharpe": 1.0}, []),
        (REGIMES, {"volatility_ratio": 1.6, "ratio_before": 1.0}, [Trigger.VOLATILITY]),
        (REGIMES, {"volatility_ratio": 1.6, "ratio_before": 1.7}, []),
        (REGIMES, {"volatility_ratio": 1.0, "ratio_before": 1.7}, [Trigger.VOLATILITY]),
        (REGIMES, {"volatility_ratio": 0.4, "ratio_before": None}, [Trigger.VOLATILITY]),
        (REGIMES, {"volatility_ratio": None, "ratio_before": None}, []),
        (RebalancePolicy(), {"volatility_ratio": 9.0}, []),
        (RebalancePolicy(), {"n_inactive": 1}, [Trigger.STATUS]),
        (RebalancePolicy(on_status=False), {"n_inactive": 1}, []),
        # At rest only a status is heard.
        (
            RebalancePolicy(absolute=0.05, rest_bars=5),
            {"bars_since": 5, "n_inactive": 1},
            [Trigger.STATUS],
        ),
        (RebalancePolicy(absolute=0.05, rest_bars=5), {"bars_since": 6}, [Trigger.BAND]),
    ],
)
def test_triggers_ask_when_their_measure_passes_the_limit(policy, options, due):
    found = readings(policy, state(**options), cost=0.001, on=date(2024, 2, 1))
    assert [reading.trigger for reading in found if reading.is_due] == due


def test_realised_volatility_is_held_against_its_long_run_level():
    returns = np.concatenate([np.tile([0.01, -0.01], 100), np.tile([0.03, -0.03], 10)])
    expected = 0.03 / np.sqrt((180 * 0.01**2 + 20 * 0.03**2) / 200)
    assert volatility_ratio(returns, 20, 200) == pytest.approx(expected)
    # A history shorter than the long run is its own; one of less than three windows says nothing.
    assert volatility_ratio(returns[:100], 20, 200) == pytest.approx(1.0)
    assert np.isnan(volatility_ratio(returns[:59], 20, 200))
    assert np.isnan(volatility_ratio(np.zeros(100), 20, 200))


def test_the_volatility_trigger_asks_once_when_a_regime_begins_and_once_when_it_ends():
    calm, wild = np.tile([0.01, -0.01], 60), np.tile([0.05, -0.05], 10)
    moves = np.concatenate([calm, wild, np.tile([0.01, -0.01], 40)])
    returns = np.column_stack([moves, 0.5 * moves])
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(len(moves))]
    policy = RebalancePolicy(
        volatility_high=2.0, volatility_low=0.0, volatility_window=20, volatility_long=120
    )
    found = compare_policies(
        returns,
        np.array([0.5, 0.5]),
        days,
        cost=0.0,
        periods_per_year=252,
        policies={"it": policy},
    )[0]
    assert found.by_trigger == {Trigger.VOLATILITY: 2}
    begin, end = np.flatnonzero(found.turned)
    assert 120 <= begin < 140 <= end


@pytest.mark.parametrize(
    "bounds",
    [
        {"volatility_high": 1.5, "volatility_low": 1.5},
        {"volatility_high": -1.0},
        {"volatility_window": 30, "volatility_long": 60},
        {"volatility_window": 2},
    ],
)
def test_a_regime_without_room_is_refused(bounds):
    with pytest.raises(ValueError, match=r"volatility|calm"):
        RebalancePolicy(**bounds)


def test_only_a_breach_of_a_band_stops_at_the_edge():
    policy = RebalancePolicy(absolute=0.02, destination=Destination.EDGE)
    edge = weights_after(policy, state(), cost=0.001, trigger=Trigger.BAND)
    np.testing.assert_allclose(edge, [0.32, 0.28, 0.40])
    full = weights_after(policy, state(), cost=0.001, trigger=Trigger.CALENDAR)
    np.testing.assert_allclose(full, [0.30, 0.30, 0.40])
