"""What each instrument brought: worked out by hand, and adding up to the portfolio's result."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pytest

from alphastrat.marketdata.models import BarSeries
from portfolio.models import (
    Account,
    CashMovement,
    FormerMember,
    Portfolio,
    PortfolioMember,
    Position,
)
from portfolio.performance_tables import instrument_rows
from portfolio.services.accounting import FillIn, rebuild, record_fills
from portfolio.services.accounts import open_account
from portfolio.services.instrument_results import InstrumentResult, by_instrument
from portfolio.services.portfolio_performance import Period, attribution, load_performance
from tests.factories import make_bars, signed_in
from tests.portfolio.risk_builders import instrument
from tests.strategies.builders import make_strategy

OPENED = datetime(2016, 1, 1, tzinfo=UTC)
DAYS = ("01-04", "01-05", "01-06", "01-07", "01-08", "02-01", "02-02")
CLOSES = {"AAPL": (100, 101, 102, 103, 104, 110, 120), "MSFT": (50, 50, 50, 50, 50, 50, 40)}
ALL, MONTH, DAY = Period.ALL, Period.MONTH, Period.DAY


def at(day: str, hour: int = 21) -> datetime:
    return datetime.fromisoformat(f"2016-{day}T{hour:02}:00+00:00")


def fill(key, symbol, side, quantity, price, paid, day) -> FillIn:
    return FillIn(
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        commission=Decimal(paid),
        filled_at=at(day, 15),
        execution_id=key,
    )


FILLS = (
    fill("1", "AAPL", "buy", 10, 100, 1, "01-05"),
    fill("2", "MSFT", "buy", 20, 50, 2, "01-06"),
    fill("3", "AAPL", "sell", 4, 115, 1, "02-02"),
)


def trade(account: Account, *fills: FillIn) -> None:
    """Record fills, and mark the account at every close as live operation does."""
    Account.objects.filter(pk=account.pk).update(marked_to=at("02-02"))
    record_fills(account, fills, source="api", at=at("02-03"))
    for position in Position.objects.filter(account=account).select_related("instrument"):
        newest = CLOSES.get(position.instrument.symbol, (None,))[-1]
        Position.objects.filter(pk=position.pk).update(mark_price=newest)


@pytest.fixture
def traded(alice):
    closed = pd.DatetimeIndex([at(day) for day in DAYS])
    for symbol, closes in CLOSES.items():
        series = BarSeries.objects.create(
            instrument=instrument(symbol), timeframe="1d", source="test", adjustment="split"
        )
        make_bars(series, closed - pd.Timedelta(hours=7), closed, closes)
    strategy = make_strategy(alice, symbols=["AAPL", "MSFT"], name="Both")
    account = open_account(
        strategy, broker="external", capital=Decimal(100_000), costs={}, at=OPENED
    )
    portfolio = Portfolio.objects.create(owner=alice, name="Traded")
    PortfolioMember.objects.create(
        portfolio=portfolio, strategy=strategy, target_weight=1, added_at=OPENED
    )
    trade(account, *FILLS)
    return portfolio, account


def results(portfolio: Portfolio, period: Period) -> dict[str, tuple[Decimal, ...]]:
    performance = load_performance(portfolio)
    lines = by_instrument(performance, period)
    whole = attribution(performance, period).total.pnl
    assert sum(one.pnl for one in lines) == pytest.approx(whole, abs=Decimal("0.01"))
    return {one.symbol: (one.pnl, one.commission, one.value) for one in lines}


def test_results_are_those_worked_out_by_hand(traded):
    portfolio, _ = traded
    # 4 sold at 115, 6 held at 120, all bought at 100; 20 bought at 50, held at 40.
    assert results(portfolio, ALL) == {"AAPL": (178, 2, 720), "MSFT": (-202, 2, 800)}
    # From 10 at 104 and 20 at 50.
    assert results(portfolio, MONTH) == {"AAPL": (139, 1, 720), "MSFT": (-200, 0, 800)}
    # From 10 at 110 and 20 at 50.
    assert results(portfolio, DAY) == {"AAPL": (79, 1, 720), "MSFT": (-200, 0, 800)}


def test_dividends_belong_to_no_instrument(traded):
    portfolio, account = traded
    CashMovement.objects.create(
        account=account,
        kind="dividend",
        amount=7,
        moved_at=at("02-01", 12),
        recorded_at=at("02-03"),
        source="api",
        execution_id="d",
    )
    rebuild(account)
    Position.objects.filter(account=account, instrument__symbol="AAPL").update(mark_price=120)
    Position.objects.filter(account=account, instrument__symbol="MSFT").update(mark_price=40)
    assert results(portfolio, MONTH)[""] == (7, 0, 0)
    assert "" not in results(portfolio, DAY)


def test_a_correction_counts_in_place_of_what_it_corrects(traded):
    portfolio, account = traded
    right = FillIn(
        **{**vars_of(FILLS[2]), "price": Decimal(116), "execution_id": "4", "corrects": "3"}
    )
    trade(account, right)
    assert results(portfolio, DAY)["AAPL"][0] == 83


def vars_of(one: FillIn) -> dict:
    return {name: getattr(one, name) for name in FillIn.__dataclass_fields__}


def test_an_instrument_without_bars_is_worth_its_newest_fill(traded):
    portfolio, account = traded
    instrument("DARK")
    trade(account, fill("5", "DARK", "buy", 3, 200, 0, "01-07"))
    trade(account, fill("6", "DARK", "sell", 3, 210, 0, "02-02"))
    assert results(portfolio, MONTH)["DARK"] == (30, 0, 0)


def test_former_members_count_until_they_left(traded):
    portfolio, account = traded
    PortfolioMember.objects.filter(portfolio=portfolio).delete()
    FormerMember.objects.create(
        portfolio=portfolio,
        strategy=account.strategy,
        added_at=OPENED,
        left_at=at("01-08"),
        counts_until=at("01-08"),
    )
    assert results(portfolio, ALL) == {"AAPL": (39, 1, 0), "MSFT": (-2, 2, 0)}


def test_who_joined_late_counts_from_then(traded):
    portfolio, _ = traded
    PortfolioMember.objects.filter(portfolio=portfolio).update(counts_from=at("02-01"))
    assert results(portfolio, ALL) == {"AAPL": (79, 1, 720), "MSFT": (-200, 0, 800)}


def test_the_page_and_its_files_hold_every_instrument(traded, alice):
    client = signed_in(alice)
    page = client.get("/portfolio/performance/", {"period": "month"}).text
    assert "The instruments add up to −$61.00; AAPL brought most (+$139.00)" in page
    answer = client.get(
        "/portfolio/performance/", {"period": "month", "table": "instruments", "format": "csv"}
    )
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [(row["symbol"], Decimal(row["pnl"])) for row in rows] == [("AAPL", 139), ("MSFT", -200)]
    figure = client.get("/portfolio/performance/charts/instruments/", {"period": "day"}).json()
    assert figure["data"][0]["y"] == [79, -200, -121]


def test_rows_that_are_not_shown_are_in_one_line():
    lines = [
        InstrumentResult(f"S{n:02}", Decimal(n), Decimal(1), Decimal(10)) for n in range(40, 0, -1)
    ]
    rows = instrument_rows(lines)
    assert len(rows) == 27
    assert (rows[25]["symbol"], rows[25]["pnl"]) == ("15 others", sum(range(1, 16)))
    assert (rows[26]["symbol"], rows[26]["pnl"], rows[26]["value"]) == ("Portfolio", 820, 400)


def test_a_month_of_more_strategies_takes_no_more_queries(
    traded, alice, django_assert_max_num_queries
):
    portfolio, _ = traded
    client, counts = signed_in(alice), []
    for k in range(2):
        client.get("/portfolio/performance/", {"period": "month"})
        with django_assert_max_num_queries(18) as captured:
            client.get("/portfolio/performance/", {"period": "month"})
        counts.append(len(captured))
        for n in range(3):
            strategy = make_strategy(alice, symbols=["AAPL", "MSFT"], name=f"Another {k} {n}")
            account = open_account(
                strategy, broker="external", capital=Decimal(100_000), costs={}, at=OPENED
            )
            PortfolioMember.objects.create(
                portfolio=portfolio, strategy=strategy, target_weight=0, added_at=OPENED
            )
            trade(account, *FILLS)
    assert counts[0] == counts[1]
