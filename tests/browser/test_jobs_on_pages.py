"""Work asked for on a page: its progress, its end, and what a wrong file is told."""

from __future__ import annotations

import re

import pytest

from tests.browser.backstage import WRONG_CSV

RUN_PAGE = re.compile(r"/backtests/[0-9a-f-]{36}/$")
WORKER_TIMEOUT = 180_000  # milliseconds: a worker loads what it needs first


@pytest.fixture
def page(page, backstage):
    page.set_default_timeout(WORKER_TIMEOUT)
    return page


def ask_for_a_backtest(page, symbols="AAPL, KO"):
    page.goto("/backtests/new/")
    page.locator("#id_symbols").fill(symbols)
    page.get_by_role("button", name="Run backtest").click()
    page.wait_for_url(RUN_PAGE)


def test_values_are_checked_as_they_change(page, faults):
    page.goto("/backtests/new/")
    field = page.locator("#id_symbols")
    field.fill("AAPL, NOSUCH")
    page.locator("#id_symbols").press("Tab")
    page.locator("#id_symbols[aria-invalid=true]").wait_for()
    assert "NOSUCH" in page.locator("#id_symbols-error").inner_text()
    page.locator("#id_symbols").fill("AAPL")
    page.locator("#id_symbols").press("Tab")
    page.get_by_text("1 instrument, about").wait_for()
    assert page.locator("#id_symbols").get_attribute("aria-invalid") is None


def test_a_refused_form_keeps_the_page_and_names_the_field(page, faults):
    faults.expect("422")
    page.goto("/backtests/new/")
    page.locator("#id_symbols").fill("NOSUCH")
    with page.expect_response(lambda answer: answer.status == 422):
        page.get_by_role("button", name="Run backtest").click()
    page.locator("#id_symbols[aria-invalid=true]:focus").wait_for()
    assert page.url.endswith("/backtests/new/")
    assert page.get_by_role("button", name="Run backtest").is_enabled()


def test_a_check_of_the_values_does_not_overtake_the_order(page):
    """Leaving a field and asking are one click; the check that the field causes comes later."""
    page.goto("/backtests/new/")

    def slowly(route):
        page.wait_for_timeout(600)
        route.continue_()

    page.route("**/backtests/new/", slowly)
    page.locator("#id_symbols").fill("AAPL, KO")
    page.get_by_role("button", name="Run backtest").click()
    page.wait_for_url(RUN_PAGE)
    assert "AAPL, KO" in page.locator("main").inner_text()


def test_a_queued_backtest_can_be_cancelled_where_it_is_shown(page, faults):
    ask_for_a_backtest(page)
    assert page.get_by_text("Waiting for a worker").is_visible()
    assert page.locator("#jobs-tray .tally").inner_text() != "0"
    page.evaluate("window.stayed = true")
    faults.expect("failed: .*ERR_ABORTED")
    page.locator(".job").get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled").first.wait_for()


def test_a_backtest_shows_its_progress_and_then_its_result(page, request):
    ask_for_a_backtest(page)
    job = page.locator(".job")
    assert job.locator("progress").is_visible()
    assert page.get_by_text("Waiting for a worker").is_visible()
    request.getfixturevalue("worker")
    page.locator("#result").wait_for()
    assert page.locator("#metrics tbody tr").count() > 20
    assert page.locator(".job").count() == 0
    page.locator("#equity").scroll_into_view_if_needed()
    page.locator("#equity[data-ready]").wait_for()


def test_a_wrong_file_is_answered_with_rows_and_reasons(page, worker):
    page.goto("/imports/")
    upload = {"name": "mine.csv", "mimeType": "text/csv", "buffer": WRONG_CSV}
    page.locator("#id_file").set_input_files(upload)
    page.locator("#id_source").fill("mine")
    page.get_by_role("button", name="Import", exact=True).click()
    page.locator("#quarantine").wait_for()
    cards = dict(
        zip(
            page.locator(".card-label").all_inner_texts(),
            page.locator(".card-value").all_inner_texts(),
            strict=True,
        )
    )
    assert cards == {
        "Rows read": "5",
        "New bars": "2",
        "Unchanged": "0",
        "Restated": "0",
        "Quarantined": "3",
    }
    rows = page.locator("#quarantine tbody tr").all_inner_texts()
    assert len(rows) == 3
    assert any("high" in row.lower() for row in rows)
    assert page.get_by_text("Succeeded").first.is_visible()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"this is not a table\n", ("column",)), (b"\x89PNG\r\n\x1a\n\x00\x00", ("file",))],
)
def test_an_unusable_file_is_told_why(page, worker, faults, content, words):
    faults.expect("422")
    page.goto("/imports/")
    upload = {"name": "holiday.csv", "mimeType": "text/csv", "buffer": content}
    page.locator("#id_file").set_input_files(upload)
    page.get_by_role("button", name="Import", exact=True).click()
    page.locator("#id_file[aria-invalid=true], .banner[data-level=error]").first.wait_for()
    told = page.locator("main").inner_text().lower()
    assert all(word in told for word in words), told
