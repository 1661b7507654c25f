"""One Chromium, one web server and one market for all browser tests of a test process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser import backstage as behind
from tests.browser.backstage import Backstage, Market
from tests.browser.processes import WebServer, Worker, environment
from tests.browser.watching import REPORT_VIOLATIONS, Faults, accessibility_violations

HERE = Path(__file__).parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DEVICES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "reduced_motion": "reduce",
    },
}
TIMEOUT = 30_000  # milliseconds: nothing is measured by it, a loaded machine is slow
OpenPage = Callable[..., Page]


def program() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests below; run them last, for they occupy the event loop of their process."""
    ours = [item for item in items if HERE in item.path.parents]
    if ours and program() is None:
        # One line says for all of them what is missing.
        reason = f"{len(ours)} browser tests: no Chromium here; `apt-get install chromium`"
        ours[0].add_marker(pytest.mark.skip(reason=reason))
        config.hook.pytest_deselected(items=ours[1:])
        left_out = {id(item) for item in ours[1:]}
        items[:] = [item for item in items if id(item) not in left_out]
        del ours[1:]
    for item in ours:
        item.add_marker(pytest.mark.browser)
    items[:] = [item for item in items if HERE not in item.path.parents] + ours


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program(), args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def backstage(
    chromium: Browser, django_test_environment: None, django_db_blocker: Any
) -> Iterator[Backstage]:
    thread = Backstage(django_db_blocker)
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def variables(backstage: Backstage) -> dict[str, str]:
    """Return the environment of the processes under test."""
    return environment(backstage.open())


@pytest.fixture(scope="session")
def market(backstage: Backstage, variables: dict[str, str]) -> Market:
    return backstage.do(behind.load)


@pytest.fixture(scope="session")
def server(market: Market, variables: dict[str, str]) -> Iterator[WebServer]:
    web = WebServer(variables)
    web.start()
    yield web
    web.stop()


@pytest.fixture
def doomed_server(server: WebServer) -> Iterator[WebServer]:
    """The server, to be killed; the next test finds it alive."""
    yield server
    if not server.is_alive:
        server.start()


@pytest.fixture(scope="module")
def worker(market: Market, variables: dict[str, str]) -> Iterator[Worker]:
    process = Worker(variables)
    yield process
    process.stop()


@pytest.fixture
def faults() -> Iterator[Faults]:
    watcher = Faults()
    yield watcher
    assert watcher.unexpected == []


def new_context(chromium: Browser, origin: str, device: str, **options: Any) -> BrowserContext:
    context = chromium.new_context(base_url=origin, **DEVICES[device], **options)
    context.set_default_timeout(TIMEOUT)
    context.add_init_script(REPORT_VIOLATIONS)
    return context


@pytest.fixture(scope="session")
def cookie(backstage: Backstage, server: WebServer) -> Callable[..., Any]:
    """Sign a person in; return the cookie to be added."""

    def sign_in(who: str) -> Any:
        return {"name": "sessionid", "value": backstage.cookie(who), "url": server.origin}

    return sign_in


@pytest.fixture
def open_page(
    chromium: Browser, server: WebServer, cookie: Callable[..., Any], faults: Faults
) -> Iterator[OpenPage]:
    """Open a tab: on which device, as whom, and with what further options of the browser."""
    contexts: list[BrowserContext] = []

    def open_one(
        device: str = "desktop",
        *,
        who: str | None = "demo",
        **options: Any,
    ) -> Page:
        context = new_context(chromium, server.origin, device, **options)
        contexts.append(context)
        faults.watch(context, server.origin)
        if who is not None:
            context.add_cookies([cookie(who)])
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def idle_tabs() -> dict[str, Page]:
    """Return the tab of each device that waits for the next visit."""
    return {}


@pytest.fixture
def lend_page(
    chromium: Browser,
    server: WebServer,
    cookie: Callable[..., Any],
    faults: Faults,
    idle_tabs: dict[str, Page],
) -> Iterator[OpenPage]:
    """Lend the tab of a device, which has the scripts of the pages already, to a test that looks.

    It comes without what an earlier test stored, and is given back empty.
    """
    lent: dict[str, Page] = {}

    def lend(device: str = "desktop", *, who: str | None = "demo") -> Page:
        tab = idle_tabs.pop(device, None) or new_context(chromium, server.origin, device).new_page()
        lent[device] = tab
        faults.watch(tab.context, server.origin)
        tab.context.clear_cookies()
        if who is not None:
            tab.context.add_cookies([cookie(who)])
        tab.set_viewport_size(DEVICES[device]["viewport"])
        return tab

    yield lend
    for device, tab in lent.items():
        # What a page does when it is left is not the test's.
        faults.leave(tab.context)
        tab.evaluate("localStorage.clear(); sessionStorage.clear()")
        tab.goto("about:blank")
        idle_tabs[device] = tab


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    source = (HERE / "axe/axe.min.js").read_text(encoding="utf-8")
    return lambda page: accessibility_violations(page, source)
