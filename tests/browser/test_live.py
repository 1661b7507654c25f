"""The page's side of the live protocol, against the real server and against a scripted one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import WebSocketRoute

from alphastrat.core.job_progress import announce
from alphastrat.core.models import Job
from tests.factories import make_job

COUNT = "window.fired = 0; document.body.addEventListener('%s', () => { window.fired += 1; })"


def alert(name, level="error"):
    return {"id": name, "level": level, "state": "firing", "title": f"Alert {name}", "url": "/"}


class Script:
    """A server that says what the test tells it to."""

    def __init__(self, page, heartbeat=15):
        self.heartbeat = heartbeat
        self.gap = False
        self.route: WebSocketRoute
        self.hellos: list[dict[str, Any]] = []
        page.route_web_socket("**/ws/live/", self._open)

    def _open(self, route):
        self.route = route
        route.on_message(self._answer)

    def _answer(self, text):
        message = json.loads(text)
        if message["t"] == "hello":
            self.hellos.append(message)
            topics = {"alerts": {"head": 9, "gap": self.gap}}
            self.say({"t": "welcome", "v": 1, "hb": self.heartbeat, "ts": 0, "topics": topics})

    def say(self, frame):
        self.route.send(json.dumps(frame))

    def event(self, sequence, kind, data, topic="strategy:7"):
        frame = {"t": "evt", "topic": topic, "seq": sequence, "ts": 1.8e9, "kind": kind, "d": data}
        self.say(frame)

    def day(self, sequence, text):
        self.event(sequence, "metrics", {"day": {"v": 0.01, "s": text, "dir": "up"}})


@pytest.fixture
def script(page):
    scripted = Script(page)
    page.goto("/styleguide/")
    page.locator("#conn[data-state=live]").wait_for()
    page.evaluate("document.querySelector('.card data').dataset.live = 'strategy:7.day'")
    return scripted


def value(page):
    return page.locator(".card data").first.inner_text()


def test_an_answer_that_is_older_than_an_alert_leaves_it_where_it_is(page, script):
    answers = []
    page.route("**/alerts/row/", lambda route: answers.append(route))
    page.goto("/jobs/")
    page.locator("#conn[data-state=live]").wait_for()
    script.event(10, "alert", alert("one"), topic="alerts")
    page.locator("#alert-row .banner").wait_for()
    with page.expect_response("**/alerts/row/"):
        answers[0].continue_()
    page.wait_for_timeout(500)
    assert page.locator("#alert-row .banner").count() == 1


def test_an_alert_appears_is_announced_marked_and_dismissed(page, backstage, market):
    page.goto("/jobs/")
    page.locator("#conn[data-state=live]").wait_for()
    backstage.publish(f"alerts:u{market.admin_id}", "alert", alert("one"))
    page.locator("#alert-row .banner").wait_for()
    assert page.locator("#alert-row").inner_text().startswith("Error:")
    assert page.title().startswith("(1) ")
    page.locator("#announce-assertive:has-text('Alert one')").wait_for(state="attached")
    assert "alert" in page.locator("link[rel=icon]").get_attribute("href")
    page.locator("#alert-row [data-action=dismiss]").click()
    assert page.locator("#alert-row").inner_text() == "No new alerts"
    assert not page.title().startswith("(")


def test_a_stranger_hears_nothing(open_page, backstage, market):
    page = open_page(who="viewer")
    page.goto("/jobs/")
    page.locator("#conn[data-state=live]").wait_for()
    backstage.publish(f"alerts:u{market.admin_id}", "alert", alert("private"))
    backstage.publish(f"alerts:u{market.viewer_id}", "alert", alert("own"))
    page.locator("#alert-row .banner").wait_for()
    assert "Alert own" in page.locator("#alert-row").inner_text()
    assert page.title().startswith("(1) ")


def test_a_job_moves_without_a_request_and_never_backwards(page, backstage, market, faults):
    job = backstage.do(_running_job, market.admin_id)
    page.goto(f"/jobs/{job.pk}/")
    page.locator("#conn[data-state=live]").wait_for()
    bar = page.locator(".job progress")
    page.locator(".job button[type=submit]").focus()
    backstage.do(_advance, job, 42)
    page.locator(".job progress[value='42']").wait_for()
    assert "42 of 120" in page.locator(".job").inner_text()
    backstage.do(_advance, job, 41)
    page.locator(".job:has-text('Step 41')").wait_for()
    assert bar.get_attribute("value") == "42"
    assert page.evaluate("document.activeElement.textContent.trim()") == "Cancel"
    n_active = int(page.locator("#jobs-tray .tally").inner_text())
    backstage.do(_finish, job)
    page.locator(".job[data-state=failed]").wait_for()
    assert int(page.locator("#jobs-tray .tally").inner_text()) == n_active - 1
    page.locator("#announce-assertive:has-text('failed')").wait_for(state="attached")


def _running_job(owner_id):
    job = make_job(None, status="running", title="Count", done=5, total=120)
    Job.objects.filter(pk=job.pk).update(owner_id=owner_id)
    job.refresh_from_db()
    return job


def _advance(job, done):
    job.done, job.step = done, f"Step {done}"
    job.save()
    announce(job)


def _finish(job):
    job.status, job.error = Job.Status.FAILED, "Too few bars."
    job.finished_at = job.created_at
    job.save()
    announce(job)


def test_an_event_that_comes_twice_counts_once_and_order_is_kept(page, script):
    page.evaluate(
        "window.seen = []; addEventListener('live:event', (e) => seen.push(e.detail.seq))"
    )
    for sequence in (1, 2, 2, 1, 3):
        script.day(sequence, f"+{sequence}.00%")
    page.locator(".card data:has-text('+3.00%')").first.wait_for()
    assert page.evaluate("seen") == [1, 2, 3]


def test_after_a_loss_the_page_asks_for_what_follows_the_last_event(page, script):
    script.event(12, "alert", alert("a"), topic="alerts")
    page.locator("#alert-row .banner").wait_for()
    script.route.close()
    page.locator("#conn[data-state=stale]").wait_for()
    page.locator("#conn[data-state=live]").wait_for()
    since = {topic["n"]: topic.get("since") for topic in script.hellos[-1]["topics"]}
    assert since["alerts"] == 12


def test_a_gap_makes_the_page_fetch_afresh(page, script):
    page.evaluate(COUNT % "live:refresh")
    script.gap = True
    script.route.close()
    page.locator("#conn[data-state=stale]").wait_for()
    page.locator("#conn[data-state=live]").wait_for()
    assert page.evaluate("fired") == 1


def test_pausing_holds_values_but_not_alerts(page, script):
    script.day(1, "+1.00%")
    page.locator(".card data:has-text('+1.00%')").first.wait_for()
    page.locator("#pause").click()
    script.day(2, "+2.00%")
    script.event(10, "alert", alert("b"), topic="alerts")
    page.locator("#alert-row .banner").wait_for()
    assert value(page) == "+1.00%"
    assert page.locator("#conn").inner_text() == "Paused, 1 waiting"
    page.locator("#pause").click()
    assert value(page) == "+2.00%"
    assert page.locator("#conn").inner_text() == "Live"


def test_a_burst_of_alerts_is_announced_at_most_three_times(page, script):
    page.evaluate("""
      window.said = 0;
      for (const kind of ['polite', 'assertive']) new MutationObserver(() => { window.said += 1; })
        .observe(document.getElementById(`announce-${kind}`), {childList: true});
    """)
    for number in range(20):
        script.event(10 + number, "alert", alert(f"x{number}"), topic="alerts")
    page.locator("#announce-assertive:has-text('20 new messages')").wait_for(state="attached")
    assert page.evaluate("said") <= 3
    assert page.locator("#alert-row .banner").count() == 1


def test_a_socket_that_falls_silent_is_called_stale(page):
    Script(page, heartbeat=1)
    page.goto("/styleguide/")
    page.locator("#conn[data-state=live]").wait_for()
    page.locator("#conn[data-state=stale]").wait_for()
    assert page.locator("#conn").inner_text().startswith("Stale since ")


def test_a_machine_off_the_network_says_so_at_once(page, faults):
    faults.expect("ERR_INTERNET_DISCONNECTED|WebSocket")
    page.goto("/jobs/")
    page.locator("#conn[data-state=live]").wait_for()
    page.context.set_offline(True)
    page.locator("#conn[data-state=offline]").wait_for()
    page.context.set_offline(False)
    page.locator("#conn[data-state=live]").wait_for()


def test_without_a_socket_the_page_polls(page, backstage, market):
    page.route_web_socket("**/ws/live/", lambda route: route.close())
    page.goto("/jobs/")
    page.evaluate("window.stayed = true")
    backstage.do(_named_job, market.admin_id, "Seen by polling")
    page.get_by_text("Seen by polling").first.wait_for()
    assert page.evaluate("stayed")


def _named_job(owner_id, title):
    job = make_job(None, status="succeeded", title=title)
    Job.objects.filter(pk=job.pk).update(owner_id=owner_id)


def test_parts_of_a_strategy_stay_when_its_page_is_read_again(page, market):
    page.goto(market.paths["strategy"])
    parts = page.locator("#open-alerts-title, #verification-summary")
    page.locator("#open-alerts-title").wait_for()
    page.locator("#verification-summary").wait_for()
    with page.expect_response(lambda answer: answer.url.endswith(market.paths["strategy"])):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('live:refresh'))")
    page.wait_for_timeout(500)
    assert parts.count() == 2
