"""What no page may do: each is collected, and any one fails the test."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebError,
    WebSocket,
)

REPORT_VIOLATIONS = """
addEventListener('securitypolicyviolation', (e) => console.error(
  `CSP ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`));
"""


class Faults:
    """Console errors, uncaught errors, CSP violations, failed and foreign requests."""

    def __init__(self) -> None:
        self._hosts: set[str] = set()
        self._found: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self.requested: list[str] = []

    def watch(self, context: BrowserContext, origin: str) -> None:
        self._hosts.add(urlsplit(origin).netloc)
        for event, listener in self._listeners():
            context.on(event, listener)
        for page in context.pages:
            page.on("websocket", self._on_socket)

    def leave(self, context: BrowserContext) -> None:
        for event, listener in self._listeners():
            context.remove_listener(event, listener)
        for page in context.pages:
            page.remove_listener("websocket", self._on_socket)

    def _listeners(self) -> tuple[tuple[Any, Callable[[Any], None]], ...]:
        return (
            ("console", self._on_console),
            ("weberror", self._on_error),
            ("request", self._on_request),
            ("requestfailed", self._on_failure),
            ("response", self._on_response),
            ("page", self._on_page),
        )

    def expect(self, pattern: str) -> None:
        """Let faults pass that the test brings about itself."""
        self._expected.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        return [
            fault
            for fault in self._found
            if not any(pattern.search(fault) for pattern in self._expected)
        ]

    def _on_page(self, page: Page) -> None:
        page.on("websocket", self._on_socket)

    def _on_error(self, error: WebError) -> None:
        self._found.append(f"uncaught: {error.error}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._found.append(f"console: {message.text} {message.location.get('url', '')}")

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        self.requested.append(request.url)
        if address.scheme not in {"data", "blob"} and address.netloc not in self._hosts:
            self._found.append(f"foreign origin: {request.url}")

    def _on_socket(self, socket: WebSocket) -> None:
        if urlsplit(socket.url).netloc not in self._hosts:
            self._found.append(f"foreign origin: {socket.url}")

    def _on_failure(self, request: Request) -> None:
        # A navigation breaks off what is still on its way.
        if request.failure != "net::ERR_ABORTED":
            self._found.append(f"failed: {request.url} {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self._found.append(f"status {response.status}: {response.url}")


# What Swagger draws is its own; the page around it is ours.
AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
RUN_AXE = """
axe.run({exclude: ['#swagger-ui']}, {runOnly: %s, resultTypes: ['violations']}).then(
  ({violations}) => violations.map(({id, impact, nodes}) => `${id} (${impact}): ${nodes.slice(0, 3)
    .map((n) => `${n.html.slice(0, 160)} :: ${n.failureSummary.slice(0, 240)}`).join(' | ')}`))
"""


def accessibility_violations(page: Any, axe: str) -> list[str]:
    """Return what axe finds; the policy of the pages does not bind the debugger that injects it."""
    session = page.context.new_cdp_session(page)
    is_there = _evaluate(session, "typeof axe === 'object'")
    if not is_there:
        _evaluate(session, f"{axe};0")
    found = _evaluate(session, RUN_AXE % list(AXE_TAGS))
    session.detach()
    return list(found)


def _evaluate(session: Any, expression: str) -> Any:
    options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    answer = session.send("Runtime.evaluate", options)
    assert "exceptionDetails" not in answer, answer["exceptionDetails"]
    return answer["result"].get("value")
