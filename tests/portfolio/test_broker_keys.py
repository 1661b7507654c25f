"""An account at a broker may have a key of its own: tried, encrypted, used, never shown."""

from __future__ import annotations

import json

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.utils.timezone import now

from alphastrat.core.errors import ConflictError, InvalidInput, ProviderError
from alphastrat.marketdata.models import Instrument
from portfolio import doctor
from portfolio.brokers.alpaca import connected
from portfolio.models import Account, BrokerDifference, BrokerKey
from portfolio.services import broker_keys, reconciliation
from portfolio.services.broker_keys import KeyPair
from tests.factories import bearer, make_token, make_user, signed_in
from tests.portfolio.alpaca_server import alpaca_server
from tests.portfolio.test_alpaca import submit
from tests.portfolio.trading_builders import make_account
from tests.strategies.builders import make_strategy

pytestmark = pytest.mark.django_db
TWO = {"key_id": "PKTWO", "secret": "second secret"}
FORM = {"broker": "alpaca", "capital": "100000"}


@pytest.fixture
def alpaca(settings):
    for symbol in ("AAPL", "JPM", "KO"):
        Instrument.objects.create(symbol=symbol)
    with alpaca_server() as (server, address):
        settings.ALPACA_API_KEY, settings.ALPACA_SECRET_KEY = "key", "secret"
        settings.ALPACA_BASE_URL = address
        yield server


@pytest.fixture
def account(alice, alpaca):
    connection = connected("alpaca", KeyPair(**TWO))
    return make_account(alice, broker="alpaca", connection=connection)


def open_page(user, strategy, **fields):
    url = f"/strategies/{strategy.pk}/account/new/"
    return signed_in(user).post(url, {**FORM, **fields})


def test_orders_and_books_go_through_the_accounts_own_key(
    alpaca, account, django_capture_on_commit_callbacks
):
    assert account.reference == "PA2"
    alpaca.used.clear()
    order = submit(account, django_capture_on_commit_callbacks)
    assert order.status == "working"
    reconciliation.reconcile(account, at=now())
    assert set(alpaca.used) == {"PKTWO"}


def test_the_key_is_encrypted_at_rest_and_never_shown(alice, account, client):
    row = BrokerKey.objects.get()
    for part in (b"PKTWO", b"second secret"):
        assert part not in bytes(row.token)
    page = signed_in(alice).get(account.get_absolute_url()).text
    assert "reached with its own key PKTW…" in page
    answer = client.get(
        f"/api/v1/accounts/{account.pk}", headers=bearer(make_token(alice)[1])
    ).content
    for shown in (page, answer.decode(), repr(KeyPair(**TWO)), str(row)):
        assert "PKTWO" not in shown or shown.startswith("KeyPair")
        assert "second secret" not in shown


def test_two_strategies_trade_two_accounts_there(alice, alpaca, account):
    second = make_strategy(alice, name="Second")
    make_account(alice, strategy=second, broker="alpaca")
    with pytest.raises(ConflictError, match="key of its own"):
        make_account(alice, strategy=make_strategy(alice, name="Third"), broker="alpaca")
    taken = connected("alpaca", KeyPair("PKNEW", "s3"))
    with pytest.raises(ConflictError, match="key of its own"):
        make_account(
            alice,
            strategy=make_strategy(alice, name="Fourth"),
            broker="alpaca",
            connection=taken,
        )


def test_the_page_tries_the_key_first(alice, alpaca):
    strategy = make_strategy(alice)
    answer = open_page(alice, strategy, key_id="PKTWO", secret="wrong")
    assert answer.status_code >= 400
    assert "401" in answer.text
    assert "wrong" not in answer.text
    assert not Account.objects.exists()
    half = open_page(alice, strategy, key_id="PKTWO")
    assert half.status_code == 422
    assert "Enter both" in half.text
    assert open_page(alice, strategy, broker="external", **TWO).status_code == 422
    assert open_page(alice, strategy, **TWO).status_code == 302
    assert Account.objects.get().reference == "PA2"


def test_the_key_of_the_installation_tells_its_account_too(alice, alpaca):
    assert open_page(alice, make_strategy(alice)).status_code == 302
    account = Account.objects.get()
    assert account.reference == "PA1"
    assert not BrokerKey.objects.exists()


def test_a_key_is_replaced_by_one_of_the_same_account_alone(alice, bob, alpaca, account):
    url = f"{account.get_absolute_url()}key/"
    client = signed_in(alice)
    assert client.get(url).status_code == 200
    assert signed_in(bob).post(url, {"key_id": "PKNEW", "secret": "s3"}).status_code == 404
    other = client.post(url, {"key_id": "key", "secret": "secret"})
    assert other.status_code == 409
    assert "This key opens PA1" in other.text
    assert client.post(url, {}).status_code == 422
    assert client.post(url, {"key_id": "PKNEW", "secret": "s3"}).status_code == 302
    assert broker_keys.of(account) == KeyPair("PKNEW", "s3")


def test_a_viewer_enters_no_keys(account):
    viewer = make_user("vera", role="viewer")
    assert signed_in(viewer).get(f"{account.get_absolute_url()}key/").status_code == 403


def test_the_api_opens_with_a_key_and_changes_it(client, alice, alpaca):
    headers = bearer(make_token(alice)[1])
    strategy = make_strategy(alice)
    body = json.dumps({"broker": "alpaca", **TWO})
    opened = client.post(
        f"/api/v1/strategies/{strategy.pk}/account", body, "application/json", headers=headers
    )
    assert (opened.status_code, opened.json()["reference"]) == (201, "PA2")
    assert "secret" not in opened.json()
    url = f"/api/v1/accounts/{opened.json()['id']}/key"
    wrong = client.put(url, json.dumps({"key_id": "x", "secret": "y"}), headers=headers)
    assert wrong.status_code >= 400
    changed = client.put(url, json.dumps({"key_id": "PKNEW", "secret": "s3"}), headers=headers)
    assert changed.status_code == 200
    assert broker_keys.of(Account.objects.get()) == KeyPair("PKNEW", "s3")


def test_keys_are_encrypted_afresh_and_a_lost_one_is_said(account, settings, capsys):
    old, new = settings.ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, old]
    call_command("rotate_credentials")
    assert "1 broker keys" in capsys.readouterr().out
    settings.ENCRYPTION_KEYS = [new]
    assert broker_keys.of(account) == KeyPair(**TWO)
    assert doctor.broker_credentials(now()).status == "ok"
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert doctor.broker_credentials(now()).status == "error"
    with pytest.raises(ProviderError, match="cannot be read"):
        reconciliation.reconcile(account, at=now())
    reconciliation.reconcile_all(at=now())
    assert "cannot be read" in BrokerDifference.objects.get().theirs


def test_half_a_key_is_none():
    assert broker_keys.pair("", " ") is None
    with pytest.raises(InvalidInput):
        broker_keys.pair("PK", "")
