"""What a page turns into stays accessible: alerts, errors, dialogs, lost connections."""

from __future__ import annotations

import pytest

from tests.browser.test_live import Script, alert


def is_accessible(page, axe):
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        assert axe(page) == [], theme


@pytest.mark.parametrize("level", ["error", "warning", "info"])
def test_a_page_with_an_alert(page, axe, level):
    script = Script(page)
    page.goto("/jobs/")
    page.locator("#conn[data-state=live]").wait_for()
    script.event(10, "alert", alert("a", level), topic="alerts")
    page.locator("#alert-row .banner").wait_for()
    is_accessible(page, axe)


def test_a_page_that_lost_its_server(page, axe):
    Script(page, heartbeat=0)
    page.goto("/styleguide/")
    page.locator("#conn[data-state=stale]").wait_for()
    is_accessible(page, axe)


def test_a_form_with_errors(page, axe, faults):
    faults.expect("422")
    page.goto("/backtests/new/")
    page.locator("#id_symbols").fill("NOSUCH")
    page.get_by_role("button", name="Run backtest").click()
    page.locator("#id_symbols[aria-invalid=true]").wait_for()
    is_accessible(page, axe)


def test_a_list_without_rows(page, axe):
    page.goto("/instruments/?q=nothing-is-called-this")
    assert page.locator(".empty").first.is_visible()
    is_accessible(page, axe)


def test_a_fragment_that_failed_keeps_the_page_and_offers_retry(page, axe, faults):
    faults.expect("503|htmx:response:error")
    page.goto("/jobs/")
    page.locator("#conn[data-state=live]").wait_for()
    rows = page.locator("#results tbody tr").count()
    answer = {"status": 503, "body": "away", "headers": {"X-Request-ID": "r-1"}}
    page.route("**/jobs/", lambda route: route.fulfill(**answer))
    page.evaluate("document.body.dispatchEvent(new CustomEvent('live:refresh'))")
    box = page.locator("main .error-box[data-for]")
    box.wait_for()
    assert "503" in box.inner_text()
    assert "r-1" in box.inner_text()
    assert page.locator("#results tbody tr").count() == rows
    is_accessible(page, axe)
    page.unroute("**/jobs/")
    box.get_by_role("button", name="Retry").click()
    box.wait_for(state="detached")


def test_an_open_dialog(page, axe):
    page.goto("/backtests/")
    page.keyboard.press("?")
    page.locator("#shortcuts").wait_for()
    is_accessible(page, axe)


def test_a_chart_that_failed(page, axe, market, faults):
    faults.expect("charts/equity")
    page.route("**/charts/equity/", lambda route: route.abort())
    page.goto(market.paths["backtest"])
    page.locator("#equity").get_by_role("button", name="Retry").wait_for()
    is_accessible(page, axe)
