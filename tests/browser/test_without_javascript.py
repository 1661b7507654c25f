"""Everything can be read and asked for without JavaScript, in the reader's own theme."""

from __future__ import annotations

import re

import pytest

from alphastrat.accounts.models import User
from tests.browser.backstage import WRONG_CSV
from tests.factories import PASSWORD


@pytest.fixture
def page(open_page):
    return open_page(java_script_enabled=False)


def sign_in(page, password):
    page.goto("/backtests/")
    page.locator("#id_username").fill("demo")
    page.locator("#id_password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_numbers_tables_and_curves_are_in_the_first_response(page, market):
    page.goto(market.paths["backtest"])
    cards = page.locator(".card-value").all_inner_texts()
    assert len(cards) >= 8
    # A number, or the dash of one that is undefined.
    assert all(re.search(r"\d|—", text) for text in cards)
    assert page.locator("#metrics tbody tr").count() > 20
    assert page.locator("#equity .plot svg path").first.is_visible()
    page.goto("/instruments/")
    assert page.get_by_role("link", name="AAPL", exact=True).is_visible()
    assert page.locator("nav#nav a").first.is_visible()


def test_signing_in_works_and_leads_to_the_page_asked_for(open_page):
    page = open_page(who=None, java_script_enabled=False)
    sign_in(page, PASSWORD)
    page.wait_for_url("**/backtests/")
    assert page.locator("h1").inner_text() == "Backtests"


def test_a_wrong_password_is_answered_in_words(open_page, faults):
    faults.expect("422")
    page = open_page(who=None, java_script_enabled=False)
    sign_in(page, "wrong")
    assert "password" in page.get_by_role("alert").inner_text().lower()
    assert page.locator("#id_username").input_value() == "demo"


def test_a_backtest_form_names_its_errors_and_keeps_its_values(page, faults):
    faults.expect("422")
    page.goto("/backtests/new/")
    page.locator("#id_symbols").fill("AAPL, NOSUCH")
    page.get_by_role("button", name="Run backtest").click()
    field = page.locator("#id_symbols")
    assert field.input_value() == "AAPL, NOSUCH"
    assert field.get_attribute("aria-invalid") == "true"
    described = field.get_attribute("aria-describedby").split()
    assert "NOSUCH" in " ".join(page.locator(f"#{name}").inner_text() for name in described)
    field.fill("AAPL")
    page.get_by_role("button", name="Run backtest").click()
    page.wait_for_url(re.compile(r"/backtests/[0-9a-f-]{36}/$"))
    assert page.get_by_text("Waiting for a worker").is_visible()


def test_an_upload_is_taken_and_a_missing_file_is_named(page, faults):
    faults.expect("422")
    page.goto("/imports/")
    page.get_by_role("button", name="Import", exact=True).click()
    if page.locator("#id_file-error").is_visible():
        assert "required" in page.locator("#id_file-error").inner_text()
    upload = {"name": "prices.csv", "mimeType": "text/csv", "buffer": WRONG_CSV}
    page.locator("#id_file").set_input_files(upload)
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url(re.compile(r"/imports/[0-9a-f-]{36}/$"))
    assert page.locator("h1").inner_text() == "prices.csv"


@pytest.mark.parametrize(("theme", "palette"), [("dark", "blue-orange"), ("light", "red-up")])
def test_theme_and_palette_are_in_the_first_byte(page, backstage, theme, palette):
    likes = {"theme": theme, "pnl_palette": palette, "density": "comfortable"}
    before = backstage.do(User.objects.filter(username="demo").values(*likes).get)
    backstage.do(User.objects.filter(username="demo").update, **likes)
    try:
        answer = page.goto("/")
    finally:
        backstage.do(User.objects.filter(username="demo").update, **before)
    tag = re.search(r"<html[^>]*>", answer.text())[0]
    assert f'data-theme="{theme}"' in tag
    assert f'data-pnl="{palette}"' in tag
    assert 'data-density="comfortable"' in tag
    root = page.locator("html")
    background = root.evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert background == {"dark": "rgb(14, 20, 30)", "light": "rgb(244, 246, 249)"}[theme]


def test_the_palette_changes_the_colours_of_gain_and_loss(page, backstage):
    people = User.objects.filter(username="demo")
    colours = set()
    for palette in User.Palette.values:
        backstage.do(people.update, pnl_palette=palette)
        page.goto("/")
        style = "(e) => getComputedStyle(e).getPropertyValue('--colors-semantic-profit').trim()"
        colours.add(page.locator("html").evaluate(style))
    backstage.do(people.update, pnl_palette="teal-red")
    assert len(colours) == len(User.Palette.values)
