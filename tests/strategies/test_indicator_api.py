"""The API of indicators: catalogue, histories, newest values, mistakes that say what to do."""

from __future__ import annotations

import numpy as np
import pytest
from django.db.models import F

from alphastrat.marketdata.frames import load_bars
from alphastrat.marketdata.models import BarSeries
from alphastrat.quant.types import Timeframe
from strategies.models import TechnicalIndicator
from strategies.quant import indicators
from strategies.services import indicator_cache, technical_indicators
from strategies.services.indicator_requests import parse_request
from tests.factories import bearer, make_token
from tests.strategies.builders import make_market, make_prices

pytestmark = pytest.mark.django_db
API = "/api/v1"


@pytest.fixture
def ask(client, alice):
    make_market()
    headers = bearer(make_token(alice)[1])
    return lambda path, **more: client.get(f"{API}/{path}", headers={**headers, **more})


def test_the_catalogue_offers_every_function_that_bars_are_enough_for(ask):
    offered = {one["type"]: one for one in ask("indicators").json()}
    assert len(offered) == len(indicators.catalogue()) - 1
    assert "MAVP" not in offered
    macd = offered["MACD"]
    assert [one["default"] for one in macd["parameters"]] == [12, 26, 9]
    assert (macd["n_undefined"], macd["pane"]) == (33, "separate")
    assert macd["outputs"] == ["macd", "macdsignal", "macdhist"]
    assert macd["warmup_bars"] > 100
    assert offered["BBANDS"]["pane"] == "overlay"
    assert offered["OBV"]["warmup_bars"] is None
    period = offered["RSI"]["parameters"][0]
    assert (period["low"], period["high"], period["is_integer"]) == (2, 100_000, True)


def test_a_history_has_a_time_for_every_value_and_null_while_undefined(ask):
    answer = ask("instruments/AAPL/indicators/rsi?timeperiod=10&limit=50000").json()
    bars = load_bars(BarSeries.objects.get(instrument__symbol="AAPL"))
    expected = indicators.rsi(bars["close"].to_numpy(), 10)
    assert len(answer["closed_at"]) == len(answer["values"]["rsi"]) == len(bars)
    assert answer["values"]["rsi"][:10] == [None] * 10
    np.testing.assert_allclose(answer["values"]["rsi"][10:], expected[10:])
    assert (answer["parameters"], answer["n_undefined"]) == ({"timeperiod": 10}, 10)
    newest = ask("instruments/AAPL/indicators/RSI?timeperiod=10&limit=5").json()
    assert newest["values"]["rsi"] == answer["values"]["rsi"][-5:]


def test_a_day_is_read_as_utc_like_everywhere_in_the_api(ask):
    path = "instruments/AAPL/indicators/rsi"
    days = ask(f"{path}?start=2016-01-04&end=2016-02-01").json()
    assert days == ask(f"{path}?start=2016-01-04T00:00:00Z&end=2016-02-01T00:00:00Z").json()
    assert 15 < len(days["closed_at"]) < 25
    assert ask(f"{path}?start=2035-01-01").json()["closed_at"] == []


def test_a_period_that_ends_before_it_starts_is_refused(ask):
    answer = ask("instruments/AAPL/indicators/rsi?start=2016-02-01&end=2016-01-04")
    assert answer.status_code == 422
    assert answer.json()["fields"] == {"end": "Choose a time from 2016-02-01 on."}


def test_weekly_bars_are_resampled_before_the_indicator(ask):
    answer = ask("instruments/AAPL/indicators/sma?timeperiod=5&timeframe=1w").json()
    assert answer["timeframe"] == "1w"
    assert 200 < len(answer["closed_at"]) < 300


def test_the_cached_history_is_the_computed_one(ask):
    path = "instruments/AAPL/indicators/macd?limit=50000"
    computed = ask(path).json()
    series = BarSeries.objects.get(instrument__symbol="AAPL")
    indicator_cache.fill([series], [parse_request("macd")])
    history = technical_indicators.indicator_history(
        series.instrument, parse_request("macd"), timeframe=Timeframe.DAY_1
    )
    assert history.is_cached
    assert ask(path).json() == computed


