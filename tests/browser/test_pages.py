"""Every page in both themes, on a desktop and on a phone."""

from __future__ import annotations

import gzip

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DEVICES

PAGES = (
    "overview",
    "alerts",
    "alert",
    "silences",
    "thresholds",
    "new threshold",
    "threshold",
    "import of thresholds",
    "verification",
    "verdict",
    "against shadow",
    "instruments",
    "instrument",
    "imports",
    "import",
    "backtests",
    "new backtest",
    "backtest",
    "round trips",
    "strategies",
    "strategy",
    "strategy types",
    "new strategy",
    "change of a strategy",
    "signals",
    "signals of a strategy",
    "sweeps",
    "new sweep",
    "sweep",
    "sets of a sweep",
    "walk-forwards",
    "new walk-forward",
    "walk-forward",
    "results to compare",
    "comparison",
    "import of a result",
    "jobs",
    "job",
    "failed job",
    "system",
    "settings",
    "transports",
    "transport",
    "deliveries",
    "allocation",
    "correlation",
    "pair",
    "portfolios",
    "portfolio",
    "P&L",
    "risk",
    "value at risk",
    "limits",
    "account",
    "import fills",
    "trade elsewhere",
    "rebalancing",
    "rebalance",
    "triggers",
    "laboratory",
    "style guide",
    "metrics",
    "password",
    "login",
    "forbidden",
    "missing",
    "API docs",
)
STATUS = {"forbidden": 403, "missing": 404}
READERS = {"forbidden": "viewer", "login": None}
WITH_CHARTS = {
    "allocation",
    "pair",
    "overview",
    "alert",
    "verdict",
    "against shadow",
    "instrument",
    "backtest",
    "strategy",
    "signals of a strategy",
    "sweep",
    "walk-forward",
    "comparison",
    "P&L",
    "account",
    "value at risk",
    "laboratory",
    "style guide",
}
WIDTHS = {"desktop": (1440,), "phone": (390, 320)}
MAX_HTML = 60 * 1024


def visit(page, market, faults, name):
    status = STATUS.get(name, 200)
    if status >= 400:
        faults.expect(rf"{status}\b.*{market.paths[name]}$")
    answer = page.goto(market.paths[name])
    assert answer.status == status
    return answer


def settle(page):
    """Bring every figure near once, so that all that loads late has loaded."""
    for figure in page.locator("figure[data-chart]").all():
        figure.scroll_into_view_if_needed()
        explore = figure.locator(".plot-explore")
        figure.locator(":is([data-ready], .plot-explore:not([hidden]))").or_(
            page.locator(f"#{figure.get_attribute('id')}[data-ready]")
        ).first.wait_for(state="attached")
        if explore.is_visible():
            explore.click()
        page.locator(f"#{figure.get_attribute('id')}[data-ready]").wait_for()
    page.evaluate("scrollTo(0, 0)")


def overflow(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    return page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          return document.documentElement.scrollWidth <= width ? [] :
            [...document.querySelectorAll('body *')].filter((e) =>
              e.getBoundingClientRect().right > width + 1).map((e) =>
              e.outerHTML.slice(0, 120)).slice(0, 5).concat(`page ${
                document.documentElement.scrollWidth} in ${width}`);
        }"""
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_fits_and_is_accessible(name, device, lend_page, market, faults, axe):
    page = lend_page(device, who=READERS.get(name, "demo"))
    answer = visit(page, market, faults, name)
    assert len(gzip.compress(answer.body())) <= MAX_HTML
    expect(page.locator("h1")).to_have_count(1)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("main").count() == 1
    settle(page)
    for width in WIDTHS[device]:
        assert overflow(page, width) == []
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        assert axe(page) == [], theme
    for script in ("plotly-alphastrat", "js/charts"):
        is_loaded = any(script in url for url in faults.requested)
        assert is_loaded == (name in WITH_CHARTS), script


LINKS = "(e) => [...e.querySelectorAll('a[href]')].map((a) => a.getAttribute('href'))"
PARSED = "(html) => new DOMParser().parseFromString(html, 'text/html')"


def parsed(page, answer):
    """Return the document of an answer; nothing of it is drawn, loaded or run."""
    return page.evaluate_handle(PARSED, answer.text())


def test_titles_are_unique(page, market):
    titles = {}
    for name in PAGES:
        if name in READERS:
            continue
        answer = page.request.get(market.paths[name])
        assert answer.status == STATUS.get(name, 200), name
        title = parsed(page, answer).evaluate("(e) => e.title")
        titles.setdefault(title, []).append(name)
    titles.pop("", None)
    shared = {title: names for title, names in titles.items() if len(names) > 1}
    assert shared == {}
    assert all(title.endswith("AlphaStrat") for title in titles)


def test_every_link_of_every_page_leads_somewhere(page):
    """Crawl from the overview; what the server answers may not be its own fault."""
    seen, queue, broken = set(), ["/"], []
    while queue:
        path = queue.pop()
        answer = page.request.get(path, max_redirects=3)
        if answer.status >= 400:
            broken.append(f"{answer.status} {path}")
        if "text/html" not in answer.headers["content-type"] or path.startswith("/admin/"):
            continue
        for link in parsed(page, answer).evaluate(LINKS):
            bare = link.split("#")[0]
            shape = bare.split("?")[0]
            if not shape.startswith("/") or shape in seen or shape.startswith("/instruments/"):
                continue
            seen.add(shape)
            queue.append(bare)
    assert broken == []
    assert len(seen) > 15
