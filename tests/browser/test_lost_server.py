"""A page whose server is killed says so, waits, and misses nothing."""

from __future__ import annotations

import pytest
from django.db import transaction

from alphastrat.core import live
from alphastrat.core.hub import REPLAY_LIMIT
from tests.browser.test_live import _named_job, alert

STALE_WITHIN = 10_000  # milliseconds: the lost connection says it, not 31 s of silence
LIVE_WITHIN = 30_000


@pytest.fixture
def page(open_page, doomed_server, faults):
    faults.expect(
        "WebSocket|Failed to fetch|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"
    )
    page = open_page()
    page.goto("/jobs/")
    page.locator("#conn[data-state=live]").wait_for()
    page.evaluate("window.stayed = true")
    return page


def test_missed_alerts_come_once_and_in_order(page, doomed_server, backstage, market):
    page.evaluate("""
      window.seen = [];
      addEventListener('live:event', ({detail}) => {
        if (detail.kind === 'alert') seen.push(detail.d.id);
      });
    """)
    doomed_server.kill()
    page.locator("#conn[data-state=stale]").wait_for(timeout=STALE_WITHIN)
    assert page.locator("#conn").inner_text().startswith("Stale since ")
    for name in ("m1", "m2", "m3"):
        backstage.publish(f"alerts:u{market.admin_id}", "alert", alert(name))
    doomed_server.start()
    page.locator("#conn[data-state=live]").wait_for(timeout=LIVE_WITHIN)
    page.locator("#announce-polite:has-text('3 missed alerts')").wait_for(state="attached")
    assert page.evaluate("seen") == ["m1", "m2", "m3"]
    assert "missed while disconnected" in page.locator("#alert-row").inner_text()
    assert page.title().startswith("(3) ")
    assert page.evaluate("stayed"), "the page was loaded again"


def test_too_many_missed_events_make_the_page_fetch_afresh(page, doomed_server, backstage, market):
    doomed_server.kill()
    page.locator("#conn[data-state=stale]").wait_for()
    backstage.do(_named_job, market.admin_id, "Made while away")
    backstage.do(_publish_many, f"jobs:u{market.admin_id}", REPLAY_LIMIT + 1)
    doomed_server.start()
    page.locator("#conn[data-state=live]").wait_for(timeout=LIVE_WITHIN)
    page.get_by_text("Made while away").first.wait_for()
    assert page.evaluate("stayed"), "the page was loaded again"


def _publish_many(topic, number):
    with transaction.atomic():
        for _ in range(number):
            live.publish(topic, "invalidate", {"fragment": "nothing"})
