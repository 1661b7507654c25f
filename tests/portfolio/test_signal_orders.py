"""What trading knows stands beside the signals and on the pages of instruments."""

from __future__ import annotations

import json

import pytest
from django.utils.timezone import now

from alphastrat.marketdata.models import Instrument
from portfolio.models import Order
from portfolio.services.accounting import record_fills
from strategies.models import StrategySignal
from tests.factories import signed_in
from tests.portfolio.trading_builders import START, fill_in, make_account
from tests.strategies.builders import make_market

pytestmark = pytest.mark.django_db


def test_a_signal_says_what_became_of_its_order_and_why_it_was_denied(alice):
    for symbol in ("AAPL", "JPM", "KO"):
        Instrument.objects.create(symbol=symbol)
    account = make_account(alice)
    version = account.strategy.current_version
    denial = {"code": "NO_BUYING_POWER", "message": "There was no cash left."}
    for symbol, status, denials in (
        ("AAPL", "filled", []),
        ("KO", "denied", [denial]),
        ("JPM", None, []),
    ):
        instrument = Instrument.objects.get(symbol=symbol)
        signal = StrategySignal.objects.create(
            strategy=account.strategy,
            version=version,
            instrument=instrument,
            signal_type="BUY",
            target=1,
            strength=0.5,
            price=100.0,
            closed_at=START,
            generated_at=START,
        )
        if status is not None:
            Order.objects.create(
                account=account,
                instrument=instrument,
                signal=signal,
                client_order_id=symbol,
                side="buy",
                reason="entry",
                status=status,
                denials=denials,
                decided_at=START,
                ended_at=now(),
            )
    exported = signed_in(alice).get("/signals/?format=json")
    rows = json.loads(b"".join(exported.streaming_content))
    acted = {row["instrument.symbol"]: row["acted"] for row in rows}
    assert acted == {"AAPL": "filled", "KO": "denied: There was no cash left.", "JPM": None}
    assert "denied: There was no cash left." in signed_in(alice).get("/signals/").content.decode()


def test_the_page_of_an_instrument_shows_what_is_held_of_it(alice, charlie):
    make_market("AAPL", "JPM", "KO")
    account = make_account(alice)
    record_fills(account, [fill_in("1", quantity=40)], source="api", at=now())
    page = signed_in(alice).get("/instruments/AAPL/").content.decode()
    assert "What strategies hold of this instrument" in page
    assert account.strategy.name in page
    assert (
        "What strategies hold" not in signed_in(charlie).get("/instruments/AAPL/").content.decode()
    )
    assert "What strategies hold" not in signed_in(alice).get("/instruments/KO/").content.decode()
