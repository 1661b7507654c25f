"""The list of strategies shows the verdict on each, and when it last gave a signal."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from alphastrat.marketdata.models import Instrument
from monitoring.models import Verification
from strategies.models import StrategySignal
from tests.factories import signed_in
from tests.strategies.builders import make_strategy

pytestmark = pytest.mark.django_db
AT = datetime(2016, 6, 30, 20, tzinfo=UTC)


def test_the_list_of_strategies_shows_verdict_live_return_and_last_signal(alice):
    for symbol in ("AAPL", "JPM", "KO"):
        Instrument.objects.create(symbol=symbol)
    judged, other = make_strategy(alice, name="Judged"), make_strategy(alice, name="Other")
    Verification.objects.create(
        strategy=judged, status="degraded", metrics={"total_return": -0.0321}
    )
    StrategySignal.objects.create(
        strategy=judged,
        version=judged.current_version,
        instrument=Instrument.objects.get(symbol="KO"),
        signal_type="BUY",
        target=1,
        strength=0.5,
        price=40.0,
        closed_at=AT,
        generated_at=AT,
    )
    browser = signed_in(alice)
    page = browser.get("/strategies/?sort=-verdict").content.decode()
    assert "Degraded" in page
    assert "−3.21%" in page
    rows = json.loads(b"".join(browser.get("/strategies/?format=json").streaming_content))
    found = {row["name"]: (row["verdict"], row["live_return"]) for row in rows}
    assert found == {"Judged": ("degraded", -0.0321), other.name: (None, None)}
