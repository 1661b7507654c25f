"""Results side by side over the period all share; the address holds all; strangers get 404."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from uuid import uuid4

import numpy as np
import pytest

from alphastrat.core.errors import InvalidInput
from strategies.models import BacktestRun
from strategies.services.comparison import Asked, load
from strategies.services.results import Results
from tests.factories import signed_in
from tests.strategies.builders import finished_run, make_market, make_run, make_strategy

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def market(db):
    make_market()


@pytest.fixture
def runs(alice):
    return [
        finished_run(alice),
        finished_run(alice, parameters={"period": 7}, start=date(2015, 6, 1)),
    ]


@pytest.fixture
def browser(alice):
    return signed_in(alice)


def address(*runs, **more):
    return "&".join([*(f"r={run.pk}" for run in runs), *(f"{k}={v}" for k, v in more.items())])


def compared(alice, *runs, **period):
    return load(alice, Asked(runs=tuple(run.pk for run in runs), **period))


def test_runs_are_measured_over_the_period_that_all_cover(alice, runs):
    found = compared(alice, *runs)
    assert (found.start.date(), found.end.date()) == (date(2015, 6, 1), date(2016, 12, 30))
    first, second = found.subjects
    curves = Results(runs[1]).curves
    assert found.growth(second)[-1] == pytest.approx(curves.equity[-1] / 1_000)
    equity, offset = Results(runs[0]).curves.equity, found.rows(first).start
    assert found.growth(first)[-1] == pytest.approx(100 * equity[-1] / equity[offset - 1])
    assert (found.drawdown(first) <= 0).all()


def test_a_run_that_is_compared_whole_keeps_its_own_numbers(alice, runs):
    rows = {row.key: row.values[1] for row in compared(alice, *runs).metrics}
    numbers = Results(runs[1]).numbers
    for key in ("sharpe_ratio", "max_drawdown", "alpha", "win_rate", "time_in_market"):
        assert rows[key] == numbers[key]


def test_measuring_a_whole_run_anew_gives_what_was_stored(alice, runs):
    from strategies.services.comparison import _numbers_within

    results = Results(runs[1])
    again = _numbers_within(results, slice(0, len(results.curves.times)))
    for key, value in again.items():
        stored = results.numbers[key]
        assert value == pytest.approx(np.nan if stored is None else stored, nan_ok=True), key


def test_the_best_is_the_higher_or_the_lower_one_and_nothing_where_all_are_equal(alice, runs):
    rows = {row.key: row for row in compared(alice, *runs).metrics}
    sharpe, volatility = rows["sharpe_ratio"], rows["annual_volatility"]
    assert sharpe.best == (int(np.argmax(sharpe.values)),)
    assert volatility.best == (int(np.argmin(volatility.values)),)
    assert rows["n_round_trips"].best == ()
    twin = finished_run(alice, parameters={"period": 7}, start=date(2015, 6, 1))
    same = {row.key: row for row in compared(alice, runs[1], twin).metrics}
    assert {row.best for row in same.values()} == {()}


def test_settings_that_differ_stand_first(alice, runs):
    rows = compared(alice, *runs).differences
    differing = {row.label: row.values for row in rows if row.differs}
    assert differing["Period"] == ("14", "7")
    assert [row.differs for row in rows] == sorted((row.differs for row in rows), reverse=True)
    assert {"Instruments", "Oversold"} <= {row.label for row in rows if not row.differs}


def test_a_period_narrows_everything(alice, runs):
    found = compared(alice, *runs, start=date(2016, 1, 1), end=date(2016, 6, 30))
    times = found.subjects[0].track.times[found.rows(found.subjects[0])]
    assert (times[0].date(), times[-1].date()) == (date(2016, 1, 4), date(2016, 6, 30))
    assert compared(alice, *runs).metrics[0].values != found.metrics[0].values


def test_results_that_share_no_day_keep_their_own_periods_and_say_so(alice, browser):
    early = finished_run(alice, start=date(2015, 1, 2), end=date(2015, 6, 30))
    late = finished_run(alice, start=date(2016, 1, 4), end=date(2016, 6, 30))
    found = compared(alice, early, late)
    assert not found.has_period
    assert found.correlations is None
    assert {row.best for row in found.metrics} == {()}
    page = browser.get(f"/compare/?{address(early, late)}").content.decode()
    assert "These results share no day" in page
    assert browser.get(f"/compare/charts/equity/?{address(early, late)}").status_code == 404


def test_few_common_bars_are_insufficient_for_a_correlation(alice, browser):
    one = finished_run(alice, start=date(2015, 1, 2), end=date(2015, 6, 30))
    other = finished_run(alice, start=date(2015, 6, 1), end=date(2015, 12, 30))
    page = browser.get(f"/compare/?{address(one, other)}").content.decode()
    assert "insufficient" in page


def test_what_has_no_result_is_left_out_and_named(alice, runs, browser):
    queued = make_run(alice, symbols=("KO",))
    page = browser.get(f"/compare/?{address(*runs, queued)}").content.decode()
    assert "on KO has no result: it is queued." in page


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("{a}", "needs at least two results"),
        ("{a}&{b}&start=2016-06-01&end=2016-01-01", "ends before it starts"),
        ("{a}&{b}&start=2017-06-01", "There is no bar in this period."),
        ("{a}&{b}&start=soon", "Enter a valid date."),
        ("{a}&{b}&format=xlsx", "Use csv, parquet or json."),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(runs, browser, query, said):
    names = {"a": address(runs[0]), "b": address(runs[1])}
    answer = browser.get(f"/compare/?{query.format(**names)}")
    assert answer.status_code == 422
    assert said in answer.content.decode()


def test_more_than_eight_are_refused_and_stay_chosen(alice, runs, browser):
    BacktestRun.objects.filter(pk=runs[0].pk).update(title="The first of nine")
    ids = [runs[0].pk, *(make_run(alice, parameters={"period": 3 + i}).pk for i in range(8))]
    answer = browser.get("/compare/?" + "&".join(f"r={pk}" for pk in ids))
    assert answer.status_code == 422
    assert "At most 8 can stand side by side, 9 were chosen." in answer.content.decode()
    assert f'value="{runs[0].pk}" checked' in answer.content.decode()


def test_more_than_six_have_tables_and_no_curves(alice, runs, browser):
    others = [copied(runs[1], f"Copy {i}") for i in range(5)]
    query = address(*runs, *others)
    page = browser.get(f"/compare/?{query}").content.decode()
    assert "Curves are drawn for six results at most" in page
    assert "data-chart data-src" not in page
    assert browser.get(f"/compare/charts/equity/?{query}").status_code == 404


def copied(run, title):
    twin = BacktestRun.objects.get(pk=run.pk)
    twin.pk, twin.title, twin._state.adding = uuid4(), title, True
    twin.save()
    return twin


def test_the_page_its_charts_and_its_export_follow_the_address(runs, browser):
    query = address(*runs, start="2016-01-01")
    page = browser.get(f"/compare/?{query}").content.decode()
    assert 'class="best"' in page
    assert 'class="differs"' in page
    assert page.count("<h1") == 1
    assert "style=" not in page
    for chart in ("equity", "underwater"):
        drawn = browser.get(f"/compare/charts/{chart}/?{query}").json()
        assert [trace["meta"]["role"] for trace in drawn["data"]] == ["series-1", "series-2"]
        assert drawn["data"][0]["x"][0].startswith("2016-01-04")
        rows = read_csv(browser.get(f"/compare/charts/{chart}/?{query}&format=csv"))
        assert rows[0] == ["time", "A", "B"]
        assert len(rows) == 253
    rows = {row[0]: row for row in read_csv(browser.get(f"/compare/?{query}&format=csv"))}
    assert rows["metric"] == ["metric", "label", "A", "B", "best"]
    exported = json.loads(b"".join(browser.get(f"/compare/?{query}&format=json")))
    sharpe = next(row for row in exported if row["metric"] == "sharpe_ratio")
    assert float(rows["sharpe_ratio"][2]) == sharpe["A"]
    assert browser.get(f"/compare/?{query}&format=parquet").content[:4] == b"PAR1"


def read_csv(answer):
    return list(csv.reader(io.StringIO(b"".join(answer).decode())))


def test_a_strategy_stands_for_its_newest_backtest(alice, runs, browser):
    strategy = make_strategy(alice, name="Momentum of my own")
    finished_run(alice, version=strategy.current_version)
    own = finished_run(alice, version=strategy.current_version, start=date(2015, 2, 2))
    page = browser.get(f"/compare/?r={runs[1].pk}&s={strategy.pk}").content.decode()
    assert "Momentum of my own" in page
    assert f"/backtests/{own.pk}/" in page
    untested = make_strategy(alice, name="Untested")
    page = browser.get(f"/compare/?{address(*runs)}&s={untested.pk}").content.decode()
    assert "Untested has no backtest yet." in page


def test_without_a_choice_the_page_offers_what_there_is(runs, browser):
    page = browser.get("/compare/").content.decode()
    assert all(str(run.pk) in page for run in runs)
    chosen = browser.get(f"/compare/?{address(runs[0])}&choose=1").content.decode()
    assert f'value="{runs[0].pk}" checked' in chosen
    assert f'value="{runs[1].pk}" checked' not in chosen


def test_the_list_of_backtests_leads_here_without_a_script(runs, browser):
    page = browser.get("/backtests/").content.decode()
    assert '<form method="get" action="/compare/">' in page
    assert f'type="checkbox" name="r" value="{runs[0].pk}"' in page


def test_a_stranger_finds_nothing(runs, charlie, alice):
    stranger = signed_in(charlie)
    strategy = make_strategy(alice)
    assert stranger.get(f"/compare/?{address(*runs)}").status_code == 404
    assert stranger.get(f"/compare/charts/equity/?{address(*runs)}").status_code == 404
    assert stranger.get(f"/compare/?s={strategy.pk}").status_code == 404
    assert stranger.get("/compare/?r=nonsense").status_code == 404
    assert str(runs[0].pk) not in stranger.get("/compare/").content.decode()


def test_two_or_six_results_cost_the_same_queries(alice, runs, browser, django_assert_num_queries):
    others = [copied(runs[1], f"Copy {i}") for i in range(4)]
    for chosen in (runs, [*runs, *others]):
        # session, user, the runs, running jobs
        with django_assert_num_queries(4):
            browser.get(f"/compare/?{address(*chosen)}")


def test_dates_that_make_an_inverted_period_raise(alice, runs):
    with pytest.raises(InvalidInput, match="ends before it starts"):
        compared(alice, *runs, start=date(2016, 2, 1), end=date(2016, 1, 1))


def test_the_api_answers_the_same_numbers(alice, runs, browser, charlie):
    found = compared(alice, *runs)
    answer = browser.get(f"/api/v1/compare?{address(*runs)}").json()
    assert (answer["start"], answer["end"]) == ("2015-06-01", "2016-12-30")
    assert [one["letter"] for one in answer["results"]] == ["A", "B"]
    rows = {row["key"]: row for row in answer["metrics"]}
    shown = next(row for row in found.metrics if row.key == "sharpe_ratio")
    assert rows["sharpe_ratio"]["values"] == list(shown.values)
    assert rows["sharpe_ratio"]["best"] == [found.subjects[shown.best[0]].letter]
    assert answer["correlations"][0][0] == pytest.approx(1.0)
    assert answer["n_common"][0][1] == 401
    assert answer["equity"][1]["value"][-1] == found.growth(found.subjects[1])[-1]
    assert browser.get(f"/api/v1/compare?{address(runs[0])}").status_code == 422
    stranger = signed_in(charlie)
    assert stranger.get(f"/api/v1/compare?{address(*runs)}").status_code == 404
