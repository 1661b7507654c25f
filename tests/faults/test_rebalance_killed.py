"""A rebalance whose process is killed between any two trades goes on and loses nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from portfolio.models import Account, CashMovement, Portfolio, PortfolioAllocation, PortfolioMember
from portfolio.services import rebalance_execution, rebalancing
from tests.factories import make_user
from tests.faults.staging import Processes
from tests.portfolio.risk_builders import AT, START, make_portfolio

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

TARGETS = (0.10, 0.15, 0.35, 0.40)
CAPITAL = Decimal(400_000)


def money(portfolio: Portfolio) -> Decimal:
    held = sum(Account.objects.values_list("cash", flat=True))
    return held + Portfolio.objects.get(pk=portfolio.pk).reserve


@pytest.mark.parametrize("n_trades", range(5))
def test_a_killed_rebalance_goes_on_where_it_was(n_trades, monkeypatch, capsys):
    monkeypatch.setattr(
        "portfolio.services.rebalance_checks.market_time", lambda timeframe, *, at: START
    )
    portfolio, accounts = make_portfolio(make_user(), n=4)
    for account, target in zip(accounts, TARGETS, strict=True):
        PortfolioMember.objects.filter(strategy=account.strategy).update(target_weight=target)
    proposal = rebalancing.propose(portfolio, at=AT)
    rebalancing.decide(proposal, is_approved=True, at=AT)
    with Processes() as processes:
        killed = processes.python(
            "-m", "tests.faults.kill_rebalance", str(proposal.pk), str(n_trades)
        )
        assert killed.wait(timeout=60) == -9
    assert CashMovement.objects.count() == n_trades
    assert money(portfolio) == CAPITAL
    done = rebalance_execution.execute(str(proposal.pk), at=AT)
    assert done.status == "done"
    assert money(portfolio) == CAPITAL
    assert CashMovement.objects.count() == len(TARGETS)
    assert PortfolioAllocation.objects.count() == len(TARGETS)
    cash = {account.strategy_id: account.cash for account in Account.objects.all()}
    assert [cash[account.strategy_id] for account in accounts] == [
        CAPITAL * Decimal(str(target)) for target in TARGETS
    ]
    with capsys.disabled():
        print(  # noqa: T201
            f"\nkilled after {n_trades} of {len(TARGETS)} trades: "
            f"{CashMovement.objects.count()} cash movements, 0 lost, 0 doubled, "
            f"{money(portfolio):,.0f} of {CAPITAL:,} there"
        )