def test_an_unchanged_history_is_304_until_the_bars_change(ask):
    path = "instruments/AAPL/indicators/rsi"
    tag = ask(path).headers["ETag"]
    assert ask(path, **{"If-None-Match": tag}).status_code == 304
    assert ask(f"{path}?timeperiod=5", **{"If-None-Match": tag}).status_code == 200
    BarSeries.objects.update(revision=F("revision") + 1)
    assert ask(path, **{"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("instruments/AAPL/indicators/rsj", 422, "type"),
        ("instruments/AAPL/indicators/mavp", 422, "type"),
        ("instruments/AAPL/indicators/rsi?timeperiod=1", 422, "timeperiod"),
        ("instruments/AAPL/indicators/rsi?timeperiod=2.5", 422, "timeperiod"),
        ("instruments/AAPL/indicators/rsi?timeperiod=soon", 422, "timeperiod"),
        ("instruments/AAPL/indicators/rsi?timeperiod=nan", 422, "timeperiod"),
        ("instruments/AAPL/indicators/rsi?period=14", 422, "period"),
        ("instruments/AAPL/indicators/macd?fastperiod=30", 422, "fastperiod"),
        ("instruments/AAPL/indicators/sma?timeperiod=90000", 422, "timeframe"),
        ("instruments/AAPL/indicators/rsi?timeframe=1m", 422, "timeframe"),
        ("indicators/rsi/newest?timeframe=5m", 422, "timeframe"),
    ],
)
def test_a_mistake_names_the_field_and_what_to_do(ask, path, status, field):
    answer = ask(path)
    assert answer.status_code == status
    problem = answer.json()
    assert field in problem["fields"], problem
    assert problem["fields"][field].endswith(".")


def test_an_unknown_symbol_is_404(ask):
    assert ask("instruments/NOPE/indicators/rsi").status_code == 404


def test_too_few_bars_says_how_many_there_are_and_how_many_are_needed(ask):
    make_prices("NEW", [(10, 11, 9, 10)] * 8)
    problem = ask("instruments/NEW/indicators/rsi").json()
    assert problem["code"] == "not_enough_data"
    assert "15" in problem["detail"]
    assert "8" in problem["detail"]


def test_the_newest_values_come_for_every_instrument_and_from_the_cache(
    ask, django_assert_num_queries
):
    answer = ask("indicators/rsi/newest").json()
    assert [one["symbol"] for one in answer] == ["AAPL", "JPM", "KO"]
    for one in answer:
        bars = load_bars(BarSeries.objects.get(instrument__symbol=one["symbol"]))
        expected = indicators.rsi(bars["close"].to_numpy(), 14)[-1]
        assert one["value"]["rsi"] == pytest.approx(expected)
    assert TechnicalIndicator.objects.count() == 3
    with django_assert_num_queries(2):  # the series, the cached rows
        technical_indicators.newest_values(parse_request("rsi"), timeframe=Timeframe.DAY_1)


def test_questions_about_the_market_cannot_fill_the_disk(ask, monkeypatch):
    monkeypatch.setattr(technical_indicators, "MAX_REQUESTS_KEPT", 2)
    for period in (5, 6, 7, 7):
        ask(f"indicators/rsi/newest?timeperiod={period}")
    kept = TechnicalIndicator.objects.values_list("parameters__timeperiod", flat=True)
    assert set(kept) == {6, 7}


def test_a_stranger_is_refused(client):
    assert client.get(f"{API}/indicators").status_code == 401


@pytest.mark.parametrize("text", ["rsi:14", "macd:12-26-9", "bbands:20-2-2", "sarext", "obv"])
def test_a_request_reads_back_from_its_text(text):
    request = parse_request(text)
    assert parse_request(request.text) == request
    assert parse_request("bbands:20--1.5-2").values == (20, -1.5, 2.0, 0)
