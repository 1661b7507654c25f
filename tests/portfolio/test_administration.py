"""Portfolios, limits and policies are configured in the administration; the ledger is read."""

from __future__ import annotations

from decimal import Decimal

import pytest

from portfolio.models import (
    BrokerKey,
    FormerMember,
    Portfolio,
    PortfolioMember,
    RiskLimits,
)
from portfolio.services import broker_keys, rebalancing
from portfolio.services.broker_keys import KeyPair
from portfolio.services.rebalance_settings import settings_of
from tests.factories import make_user, signed_in
from tests.portfolio.risk_builders import AT, hold, make_portfolio, mark, order
from tests.strategies.builders import make_strategy

pytestmark = pytest.mark.django_db

POLICY = {
    "calendar": "monthly",
    "is_absolute": "on",
    "absolute": "4",
    "relative": "25",
    "risk_aversion": "3",
    "risk_band": "25",
    "sharpe_share": "80",
    "target_sharpe": "1",
    "sharpe_window": "63",
    "volatility_high": "150",
    "volatility_low": "50",
    "volatility_window": "21",
    "volatility_long": "252",
    "rest_bars": "5",
    "destination": "edge",
    "cost_bps": "12",
    "minimum": "0.5",
}
READ_ONLY = (
    "account",
    "order",
    "fill",
    "rebalance",
    "riskaction",
    "strategystanding",
    "optimisation",
    "portfolioallocation",
    "brokerdifference",
)


@pytest.fixture
def root():
    return make_user("root", role="admin")


@pytest.fixture
def book(alice):
    return make_portfolio(alice, n=2)


def member_forms(portfolio, *, remove=None, add=None):
    """Return the management form and rows of the members as the page sends them."""
    members = list(portfolio.members.all())
    forms = {
        "members-TOTAL_FORMS": len(members) + (add is not None),
        "members-INITIAL_FORMS": len(members),
        "former_members-TOTAL_FORMS": 0,
        "former_members-INITIAL_FORMS": 0,
    }
    for i, member in enumerate(members):
        forms |= {
            f"members-{i}-id": member.pk,
            f"members-{i}-strategy": member.strategy_id,
            f"members-{i}-target_weight": member.target_weight,
            f"members-{i}-group": "Trend",
        }
        if member == remove:
            forms[f"members-{i}-DELETE"] = "on"
    if add is not None:
        forms |= {
            f"members-{len(members)}-strategy": add.pk,
            f"members-{len(members)}-target_weight": "0.1",
        }
    return forms


def change(client, portfolio, **fields):
    values = {"name": portfolio.name, "currency": "USD", "reserve": "0", **POLICY}
    url = f"/admin/portfolio/portfolio/{portfolio.pk}/change/"
    return client.post(url, {**values, **member_forms(portfolio), **fields})


def errors_of(answer):
    return answer.context["adminform"].form.errors if answer.context else None


@pytest.mark.parametrize("role", ["viewer", "trader"])
def test_nobody_else_enters(role, book):
    portfolio, accounts = book
    client = signed_in(make_user("someone", role=role))
    for url in (
        "/admin/portfolio/portfolio/",
        f"/admin/portfolio/portfolio/{portfolio.pk}/change/",
        f"/admin/portfolio/account/{accounts[0].pk}/change/",
        "/admin/portfolio/risklimits/add/",
    ):
        assert client.get(url).status_code == 302, url
    assert change(client, portfolio, name="Mine").status_code == 302
    portfolio.refresh_from_db()
    assert portfolio.name != "Mine"


def test_a_policy_is_checked_as_on_its_page(root, book):
    portfolio, _ = book
    client = signed_in(root)
    page = client.get(f"/admin/portfolio/portfolio/{portfolio.pk}/change/")
    assert page.context["adminform"].form["absolute"].value() == 5
    assert change(client, portfolio, absolute="-4").status_code == 200
    answer = change(client, portfolio, name="Renamed")
    assert answer.status_code == 302, errors_of(answer)
    portfolio.refresh_from_db()
    stored = settings_of(portfolio.rebalance_settings)
    assert portfolio.name == "Renamed"
    assert (stored.policy.absolute, stored.policy.relative) == (0.04, None)
    assert (stored.policy.calendar, stored.cost_bps) == ("monthly", 12)


def test_members_join_and_leave_with_their_past(root, alice, book):
    portfolio, accounts = book
    for account in accounts:
        mark(account, 0.01)
    newcomer = make_strategy(alice, name="Newcomer", symbols=["AAPL"])
    leaving = portfolio.members.get(strategy=accounts[0].strategy_id)
    forms = member_forms(portfolio, remove=leaving, add=newcomer)
    answer = change(signed_in(root), portfolio, **forms)
    assert answer.status_code == 302, answer.context["errors"]
    assert FormerMember.objects.get().strategy == accounts[0].strategy
    names = {one.strategy.name: one.group for one in portfolio.members.all()}
    assert names == {accounts[1].strategy.name: "Trend", "Newcomer": ""}


