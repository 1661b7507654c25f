"""Orders to Alpaca go there once, and its books are compared with ours."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils.timezone import now

from alphastrat.core.errors import ConflictError, ProviderError
from alphastrat.marketdata.models import Instrument
from portfolio.brokers import base
from portfolio.brokers.alpaca import ALPACA
from portfolio.models import BrokerDifference, Fill, Order, Position
from portfolio.services import reconciliation
from tests.factories import bearer, make_token, signed_in
from tests.portfolio.alpaca_server import alpaca_server
from tests.portfolio.trading_builders import START, make_account
from tests.strategies.builders import make_strategy

pytestmark = pytest.mark.django_db


@pytest.fixture
def alpaca(settings):
    with alpaca_server() as (server, address):
        settings.ALPACA_API_KEY, settings.ALPACA_SECRET_KEY = "key", "secret"
        settings.ALPACA_BASE_URL = address
        yield server


@pytest.fixture
def account(alice):
    for symbol in ("AAPL", "JPM", "KO"):
        Instrument.objects.create(symbol=symbol)
    return make_account(alice, broker="alpaca")


def make_order(account, **changes) -> Order:
    values = {
        "account": account,
        "instrument": Instrument.objects.get(symbol="KO"),
        "client_order_id": "c1",
        "side": "buy",
        "quantity": Decimal("2.5"),
        "expected_quantity": Decimal("2.5"),
        "reason": "entry",
        "reference_price": Decimal(40),
        "decided_at": START,
    }
    return Order(**{**values, **changes})


def submit(account, callbacks, **changes) -> Order:
    order = make_order(account, **changes)
    with callbacks(execute=True):
        base.submit([order], at=START)
        base.store([order])
    order.refresh_from_db()
    return order


def test_an_order_is_sent_once_it_is_stored(alpaca, account, django_capture_on_commit_callbacks):
    order = submit(account, django_capture_on_commit_callbacks)
    (theirs,) = alpaca.orders.values()
    assert order.status == "working"
    assert order.broker_order_id == theirs["id"]
    assert (theirs["client_order_id"], theirs["symbol"], theirs["qty"]) == ("c1", "KO", "2.5")


def test_an_answer_that_is_lost_makes_no_second_order(
    alpaca, account, django_capture_on_commit_callbacks
):
    alpaca.drop_answers = 1
    order = submit(account, django_capture_on_commit_callbacks)
    assert order.status == "pending"
    assert ALPACA.send([order.pk]) == 1
    order.refresh_from_db()
    assert order.status == "working"
    assert len(alpaca.orders) == 1


@pytest.mark.parametrize(("code", "status"), [(403, "rejected"), (422, "rejected")])
def test_a_refusal_for_good_rejects_the_order_with_the_reason(
    alpaca, account, django_capture_on_commit_callbacks, code, status
):
    alpaca.fail_with = [code]
    order = submit(account, django_capture_on_commit_callbacks)
    assert order.status == status
    assert str(code) in order.note


def test_the_next_comparison_sends_what_could_not_be_sent(
    alpaca, account, django_capture_on_commit_callbacks
):
    alpaca.drop_answers = 1
    order = submit(account, django_capture_on_commit_callbacks)
    reconciliation.reconcile(account, at=now())
    order.refresh_from_db()
    assert order.status == "working"
    assert len(alpaca.orders) == 1


def test_executions_are_fetched_once_and_close_their_order(
    alpaca, account, django_capture_on_commit_callbacks
):
    order = submit(account, django_capture_on_commit_callbacks)
    (theirs,) = alpaca.orders.values()
    alpaca.fill(theirs, quantity="2.5", price="41")
    found = reconciliation.reconcile(account, at=now())
    assert (found.n_fills, found.n_open) == (1, 0)
    assert reconciliation.reconcile(account, at=now()).n_fills == 0
    order.refresh_from_db()
    assert order.status == "filled"
    fill = Fill.objects.get()
    assert (fill.order, fill.reference_price, fill.source) == (order, Decimal(40), "alpaca")
    assert Position.objects.get().quantity == Decimal("2.5")


def test_executions_come_page_by_page(alpaca, account):
    order = alpaca.order(
        {"client_order_id": "x", "symbol": "KO", "qty": "1", "side": "buy", "time_in_force": "day"}
    )
    for _ in range(250):
        alpaca.fill(order, quantity="1", price="40")
    assert reconciliation.reconcile(account, at=now()).n_fills == 250


def test_a_difference_stays_until_both_agree_or_someone_says_why(alpaca, account, alice, charlie):
    alpaca.positions["JPM"] = "7"
    alpaca.cash = "90000"
    assert reconciliation.reconcile(account, at=now()).n_open == 2
    assert reconciliation.reconcile(account, at=now()).n_open == 2
    rows = {row.kind: row for row in BrokerDifference.objects.all()}
    assert (rows["position"].ours, rows["position"].theirs) == ("0", "7")
    assert (rows["cash"].ours, rows["cash"].theirs) == ("100000.00", "90000.00")
    assert not Position.objects.exists()

    alpaca.positions.clear()
    reconciliation.reconcile(account, at=now())
    rows["position"].refresh_from_db()
    assert rows["position"].resolution == "gone"

    page = signed_in(alice).get(account.get_absolute_url()).content.decode()
    assert "90000.00" in page
    url = f"{account.get_absolute_url()}differences/{rows['cash'].pk}/accept/"
    assert signed_in(charlie).post(url, {"reason": "mine"}).status_code == 404
    signed_in(alice).post(url, {"reason": "The deposit comes tomorrow"})
    rows["cash"].refresh_from_db()
    assert (rows["cash"].resolution, rows["cash"].resolved_by) == ("accepted", alice)
    reconciliation.reconcile(account, at=now())
    assert BrokerDifference.objects.filter(kind="cash", resolution="open").count() == 0


def test_cancelling_takes_a_working_order_back(alpaca, account, django_capture_on_commit_callbacks):
    order = submit(account, django_capture_on_commit_callbacks)
    ALPACA.cancel([order], at=now())
    (theirs,) = alpaca.orders.values()
    assert (theirs["status"], order.status) == ("canceled", "cancelled")


def test_an_order_that_they_ended_ends_here(alpaca, account, django_capture_on_commit_callbacks):
    order = submit(account, django_capture_on_commit_callbacks)
    (theirs,) = alpaca.orders.values()
    theirs["status"] = "expired"
    reconciliation.reconcile(account, at=now())
    order.refresh_from_db()
    assert order.status == "expired"
    assert "broker says" in order.note


def test_without_a_key_or_a_broker_the_comparison_says_so(account, alice, settings):
    settings.ALPACA_API_KEY = ""
    with pytest.raises(ProviderError, match="ALPACA_API_KEY"):
        reconciliation.reconcile(account, at=now())
    reconciliation.reconcile_all(at=now())
    assert "ALPACA_API_KEY" in BrokerDifference.objects.get().theirs
    other = make_account(alice, strategy=make_strategy(alice, name="Paper"), broker="paper")
    with pytest.raises(ConflictError):
        reconciliation.reconcile(other, at=now())


def test_one_key_is_one_account(alice, account):
    with pytest.raises(ConflictError, match="Another strategy"):
        make_account(alice, strategy=make_strategy(alice, name="Second"), broker="alpaca")


def test_the_api_compares_and_lists(client, alpaca, account, alice):
    alpaca.positions["KO"] = "1"
    headers = bearer(make_token(alice)[1])
    url = f"/api/v1/accounts/{account.pk}"
    found = client.post(f"{url}/reconcile", headers=headers).json()
    assert [(one["kind"], one["subject"], one["theirs"]) for one in found] == [
        ("position", "KO", "1")
    ]
    listed = client.get(f"{url}/differences", headers=headers).json()["items"]
    accepted = client.post(
        f"{url}/differences/{listed[0]['id']}/accept",
        {"reason": "Bought by hand"},
        "application/json",
        headers=headers,
    )
    assert accepted.json()["resolution"] == "accepted"
