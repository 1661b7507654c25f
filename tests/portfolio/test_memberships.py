"""What a strategy earned in a portfolio stays there when it leaves, and is counted once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from portfolio.models import Account, EquityPoint, FormerMember, Portfolio, PortfolioMember
from portfolio.services.account_marks import exact, load_marks, total_by
from portfolio.services.accounts import close_account, move_cash, open_account
from portfolio.services.portfolio_performance import Period, attribution, load_performance
from portfolio.services.portfolios import (
    MemberDraft,
    PortfolioDraft,
    change_portfolio,
    create_portfolio,
)
from portfolio.services.risk_standing import portfolio_history, standings
from tests.factories import bearer, make_token, signed_in
from tests.portfolio.risk_builders import AT, START, make_portfolio, mark

DAY = timedelta(days=1)


@pytest.fixture
def two(alice):
    """Two strategies of 100,000 each: one makes 10,000 and 11,000, the other loses 20,000."""
    portfolio, accounts = make_portfolio(alice, n=2)
    mark(accounts[0], 0.10, 0.10)
    mark(accounts[1], -0.20)
    return portfolio, accounts


def set_members(portfolio: Portfolio, *accounts: Account) -> None:
    members = tuple(MemberDraft(one.strategy_id) for one in accounts)
    draft = PortfolioDraft(portfolio.name, members=members, reserve=portfolio.reserve)
    change_portfolio(portfolio, draft, at=AT)


def go_on(account: Account, *returns: float) -> None:
    """Append marks after the newest one."""
    account.refresh_from_db()
    for value in returns:
        equity = round(account.equity * Decimal(str(1 + value)), 4)
        account.equity, account.marked_to = equity, account.marked_to + DAY
        EquityPoint.objects.create(
            account=account,
            marked_at=account.marked_to,
            cash=equity,
            position_value=0,
            equity=equity,
            bar_return=value,
        )
    account.save()


def pnl(portfolio: Portfolio) -> list[Decimal]:
    return [one.pnl for one in portfolio_history(portfolio.pk).days]


def lines(portfolio: Portfolio, period: Period = Period.ALL) -> dict[str, tuple[Decimal, bool]]:
    found = attribution(load_performance(portfolio), period)
    return {
        line.result.key.name: (line.result.pnl, line.result.key.left_at is not None)
        for line in found.lines
    }


def test_what_a_strategy_earned_stays_when_it_leaves(two):
    portfolio, (winner, loser) = two
    assert pnl(portfolio) == [0, Decimal(-10_000), Decimal(11_000)]
    set_members(portfolio, winner)
    assert pnl(portfolio) == [0, Decimal(-10_000), Decimal(11_000)]
    assert lines(portfolio) == {
        winner.strategy.name: (Decimal(21_000), False),
        loser.strategy.name: (Decimal(-20_000), True),
    }


def test_its_capital_leaves_at_its_last_close_and_is_no_result(two):
    portfolio, (winner, _loser) = two
    set_members(portfolio, winner)
    history = portfolio_history(portfolio.pk)
    starts, ends = history.equity(reserve=Decimal(0))
    assert starts == [Decimal(200_000), Decimal(200_000), Decimal(110_000)]
    assert ends == [Decimal(200_000), Decimal(110_000), Decimal(121_000)]
    assert history.returns(reserve=Decimal(0)) == pytest.approx([0.0, -0.05, 0.10])
    assert [one.capital for one in history.days] == [200_000, -80_000, 0]


def test_what_it_earns_later_is_not_the_portfolios(two):
    portfolio, (winner, loser) = two
    set_members(portfolio, winner)
    go_on(loser, 0.5, 0.5)
    assert pnl(portfolio) == [0, Decimal(-10_000), Decimal(11_000)]


def test_a_strategy_that_changes_portfolios_counts_once_in_each(two, alice):
    portfolio, (winner, loser) = two
    set_members(portfolio, winner)
    draft = PortfolioDraft("Other", members=(MemberDraft(loser.strategy_id),))
    other = create_portfolio(alice, draft, at=AT)
    go_on(loser, 0.25)
    assert pnl(other) == [Decimal(20_000)]
    assert portfolio_history(other.pk).returns(reserve=Decimal(0)) == [0.25]
    assert sum(pnl(portfolio)) == Decimal(1_000)


def test_a_newcomer_does_not_change_the_past(two, alice):
    portfolio, accounts = two
    other, (newcomer,) = make_portfolio(alice, n=1)
    mark(newcomer, 1.0, 1.0)
    PortfolioMember.objects.filter(portfolio=other).delete()
    set_members(portfolio, *accounts, newcomer)
    assert pnl(portfolio) == [0, Decimal(-10_000), Decimal(11_000)]
    # Its capital has come, though no session has seen it yet.
    assert portfolio_history(portfolio.pk).equity(reserve=Decimal(0))[1][-1] == 601_000
    go_on(newcomer, 0.01)
    assert pnl(portfolio) == [0, Decimal(-10_000), Decimal(11_000), Decimal(4_000)]


def test_a_portfolio_begins_with_what_its_first_strategies_did(two, alice):
    portfolio, accounts = two
    members = tuple(MemberDraft(one.strategy_id) for one in accounts)
    Portfolio.objects.filter(pk=portfolio.pk).delete()
    made = create_portfolio(alice, PortfolioDraft("New", members=members), at=AT)
    assert pnl(made) == [0, Decimal(-10_000), Decimal(11_000)]


def test_one_that_comes_back_has_a_line_for_each_stay(two):
    portfolio, (winner, loser) = two
    set_members(portfolio, winner)
    go_on(loser, 0.5)
    set_members(portfolio, winner, loser)
    go_on(loser, 0.10)
    found = attribution(load_performance(portfolio), Period.ALL).lines
    ours = [line.result for line in found if line.result.key.strategy_id == loser.strategy_id]
    assert {(one.pnl, one.key.left_at is None) for one in ours} == {
        (Decimal(-20_000), False),
        (Decimal(12_000), True),
    }
    assert sum(pnl(portfolio)) == sum(one.result.pnl for one in found)


def test_the_attribution_adds_up_with_former_members_and_closed_accounts(two, alice):
    portfolio, (_winner, loser) = two
    close_account(loser, at=loser.marked_to)
    second = open_account(
        loser.strategy, capital=Decimal(50_000), costs={}, at=loser.marked_to + DAY
    )
    go_on(second, 0.10)
    set_members(portfolio, loser)
    performance = load_performance(portfolio)
    assert sum(one.pnl for one in performance.history.days) == 21_000 - 20_000 + 5_000
    for period in Period:
        parts = attribution(performance, period)
        assert parts.total.pnl == performance.pnl(period)
    assert lines(portfolio)[loser.strategy.name] == (Decimal(-15_000), False)
    assert performance.equity[-1] == 55_000


def test_capital_moved_before_it_left_goes_with_it(two):
    portfolio, (winner, loser) = two
    Portfolio.objects.filter(pk=portfolio.pk).update(reserve=30_000)
    portfolio.refresh_from_db()
    move_cash(
        loser,
        "transfer",
        Decimal(20_000),
        moved_at=loser.marked_to + timedelta(seconds=1),
        at=AT,
        source="rebalance",
        key="1",
    )
    Portfolio.objects.filter(pk=portfolio.pk).update(reserve=10_000)
    portfolio.refresh_from_db()
    assert portfolio_history(portfolio.pk).equity(reserve=Decimal(10_000))[1][-1] == 231_000
    set_members(portfolio, winner)
    starts, ends = portfolio_history(portfolio.pk).equity(reserve=Decimal(10_000))
    assert (starts[0], ends[-1]) == (Decimal(230_000), Decimal(131_000))


def test_one_that_never_traded_leaves_nothing_behind(alice):
    portfolio, (account,) = make_portfolio(alice, n=1)
    Account.objects.all().delete()
    set_members(portfolio)
    assert not FormerMember.objects.exists()
    assert account.strategy.former_portfolios.count() == 0


def test_pages_and_api_label_former_members(two, alice, client):
    portfolio, (winner, loser) = two
    set_members(portfolio, winner)
    page = signed_in(alice).get("/portfolio/performance/").text
    assert f"{loser.strategy.name} (former, left 1 Jun 2016)" in page
    _token, secret = make_token(alice)
    answer = client.get("/api/v1/portfolio/performance", headers=bearer(secret)).json()
    left = {one["name"]: one["left_at"] for one in answer["strategies"]}
    assert left[winner.strategy.name] is None
    assert left[loser.strategy.name].startswith("2016-06-01")


def test_marks_are_read_exactly_whatever_their_size(alice):
    _, (account,) = make_portfolio(alice, n=1)
    amounts = [Decimal("-0.0001"), Decimal("999999999999999.9999")]
    EquityPoint.objects.bulk_create(
        EquityPoint(
            account=account,
            marked_at=START + i * DAY,
            cash=amount,
            position_value=0,
            equity=amount,
            net_flow=-amount,
            bar_return=None if i == 0 else -1.0,
        )
        for i, amount in enumerate(amounts)
    )
    marks = load_marks([account.pk])[account.pk]
    assert list(marks.equity) == [-1, 9_999_999_999_999_999_999]
    assert list(marks.flow) == [1, -9_999_999_999_999_999_999]
    assert standings({account.pk: marks})[account.pk].drawdown == -1


def test_sums_never_wrap_around():
    largest = exact([2**62, 2**62, 5])
    assert list(total_by([0, 0, 1], 2, largest)) == [2**63, 5]
