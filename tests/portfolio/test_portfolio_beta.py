"""How much a portfolio moves with a benchmark: the number, the page, the file and the API."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from alphastrat.marketdata.models import BarSeries
from portfolio.quant.market_beta import market_beta
from tests.factories import bearer, make_bars, make_token, signed_in
from tests.portfolio.allocation_builders import closes, make_backtest
from tests.portfolio.risk_builders import instrument, make_portfolio

PAGE = "/portfolio/risk/beta/"


def market(n_bars=400, seed=3):
    rng = np.random.default_rng(seed)
    moves = rng.normal(0.0004, 0.01, n_bars)
    return moves, 1.4 * moves + rng.normal(0.0, 0.005, n_bars)


def store_market(symbol, returns):
    """Store a daily close for the last of the days that `make_backtest` has, and one before."""
    times = pd.DatetimeIndex(closes(len(returns) + 1))
    series = BarSeries.objects.create(
        instrument=instrument(symbol), timeframe="1d", source="test", adjustment="split"
    )
    prices = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    make_bars(series, times - timedelta(hours=7), times, prices)


@pytest.fixture
def book(alice):
    """One strategy that holds all the capital and moves 1.4 times as the market does."""
    moves, own = market()
    portfolio, (account,) = make_portfolio(alice, n=1)
    make_backtest(account.strategy, own)
    store_market("MKT", moves)
    store_market("NEW", moves[-20:])
    return portfolio


def test_the_slope_is_that_of_a_regression_over_the_newest_common_bars():
    moves, own = market()
    own[-50] = np.nan
    known = np.isfinite(own)
    expected = linregress(moves[known][-252:], own[known][-252:])
    found = market_beta(own, moves)
    assert found.value == pytest.approx(expected.slope)
    assert found.correlation == pytest.approx(expected.rvalue)
    assert found.n_bars == 252
    assert found.low < 1.4 < found.high
    # Without autocorrelation the interval is near the textbook's.
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * expected.stderr, rel=0.3)


def test_29_common_bars_are_too_few_and_30_are_enough():
    moves, own = market(30)
    assert market_beta(own, moves).is_known
    own[0] = np.nan
    found = market_beta(own, moves)
    assert not found.is_known
    assert found.n_bars == 29


def test_a_market_that_does_not_move_has_no_beta():
    assert not market_beta(market(60)[1], np.zeros(60)).is_known
    with pytest.raises(ValueError, match="at least 30"):
        market_beta(np.zeros(60), np.zeros(60), window=20)


def test_the_page_names_method_window_days_and_benchmark(book, alice):
    client = signed_in(alice)
    answer = client.get(PAGE, {"benchmark": "MKT", "window": "120"})
    beta = answer.context["beta"]
    assert beta.found.value == pytest.approx(1.4, abs=0.15)
    assert (beta.found.n_bars, beta.window) == (120, 120)
    assert "Newey-West" in answer.text
    assert "120 common days" in answer.text
    assert f"to {beta.last_day:%Y-%m-%d}" in answer.text
    assert "risk-beta" in client.get("/portfolio/risk/tail/").text
    assert client.get(PAGE, {"window": "7"}).status_code == 404


@pytest.mark.parametrize(("benchmark", "n_days"), [("NEW", 20), ("NOWHERE", 0)])
def test_too_few_common_days_are_said_and_not_a_number(book, alice, benchmark, n_days):
    answer = signed_in(alice).get(PAGE, {"benchmark": benchmark})
    assert f"Insufficient data: {n_days} common days of the 30 needed." in answer.text


def test_the_file_and_the_api_tell_the_same(book, alice, charlie, client):
    query = {"benchmark": "MKT", "window": "252"}
    file = signed_in(alice).get(PAGE, {**query, "format": "csv"})
    (row,) = csv.DictReader(io.StringIO(b"".join(file).decode()))
    headers = bearer(make_token(alice)[1])
    told = client.get("/api/v1/portfolio/risk", query, headers=headers).json()["beta"]
    assert float(row["beta"]) == pytest.approx(told["beta"])
    assert told["n_days"] == int(row["n_days"]) == 252
    assert told["low"] < told["beta"] < told["high"]
    refused = client.get("/api/v1/portfolio/risk", {"window": 7}, headers=headers)
    assert refused.status_code == 422
    stranger = signed_in(charlie).get(PAGE, {"portfolio": str(book.pk)})
    assert stranger.status_code == 404
