"""Rebalances: proposed, decided, and executed trade by trade, whatever kills them between."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.jsonable import jsonable
from portfolio.models import (
    Account,
    CashMovement,
    Order,
    OrderStatus,
    Portfolio,
    PortfolioAllocation,
    PortfolioMember,
    Rebalance,
    StrategyStanding,
)
from portfolio.quant.rebalance_policies import Calendar, Destination, Trigger
from portfolio.services import rebalance_execution, rebalancing
from portfolio.services.portfolio_state import returns_of, take_snapshot
from portfolio.services.rebalance_settings import OFF, is_used, settings_of, switched
from tests.portfolio.risk_builders import AT, START, hold, make_portfolio, mark


@pytest.fixture
def drifted(alice):
    """Two accounts of 100,000 whose targets are 30 and 60 %, with 10 % in reserve."""
    portfolio, accounts = make_portfolio(alice, n=2, reserve=0)
    for account, target in zip(accounts, (0.3, 0.6), strict=True):
        PortfolioMember.objects.filter(strategy=account.strategy).update(target_weight=target)
    return portfolio, accounts


def total(portfolio):
    cash = sum(Account.objects.values_list("cash", flat=True))
    return cash + Portfolio.objects.get(pk=portfolio.pk).reserve


def weights(portfolio):
    return take_snapshot(Portfolio.objects.get(pk=portfolio.pk), at=AT).weights


def approved(portfolio, **options):
    proposal = rebalancing.propose(portfolio, at=AT, **options)
    rebalancing.decide(proposal, is_approved=True, by=portfolio.owner, at=AT)
    return proposal


def test_a_proposal_says_before_after_cost_effect_and_checks(drifted):
    portfolio, _accounts = drifted
    proposal = rebalancing.propose(portfolio, at=AT, reason="Looks lopsided")
    rows = list(proposal.trades.values_list("weight_before", "weight_after", "amount", "cost"))
    assert rows == [
        (0.5, pytest.approx(0.3), Decimal("-40000.0000"), Decimal("40.0000")),
        (0.5, pytest.approx(0.6), Decimal("20000.0000"), Decimal("20.0000")),
    ]
    assert (proposal.status, proposal.cost) == ("proposed", Decimal(60))
    assert proposal.turnover == pytest.approx(0.3)
    assert proposal.effect["drift_before"] == pytest.approx(0.2)
    assert proposal.effect["drift_after"] == pytest.approx(0.0)
    assert [check["code"] for check in proposal.checks if not check["passed"]] == ["FRESH_PRICES"]


@pytest.fixture
def fresh(monkeypatch):
    """Let the market's present be that of the accounts."""
    monkeypatch.setattr(
        "portfolio.services.rebalance_checks.market_time", lambda timeframe, *, at: START
    )


def test_stale_prices_forbid_the_approval(drifted):
    portfolio, _accounts = drifted
    proposal = rebalancing.propose(portfolio, at=AT)
    with pytest.raises(ConflictError, match="stale"):
        rebalancing.decide(proposal, is_approved=True, at=AT)
    proposal.refresh_from_db()
    assert proposal.status == "proposed"


def test_an_approved_rebalance_moves_the_capital_and_is_noted(drifted, fresh, sent):
    portfolio, _accounts = drifted
    before = total(portfolio)
    proposal = approved(portfolio)
    rebalance = rebalance_execution.execute(str(proposal.pk), at=AT)
    assert rebalance.status == "done"
    np.testing.assert_allclose(weights(portfolio), [0.3, 0.6, 0.1])
    assert total(portfolio) == before
    rows = PortfolioAllocation.objects.order_by("weight")
    assert [(row.weight, row.capital, row.rebalance_id) for row in rows] == [
        (pytest.approx(0.3), Decimal(60_000), proposal.pk),
        (pytest.approx(0.6), Decimal(120_000), proposal.pk),
    ]


@pytest.mark.parametrize("killed_before", [0, 1, 2])
def test_a_rebalance_killed_between_any_two_trades_goes_on(
    drifted, fresh, killed_before, monkeypatch
):
    portfolio, _accounts = drifted
    before = total(portfolio)
    proposal = approved(portfolio)
    real, done = rebalance_execution.execute_trade, []

    def dies(trade_id, *, at):
        if len(done) == killed_before:
            raise KeyboardInterrupt
        done.append(trade_id)
        return real(trade_id, at=at)

    monkeypatch.setattr(rebalance_execution, "execute_trade", dies)
    if killed_before < 2:
        with pytest.raises(KeyboardInterrupt):
            rebalance_execution.execute(str(proposal.pk), at=AT)
    assert total(portfolio) == before
    monkeypatch.undo()
    for _ in range(2):
        rebalance = rebalance_execution.execute(str(proposal.pk), at=AT + timedelta(minutes=1))
    assert rebalance.status == "done"
    assert total(portfolio) == before
    np.testing.assert_allclose(weights(portfolio), [0.3, 0.6, 0.1])
    assert CashMovement.objects.count() == 2
    assert PortfolioAllocation.objects.count() == 2


