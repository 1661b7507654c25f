"""The pages of alerts, thresholds and silences: who sees and does what."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from alphastrat.core import events
from monitoring.models import Alert, AlertEvent, Silence, ThresholdRule
from monitoring.services import rules
from tests.factories import make_user, signed_in
from tests.monitoring.alert_builders import breach, firing, make_rule, plain_strategy
from tests.monitoring.test_performance_monitor import trade

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
INBOX = "/alerts/"


@pytest.fixture
def browser(alice):
    return signed_in(alice)


@pytest.fixture
def strategy(alice):
    return plain_strategy(alice)


@pytest.fixture
def alert(alice, strategy) -> Alert:
    return firing(alice, at=now(), strategy_id=strategy.pk)


def act(browser, alert, action, **fields):
    return browser.post(f"/alerts/{alert.pk}/{action}/", fields, headers=HTMX)


def kinds(alert):
    return list(AlertEvent.objects.filter(alert=alert).values_list("kind", flat=True))


def test_the_inbox_shows_value_limit_and_times(browser, alert):
    page = browser.get(INBOX).content.decode()
    for text in ("Drawdown below", "−6.00%", "−5.00%", "RSI", "Acknowledge"):
        assert text in page
    assert 'data-heads="{&quot;alerts&quot;:1}"' in page


@pytest.mark.parametrize(
    ("state", "query", "shown"),
    [
        ("firing", "", True),
        ("firing", "?state=acknowledged", False),
        ("acknowledged", "", False),
        ("acknowledged", "?state=acknowledged", True),
        ("resolved", "?state=resolved", True),
        ("resolved", "?state=all", True),
        ("firing", "?severity=critical", False),
        ("firing", "?q=rs", True),
        ("firing", "?q=macd", False),
        ("firing", "?state=nonsense&metric=drawdown", True),
    ],
)
def test_tabs_and_filters_choose(browser, alert, state, query, shown):
    if state == "acknowledged":
        act(browser, alert, "acknowledge")
    if state == "resolved":
        Alert.objects.update(state="resolved", resolved_at=now())
    assert (f"alert-{alert.pk}" in browser.get(INBOX + query).content.decode()) is shown


def test_an_alert_is_acknowledged_once_and_by_name(browser, alice, alert):
    answer = act(browser, alert, "acknowledge", comment="On it")
    assert answer.status_code == 204
    assert "alerts:refresh" in answer.headers["HX-Trigger"]
    alert.refresh_from_db()
    assert (alert.acknowledged_by, alert.comment, alert.state) == (alice, "On it", "firing")
    assert alert.escalate_at is None
    again = act(browser, alert, "acknowledge")
    assert "Somebody has this alert already" in again.headers["HX-Trigger"]
    assert kinds(alert) == ["fired", "acknowledged"]


def test_without_htmx_an_action_leads_back(browser, alert):
    answer = browser.post(f"/alerts/{alert.pk}/acknowledge/", {"next": "/alerts/?state=firing"})
    assert (answer.status_code, answer.url) == (302, "/alerts/?state=firing")
    answer = browser.post(f"/alerts/{alert.pk}/comment/", {"comment": "x", "next": "//evil.test"})
    assert answer.url == alert.get_absolute_url()


def test_many_are_acknowledged_at_once(browser, alice):
    alerts = [firing(alice, at=now(), cause=f"c{i}") for i in range(3)]
    ids = [str(alert.pk) for alert in alerts[:2]]
    browser.post("/alerts/bulk/", {"alert": ids, "action": "acknowledge"}, headers=HTMX)
    assert Alert.objects.filter(acknowledged_by=alice).count() == 2


def test_a_snooze_is_until_a_time_or_a_bound_in_percent(browser, alert):
    act(browser, alert, "snooze", **{"snooze-seconds": "3600", "snooze-bound": "-8"})
    alert.refresh_from_db()
    assert alert.snoozed_bound == pytest.approx(-0.08)
    assert timedelta(minutes=59) < alert.snoozed_until - now() <= timedelta(hours=1)
    act(browser, alert, "wake")
    alert.refresh_from_db()
    assert alert.snoozed_until is None
    assert kinds(alert) == ["fired", "snoozed", "woken"]


def test_what_is_still_evaluated_cannot_be_resolved_by_hand(browser, alice, strategy):
    rule = make_rule(alice)
    alert = firing(alice, at=now(), rule_id=rule.pk, strategy_id=strategy.pk)
    assert "ends by itself" in act(browser, alert, "resolve").headers["HX-Trigger"]
    rule.is_enabled = False
    rule.save()
    act(browser, alert, "resolve")
    alert.refresh_from_db()
    assert alert.state == "resolved"


def test_feedback_is_kept(browser, alert):
    act(browser, alert, "feedback", feedback="noise")
    act(browser, alert, "feedback", feedback="noise")
    act(browser, alert, "feedback", feedback="rubbish")
    alert.refresh_from_db()
    assert alert.feedback == "noise"
    assert kinds(alert) == ["fired", "feedback"]


def test_the_page_of_an_alert_tells_the_whole_story(browser, alice, strategy):
    rule = make_rule(alice)
    account = trade(strategy, *[0.001] * 30, -0.08, end=now())
    alert = firing(
        alice,
        at=now(),
        rule_id=rule.pk,
        strategy_id=strategy.pk,
        breached_at=account.marked_to,
        evidence={"bounds": [-0.05, -0.1, -0.03], "rule_version": 1, "window_bars": None},
    )
    page = browser.get(alert.get_absolute_url()).content.decode()
    for text in ("Timeline", "Deliveries", "Drawdown", "version 1", "Signals around it"):
        assert text in page
    figure = browser.get(f"{alert.get_absolute_url()}chart/").json()
    assert {shape["label"]["text"] for shape in figure["layout"]["shapes"]} == {
        "Warning",
        "Critical",
        "Clear",
    }
    numbers = browser.get(f"{alert.get_absolute_url()}chart/?format=csv")
    assert b"".join(numbers.streaming_content).startswith(b"time,drawdown")


def test_a_stranger_sees_nothing_and_a_viewer_does_nothing(alert):
    charlie = signed_in(make_user("charlie"))
    assert charlie.get(alert.get_absolute_url()).status_code == 404
    assert act(charlie, alert, "acknowledge").status_code == 404
    assert f"alert-{alert.pk}" not in charlie.get(INBOX).content.decode()
    viewer = make_user("vera", role="viewer")
    Alert.objects.update(owner=viewer)
    page = signed_in(viewer).get(INBOX)
    assert b"data-acknowledge" not in page.content
    assert act(signed_in(viewer), alert, "acknowledge").status_code == 403
    assert signed_in(viewer).get("/thresholds/new/").status_code == 403


def test_the_row_under_the_top_bar_shows_what_nobody_has(browser, alice, alert):
    row = browser.get(reverse("monitoring:alert-row")).content.decode()
    assert f'data-alert="{alert.pk}"' in row
    act(browser, alert, "acknowledge")
    assert "No new alerts" in browser.get(reverse("monitoring:alert-row")).content.decode()


def test_alerts_are_exported_as_they_are_filtered(browser, alert):
    answer = browser.get("/alerts/?format=csv&state=all")
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert len(lines) == 2
    assert str(alert.pk) in lines[1]


@pytest.mark.parametrize("path", [INBOX, "/thresholds/", "/alerts/silences/"])
def test_pages_cost_the_same_number_of_queries_for_many(alice, browser, path):
    def cost(n):
        for i in range(n):
            one = plain_strategy(alice, f"{n}-{i}")
            rule = make_rule(alice, f"{n}-{i}", scope="strategy", strategy=one)
            firing(alice, at=now(), cause=f"{n}-{i}", strategy_id=one.pk, rule_id=rule.pk)
            Silence.objects.create(
                owner=alice,
                comment="x",
                starts_at=now(),
                ends_at=now() + timedelta(days=1),
                matchers={"strategy": str(one.pk)},
            )
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(path).status_code == 200
        return len(queries)

    assert cost(2) == cost(20) <= 12


# Thresholds.


def fields(**changes):
    values = {
        "name": "Deep water",
        "scope": "all",
        "metric": "drawdown",
        "comparator": "below",
        "warning_bound": "-5",
        "critical_bound": "-10",
        "clear_bound": "-4",
        "minimum_observations": "1",
        "pending_seconds": "0",
        "cooldown_seconds": "3600",
        "no_data_policy": "ignore",
        "is_enabled": "on",
    }
    return {**values, **changes}


def test_a_rule_is_typed_in_percent_and_kept_as_a_fraction(browser, alice):
    assert browser.post("/thresholds/new/", fields()).status_code == 302
    rule = ThresholdRule.objects.get(owner=alice)
    assert (rule.warning_bound, rule.critical_bound, rule.clear_bound) == (-0.05, -0.1, -0.04)
    form = browser.get(rule.get_absolute_url()).context["form"]
    assert form["warning_bound"].value() == -5


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"critical_bound": "-3"}, "critical_bound"),
        ({"warning_bound": "", "critical_bound": ""}, "warning_bound"),
        ({"clear_bound": "-6"}, "clear_bound"),
        ({"warning_bound": "nan"}, "warning_bound"),
        ({"metric": "volatility"}, "window_bars"),
        ({"metric": "day_return", "window_bars": "20"}, "window_bars"),
        ({"scope": "strategy"}, "strategy"),
        ({"active_calendar": "MARS"}, "active_calendar"),
        ({"name": "Taken"}, "name"),
        (
            {"metric": "sharpe_ratio", "window_bars": "5", "minimum_observations": "9"},
            "minimum_observations",
        ),
    ],
)
def test_a_wrong_field_is_named_at_once_and_on_saving(browser, alice, changes, wrong):
    make_rule(alice, "Taken")
    for path, status in (("/thresholds/new/?validate=1", 200), ("/thresholds/new/", 422)):
        answer = browser.post(path, fields(**changes), headers=HTMX)
        assert answer.status_code == status
        assert set(answer.context["form"].errors) == {wrong}
        assert f'id="id_{wrong}-error"' in answer.content.decode()
    assert ThresholdRule.objects.count() == 1


def test_a_form_being_filled_in_does_not_complain_of_empty_fields(browser):
    answer = browser.post("/thresholds/new/?validate=1", fields(name=""), headers=HTMX)
    assert not answer.context["form"].errors


def test_a_rule_cannot_look_at_somebody_elses_strategy(browser, bob):
    theirs = plain_strategy(bob, "Bob's")
    answer = browser.post("/thresholds/new/", fields(scope="strategy", strategy=theirs.pk))
    assert (answer.status_code, set(answer.context["form"].errors)) == (422, {"strategy"})


def test_the_preview_counts_and_marks_the_firings(browser, alice, strategy):
    trade(strategy, *([0.0] * 5 + [-0.06, 0.07]) * 4, end=now())
    answer = browser.post("/thresholds/preview/", fields(metric="day_return", clear_bound="-3"))
    page = answer.content.decode()
    assert "Would have fired 4 times" in page
    assert page.count("<circle") == 4
    wrong = browser.post("/thresholds/preview/", fields(critical_bound="-1")).content.decode()
    assert "Once the bounds make sense" in wrong
    without_script = browser.post("/thresholds/new/", fields(preview="1")).content.decode()
    assert "Would have fired" in without_script


def test_a_change_of_an_outdated_version_is_a_conflict(browser, alice):
    rule = make_rule(alice)
    rules.change_rule(rule.pk, {"warning_bound": -0.06}, expected_version=1)
    answer = browser.post(rule.get_absolute_url(), fields(expected_version="1"))
    assert answer.status_code == 409
    assert "Version 2 has been saved meanwhile" in answer.content.decode()
    answer = browser.post(rule.get_absolute_url(), fields(expected_version="2"))
    assert answer.status_code == 302
    rule.refresh_from_db()
    assert (rule.version, rule.name) == (3, "Deep water")


def test_a_rule_is_put_back_to_an_earlier_version(browser, alice):
    rule = make_rule(alice)
    page = rule.get_absolute_url()
    browser.post(page, fields(expected_version="1", warning_bound="-7", name="Changed"))
    versions = browser.get(page).context["versions"]
    assert [version.version for version in versions] == [2, 1]
    assert versions[0].by == "alice"
    assert "Warning bound: −5.00% → −7.00%" in versions[0].changes
    browser.post(f"{page}revert/", {"entry": versions[1].entry_id, "version": "2"})
    rule.refresh_from_db()
    assert (rule.name, rule.warning_bound, rule.version) == ("Drawdown", -0.05, 3)


def test_rules_are_switched_and_deleted(browser, alice):
    rule = make_rule(alice)
    browser.post(f"{rule.get_absolute_url()}switch/", {"version": "1"})
    rule.refresh_from_db()
    assert not rule.is_enabled
    browser.post(f"{rule.get_absolute_url()}delete/")
    assert not ThresholdRule.objects.exists()


@pytest.mark.parametrize("key", ["conservative", "balanced", "aggressive"])
def test_a_template_makes_rules_once(browser, alice, key):
    for _ in range(2):
        browser.post("/thresholds/template/", {"template": key})
    made = ThresholdRule.objects.filter(owner=alice, template=key)
    assert made.count() >= 5
    for rule in made:
        rule.full_clean()


def test_rules_travel_as_a_document_after_a_look_at_the_difference(browser, alice, bob, strategy):
    make_rule(alice)
    make_rule(alice, "Own", scope="strategy", strategy=strategy)
    document = browser.get("/thresholds/?format=json").content.decode()
    plain_strategy(bob)
    make_rule(bob, warning_bound=-0.06)
    other = signed_in(bob)
    page = other.post("/thresholds/import/", {"document": document})
    assert [line.kind for line in page.context["lines"]] == ["changed", "new"]
    assert page.context["lines"][0].changes == ("warning_bound: -0.06 → -0.05",)
    assert ThresholdRule.objects.filter(owner=bob).count() == 1
    other.post("/thresholds/import/", {"document": document, "confirm": "1"})
    assert ThresholdRule.objects.get(owner=bob, name="Drawdown").warning_bound == -0.05
    assert ThresholdRule.objects.get(owner=bob, name="Own").strategy.owner == bob


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "x", "rules": []}', '{"format": "alphastrat-threshold-rules"}']
)
def test_a_document_that_is_none_is_refused(browser, text):
    assert browser.post("/thresholds/import/", {"document": text}).status_code == 422


def test_a_wrong_rule_in_a_document_stops_the_import(browser, alice):
    make_rule(alice)
    document = json.loads(browser.get("/thresholds/?format=json").content)
    document["rules"][0] |= {"name": "Other", "critical_bound": 0.5}
    page = browser.post("/thresholds/import/", {"document": json.dumps(document)})
    assert [line.kind for line in page.context["lines"]] == ["wrong"]
    sent = {"document": json.dumps(document), "confirm": "1"}
    assert browser.post("/thresholds/import/", sent).status_code == 422
    assert ThresholdRule.objects.count() == 1


def test_inheritance_is_visible(browser, alice, strategy):
    make_rule(alice)
    plain_strategy(alice, "Other")
    make_rule(alice, "Own", scope="strategy", strategy=strategy)
    assert "Replaced for RSI" in browser.get("/thresholds/").content.decode()
    page = browser.get(f"/thresholds/?strategy={strategy.pk}").content.decode()
    assert "Replaced by “Own”" in page
    assert "Its own" in page


# Silences.


def test_a_silence_begins_mutes_and_ends(browser, alice, strategy):
    begins, ends = now() - timedelta(minutes=1), now() + timedelta(hours=2)
    sent = {
        "kind": "maintenance",
        "starts_at": f"{begins:%Y-%m-%dT%H:%M}",
        "ends_at": f"{ends:%Y-%m-%dT%H:%M}",
        "comment": "Broker upgrade",
        "severity": "warning",
        "strategy": str(strategy.pk),
    }
    assert browser.post("/alerts/silences/", sent).status_code == 302
    silence = Silence.objects.get()
    assert silence.matchers == {"severity": "warning", "strategy": str(strategy.pk)}
    assert "strategy RSI" in browser.get("/alerts/silences/").content.decode()
    browser.post(f"/alerts/silences/{silence.pk}/end/")
    silence.refresh_from_db()
    assert silence.ends_at <= now()
    backwards = {**sent, "ends_at": sent["starts_at"]}
    assert browser.post("/alerts/silences/", backwards).status_code == 422


# Administration.


def test_rules_are_made_and_checked_in_the_administration(alice, bob):
    root = make_user("root", role="admin")
    admin = signed_in(root)
    page = "/admin/monitoring/thresholdrule/"
    sent = fields(owner=alice.pk)
    empty = admin.get(f"{page}add/").context["adminform"].form
    assert empty["cooldown_seconds"].value() == 3600
    wrong = admin.post(f"{page}add/", {**sent, "critical_bound": "-1"})
    assert set(wrong.context["adminform"].form.errors) == {"critical_bound"}
    assert admin.post(f"{page}add/", sent).status_code == 302
    rule = ThresholdRule.objects.get(owner=alice)
    assert rule.warning_bound == -0.05
    assert admin.get(page).status_code == 200
    change = f"{page}{rule.pk}/change/"
    assert admin.get(change).status_code == 200
    answer = admin.post(change, {**sent, "warning_bound": "-6", "expected_version": "1"})
    assert answer.status_code == 302
    rule.refresh_from_db()
    assert (rule.warning_bound, rule.version) == (-0.06, 2)
    stale = admin.post(change, {**sent, "expected_version": "1"})
    assert stale.status_code == 200


def test_a_field_is_checked_in_the_administration_as_soon_as_it_changes(alice, bob):
    admin = signed_in(make_user("root", role="admin"))
    check = "/admin/monitoring/thresholdrule/check/"
    rule = make_rule(alice, "Taken")

    def wrong(**changes):
        return set(admin.post(check, fields(**changes)).json()["errors"])

    assert wrong(owner=alice.pk, rule="") == set()
    assert wrong(owner=alice.pk, rule="", critical_bound="-1") == {"critical_bound"}
    assert wrong(owner=alice.pk, rule="", name="Taken") == {"name"}
    assert wrong(owner=bob.pk, rule="", name="Taken") == set()
    assert wrong(rule=str(rule.pk), name="Taken") == set()
    assert b"rule_admin.js" in admin.get("/admin/monitoring/thresholdrule/add/").content
    assert signed_in(alice).post(check, fields()).status_code == 302


def test_alerts_can_be_read_in_the_administration(alice):
    alert = firing(alice, at=now())
    root = make_user("root", role="admin")
    admin = signed_in(root)
    assert admin.get("/admin/monitoring/alert/").status_code == 200
    assert admin.get(f"/admin/monitoring/alert/{alert.pk}/change/").status_code == 200
    assert breach(alice).cause == alert.cause


def test_a_first_look_shows_rules_that_watch(alice, django_capture_on_commit_callbacks):
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            events.send_on_commit(events.demo_seeded, user_id=alice.pk)
    assert ThresholdRule.objects.filter(owner=alice, template="balanced").count() >= 5
