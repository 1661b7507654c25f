"""A backtest says when the bars it was computed from have been restated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils.timezone import now

from alphastrat.marketdata.models import BarRevision, BarSeries
from strategies.models import BacktestRun
from tests.factories import signed_in
from tests.strategies.builders import finished_run, make_market

pytestmark = pytest.mark.django_db
INSIDE = datetime(2015, 6, 1, 13, 30, tzinfo=UTC)
SENTENCE = "Bars of this run have been restated"


def restate(symbol, *, opened_at=INSIDE, after=timedelta(minutes=1), source="test"):
    series, _ = BarSeries.objects.get_or_create(
        instrument=BarSeries.objects.get(instrument__symbol=symbol, source="test").instrument,
        timeframe="1d",
        source=source,
    )
    BarRevision.objects.create(
        series=series,
        opened_at=opened_at,
        old_values={"close": 1.0},
        new_values={"close": 2.0},
        recorded_at=now() + after,
    )


@pytest.fixture
def run(alice):
    make_market("AAPL", "JPM")
    return finished_run(alice, symbols=["AAPL"])


def test_a_run_on_bars_restated_since_says_so(alice, run):
    client = signed_in(alice)
    assert SENTENCE not in client.get(run.get_absolute_url()).content.decode()
    restate("AAPL")
    assert SENTENCE in client.get(run.get_absolute_url()).content.decode()
    listed = client.get("/backtests/?bars=restated").content.decode()
    assert run.title in listed


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "JPM"},  # another instrument
        {"symbol": "AAPL", "after": timedelta(days=-1)},  # before the run was computed
        {"symbol": "AAPL", "opened_at": datetime(2017, 6, 1, 13, 30, tzinfo=UTC)},  # outside
        {"symbol": "AAPL", "source": "replay"},  # a copy that no run reads
    ],
)
def test_a_restatement_elsewhere_leaves_a_run_alone(run, changes):
    restate(**changes)
    assert not BacktestRun.objects.on_restated_bars().exists()