def test_a_trade_killed_before_its_commit_leaves_nothing(drifted, fresh, monkeypatch):
    portfolio, _accounts = drifted
    proposal = approved(portfolio)

    def dies(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(rebalance_execution, "_done", dies)
    with pytest.raises(KeyboardInterrupt):
        rebalance_execution.execute(str(proposal.pk), at=AT)
    assert not CashMovement.objects.exists()
    assert Portfolio.objects.get(pk=portfolio.pk).reserve == 0


def test_invested_capital_leaves_after_its_sales_are_filled(drifted, fresh):
    portfolio, accounts = drifted
    hold(accounts[0], 500)
    proposal = approved(portfolio)
    waiting = rebalance_execution.execute(str(proposal.pk), at=AT)
    assert waiting.status == "running"
    # 40,000 of 100,000 leave: 40 % of every position is sold.
    sale = Order.objects.get()
    assert (sale.side, sale.quantity, sale.reason) == ("sell", Decimal(200), "rebalance")
    # Asked again before the fill, nothing is sent twice.
    rebalance_execution.execute(str(proposal.pk), at=AT)
    assert Order.objects.count() == 1
    Order.objects.update(status=OrderStatus.FILLED, ended_at=AT)
    accounts[0].positions.update(quantity=300, cost=30_000)
    Account.objects.filter(pk=accounts[0].pk).update(cash=70_000)
    done = rebalance_execution.execute(str(proposal.pk), at=AT)
    assert done.status == "done"
    np.testing.assert_allclose(weights(portfolio), [0.3, 0.6, 0.1])


def test_new_capital_enlarges_the_positions_that_are_held(drifted, fresh):
    portfolio, accounts = drifted
    hold(accounts[1], 500)
    rebalance_execution.execute(str(approved(portfolio).pk), at=AT)
    bought = Order.objects.get(account=accounts[1])
    assert (bought.side, bought.quantity, bought.reason) == ("buy", Decimal(100), "rebalance")


def test_a_rejected_proposal_moves_nothing_and_frees_the_portfolio(drifted):
    portfolio, _accounts = drifted
    proposal = rebalancing.propose(portfolio, at=AT)
    rebalancing.decide(proposal, is_approved=False, by=portfolio.owner, reason="No", at=AT)
    assert rebalance_execution.execute(str(proposal.pk), at=AT).status == "rejected"
    assert not CashMovement.objects.exists()
    assert rebalancing.propose(portfolio, at=AT).status == "proposed"


def test_only_one_rebalance_is_undecided_at_a_time(drifted):
    portfolio, _accounts = drifted
    rebalancing.propose(portfolio, at=AT)
    with pytest.raises(ConflictError, match="under way"):
        rebalancing.propose(portfolio, at=AT)


def test_a_proposal_is_decided_once(drifted, fresh):
    portfolio, _accounts = drifted
    proposal = approved(portfolio)
    with pytest.raises(ConflictError, match="decided"):
        rebalancing.decide(proposal, is_approved=False, at=AT)


def test_an_old_proposal_cannot_be_approved(drifted, fresh):
    portfolio, _accounts = drifted
    proposal = rebalancing.propose(portfolio, at=AT)
    later = AT + rebalancing.PROPOSAL_LASTS
    with pytest.raises(ConflictError, match="out of date"):
        rebalancing.decide(proposal, is_approved=True, at=later)
    assert rebalancing.expire_proposals(portfolio, at=later) == 1


def test_an_abandoned_rebalance_stops_between_trades(drifted, fresh):
    portfolio, accounts = drifted
    hold(accounts[0], 500)
    proposal = approved(portfolio)
    rebalance_execution.execute(str(proposal.pk), at=AT)
    rebalancing.abandon(proposal, by=portfolio.owner, reason="Market closed", at=AT)
    Order.objects.update(status=OrderStatus.FILLED, ended_at=AT)
    assert rebalance_execution.execute(str(proposal.pk), at=AT).status == "failed"
    assert not CashMovement.objects.exists()


def test_nothing_to_move_is_no_proposal(alice):
    portfolio, _accounts = make_portfolio(alice, n=2)
    with pytest.raises(InvalidInput, match="near its target"):
        rebalancing.propose(portfolio, at=AT)
    assert rebalancing.check_triggers(portfolio, at=AT) is None


@pytest.mark.parametrize(("is_automatic", "status"), [(False, "proposed"), (True, "approved")])
def test_a_drift_beyond_the_band_asks_by_itself(drifted, fresh, is_automatic, status):
    portfolio, _accounts = drifted
    rebalancing.set_settings(portfolio, {"is_automatic": is_automatic, "absolute": 0.05})
    proposal = rebalancing.check_triggers(portfolio, at=AT)
    assert (proposal.trigger, proposal.status) == ("band", status)
    assert "20.0 points" in proposal.reason
    assert rebalancing.check_triggers(portfolio, at=AT) is None


def test_a_suspended_strategy_gives_its_capital_back(drifted, fresh):
    portfolio, accounts = drifted
    StrategyStanding.objects.create(
        strategy=accounts[1].strategy, verification="failed", changed_at=AT
    )
    proposal = rebalancing.check_triggers(portfolio, at=AT)
    assert proposal.trigger == "status"
    after = dict(proposal.trades.values_list("strategy", "weight_after"))
    assert after[accounts[1].strategy_id] == 0


def test_locked_strategies_and_brokers_accounts_are_left_alone(drifted):
    portfolio, accounts = drifted
    PortfolioMember.objects.filter(strategy=accounts[0].strategy).update(
        locked_until=AT + timedelta(days=30)
    )
    Account.objects.filter(pk=accounts[1].pk).update(broker="external")
    with pytest.raises(InvalidInput, match="near its target"):
        rebalancing.propose(portfolio, at=AT)


def test_the_edge_of_the_band_is_enough_if_the_settings_say_so(drifted):
    portfolio, _accounts = drifted
    values = {"absolute": 0.05, "destination": "edge"}
    rebalancing.set_settings(portfolio, values)
    proposal = rebalancing.propose(portfolio, at=AT, trigger="band")
    after = list(proposal.trades.values_list("weight_after", flat=True))
    # The freed 15 points go to the other strategy and the reserve in proportion to what they lack.
    assert after == [pytest.approx(0.35), pytest.approx(0.5 + 0.15 * 0.1 / 0.18, abs=0.01)]


def test_settings_are_stored_whole_and_checked():
    found = settings_of({"absolute": 0.1, "calendar": "monthly", "destination": "edge"})
    assert found.policy.calendar is Calendar.MONTHLY
    assert found.policy.destination is Destination.EDGE
    assert settings_of(found.as_json()) == found
    with pytest.raises(InvalidInput):
        settings_of({"absolute": -1})
    with pytest.raises(InvalidInput):
        settings_of({"speed": 1})


def test_a_snapshot_asks_the_same_number_of_queries_for_two_and_for_twenty(
    alice, django_assert_num_queries
):
    # Members, accounts, positions, standings, stays, marks, transfers, last rebalance; returns: 2.
    for n in (2, 20):
        portfolio, _accounts = make_portfolio(alice, n=n)
        with django_assert_num_queries(10):
            returns_of(take_snapshot(portfolio, at=AT))


def test_a_rebalance_belongs_to_its_portfolio_alone(drifted, alice, fresh):
    portfolio, _accounts = drifted
    other, _ = make_portfolio(alice, n=2)
    approved(portfolio)
    assert rebalance_execution.resume([one.pk for one in _]) == 0
    assert Rebalance.objects.filter(portfolio=other).count() == 0


def test_a_switched_off_trigger_keeps_its_bounds_for_when_it_is_on_again():
    settings = settings_of({"absolute": 0.04, "relative": 0.3, "calendar": "weekly"})
    for trigger in OFF:
        start = is_used(settings, trigger)
        once = switched(settings, trigger, is_on=not start)
        assert is_used(once, trigger) is not start
        assert settings_of(jsonable(once.as_json())) == once
        again = switched(once, trigger, is_on=start)
        assert again.policy == settings.policy
    off = switched(settings, Trigger.BAND, is_on=False)
    assert off.paused == {"absolute": 0.04, "relative": 0.3}
    assert switched(off, Trigger.BAND, is_on=False) is off
    usual = switched(settings_of({}), Trigger.VOLATILITY, is_on=True)
    assert usual.policy.volatility_high == 1.5
    with pytest.raises(InvalidInput):
        settings_of({"paused": {"nonsense": 1}})


def test_the_volatility_trigger_reads_the_sessions_of_the_portfolio(alice):
    portfolio, (account,) = make_portfolio(alice, n=1)
    calm = [0.001, -0.001] * 40
    mark(account, *calm, *[0.01, -0.01] * 5)
    rebalancing.set_settings(portfolio, {"volatility_high": 1.5, "volatility_window": 10})
    found = take_snapshot(portfolio, at=AT + timedelta(days=200))
    reading = next(
        one for one in rebalancing.trigger_readings(found) if one.trigger == Trigger.VOLATILITY
    )
    assert reading.is_due
    assert reading.value == pytest.approx(2.8, abs=0.2)


def test_the_command_says_what_comes_before_a_trigger(drifted, fresh, capsys):
    portfolio, _ = drifted
    proposal = rebalancing.propose(portfolio, at=now())
    call_command("rebalance", str(portfolio.pk), "--if-due")
    assert f"Rebalance {proposal.pk} is proposed; it comes first." in capsys.readouterr().out
    with pytest.raises(CommandError, match="no portfolio called 'Nowhere'"):
        call_command("rebalance", "Nowhere")
