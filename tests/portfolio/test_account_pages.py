"""The page of an account: what it shows, exports and costs."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils.timezone import now

from alphastrat.marketdata.models import Instrument
from portfolio.models import Account, Order
from portfolio.services import accounting
from portfolio.services.accounting import record_fills
from tests.factories import make_user, signed_in
from tests.portfolio.trading_builders import START, fill_in, make_account
from tests.strategies.builders import make_strategy

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(alice) -> Account:
    for symbol in ("AAPL", "JPM", "KO"):
        Instrument.objects.create(symbol=symbol)
    return make_account(alice)


def fill_up(account: Account, n: int) -> None:
    record_fills(
        account,
        [fill_in(str(k), symbol="KO", filled_at=START + timedelta(hours=k + 1)) for k in range(n)],
        source="api",
        at=now(),
    )
    Order.objects.bulk_create(
        Order(
            account=account,
            instrument=Instrument.objects.get(symbol="KO"),
            client_order_id=f"o{k}",
            side="buy",
            expected_quantity=Decimal(3),
            reason="entry",
            status="denied",
            ended_at=START,
            decided_at=START,
            denials=[{"code": "TRADING_HALTED", "message": "Trading is halted."}],
        )
        for k in range(n)
    )


def test_the_page_shows_positions_fills_and_why_orders_were_denied(account, alice):
    fill_up(account, 3)
    send = fill_in("9", symbol="KO", corrects="1", price=50, filled_at=START + timedelta(hours=2))
    record_fills(account, [send], source="api", at=now())
    page = signed_in(alice).get(account.get_absolute_url()).content.decode()
    for text in ("KO", "30.0000", "TRADING_HALTED", "Replaced by a correction", "Import fills"):
        assert text in page, text


def test_a_viewer_reads_and_is_offered_nothing_to_do(account, alice):
    type(alice).objects.filter(pk=alice.pk).update(role="viewer")
    alice.refresh_from_db()
    browser = signed_in(alice)
    page = browser.get(account.get_absolute_url()).content.decode()
    assert "Import fills" not in page
    assert "Trade elsewhere" not in page
    assert browser.post(f"/strategies/{account.strategy_id}/account/new/").status_code == 403


def test_every_table_is_exported_and_unknown_ones_are_not(account, alice):
    fill_up(account, 2)
    browser, url = signed_in(alice), account.get_absolute_url()
    for table in ("fills", "orders", "positions", "equity"):
        for form in ("csv", "parquet", "json"):
            answer = browser.get(f"{url}?table={table}&format={form}")
            assert answer.status_code == 200, (table, form)
    rows = json.loads(b"".join(browser.get(f"{url}?table=fills&format=json")))
    assert [row["execution_id"] for row in rows] == ["1", "0"]
    assert browser.get(f"{url}?table=secrets&format=csv").status_code == 404
    assert browser.get(f"{url}equity/?format=csv").status_code == 200
    assert browser.get(f"{url}equity/").json()["layout"]


def test_the_strategy_leads_to_its_account(account, alice, charlie):
    url = f"/strategies/{account.strategy_id}/account/"
    assert signed_in(alice).get(url)["Location"] == account.get_absolute_url()
    assert signed_in(charlie).get(url).status_code == 404


def test_trading_elsewhere_opens_an_account_and_closes_the_paper_one(alice):
    paper = make_account(alice, broker="paper", strategy=make_strategy_alone(alice))
    url = f"/strategies/{paper.strategy_id}/account/new/"
    browser = signed_in(alice)
    assert browser.get(url).status_code == 200
    assert browser.post(url, {"broker": "external", "capital": "-1"}).status_code == 422
    browser.post(url, {"broker": "external", "capital": "5000", "reference": "U1"})
    paper.refresh_from_db()
    assert paper.closed_at is not None
    fresh = Account.objects.open().get()
    assert (fresh.broker, fresh.cash, fresh.reference) == ("external", 5000, "U1")
    old = browser.get(paper.get_absolute_url()).content.decode()
    assert "Closed" in old
    assert "U1" in old


def make_strategy_alone(owner):
    Instrument.objects.create(symbol="SOLO")
    return make_strategy(owner, name="Solo", symbols=["SOLO"])


@pytest.mark.parametrize("n", [2, 20])
def test_the_page_costs_the_same_however_much_was_traded(
    account, alice, n, django_assert_num_queries
):
    fill_up(account, n)
    accounting.rebuild(account)
    browser = signed_in(alice)
    with django_assert_num_queries(14):
        assert browser.get(account.get_absolute_url()).status_code == 200


def test_a_stranger_sees_nothing_of_it(account):
    bob = signed_in(make_user("bob"))
    for path in ("", "fills/", "equity/", "import/"):
        assert bob.get(f"{account.get_absolute_url()}{path}").status_code == 404
    assert bob.post(f"{account.get_absolute_url()}reconcile/").status_code == 404
