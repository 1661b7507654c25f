"""A figure speaks without its picture, and the page lives without its figure."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from tests.browser.test_live import Script


def open_figure(page, market):
    """Open a backtest and bring its curve near: only then is it drawn."""
    page.goto(market.paths["backtest"])
    figure = page.locator("#equity")
    figure.scroll_into_view_if_needed()
    return figure


@pytest.fixture
def figure(page, market):
    return open_figure(page, market)


def test_a_figure_has_a_name_a_conclusion_and_its_numbers(page, figure):
    page.locator("#equity[data-ready]").wait_for()
    picture = figure.get_by_role("img").first
    title = page.locator(f"#{picture.get_attribute('aria-labelledby')}").inner_text()
    caption = page.locator(f"#{picture.get_attribute('aria-describedby')}").inner_text()
    assert title
    assert re.search(r"\d", caption)
    assert len(caption) > 40
    answer = page.request.get(figure.get_by_role("link", name="CSV").get_attribute("href"))
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text())))
    assert len(rows) > 200
    drawn = page.evaluate("document.querySelector('#equity .canvas').data[0].x.length")
    assert drawn <= 2000
    figure.get_by_role("button", name="Table").click()
    assert figure.locator(".plot-table table caption").count() >= 2
    assert figure.locator(".plot-table tbody tr").count() > 200
    assert not figure.locator(".plot").is_visible()


def test_nothing_leaves_by_the_chart_and_its_picture_can_be_kept(page, figure):
    page.locator("#equity[data-ready]").wait_for()
    assert page.locator(".modebar").count() == 0
    assert figure.get_by_text("Share").count() == 0
    with page.expect_download() as kept:
        figure.get_by_role("button", name="PNG").click()
    assert kept.value.suggested_filename == "equity.png"


def test_a_range_is_chosen_without_dragging(page, figure):
    page.locator("#equity[data-ready]").wait_for()
    figure.get_by_role("button", name="3M").click()
    page.locator("#equity [data-range='3M'][aria-pressed=true]").wait_for()
    shown = page.evaluate("document.querySelector('#equity .canvas').layout.xaxis.range")
    assert shown[0] < shown[1]


def test_a_chart_that_fails_offers_retry_and_the_page_works(page, market, faults):
    faults.expect("charts/equity")
    page.route("**/charts/equity/", lambda route: route.abort())
    figure = open_figure(page, market)
    retry = figure.get_by_role("button", name="Retry")
    retry.wait_for()
    page.locator("#underwater").scroll_into_view_if_needed()
    page.locator("#underwater[data-ready]").wait_for()
    page.unroute("**/charts/equity/")
    retry.click()
    page.locator("#equity[data-ready]").wait_for()
    assert not retry.is_visible()


def test_a_chart_library_that_is_lost_leaves_the_drawn_curve(page, market, faults):
    faults.expect("plotly")
    page.route("**/vendor/plotly/*.js", lambda route: route.abort())
    open_figure(page, market).get_by_role("button", name="Retry").wait_for()
    assert page.locator("#equity .plot svg").is_visible()


def test_on_a_phone_the_curve_is_there_and_the_library_waits_to_be_asked(open_page, market, faults):
    page = open_page("phone")
    figure = open_figure(page, market)
    explore = figure.get_by_role("button", name="Explore chart")
    explore.wait_for()
    assert page.locator("#equity .plot svg").is_visible()
    assert not any("plotly-alphastrat" in url for url in faults.requested)
    explore.tap()
    page.locator("#equity[data-ready]").wait_for()


def test_live_points_are_drawn_at_most_once_a_second(page):
    script = Script(page)
    page.goto("/styleguide/")
    page.locator("#conn[data-state=live]").wait_for()
    chart = page.locator("#chart-equity")
    chart.evaluate("(e) => { e.dataset.topic = 'strategy:7'; e.scrollIntoView(); }")
    page.locator("#chart-equity[data-ready]").wait_for()
    n_points = (
        "() => document.querySelector('#chart-equity .canvas').data"
        ".find((t) => t.meta.role === 'live').x.length"
    )
    before = page.evaluate(n_points)
    page.evaluate("""
      window.drawn = 0; window.since = performance.now();
      document.querySelector('#chart-equity .canvas').on('plotly_afterplot', () => { drawn += 1; });
    """)
    for number in range(60):
        script.event(number + 1, "equity", {"x": f"2026-05-01T00:{number:02}:00", "y": 126})
        page.wait_for_timeout(40)
    page.wait_for_timeout(1500)
    seconds = page.evaluate("(performance.now() - since) / 1000")
    assert page.evaluate(n_points) == before + 60
    assert 1 <= page.evaluate("drawn") <= seconds + 1


def test_a_figure_that_follows_is_fetched_again_at_most_once_a_second(page, faults):
    script = Script(page)
    page.goto("/styleguide/")
    page.locator("#conn[data-state=live]").wait_for()
    chart = page.locator("#chart-equity")
    chart.evaluate("(e) => { e.dataset.follow = ''; e.scrollIntoView(); }")
    page.locator("#chart-equity[data-ready]").wait_for()
    address = chart.get_attribute("data-src")
    before = sum(address in url for url in faults.requested)
    began = page.evaluate("performance.now()")
    for number in range(60):
        script.event(number + 1, "equity", {"x": "2026-05-01", "y": 1}, topic=f"strategy:{number}")
        page.wait_for_timeout(40)
    page.wait_for_timeout(1500)
    seconds = (page.evaluate("performance.now()") - began) / 1000
    assert 1 <= sum(address in url for url in faults.requested) - before <= seconds + 1


@pytest.mark.parametrize("chart", ["equity", "underwater", "rolling-sharpe", "monthly"])
def test_a_figure_is_light_and_plain(page, market, chart):
    answer = page.request.get(f"{market.paths['backtest']}charts/{chart}/")
    figure = json.loads(answer.body())
    assert len(answer.body()) <= 200 * 1024
    for trace in figure["data"]:
        assert "bdata" not in json.dumps(trace)[:2000]
        assert len(trace.get("x") or []) <= 2000
