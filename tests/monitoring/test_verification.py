"""Expectations, shadows, verdicts and gates on real bars."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.core.management import call_command

from alphastrat.core import jobs
from alphastrat.core.errors import ConflictError, InvalidInput, NotEnoughData
from alphastrat.core.models import Job, LiveEvent
from monitoring.models import Expectation, Shadow, Verification, VerificationTransition
from monitoring.services import (
    binary,
    expectations,
    gap_ledger,
    lifecycle_gates,
    observations,
    packing,
    performance_validator,
    shadow,
)
from portfolio.models import Account, EquityPoint, Fill, RiskAction, StrategyStanding
from portfolio.services.trading_states import set_trading_state
from strategies.models import Strategy
from strategies.services.lifecycle import move_strategy
from tests.monitoring.verification_builders import (
    AT,
    OPENED_AT,
    make_account,
    make_promised,
    make_strategy,
    trade_like_shadow,
)
from tests.strategies.builders import make_market

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


@pytest.fixture
def promised(alice):
    make_market()
    return make_promised(alice)


@pytest.fixture
def followed(promised):
    """A strategy whose account did exactly what its shadow does."""
    strategy, _ = promised
    account = make_account(strategy)
    trade_like_shadow(account)
    return strategy


def verdict_of(strategy, *, at=AT):
    (found,) = performance_validator.evaluate([strategy.pk], at=at).verifications
    return found


def test_an_expectation_is_what_the_backtest_did(promised):
    strategy, made = promised
    run = made.run
    assert made.is_current
    assert not made.is_out_of_sample
    assert made.n_bars > 900
    assert made.n_trades >= 30
    scalars = made.summary["scalars"]
    returns = expectations.reference_returns(made)
    assert scalars["mean"] == pytest.approx(returns.mean())
    assert scalars["win_rate"] == pytest.approx(float(run.win_rate), abs=0.01)
    assert 0 < scalars["exposure"] <= 1
    assert [regime["name"] for regime in made.summary["regimes"]] == ["calm", "normal", "turbulent"]
    cone = packing.unpack_cone(made.envelope)
    assert cone.n_bars == round(made.periods_per_year)
    assert scalars["drawdown_95"] == pytest.approx(cone.drawdowns[1])
    assert Verification.objects.get(strategy=strategy).expectation == made


def test_an_expectation_frozen_again_is_the_same_and_replaces_the_first(promised):
    strategy, first = promised
    second = expectations.freeze(strategy, at=AT)
    first.refresh_from_db()
    assert not first.is_current
    assert bytes(first.envelope) == bytes(second.envelope)
    assert Expectation.objects.filter(strategy=strategy, is_current=True).get() == second


def test_packed_expectations_come_back(promised):
    _, made = promised
    unpacked = packing.unpack_many([made.envelope, None])
    assert unpacked.promise["mean"][0] == pytest.approx(made.summary["scalars"]["mean"])
    assert np.isnan(unpacked.promise["mean"][1])
    assert unpacked.envelopes.horizon.tolist() == [round(made.periods_per_year), 0]
    np.testing.assert_allclose(
        unpacked.levels[0], np.array(made.summary["levels"]["log_levels"], float), rtol=1e-12
    )


def test_nothing_is_promised_without_a_backtest(alice):
    make_market()
    with pytest.raises(NotEnoughData, match="no backtest"):
        expectations.freeze(make_strategy(alice), at=AT)


def test_validating_a_strategy_freezes_its_expectation(
    alice, sent, django_capture_on_commit_callbacks
):
    make_market()
    strategy, made = make_promised(alice)
    Expectation.objects.filter(pk=made.pk).update(is_current=False)
    with django_capture_on_commit_callbacks(execute=True):
        move_strategy(strategy, "validated", at=AT)
    job = Job.objects.get(key=f"freeze:{strategy.current_version_id}")
    jobs.run_job(str(job.pk))
    assert Expectation.objects.filter(strategy=strategy, is_current=True).count() == 1


def test_the_shadow_is_the_backtest_of_the_live_period(promised):
    strategy, _ = promised
    account = make_account(strategy)
    assert shadow.refresh(None, at=AT) == [account.pk]
    found = Shadow.objects.get(account=account)
    times, returns = packing.unpack_curve(found.curves)
    assert found.n_bars == len(times) > 200
    assert binary.moment_of(int(times[0])) > OPENED_AT
    assert returns[0] == 0.0
    assert np.isfinite(returns).all()
    assert shadow.refresh(None, at=AT) == []


def test_the_shadow_goes_on_with_the_account(promised):
    strategy, _ = promised
    account = make_account(strategy, marked_to=AT - timedelta(days=60))
    shadow.refresh(None, at=AT)
    before = packing.unpack_curve(Shadow.objects.get().curves)
    Account.objects.filter(pk=account.pk).update(marked_to=AT, revision=7)
    shadow.refresh(None, at=AT)
    after = packing.unpack_curve(Shadow.objects.get().curves)
    assert len(after[0]) > len(before[0])
    np.testing.assert_array_equal(after[0][: len(before[0])], before[0])
    np.testing.assert_allclose(after[1][: len(before[1])], before[1], atol=1e-12)


def test_live_observations_are_those_of_the_account(followed):
    loaded = observations.load(None, at=AT)
    times, returns = packing.unpack_curve(Shadow.objects.get().curves)
    np.testing.assert_array_equal(loaded.times[0], times)
    np.testing.assert_allclose(loaded.returns[0], returns)
    np.testing.assert_allclose(loaded.shadow[0], returns)
    assert loaded.matches.value.tolist() == [1.0] * len(loaded.matches)
    np.testing.assert_allclose(loaded.fill_gaps_bps.value, 0.0, atol=0.02)
    closed = loaded.trips.exited >= 0
    assert closed.sum() >= 5
    assert (loaded.trips.entered[closed] <= loaded.trips.exited[closed]).all()
    assert loaded.has_shadow[0]


def test_a_cancelled_fill_does_not_count(followed):
    before = len(observations.load(None, at=AT).trips)
    first = Fill.objects.order_by("filled_at").first()
    Fill.objects.create(
        account=first.account,
        instrument=first.instrument,
        source="api",
        execution_id="correction",
        side=first.side,
        quantity=first.quantity,
        price=first.price,
        filled_at=first.filled_at,
        recorded_at=AT,
        corrects=first,
        is_cancelled=True,
    )
    assert len(observations.load(None, at=AT).trips) != before


def test_a_strategy_that_follows_its_shadow_is_good(followed):
    found = verdict_of(followed)
    stored = Verification.objects.get(strategy=followed)
    assert found.status in ("verified", "monitoring")
    assert stored.status == found.status
    assert stored.n_bars > 200
    assert stored.observed_to <= AT
    assert {check["key"] for check in stored.evidence["checks"]} >= {"return", "slippage"}
    assert stored.coverage == 1.0


def test_the_distance_from_the_promise_is_kept_with_the_verdict(followed):
    verdict_of(followed)
    seen = performance_validator.examine(followed.pk, at=AT)
    live = np.log1p(seen.observations.returns[0][seen.kept])
    envelopes, last = seen.observations.envelopes, len(live) - 1
    distance = (live.sum() - envelopes.centre[0][last]) / envelopes.spread[0][last]
    stored = Verification.objects.get(strategy=followed)
    assert stored.metrics["departure"] == pytest.approx(distance)


def test_a_pass_may_run_as_often_as_one_likes(followed):
    first = verdict_of(followed)
    transitions = VerificationTransition.objects.count()
    for minutes in range(5):
        again = verdict_of(followed, at=AT + timedelta(minutes=minutes))
        assert (again.status, again.e_value) == (first.status, first.e_value)
    assert VerificationTransition.objects.count() == transitions == 1


def test_bars_that_come_one_by_one_end_in_the_same_evidence(followed):
    whole = verdict_of(followed)
    points = list(EquityPoint.objects.order_by("marked_at"))
    Verification.objects.all().delete()
    EquityPoint.objects.all().delete()
    for start in range(0, len(points), 60):
        EquityPoint.objects.bulk_create(points[start : start + 60])
        step = verdict_of(followed)
    assert step.e_value == pytest.approx(whole.e_value)
    assert step.status == whole.status


def test_a_losing_account_degrades_and_says_why(promised, django_capture_on_commit_callbacks):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy), drift=-0.004)
    with django_capture_on_commit_callbacks():
        found = verdict_of(strategy)
    assert found.status in ("degraded", "failed")
    transition = VerificationTransition.objects.get(strategy=strategy)
    assert transition.after == found.status
    assert transition.evidence
    assert "E = " in transition.reason or "Drawdown" in transition.reason
    topics = set(LiveEvent.objects.values_list("topic", flat=True))
    assert {f"strategy:{strategy.pk}", f"verification:u{strategy.owner_id}"} <= topics


def test_worse_fills_show_in_the_difference_to_the_shadow(promised):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy), worse_bps=60.0)
    found = verdict_of(strategy)
    slippage = next(check for check in found.checks if check.key == "slippage")
    assert slippage.value == pytest.approx(-60.0, abs=0.5)
    assert slippage.state in ("warn", "fail")
    assert found.status != "verified"


def test_too_little_trading_is_no_verdict(promised):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy, marked_to=OPENED_AT + timedelta(days=30)))
    found = verdict_of(strategy)
    assert found.status == "insufficient"
    assert "of 60 bars" in found.reason


def test_a_strategy_without_expectation_says_so(alice):
    make_market()
    strategy = make_strategy(alice)
    make_account(strategy)
    assert "no validated backtest" in verdict_of(strategy).reason


def test_acknowledging_starts_the_evidence_anew(promised, alice):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy), drift=-0.004)
    bad = verdict_of(strategy)
    assert bad.e_value > 1 or bad.status == "failed"
    lifecycle_gates.acknowledge(strategy, by=alice, reason="Seen", at=AT + timedelta(hours=1))
    again = verdict_of(strategy)
    assert again.e_value == 1.0
    # It stays until ten clean bars have come.
    assert again.status == bad.status
    newest = VerificationTransition.objects.filter(strategy=strategy).first()
    assert newest.overridden_by == alice


def test_overruling_needs_a_reason_and_a_verdict_that_can_be_set(followed, alice):
    verdict_of(followed)
    with pytest.raises(InvalidInput):
        lifecycle_gates.overrule(followed, status="watch", by=alice, reason=" ", at=AT)
    with pytest.raises(InvalidInput):
        lifecycle_gates.overrule(followed, status="verified", by=alice, reason="Trust me", at=AT)
    lifecycle_gates.overrule(followed, status="degraded", by=alice, reason="Broker outage", at=AT)
    stored = Verification.objects.get(strategy=followed)
    assert stored.status == "degraded"
    assert "Broker outage" in stored.reason


@pytest.mark.parametrize(("action", "state"), [("suspend", "suspended"), ("reduce", "paper")])
def test_a_degraded_strategy_is_acted_on_only_if_asked_for(promised, action, state):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy), drift=-0.004)
    Verification.objects.filter(strategy=strategy).update(on_degraded=action)
    # Whoever gives the verdict acts on it; here it is a worker, not the monitor.
    task = "monitoring.verification_tasks.verify_strategy"
    job = jobs.enqueue(task, key="verify", title="Verify", strategy_id=str(strategy.pk))
    jobs.run_job(str(job.pk))
    strategy.refresh_from_db()
    assert strategy.state == state
    assert RiskAction.objects.get(strategy=strategy).code == "DEGRADED"
    lifecycle_gates.judge([strategy.pk], at=AT)
    assert RiskAction.objects.filter(strategy=strategy).count() == 1


def test_nothing_is_done_by_itself_by_default(promised):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy), drift=-0.004)
    found = lifecycle_gates.judge([strategy.pk], at=AT)
    assert [one.status for one in found.transitions] != []
    assert not RiskAction.objects.exists()


def test_a_verdict_whose_action_fails_is_not_stored(promised, monkeypatch):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy), drift=-0.004)
    Verification.objects.filter(strategy=strategy).update(on_degraded="suspend")

    def fail(*_args, **_options):
        raise OSError("killed")

    with monkeypatch.context() as killed:
        killed.setattr(lifecycle_gates, "set_trading_state", fail)
        with pytest.raises(OSError, match="killed"):
            lifecycle_gates.judge([strategy.pk], at=AT)
    lifecycle_gates.judge([strategy.pk], at=AT)
    assert RiskAction.objects.get(strategy=strategy).trading_state == "halted"


def test_reducing_does_not_loosen_a_halt(promised, alice):
    strategy, _ = promised
    trade_like_shadow(make_account(strategy), drift=-0.004)
    set_trading_state(strategy, "halted", reason="By hand", by=alice, at=AT)
    Verification.objects.filter(strategy=strategy).update(on_degraded="reduce")
    lifecycle_gates.judge([strategy.pk], at=AT)
    assert StrategyStanding.objects.get(strategy=strategy).trading_state == "halted"


def test_real_money_needs_thirty_days_on_paper_and_a_good_verdict(followed):
    verdict_of(followed)
    assert all(gate.is_met for gate in lifecycle_gates.gates_to_live(followed))
    Account.objects.update(marked_to=OPENED_AT + timedelta(days=12))
    time_on_paper, _ = lifecycle_gates.gates_to_live(followed)
    assert not time_on_paper.is_met
    assert "12 of 30 days" in time_on_paper.text
    with pytest.raises(ConflictError, match="12 of 30 days"):
        move_strategy(followed, "live", at=AT)
    followed.refresh_from_db()
    assert followed.state == "paper"


def test_the_gap_of_an_account_that_follows_its_shadow_is_nothing(followed):
    found = gap_ledger.explain(followed)
    assert abs(found.ledger.gap_bps) < 1.0
    assert all(abs(cause["bps"]) < 1.0 for cause in found.causes)
    assert all(entry.cause == "none" for entry in found.entries)


def test_the_gap_of_worse_fills_is_their_price(promised):
    strategy, _ = promised
    account = make_account(strategy)
    trade_like_shadow(account, worse_bps=50.0)
    # Bought at 1.005 times, sold at 0.995 times the shadow's price.
    cost = sum(
        float(fill.price * fill.quantity) * 50e-4 / (1.005 if fill.side == "buy" else 0.995)
        for fill in Fill.objects.all()
    )
    last = EquityPoint.objects.order_by("marked_at").last()
    EquityPoint.objects.filter(pk=last.pk).update(
        cash=float(last.cash) - cost, equity=float(last.equity) - cost
    )
    found = gap_ledger.explain(strategy)
    by_cause = {cause["cause"]: cause["bps"] for cause in found.causes}
    assert by_cause["price"] == pytest.approx(-cost / 10.0, rel=0.01)
    assert abs(by_cause["residual"]) < 1.5
    assert by_cause["missed"] == by_cause["extra"] == 0.0


def test_the_number_of_queries_does_not_grow_with_the_strategies(alice, django_assert_num_queries):
    make_market()
    strategies = []
    for number in range(3):
        strategy, _ = make_promised(alice, f"Reversion {number}")
        trade_like_shadow(make_account(strategy))
        strategies.append(strategy.pk)
    performance_validator.evaluate(strategies, at=AT)
    # Savepoint, missing rows, lock, evidence of the others, how far the replay is, write, release;
    # the three statements of the bulk read go past Django's cursor.
    for chosen in (strategies[:1], strategies):
        Verification.objects.update(observed_to=AT - timedelta(days=5))
        with django_assert_num_queries(8):
            performance_validator.evaluate(chosen, at=AT + timedelta(minutes=1))


def test_the_command_judges_everything(followed, capsys):
    call_command("evaluate_performance")
    assert "1 strategy" in capsys.readouterr().out
    assert Verification.objects.get(strategy=followed).evaluated_at is not None
    assert Strategy.objects.count() == 1
