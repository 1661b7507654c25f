"""The page of a strategy shows what watches it: open alerts, and rules with their values."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils.timezone import now

from monitoring.services import strategy_watch
from tests.factories import make_user, signed_in
from tests.monitoring.alert_builders import firing, make_rule, plain_strategy
from tests.monitoring.test_performance_monitor import trade
from tests.strategies.builders import make_market, make_strategy

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def strategy(alice):
    made = plain_strategy(alice)
    trade(made, 0.02, -0.04, -0.04, end=now())
    return made


def part(strategy, browser, **options):
    return browser.get(reverse("monitoring:strategy-watch", args=[strategy.pk]), **options)


def rules_of(strategy):
    alerts = strategy_watch.open_alerts(strategy, strategy.owner)
    return strategy_watch.watching_rules(strategy, alerts=alerts, at=now())


def test_rules_stand_with_value_and_state(alice, strategy):
    make_rule(alice, "Fallen")
    make_rule(alice, "Return", metric="total_return", critical_bound=None, clear_bound=None)
    make_rule(
        alice,
        "Fills",
        metric="slippage_bps",
        comparator="above",
        warning_bound=5,
        critical_bound=10,
        clear_bound=None,
    )
    make_rule(
        alice,
        "Off",
        metric="exposure",
        comparator="above",
        warning_bound=1,
        critical_bound=2,
        clear_bound=None,
        is_enabled=False,
    )
    found = {one.rule.name: one for one in rules_of(strategy)}
    fallen = found["Fallen"]
    assert fallen.value == pytest.approx(0.96 * 0.96 - 1)
    assert (fallen.state, fallen.value_text, fallen.warning) == ("warning", "−7.84%", "−5.00%")
    assert found["Return"].state == "warning"
    assert (found["Fills"].state, found["Fills"].value) == ("no_data", None)
    assert found["Off"].state == "disabled"


def test_its_own_rule_comes_first_and_replaces_the_general_one(alice, strategy):
    make_rule(
        alice,
        "A general one",
        metric="volatility",
        comparator="above",
        window_bars=2,
        warning_bound=9,
        critical_bound=None,
        clear_bound=None,
    )
    make_rule(alice, "Replaced")
    make_rule(
        alice,
        "Mine",
        scope="strategy",
        strategy=strategy,
        warning_bound=-0.5,
        critical_bound=None,
        clear_bound=None,
    )
    make_rule(make_user("bob"), "Somebody else's")
    other = plain_strategy(alice, "Other")
    make_rule(alice, "Another's", metric="exposure", scope="strategy", strategy=other)
    found = rules_of(strategy)
    assert [(one.rule.name, one.inheritance, one.state) for one in found] == [
        ("Mine", "Its own", "ok"),
        ("A general one", "Inherited", "ok"),
    ]


def test_a_breach_that_lasts_until_the_clear_bound_is_still_one(alice, strategy):
    rule = make_rule(alice, warning_bound=-0.09, critical_bound=None, clear_bound=-0.05)
    assert [one.state for one in rules_of(strategy)] == ["ok"]
    firing(alice, at=now(), cause=f"rule:{rule.pk}|strategy:{strategy.pk}", strategy_id=strategy.pk)
    assert [one.state for one in rules_of(strategy)] == ["warning"]


def test_alerts_are_those_of_the_strategy_the_worst_first(alice, strategy):
    at = now()
    for cause, severity in (("a", "warning"), ("b", "critical"), ("c", "warning")):
        firing(
            alice,
            at=at,
            cause=cause,
            severity=severity,
            strategy_id=strategy.pk,
            title=cause,
            breached_at=at - timedelta(minutes="abc".index(cause)),
        )
    firing(alice, at=at, cause="d", strategy_id=plain_strategy(alice, "Other").pk)
    ended = firing(alice, at=at, cause="e", strategy_id=strategy.pk)
    ended.state, ended.resolved_at = "resolved", at
    ended.save()
    found = strategy_watch.open_alerts(strategy, alice)
    assert [one.title for one in found] == ["b", "a", "c"]


def test_an_alert_is_acknowledged_in_one_click_and_the_part_is_read_again(alice, strategy):
    alert = firing(alice, at=now(), strategy_id=strategy.pk)
    browser = signed_in(alice)
    action = reverse("monitoring:alert-act", args=[alert.pk, "acknowledge"])
    before = part(strategy, browser, headers=HTMX).content.decode()
    for text in (
        f'hx-post="{action}"',
        "Drawdown below",
        "−6.00%",
        "since",
        alert.get_absolute_url(),
    ):
        assert text in before
    answer = browser.post(action, headers=HTMX)
    assert "alerts:refresh" in answer["HX-Trigger"]
    after = part(strategy, browser, headers=HTMX).content.decode()
    assert action not in after
    assert "alice has it" in after


def test_rules_link_to_their_forms_and_to_a_new_one_of_this_strategy(alice, strategy):
    rule = make_rule(alice)
    html = part(strategy, signed_in(alice)).content.decode()
    new = f"{reverse('monitoring:threshold-new')}?strategy={strategy.pk}"
    assert rule.get_absolute_url() in html
    assert f'href="{new}"' in html
    assert f'href="{new}&amp;metric=drawdown"' in html
    form = signed_in(alice).get(f"{new}&metric=drawdown").content.decode()
    assert f'<option value="{strategy.pk}" selected>' in form


def test_a_viewer_sees_it_and_is_offered_nothing(alice, strategy):
    make_rule(alice)
    firing(alice, at=now(), strategy_id=strategy.pk)
    strategy.owner.role = "viewer"
    strategy.owner.save()
    html = part(strategy, signed_in(alice)).content.decode()
    assert "Drawdown" in html
    assert "Acknowledge" not in html
    assert "/thresholds/new/" not in html


def test_others_do_not_find_it(strategy):
    assert part(strategy, signed_in(make_user("charlie"))).status_code == 404


def test_a_strategy_that_never_traded_says_so(alice):
    strategy = plain_strategy(alice, state="research")
    make_rule(alice)
    html = part(strategy, signed_in(alice)).content.decode()
    assert "No alert is open." in html
    assert "No data" in html


def test_the_page_of_the_strategy_fetches_it(alice):
    make_market("KO")
    strategy = make_strategy(alice, symbols=["KO"])
    html = signed_in(alice).get(strategy.get_absolute_url()).content.decode()
    address = reverse("monitoring:strategy-watch", args=[strategy.pk])
    assert f'hx-morph-skip hx-get="{address}" hx-trigger="load, every 15s, alerts:' in html


@pytest.mark.parametrize("n", [2, 12])
def test_the_number_of_queries_does_not_grow(alice, strategy, django_assert_num_queries, n):
    for i in range(n):
        make_rule(alice, f"Rule {i}", window_bars=i + 1)
        firing(alice, at=now(), cause=f"c{i}", strategy_id=strategy.pk)
    browser = signed_in(alice)
    part(strategy, browser, headers=HTMX)
    # Session, user, strategy, alerts, rules, and two for the present of the market; the three
    # statements of the bulk read go past Django's cursor.
    with django_assert_num_queries(7):
        part(strategy, browser, headers=HTMX)
