"""Files of fills from brokers and tools: read, previewed, recorded once."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile

from alphastrat.core.errors import InvalidInput
from alphastrat.marketdata.models import Instrument
from portfolio.models import EquityPoint, Fill, Position
from portfolio.services.fill_formats import parse_fills
from tests.factories import bearer, make_token, make_user, signed_in
from tests.portfolio.trading_builders import make_account

DATA = Path(settings.BASE_DIR) / "tests/data/fills"
CSV = """symbol,side,quantity,price,commission,filled_at,execution_id
AAPL,buy,10,100.5,1.25,2016-02-01T15:00:00Z,a1
AAPL,sell,4,101,0,2016-02-02T15:00:00+01:00,a2
NOPE,buy,1,1,0,2016-02-02T15:00:00Z,a3
AAPL,buy,ten,1,0,2016-02-02T15:00:00Z,a4
"""


def parsed(name: str):
    return parse_fills((DATA / name).read_bytes(), file_name=name)


def test_alpaca_activities_give_their_fills():
    found = parsed("alpaca_activities.json")
    assert found.source == "alpaca"
    first, second = found.fills
    assert (first.symbol, first.side, first.quantity, first.price) == (
        "AAPL",
        "buy",
        Decimal(1),
        Decimal("1.63"),
    )
    assert first.execution_id == "20190524113406977::8efc7b9a-8b2b-4000-9955-d36e7db0df74"
    assert first.filled_at == datetime(2019, 5, 24, 15, 34, 6, 977000, UTC)
    assert (second.side, second.quantity) == ("sell", Decimal("0.5"))


def test_flex_executions_come_in_the_accounts_zone_with_their_commission():
    found = parsed("ibkr_flex.xml")
    assert found.source == "ibkr"
    first, second = found.fills
    assert first.filled_at == datetime(2016, 1, 4, 15, 30, tzinfo=UTC)
    assert (first.quantity, first.commission) == (Decimal(100), Decimal("1.00234567"))
    assert (second.side, second.quantity, second.execution_id) == (
        "sell",
        Decimal(40),
        "0000e0d5.5689b5a6.01.01",
    )


def test_freqtrade_orders_are_the_fills_and_a_short_opens_with_a_sale():
    found = parsed("freqtrade_trades.json")
    assert [(f.execution_id, f.side, f.quantity) for f in found.fills] == [
        ("buy-1", "buy", Decimal("0.3")),
        ("buy-2", "buy", Decimal("0.2")),
        ("sell-1", "sell", Decimal("0.5")),
        ("2-entry", "sell", Decimal("1.0")),
    ]
    assert found.fills[0].commission == Decimal("0.3") * 100 * Decimal("0.001")


def test_a_freqtrade_database_gives_its_filled_orders(tmp_path):
    path = tmp_path / "trades.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(
            """
            CREATE TABLE trades (id INT, pair TEXT, fee_open REAL, fee_close REAL, is_short INT);
            CREATE TABLE orders (ft_trade_id INT, order_id TEXT, ft_order_side TEXT, side TEXT,
                status TEXT, filled REAL, amount REAL, average REAL, price REAL,
                order_filled_date TEXT);
            INSERT INTO trades VALUES (1, 'BTC/USDT', 0.001, 0.002, 0);
            INSERT INTO orders VALUES
                (1, 'o1', 'buy', 'buy', 'closed', 0.5, 0.5, 100, 100, '2016-01-05 13:20:00.000000'),
                (1, 'o2', 'sell', 'sell', 'canceled', 0, 0.5, NULL, 120, NULL),
                (1, 'o3', 'sell', 'sell', 'closed', 0.5, 0.5, 110, 110, '2016-01-06 14:20:00');
            """
        )
    database.close()
    found = parse_fills(path.read_bytes(), file_name="trades.sqlite")
    assert [(f.execution_id, f.side) for f in found.fills] == [("o1", "buy"), ("o3", "sell")]
    assert found.fills[1].commission == Decimal("0.5") * 110 * Decimal("0.002")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello", "no CSV"),
        (b'{"a": 1}', "neither Alpaca"),
        (b"[]", "neither Alpaca"),
        (b"{", "cannot be read"),
        (b"symbol,side\nAAPL,buy\n", "columns quantity, price, filled_at are missing"),
        (b"symbol,side,quantity,price,filled_at\n", "no fills"),
        (b"<FlexQueryResponse><nonsense/></FlexQueryResponse>", "cannot be read"),
    ],
)
def test_other_files_are_refused_with_the_reason(content, says):
    with pytest.raises(InvalidInput, match=says):
        parse_fills(content, file_name="x")


def test_equal_rows_without_an_id_are_two_fills_and_stay_two():
    text = b"symbol,side,quantity,price,filled_at\n" + b"AAPL,buy,1,1,2016-02-01T15:00:00Z\n" * 2
    ids = [fill.execution_id for fill in parse_fills(text, file_name="x.csv").fills]
    assert len(set(ids)) == 2
    assert ids == [f.execution_id for f in parse_fills(text, file_name="y.csv").fills]


@pytest.fixture
def account(alice):
    for symbol in ("AAPL", "JPM", "KO"):
        Instrument.objects.create(symbol=symbol)
    return make_account(alice)


def upload(text: str = CSV) -> SimpleUploadedFile:
    return SimpleUploadedFile("fills.csv", text.encode(), content_type="text/csv")


@pytest.mark.django_db
def test_the_page_previews_imports_once_and_keeps_bad_rows_out(account, alice):
    browser, url = signed_in(alice), f"/accounts/{account.pk}/import/"
    assert browser.get(url).status_code == 200
    preview = browser.post(url, {"file": upload()})
    page = preview.content.decode()
    assert preview.status_code == 200
    assert "NOPE is not known" in page
    assert "is no number" in page
    assert Fill.objects.count() == 0
    confirmed = preview.context["digest"]
    done = browser.post(url, {"confirm": confirmed, "file_name": "fills.csv"}, follow=True)
    assert "2 fills recorded" in done.content.decode()
    assert Position.objects.get().quantity == 6
    again = browser.post(url, {"file": upload()})
    assert again.context["result"].n_known == 2
    assert Fill.objects.count() == 2


@pytest.mark.django_db
def test_only_its_owner_imports_and_viewers_only_read(account, charlie):
    url = f"/accounts/{account.pk}/import/"
    assert signed_in(charlie).get(url).status_code == 404
    viewer = make_user("vera", role="viewer")
    assert signed_in(viewer).get(url).status_code == 403
    assert signed_in(charlie).get(f"/accounts/{account.pk}/").status_code == 404


@pytest.mark.django_db
def test_the_api_records_imports_and_lists(client, account, alice, charlie):
    headers = bearer(make_token(alice)[1])
    url = f"/api/v1/strategies/{account.strategy_id}"

    def post(path, body, **extra):
        return client.post(
            f"{url}/{path}", json.dumps(body), "application/json", headers={**headers, **extra}
        )

    row = {
        "symbol": "KO",
        "side": "buy",
        "quantity": "2.5",
        "price": "40",
        "filled_at": "2016-02-01T15:00:00Z",
    }
    made = post("fills", row, **{"Idempotency-Key": "k1"})
    assert made.status_code == 201, made.content
    assert post("fills", row, **{"Idempotency-Key": "k1"}).json()["n_known"] == 1
    assert post("fills", row).status_code == 422
    batch = [{**row, "execution_id": "b1"}, {**row, "execution_id": "b2", "symbol": "NOPE"}]
    whole = post("fills", {"fills": batch, "all_or_nothing": True})
    assert (whole.status_code, Fill.objects.count()) == (422, 1)
    partly = post("fills", {"fills": batch}).json()
    assert (partly["n_recorded"], partly["n_refused"]) == (1, 1)
    assert "NOPE" in partly["rows"][1]["message"]
    assert post("fills", {"fills": [batch[0]] * 1001}).status_code == 422
    sent = client.post(
        f"{url}/fills/import", {"file": upload(), "preview": "true"}, headers=headers
    )
    assert (sent.status_code, sent.json()["n_recorded"]) == (200, 2)
    sent = client.post(f"{url}/fills/import", {"file": upload()}, headers=headers)
    assert (sent.status_code, Fill.objects.count()) == (201, 4)
    for path in ("fills", "orders", "positions", "equity"):
        assert client.get(f"{url}/{path}", headers=headers).status_code == 200
    fills = client.get(f"{url}/fills?symbol=KO", headers=headers).json()["items"]
    assert {one["execution_id"] for one in fills} == {"k1", "b1"}
    point = {"marked_at": "2016-02-03T21:00:00Z", "equity": "100100.25"}
    assert post("equity", point).status_code == 201
    assert post("equity", {"points": [point]}).json()["n_known"] == 1
    assert EquityPoint.objects.get(is_reported=True).equity == Decimal("100100.25")
    stranger = bearer(make_token(charlie)[1])
    assert client.get(f"{url}/fills", headers=stranger).status_code == 404
    mine = client.get("/api/v1/accounts", headers=headers).json()["items"]
    assert [one["id"] for one in mine] == [str(account.pk)]


@pytest.mark.django_db
def test_a_strategy_on_paper_can_be_connected_to_an_account_elsewhere(client, account, alice):
    headers = bearer(make_token(alice)[1])
    url = f"/api/v1/strategies/{account.strategy_id}/account"
    body = json.dumps({"broker": "external", "capital": "5000", "reference": "U1"})
    made = client.post(url, body, "application/json", headers=headers)
    assert made.status_code == 201, made.content
    account.refresh_from_db()
    assert account.closed_at is not None
    refused = client.post(url, json.dumps({"broker": "paper"}), "application/json", headers=headers)
    assert refused.status_code == 422
