"""From publishing an event to its text on an open page.

python -m benchmarks.live_page

A real web server and a real Chromium; the limit is 250 ms at the 95th percentile.
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alphastrat.settings_test")

from benchmarks.scratch import scratch_database

N_EVENTS = 200
PAUSE_SECONDS = 0.05
# Times of arrival are taken in the page, by the clock that the publisher reads as well.
WATCH = """
window.arrived = {};
const target = document.querySelector('.card data');
target.dataset.live = 'alerts.day';
new MutationObserver(() => { arrived[target.textContent] ??= Date.now() / 1000; })
  .observe(target, {childList: true, characterData: true, subtree: true});
"""


def prepare() -> tuple[int, str, dict[str, Any]]:
    """Make a person; return the id, the session's cookie and the database's settings."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client

    user = get_user_model().objects.create_user("bench", password="bench", role="admin")
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user.pk, client.cookies["sessionid"].value, dict(connection.settings_dict)


def publish(user_id: int, number: int) -> float:
    """Publish one value; return when."""
    from alphastrat.core import live

    began = time.time()
    value = {"v": number, "s": f"value {number}", "dir": "up"}
    live.publish(f"alerts:u{user_id}", "metrics", {"day": value})
    return began


def disconnect() -> None:
    from django.db import connections

    connections.close_all()


def measure(program: str) -> list[float]:
    """Return the delay of every event, in seconds."""
    from playwright.sync_api import sync_playwright

    from tests.browser.processes import WebServer, environment

    user_id, session, database = prepare()
    web = WebServer(environment(database))
    web.start()
    sent: dict[str, float] = {}
    try:
        with ThreadPoolExecutor(1) as thread, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
            context = browser.new_context(base_url=web.origin)
            context.add_cookies([{"name": "sessionid", "value": session, "url": web.origin}])
            page = context.new_page()
            page.goto("/styleguide/")
            page.locator("#conn[data-state=live]").wait_for()
            page.evaluate(WATCH)
            for number in range(N_EVENTS):
                sent[f"value {number}"] = thread.submit(publish, user_id, number).result()
                time.sleep(PAUSE_SECONDS)
            page.wait_for_timeout(1000)
            arrived = page.evaluate("arrived")
            browser.close()
            thread.submit(disconnect).result()
    finally:
        web.stop()
        time.sleep(1)  # until the server's connections are gone
    return [arrived[text] - at for text, at in sent.items() if text in arrived]


def main() -> None:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("not measured: no Chromium (apt-get install chromium)")
        return
    with scratch_database():
        delays = sorted(measure(program))
    p95 = delays[int(len(delays) * 0.95)]
    print(f"{len(delays)} of {N_EVENTS} events seen on the page")
    print(f"publish to DOM: median {median(delays) * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms")
    print(f"slowest {delays[-1] * 1e3:.1f} ms; limit 250 ms at p95")


if __name__ == "__main__":
    main()
