"""The alert page that is left open all day, and the form of a rule while it is filled in."""

from __future__ import annotations

from django.utils.timezone import now

from alphastrat.accounts.models import User
from monitoring.models import Alert
from monitoring.services.performance_alerts import observe
from tests.monitoring.alert_builders import calm, firing


def fire(name):
    owner = User.objects.get(username="demo")
    return str(firing(owner, at=now(), cause=name, title=f"Breach {name}", severity="critical").pk)


def recover(name):
    observe([calm(User.objects.get(username="demo"), cause=name)], at=now())


def acknowledged_by(alert_id):
    return Alert.objects.get(pk=alert_id).acknowledged_by


def open_inbox(page):
    page.goto("/alerts/")
    page.locator("#conn[data-state=live]").wait_for()


def test_an_alert_appears_is_acknowledged_by_key_and_goes(page, market, backstage):
    open_inbox(page)
    alert_id = backstage.do(fire, "one")
    row = page.locator(f"#alert-{alert_id}")
    row.wait_for()
    page.locator("#alert-row [data-level=error]").wait_for()
    row.locator("a").first.focus()
    page.keyboard.press("a")
    row.wait_for(state="detached")
    assert backstage.do(acknowledged_by, alert_id).username == "demo"
    page.goto("/alerts/?state=acknowledged")
    row.wait_for()
    backstage.do(recover, "one")
    row.wait_for(state="detached")


def test_alerts_are_acknowledged_together(page, market, backstage):
    open_inbox(page)
    ids = [backstage.do(fire, name) for name in ("two", "three")]
    for alert_id in ids:
        page.locator(f"#alert-{alert_id} input").check()
    page.get_by_role("button", name="Acknowledge ticked").click()
    for alert_id in ids:
        page.locator(f"#alert-{alert_id}").wait_for(state="detached")


def test_whoever_reads_further_down_is_told_instead(page, market, backstage):
    page.goto("/alerts/?state=all")
    page.locator("#conn[data-state=live]").wait_for()
    page.set_viewport_size({"width": 390, "height": 400})
    page.evaluate("scrollTo(0, 400)")
    alert_id = backstage.do(fire, "four")
    bar = page.locator("[data-alerts=show]")
    bar.wait_for()
    assert bar.inner_text() == "1 new – show"
    assert page.locator(f"#alert-{alert_id}").count() == 0
    bar.click()
    page.locator(f"#alert-{alert_id}").wait_for()
    page.locator(f"#alert-{alert_id} [data-acknowledge]").click()
    page.locator(f"#alert-{alert_id} [data-acknowledge]").wait_for(state="detached")


def test_sound_is_off_until_somebody_wants_it(page, market):
    open_inbox(page)
    button = page.locator("[data-alerts=sound]")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    page.locator("[data-alerts=sound][aria-pressed=true]").wait_for()
    page.reload()
    page.locator("[data-alerts=sound][aria-pressed=true]").wait_for()


def test_a_wrong_bound_is_named_while_typing_and_the_focus_stays(page, market):
    page.goto("/thresholds/new/")
    page.fill("#id_warning_bound", "-5")
    page.fill("#id_critical_bound", "-2")
    page.keyboard.press("Tab")
    error = page.locator("#id_critical_bound-error:not([hidden])")
    error.wait_for()
    assert error.inner_text() == "The critical bound must be below the warning bound of -5."
    assert page.evaluate("document.activeElement.id") == "id_clear_bound"
    page.fill("#id_critical_bound", "-12")
    page.keyboard.press("Tab")
    error.wait_for(state="detached")
    page.get_by_text("Would have fired").wait_for()
    page.select_option("#id_metric", "slippage_bps")
    page.locator("label[for=id_warning_bound]", has_text="bp").wait_for()
