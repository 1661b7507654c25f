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
from tests.browser.watching import Faults, accessibility_violations

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
OpenPage = Callable[..., Page]


def program() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests below; run them last and in one process, whose event loop they occupy."""
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
        item.add_marker(pytest.mark.xdist_group("browser"))
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
def doomed_server(market: Market, variables: dict[str, str]) -> Iterator[WebServer]:
    """A server of the test's own, to be killed."""
    web = WebServer(variables)
    web.start()
    yield web
    web.stop()


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


@pytest.fixture
def open_page(
    chromium: Browser, server: WebServer, backstage: Backstage, faults: Faults
) -> Iterator[OpenPage]:
    """Open a tab: on which device, as whom, and with what further options of the browser."""
    contexts: list[BrowserContext] = []

    def open_one(
        device: str = "desktop",
        *,
        who: str | None = "demo",
        at: WebServer = server,
        **options: Any,
    ) -> Page:
        context = chromium.new_context(base_url=at.origin, **DEVICES[device], **options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        faults.watch(context, at.origin)
        if who is not None:
            cookie = {"name": "sessionid", "value": backstage.cookie(who), "url": at.origin}
            context.add_cookies([cookie])
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    source = (HERE / "axe/axe.min.js").read_text(encoding="utf-8")
    return lambda page: accessibility_violations(page, source)
