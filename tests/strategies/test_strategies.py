"""Versions of strategies never change; transitions are guarded and audited."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from auditlog.models import LogEntry
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.live import stored_topic
from strategies.models import BacktestRun, Strategy, StrategySignal, StrategyVersion
from strategies.models.strategy import TRANSITIONS, LifecycleState
from strategies.services import lifecycle
from strategies.services.lifecycle import StrategyDraft
from tests.factories import make_user, signed_in
from tests.strategies.builders import finished_run, make_market, make_run, make_strategy

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def market(db):
    make_market()


@pytest.fixture
def strategy(alice) -> Strategy:
    return make_strategy(alice)


@pytest.fixture
def browser(alice):
    return signed_in(alice)


def changed(strategy, **changes) -> StrategyDraft:
    version = strategy.current_version
    values = {
        "name": strategy.name,
        "plugin": version.plugin,
        "symbols": version.symbols,
        "parameters": version.parameters,
        **changes,
    }
    return StrategyDraft(**values)


def change(strategy, expected=1, **changes) -> StrategyVersion:
    return lifecycle.change_strategy(
        strategy,
        changed(strategy, **changes),
        by=strategy.owner,
        reason="Try it",
        expected_version=expected,
    )


def test_a_change_makes_a_new_version_and_leaves_the_old_one(strategy):
    first = strategy.current_version
    second = change(strategy, parameters={"period": 20}, symbols=["KO"])
    first.refresh_from_db()
    strategy.refresh_from_db()
    assert (first.number, first.parameters["period"]) == (1, 14)
    assert (second.number, second.parameters["period"], second.symbols) == (2, 20, ["KO"])
    assert strategy.current_version == second
    assert [one.symbol for one in strategy.universe.all()] == ["KO"]


def test_a_change_of_nothing_or_of_the_name_makes_no_version(strategy):
    assert change(strategy, name="RSI, renamed").number == 1
    strategy.refresh_from_db()
    assert strategy.name == "RSI, renamed"


def test_a_change_of_an_outdated_version_is_refused(strategy):
    change(strategy, parameters={"period": 20})
    with pytest.raises(ConflictError, match="Version 2 has been made"):
        change(strategy, expected=1, parameters={"period": 30})


def test_a_wrong_change_is_named_and_changes_nothing(strategy):
    with pytest.raises(InvalidInput) as caught:
        change(strategy, parameters={"period": 1})
    assert "parameters.period" in caught.value.fields
    assert StrategyVersion.objects.count() == 1


def test_a_result_keeps_pointing_at_its_version(strategy, alice):
    run = finished_run(alice, version=strategy.current_version)
    change(strategy, parameters={"period": 20})
    run.refresh_from_db()
    assert run.strategy_version.number == 1


@pytest.mark.parametrize(
    ("before", "after"), [(a, b) for a in LifecycleState for b in LifecycleState]
)
def test_a_transition_happens_where_it_is_allowed_and_nowhere_else(strategy, before, after):
    Strategy.objects.update(state=before)
    strategy.refresh_from_db()
    if after in TRANSITIONS[before]:
        lifecycle.move_strategy(strategy, after, at=now(), reason="Looked at by hand")
        assert strategy.state == after
    else:
        with pytest.raises(ConflictError):
            lifecycle.move_strategy(strategy, after, at=now())
        strategy.refresh_from_db()
        assert strategy.state == before


def test_of_two_people_who_move_a_strategy_one_is_told(strategy):
    seen_by_another = Strategy.objects.get(pk=strategy.pk)
    lifecycle.move_strategy(strategy, "validated", at=now())
    with pytest.raises(ConflictError, match="in the meantime"):
        lifecycle.move_strategy(seen_by_another, "retired", at=now())


def test_transitions_and_changes_are_in_the_audit_log(strategy):
    lifecycle.move_strategy(strategy, "validated", at=now())
    change(strategy, parameters={"period": 20})
    entries = LogEntry.objects.get_for_object(strategy).filter(action=LogEntry.Action.UPDATE)
    told = [entry.changes for entry in entries]
    assert {"state": ["research", "validated"]} in told
    assert any("parameters" in one for one in told)


def test_a_name_is_unique_for_its_owner(strategy, charlie, alice):
    make_strategy(charlie, name=strategy.name)
    with pytest.raises(InvalidInput):
        make_strategy(alice, name=strategy.name)
    with pytest.raises(IntegrityError), transaction.atomic():
        Strategy.objects.create(owner=alice, name=strategy.name, plugin="rsi_mean_reversion")


def test_only_who_may_see_a_strategy_may_follow_it_live(strategy, alice, charlie):
    topic = f"strategy:{strategy.pk}"
    assert stored_topic(alice, topic) == topic
    assert stored_topic(charlie, topic) is None
    assert stored_topic(alice, "strategy:nonsense") is None


def test_a_strategy_is_made_changed_and_moved_on_its_pages(browser):
    form = {"name": "Cola", "plugin": "rsi_mean_reversion", "symbols": "KO", "timeframe": "1d"}
    answer = browser.post("/strategies/new/", form)
    strategy = Strategy.objects.get(name="Cola")
    assert answer.url == f"/strategies/{strategy.pk}/"
    url = strategy.get_absolute_url()
    edit = {**form, "parameters__period": "21", "reason": "Slower", "expected_version": "1"}
    assert browser.post(f"{url}edit/", edit).status_code == 302
    page = browser.get(url).content.decode()
    assert "period 14 → 21" in page
    assert "Slower" in page
    assert browser.post(f"{url}edit/", {**edit, "parameters__period": "9"}).status_code == 409
    assert browser.post(f"{url}move/", {"state": "validated"}).status_code == 302
    assert "Validated" in browser.get(url).content.decode()
    assert (
        "can move to"
        in browser.post(f"{url}move/", {"state": "live"}, follow=True).content.decode()
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "RSI"}, "Choose another name."),
        ({"symbols": "KOO"}, "did you mean KO?"),
        ({"parameters__period": "0"}, "greater than or equal to 2"),
        ({"plugin": "pairs_spread"}, "A spread needs exactly 2 instruments, was given 1."),
        ({"exit_rules__stop_loss": "120"}, "Choose a value above 0 and below 100 %."),
    ],
)
def test_a_mistake_is_answered_with_422(browser, strategy, changes, said):
    form = {"name": "New", "plugin": "rsi_mean_reversion", "symbols": "KO", "timeframe": "1d"}
    answer = browser.post("/strategies/new/", {**form, **changes})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    draft = browser.post("/strategies/new/?validate=1", {**form, "symbols": "KOO"})
    assert draft.status_code == 200
    assert Strategy.objects.count() == 1


def test_a_draft_is_told_all_that_is_wrong_and_not_what_is_still_missing(browser):
    form = {"name": "", "plugin": "rsi_mean_reversion", "symbols": "", "timeframe": "1d"}
    begun = browser.post("/strategies/new/?validate=1", form).content.decode()
    assert "This field is required" not in begun
    wrong = {"symbols": "KOO", "parameters__oversold": "60", "sizing__kind": "kelly"}
    wrong |= {"sizing__multiple": "3", "exit_rules__trailing_stop": "-3"}
    page = browser.post("/strategies/new/?validate=1", {**form, **wrong}).content.decode()
    for said in ("did you mean KO?", "exit_level", "(0, 0.5]", "Choose a value above 0"):
        assert said in page
    assert "This field is required" not in page


def test_a_backtest_counts_as_the_strategys_own_only_while_nothing_is_changed(browser, strategy):
    page = browser.get(f"/backtests/new/?strategy={strategy.pk}").content.decode()
    assert f'name="strategy" value="{strategy.pk}"' in page
    form = {
        "strategy": str(strategy.pk),
        "plugin": "rsi_mean_reversion",
        "symbols": ", ".join(strategy.current_version.symbols),
        "timeframe": "1d",
        "start": "2015-01-02",
        "end": "2016-12-30",
        "capital": "100000",
    }
    browser.post("/backtests/new/", form)
    browser.post("/backtests/new/", {**form, "parameters__period": "20"})
    versions = [run.strategy_version for run in BacktestRun.objects.order_by("requested_at")]
    assert versions == [strategy.current_version, None]


def test_an_earlier_version_is_backtested_from_its_row(browser, strategy):
    first = strategy.current_version
    change(strategy, parameters={**strategy.parameters, "period": 9})
    page = browser.get(f"{strategy.get_absolute_url()}parameters/").content.decode()
    address = f"/backtests/new/?strategy={strategy.pk}&version="
    assert address.replace("&", "&amp;") + "1" in page
    form = browser.get(f"{address}1").context["form"]
    assert form["parameters__period"].value() == 14
    assert form["capital"].value() == "100000"
    wanted = {field.html_name: field.value() for field in form if field.value() is not None}
    browser.post("/backtests/new/", wanted)
    assert BacktestRun.objects.get().strategy_version == first
    for wrong in ("3", "first"):
        assert browser.get(f"{address}{wrong}").status_code == 404


def test_the_page_shows_the_newest_backtest(browser, strategy, alice):
    assert (
        "No backtest of this strategy yet"
        in browser.get(strategy.get_absolute_url()).content.decode()
    )
    run = finished_run(alice, version=strategy.current_version)
    page = browser.get(strategy.get_absolute_url()).content.decode()
    assert f"/backtests/{run.pk}/charts/equity/" in page
    rows = json.loads(b"".join(browser.get("/strategies/?format=json")))
    assert float(rows[0]["latest_sharpe_ratio"]) == pytest.approx(float(run.sharpe_ratio))


def test_a_stranger_finds_nothing(strategy, charlie):
    stranger, url = signed_in(charlie), strategy.get_absolute_url()
    assert stranger.get(url).status_code == 404
    assert stranger.get(f"{url}edit/").status_code == 404
    assert stranger.post(f"{url}move/", {"state": "validated"}).status_code == 404
    assert stranger.get(f"/backtests/new/?strategy={strategy.pk}").status_code == 404
    assert url not in stranger.get("/strategies/").content.decode()


@pytest.mark.parametrize("n", [2, 20])
def test_the_list_costs_the_same_however_many_strategies_it_shows(
    browser, alice, n, django_assert_num_queries
):
    for number in range(n):
        made = make_strategy(alice, name=f"Strategy {number:02}")
        make_run(alice, version=made.current_version, start=date(2015, 1, 2))
    # session, user, running jobs, count, page, recent live results
    with django_assert_num_queries(6):
        browser.get("/strategies/")


def test_parameters_and_versions_stand_on_their_own_page_with_what_each_version_earned(
    browser, strategy, alice
):
    run = finished_run(alice, version=strategy.current_version)
    change(strategy, parameters={**strategy.parameters, "period": 9})
    url = f"{strategy.get_absolute_url()}parameters/"
    page = browser.get(url).content.decode()
    assert "Try it" in page
    assert "4 of at most 5 free parameters" in page
    assert run.get_absolute_url() in page
    rows = json.loads(b"".join(browser.get(f"{url}?format=json").streaming_content))
    assert [(row["number"], row["parameters"]["period"]) for row in rows] == [(2, 9), (1, 14)]
    newest, first = StrategyVersion.objects.filter(strategy=strategy).with_results()
    assert (newest.n_runs, newest.latest_run) == (None, None)
    assert (first.n_runs, first.latest_run) == (1, run.pk)
    assert float(first.latest_sharpe_ratio) == pytest.approx(float(run.sharpe_ratio))


def test_the_page_of_a_strategy_shows_its_newest_signals_on_their_chart(browser, strategy):
    StrategySignal.objects.create(
        strategy=strategy,
        version=strategy.current_version,
        instrument=strategy.universe.get(symbol="KO"),
        signal_type="SELL",
        target=-1,
        strength=0.4,
        price=41.5,
        closed_at=datetime(2016, 6, 30, 20, tzinfo=UTC),
        generated_at=datetime(2016, 6, 30, 20, 1, tzinfo=UTC),
        metadata={"indicators": {"rsi": 72.5}},
    )
    page = browser.get(strategy.get_absolute_url()).content.decode()
    assert "rsi 72.5" in page
    assert f"{strategy.get_absolute_url()}signals/KO/chart/" in page


def test_a_viewer_reaches_signals_and_parameters_and_cannot_change_anything(strategy):
    viewer = signed_in(make_user("victor", role="viewer"))
    page = viewer.get(strategy.get_absolute_url()).content.decode()
    for there in ("signals/", "parameters/"):
        assert f'href="{strategy.get_absolute_url()}{there}"' in page
    assert f'href="{strategy.get_absolute_url()}edit/"' not in page
