"""Indicators on the price chart: chosen by the reader, kept in the address."""

from __future__ import annotations

import pytest

from strategies.indicator_charts import MAX_PANES
from tests.factories import signed_in
from tests.strategies.builders import make_market

pytestmark = pytest.mark.django_db
PAGE = "/instruments/AAPL/"
CHOICE = "/instruments/AAPL/indicators/"


@pytest.fixture
def browser(alice):
    make_market("AAPL")
    return signed_in(alice)


def figure(browser, indicators):
    return browser.get(f"{PAGE}chart.json", {"indicators": indicators, "range": "6M"}).json()


def test_overlays_lie_on_the_price_and_the_rest_in_panels_of_their_own(browser):
    drawn = figure(browser, "rsi:14,macd:12-26-9,bbands:20-2-2")
    by_axis = {}
    for trace in drawn["data"]:
        by_axis.setdefault(trace["yaxis"], []).append(trace["name"])
    assert by_axis["y"] == [
        "AAPL",
        "BBANDS 20, 2, 2 upperband",
        "BBANDS 20, 2, 2 middleband",
        "BBANDS 20, 2, 2 lowerband",
    ]
    assert by_axis["y3"] == ["RSI 14"]
    assert [name.rpartition(" ")[2] for name in by_axis["y4"]] == ["macd", "macdsignal", "macdhist"]
    assert [shape["y0"] for shape in drawn["layout"]["shapes"]] == [30, 70]


def test_values_at_the_left_edge_are_warm(browser):
    drawn = figure(browser, "sma:200")
    (average,) = [trace for trace in drawn["data"] if trace["name"] == "SMA 200"]
    assert None not in average["y"]
    assert average["x"] == drawn["data"][0]["x"]


def test_without_indicators_the_chart_is_as_it_was(browser):
    drawn = figure(browser, "")
    assert [trace["name"] for trace in drawn["data"]] == ["AAPL", "Volume"]
    assert drawn["layout"]["showlegend"] is False


def test_what_cannot_be_drawn_is_left_out_and_said(browser):
    answer = browser.get(PAGE, {"indicators": "rsi:14,rsj,sma:0,macd:1-2-3-4"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert page.count("An indicator was left out") == 3
    assert "There is no indicator &#x27;rsj&#x27;." in page
    assert "Give a whole number from 1 to 100000; 30 is usual." in page
    assert [trace["name"] for trace in figure(browser, "rsi:14,rsj")["data"]][2:] == ["RSI 14"]


def test_no_more_panes_than_fit(browser):
    many = ",".join(f"rsi:{period}" for period in range(10, 10 + MAX_PANES + 2))
    assert len(figure(browser, many)["data"]) == 2 + MAX_PANES
    page = browser.get(PAGE, {"indicators": many}).content.decode()
    assert page.count("An indicator was left out") == 2
    answer = browser.get(CHOICE, {"indicators": many, "add": "ATR"})
    assert answer.status_code == 422
    assert "Remove one of them first." in answer.content.decode() or "does not fit" in (
        answer.content.decode()
    )


def test_adding_and_removing_keeps_the_rest_of_the_address(browser):
    asked = {"timeframe": "1w", "range": "All", "indicators": "rsi:14", "add": "MACD"}
    answer = browser.get(CHOICE, asked)
    assert answer.status_code == 302
    assert answer["Location"] == (
        f"{PAGE}?timeframe=1w&range=All&indicators=rsi:14,macd:12-26-9#price"
    )
    page = browser.get(answer["Location"]).content.decode()
    assert 'href="?timeframe=1w&amp;range=All&amp;indicators=macd%3A12-26-9"' in page
    assert 'aria-label="Remove RSI 14"' in page


def test_parameters_are_changed_in_place_and_mistakes_answered_at_the_field(browser):
    asked = {"indicators": "rsi:14,obv", "edit": "rsi:14", "range": "All"}
    page = browser.get(CHOICE, asked)
    assert page.status_code == 200
    assert 'name="p-timeperiod" value="14"' in page.content.decode()
    wrong = browser.get(CHOICE, {**asked, "set": "1", "p-timeperiod": "1"})
    assert wrong.status_code == 422
    assert "greater than or equal to 2" in wrong.content.decode()
    right = browser.get(CHOICE, {**asked, "set": "1", "p-timeperiod": "21"})
    assert right["Location"] == f"{PAGE}?indicators=obv,rsi:21&range=All#price"


def test_a_combination_that_makes_no_sense_is_answered(browser):
    asked = {"edit": "macd:12-26-9", "set": "1"}
    asked |= {"p-fastperiod": "30", "p-slowperiod": "26", "p-signalperiod": "9"}
    answer = browser.get(CHOICE, asked)
    assert answer.status_code == 422
    assert "must be shorter than its slow one" in answer.content.decode()


@pytest.mark.parametrize("query", [{"add": "rsj"}, {"edit": "rsj"}, {}])
def test_an_unknown_indicator_leads_back_to_the_chart(browser, query):
    answer = browser.get(CHOICE, query)
    assert answer.status_code == 422
    assert f'href="{PAGE}' in answer.content.decode()


def test_the_page_costs_no_queries_for_indicators(browser, django_assert_max_num_queries):
    browser.get(PAGE)
    with django_assert_max_num_queries(100) as without:
        browser.get(PAGE)
    with django_assert_max_num_queries(100) as with_three:
        browser.get(PAGE, {"indicators": "rsi:14,macd,bbands"})
    assert len(with_three) == len(without)


def test_a_stranger_is_sent_to_the_login(client):
    assert client.get(CHOICE).status_code == 302