def test_only_free_strategies_of_its_owner_may_join(root, alice, charlie, book):
    portfolio, _ = book
    other, _accounts = make_portfolio(alice, n=1)
    foreign = make_strategy(charlie, name="Foreign", symbols=["AAPL"])
    for strategy in (foreign, PortfolioMember.objects.get(portfolio=other).strategy):
        answer = change(signed_in(root), portfolio, **member_forms(portfolio, add=strategy))
        assert answer.status_code == 200
    assert portfolio.members.count() == 2


def test_a_portfolio_is_made_for_somebody_and_kept_once_it_has_a_history(root, alice):
    client = signed_in(root)
    values = {"owner": alice.pk, "name": "New", "currency": "EUR", "reserve": "1000", **POLICY}
    answer = client.post("/admin/portfolio/portfolio/add/", values)
    assert answer.status_code == 302, errors_of(answer)
    made = Portfolio.objects.get()
    assert (made.owner, made.reserve) == (alice, Decimal(1000))
    url = f"/admin/portfolio/portfolio/{made.pk}/delete/"
    portfolio, accounts = make_portfolio(alice, n=2)
    for account, target in zip(accounts, (0.3, 0.7), strict=True):
        PortfolioMember.objects.filter(strategy=account.strategy).update(target_weight=target)
    rebalancing.propose(portfolio, at=AT)
    kept = f"/admin/portfolio/portfolio/{portfolio.pk}/delete/"
    assert client.post(kept, {"post": "yes"}).status_code == 403
    assert client.post(url, {"post": "yes"}).status_code == 302
    assert list(Portfolio.objects.all()) == [portfolio]


def test_trading_is_not_stopped_here(root, book):
    portfolio, _ = book
    change(signed_in(root), portfolio, trading_state="halted")
    portfolio.refresh_from_db()
    assert portfolio.trading_state == "active"


def test_limits_are_set_with_the_fields_of_their_page(root, alice, book):
    portfolio, _ = book
    client, url = signed_in(root), "/admin/portfolio/risklimits/"
    values = {"owner": alice.pk, "portfolio": portfolio.pk, "drawdown_action": "reduce"}
    wrong = client.post(f"{url}add/", {**values, "heat": "much"})
    assert wrong.status_code == 200
    answer = client.post(f"{url}add/", {**values, "drawdown": "12", "orders_per_minute": "5"})
    assert answer.status_code == 302, errors_of(answer)
    row = RiskLimits.objects.get()
    assert row.values == {"drawdown": "-0.12", "orders_per_minute": "5"}
    page = client.get(f"{url}{row.pk}/change/")
    assert page.context["adminform"].form["drawdown"].value() == 12
    client.post(f"{url}{row.pk}/change/", {"drawdown_action": "halt", "drawdown": "10"})
    row.refresh_from_db()
    assert (row.values, row.drawdown_action) == ({"drawdown": "-0.1"}, "halt")


def test_limits_belong_to_the_owner_of_what_they_limit(root, charlie, book):
    portfolio, accounts = book
    values = {"owner": charlie.pk, "portfolio": portfolio.pk, "drawdown_action": "deny"}
    client, url = signed_in(root), "/admin/portfolio/risklimits/add/"
    assert "belongs to alice" in client.post(url, values).text
    both = {**values, "owner": portfolio.owner_id, "strategy": accounts[0].strategy_id}
    assert "not of both" in client.post(url, both).text


@pytest.mark.parametrize("model", READ_ONLY)
def test_what_happened_is_read_and_never_edited(model, root, book):
    client, url = signed_in(root), f"/admin/portfolio/{model}/"
    assert client.get(url).status_code == 200
    assert client.get(f"{url}add/").status_code == 403


def test_an_account_shows_its_books_and_no_key(root, book):
    _, accounts = book
    account = accounts[0]
    hold(account, 10)
    order(account, 5).save()
    broker_keys.store(account, KeyPair("PKSECRET", "hush-hush"), at=AT)
    client = signed_in(root)
    url = f"/admin/portfolio/account/{account.pk}/change/"
    page = client.get(url).text
    assert "PKSE…" in page
    token = bytes(BrokerKey.objects.get().token).decode()
    for secret in ("PKSECRET", "hush-hush", token):
        assert secret not in page
    assert client.post(url, {"cash": "1"}).status_code == 403
    assert client.post(f"/admin/portfolio/account/{account.pk}/delete/").status_code == 403
