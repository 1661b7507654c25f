"""Everything is reached, seen and left with the keyboard."""

from __future__ import annotations

import pytest

FOCUS = """() => {
  const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
  const x = box.x + box.width / 2, y = box.y + Math.min(box.height / 2, 20);
  const top = document.elementFromPoint(x, y);
  return {
    name: e.outerHTML.slice(0, 100), tag: e.tagName, outline: style.outlineStyle,
    width: parseFloat(style.outlineWidth), left: Math.round(box.left), top: Math.round(box.top),
    covered: !top || !(e.contains(top) || top.contains(e) || e.labels?.[0]?.contains(top)),
  };
}"""
N_STOPS = 60


@pytest.fixture
def page(page):
    page.goto("/backtests/")
    page.locator("#conn[data-state=live]").wait_for()
    return page


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")


def test_the_first_stop_is_a_visible_link_to_the_content(page):
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert focused(page) == "main"
    page.keyboard.press("Tab")
    assert page.locator("main :focus").count() == 1


@pytest.mark.parametrize("path", ["/backtests/", "/backtests/new/", "/imports/", "/settings/"])
def test_every_stop_shows_its_focus_and_is_not_covered(page, path):
    page.goto(path)
    page.locator("body").click(position={"x": 1, "y": 1})
    faint, seen = [], set()
    for _ in range(N_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUS)
        if stop["tag"] == "BODY":
            break
        is_part = "date" in stop["name"] and stop["name"] in seen  # the browser marks its parts
        if not is_part and (stop["outline"] == "none" or stop["width"] < 2 or stop["covered"]):
            faint.append(stop)
        seen.add(stop["name"])
    assert faint == []
    assert len(seen) > 20


@pytest.mark.parametrize("keys", ["/", "Control+k"])
def test_the_search_is_one_key_away_and_finds(page, keys):
    page.keyboard.press(keys)
    assert focused(page) == "search"
    page.keyboard.type("apple")  # letters of shortcuts are letters here
    assert page.url.endswith("/backtests/")
    page.keyboard.press("Enter")
    page.wait_for_url("**/instruments/?q=apple")
    assert page.get_by_role("link", name="AAPL", exact=True).is_visible()


def test_two_keys_lead_to_another_page(page):
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url(lambda url: url.endswith("/") and url.count("/") == 3)
    assert page.locator("h1").inner_text() == "Overview"


def test_the_list_of_shortcuts_traps_focus_and_gives_it_back(page):
    page.locator("main a").first.focus()
    before = focused(page)
    page.keyboard.press("?")
    dialog = page.locator("#shortcuts")
    assert dialog.is_visible()
    assert focused(page) == "Close"
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert focused(page) == before


def test_a_dialog_opened_from_a_menu_gives_focus_back_to_the_menu(page):
    page.locator("details.menu summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Keyboard shortcuts").focus()
    page.keyboard.press("Enter")
    assert page.locator("#shortcuts").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("!!document.activeElement.closest('details.menu')")


def test_single_keys_can_be_turned_off_on_this_device(page):
    page.keyboard.press("?")
    page.get_by_label("Single-key shortcuts on this device").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert focused(page) != "search"
    page.reload()
    page.keyboard.press("/")
    assert focused(page) != "search"
    page.keyboard.press("Control+k")
    assert focused(page) == "search"


def test_deleting_asks_first_with_the_focus_on_cancel(page, market):
    page.goto(market.paths["backtest"])
    opener = page.get_by_role("button", name="Delete").first
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    assert dialog.is_visible()
    assert page.evaluate("document.activeElement.dataset.action") == "close-dialog"
    page.keyboard.press("Enter")
    assert dialog.count() == 0
    assert page.evaluate("document.activeElement.textContent.trim()").startswith("Delete")


def test_the_menu_of_a_phone_opens_takes_the_focus_and_closes(open_page):
    page = open_page("phone")
    page.goto("/")
    page.get_by_role("button", name="More").click()
    assert page.evaluate("!!document.activeElement.closest('#nav')")
    page.keyboard.press("Escape")
    assert page.get_by_role("button", name="More").get_attribute("aria-expanded") == "false"
    assert "More" in focused(page)
