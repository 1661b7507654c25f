"""P&L compared with a benchmark, by month, session, strategy and instrument."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from alphastrat.marketdata.models import BarSeries
from portfolio.models import EquityPoint
from portfolio.performance_calendar import level, month_table, session_grid
from portfolio.quant.benchmark_returns import between_sessions, same_capital
from portfolio.services import benchmarks
from portfolio.services.portfolio_performance import Period, load_performance
from tests.factories import make_bars, signed_in
from tests.portfolio.risk_builders import START, hold, instrument, make_portfolio, mark

PAGE = "/portfolio/performance/"


def store_closes(symbol: str, *closes: float) -> None:
    """Store a daily bar for each close, the first on the day before the first mark."""
    series = BarSeries.objects.create(
        instrument=instrument(symbol), timeframe="1d", source="test", adjustment="split"
    )
    closed = pd.date_range(START - timedelta(days=1), periods=len(closes), freq="D")
    make_bars(series, closed - pd.Timedelta(hours=7), closed, closes)


@pytest.fixture
def one(alice):
    portfolio, (account,) = make_portfolio(alice, n=1)
    mark(account, 0.10, -0.05, 0.02)
    store_closes("AAPL", 100, 100, 110, 99, 99)
    return portfolio, account


def test_a_benchmark_is_followed_from_session_to_session():
    close = np.array([[10.0, np.nan], [11.0, 50.0], [np.nan, 55.0], [12.1, 55.0]])
    sessions = np.array([1, 2, 3, 4])
    found = between_sessions(close, sessions, np.array([2, 3, 4, 5]))
    # Only the first has a price before; then the mean of both, its last price standing in.
    assert found[:3] == pytest.approx([0.10, (0.0 + 0.10) / 2, (0.10 + 0.0) / 2])
    assert np.isnan(found[3])


def test_sessions_that_a_benchmark_lacks_are_bridged():
    close = np.array([[100.0], [110.0], [121.0]])
    found = between_sessions(close, np.array([1, 2, 3]), np.array([1, 3]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.21)


def test_the_same_capital_comes_and_leaves_in_the_benchmark():
    flows, after = np.array([100.0, 50.0]), np.array([0.0, -30.0])
    worth = same_capital(10.0, flows, after, np.array([0.10, np.nan]))
    assert worth == pytest.approx([121.0, 141.0])


def test_the_benchmark_follows_the_sessions_and_their_capital(one):
    portfolio, _ = one
    found = load_performance(portfolio, benchmark="AAPL")
    assert found.benchmark.returns == pytest.approx([0.0, 0.10, -0.10, 0.0])
    assert found.benchmark_return(Period.ALL) == pytest.approx(-0.01)
    assert found.benchmark_return(Period.DAY) == pytest.approx(0.0)
    assert found.in_benchmark == pytest.approx([1e5, 1.1e5, 0.99e5, 0.99e5])
    assert found.against["beta"] is None


def test_measures_against_the_benchmark_are_those_of_both_series(alice):
    portfolio, (account,) = make_portfolio(alice, n=1)
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(0, 0.01, (2, 60))
    mark(account, *ours.tolist())
    store_closes("AAPL", 100, *(100 * np.cumprod([1.0, *(1 + theirs)])))
    found = load_performance(portfolio, benchmark="AAPL")
    ours, theirs = np.array([0.0, *ours]), np.array([0.0, *theirs])
    slope = np.cov(ours, theirs)[0, 1] / np.var(theirs, ddof=1)
    assert found.against["beta"] == pytest.approx(slope, rel=1e-4)
    active = np.std(ours - theirs, ddof=1) * np.sqrt(252)
    assert found.against["tracking_error"] == pytest.approx(active, rel=1e-4)


def test_the_universe_is_what_the_members_trade(one):
    portfolio, _ = one
    store_closes("UNRELATED", 1, 2, 3, 4, 5)
    found = load_performance(portfolio, benchmark=benchmarks.UNIVERSE)
    assert found.benchmark.returns == pytest.approx([0.0, 0.10, -0.10, 0.0])
    assert ("UNRELATED", "UNRELATED") in benchmarks.choices()
    assert ("ODD", "ODD") in benchmarks.choices("ODD")


@pytest.mark.parametrize("name", ["none", "NOSUCH"])
def test_without_prices_there_is_no_benchmark(one, name):
    portfolio, _ = one
    assert load_performance(portfolio, benchmark=name).benchmark is None


def test_what_comes_after_the_newest_mark_is_not_known(one):
    portfolio, account = one
    store_closes("LATER", 100, 100, 110, 99, 99, 200)
    EquityPoint.objects.filter(account=account).order_by("-marked_at")[0].delete()
    found = load_performance(portfolio, benchmark="LATER").benchmark
    assert found.returns == pytest.approx([0.0, 0.10, -0.10])
    last = account.equity_points.order_by("-marked_at").first()
    EquityPoint.objects.filter(account=account, marked_at=last.marked_at).update(
        marked_at=last.marked_at - timedelta(hours=1)
    )
    # The close of the session's bar is still to come.
    found = load_performance(portfolio, benchmark="LATER")
    assert np.isnan(found.benchmark.returns[2])
    assert found.benchmark_return(Period.DAY) is None


def test_the_page_shows_months_sessions_fees_and_instruments(one, alice):
    _portfolio, account = one
    hold(account, 10)
    page = signed_in(alice).get(PAGE, {"benchmark": "AAPL"}).text
    assert "Sessions of January 2016" in page
    for words in ("Realised", "Unrealised", "Fees", "By instrument", "How the strategies add up"):
        assert words in page
    assert "−1.00% of AAPL" in page
    mark(account, *[0.01] * 30, start=START + timedelta(days=10))
    other = signed_in(alice).get(PAGE, {"month": "2016-01"}).text
    assert "Sessions of January 2016" in other
    for odd in ("9999-12", "²-1", "2014-01"):
        assert "Sessions of February 2016" in signed_in(alice).get(PAGE, {"month": odd}).text


def test_exports_hold_the_benchmark_and_the_instruments(one, alice):
    _portfolio, account = one
    hold(account, 10)
    client = signed_in(alice)

    def rows(**query):
        answer = client.get(PAGE, {"format": "csv", "benchmark": "AAPL", **query})
        return list(csv.DictReader(io.StringIO(b"".join(answer).decode())))

    assert [float(row["benchmark_return"]) for row in rows(table="sessions")] == pytest.approx(
        [0.0, 0.10, -0.10, 0.0]
    )
    assert [row["symbol"] for row in rows(table="instruments")] == ["AAPL", ""]
    (month,) = rows(table="months")
    assert (month["month"], month["sessions"]) == ("2016-01", "4")
    # 1.1 * 0.95 * 1.02 beside 1.1 * 0.9.
    assert float(month["month_return"]) == pytest.approx(0.0659)
    assert float(month["benchmark_return"]) == pytest.approx(-0.01)


def test_months_compound_and_years_compound_months():
    days = [date(2015, 12, 30), date(2015, 12, 31), date(2016, 1, 4)]
    rows = month_table(days, np.array([0.1, 0.1, -0.5]), chosen=(2016, 1), base="?p=1")
    assert [row["year"] for row in rows] == [2016, 2015]
    december = rows[1]["cells"][11]
    assert december.shown.value == pytest.approx(0.21)
    assert december.href == "?p=1&month=2015-12#calendar"
    assert rows[0]["cells"][0].is_chosen
    assert rows[0]["total"].value == pytest.approx(-0.5)


def test_a_month_has_its_weeks_and_the_sessions_their_results():
    pnl = {date(2016, 2, 1): Decimal(100), date(2016, 2, 29): Decimal(-400)}
    weeks = session_grid(pnl, month=(2016, 2), currency="USD")
    assert len(weeks) == 5
    first, last = weeks[0][0], weeks[4][0]
    assert (first.day, first.shown.text, first.level) == (date(2016, 2, 1), "+$100", 1)
    assert (last.shown.text, last.level) == ("−$400", 3)
    assert weeks[4][1].day is None


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, 0), (1.0, 1), (-26.0, 2), (61.0, 3), (-100.0, 3)]
)
def test_tints_follow_the_size(value, expected):
    assert level(value, 100.0) == expected
