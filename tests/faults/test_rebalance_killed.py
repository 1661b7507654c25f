"""A rebalance whose process is killed between any two trades goes on and loses nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db.models import QuerySet

from portfolio.models import (
    Account,
    CashMovement,
    Portfolio,
    PortfolioAllocation,
    PortfolioMember,
    Rebalance,
)
from portfolio.services import rebalance_execution, rebalancing
from tests.factories import make_user
from tests.faults.staging import Processes
from tests.portfolio.risk_builders import AT, START, make_portfolio

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

TARGETS = (0.10, 0.15, 0.35, 0.40)
CAPITAL = Decimal(400_000)


def accounts_of(portfolio: Portfolio) -> QuerySet[Account]:
    return Account.objects.filter(strategy__owner=portfolio.owner)


def movements(portfolio: Portfolio) -> int:
    return CashMovement.objects.filter(account__in=accounts_of(portfolio)).count()


def money(portfolio: Portfolio) -> Decimal:
    held = sum(accounts_of(portfolio).values_list("cash", flat=True))
    return held + Portfolio.objects.get(pk=portfolio.pk).reserve


def approved(number: int) -> Rebalance:
    """Give somebody a portfolio of four accounts and an approved rebalance of it."""
    portfolio, accounts = make_portfolio(make_user(f"owner{number}"), n=len(TARGETS))
    for account, target in zip(accounts, TARGETS, strict=True):
        PortfolioMember.objects.filter(strategy=account.strategy).update(target_weight=target)
    proposal = rebalancing.propose(portfolio, at=AT)
    rebalancing.decide(proposal, is_approved=True, at=AT)
    return proposal


def test_a_killed_rebalance_goes_on_where_it_was(monkeypatch, capsys):
    """Killed before its first trade, after each, and after the last before it is noted as done."""
    monkeypatch.setattr(
        "portfolio.services.rebalance_checks.market_time", lambda timeframe, *, at: START
    )
    proposals = [approved(n_trades) for n_trades in range(len(TARGETS) + 1)]
    with Processes() as processes:
        orders = [f"{proposal.pk}:{n_trades}" for n_trades, proposal in enumerate(proposals)]
        killing = processes.python("-m", "tests.faults.kill_rebalance", *orders)
        assert killing.wait(timeout=120) == 0
    for n_trades, proposal in enumerate(proposals):
        portfolio = proposal.portfolio
        assert movements(portfolio) == n_trades
        assert money(portfolio) == CAPITAL
        done = rebalance_execution.execute(str(proposal.pk), at=AT)
        assert done.status == "done"
        check_done(portfolio)
        with capsys.disabled():
            print(  # noqa: T201
                f"\nkilled after {n_trades} of {len(TARGETS)} trades: "
                f"{movements(portfolio)} cash movements, 0 lost, 0 doubled, "
                f"{money(portfolio):,.0f} of {CAPITAL:,} there"
            )


def check_done(portfolio: Portfolio) -> None:
    assert money(portfolio) == CAPITAL
    assert movements(portfolio) == len(TARGETS)
    assert PortfolioAllocation.objects.filter(portfolio=portfolio).count() == len(TARGETS)
    members = PortfolioMember.objects.filter(portfolio=portfolio)
    assert dict(accounts_of(portfolio).values_list("strategy", "cash")) == {
        strategy: CAPITAL * Decimal(str(target))
        for strategy, target in members.values_list("strategy", "target_weight")
    }
