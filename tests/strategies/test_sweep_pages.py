"""Pages, API and command of sweeps: who sees what, mistakes, and what they cost."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from alphastrat.core import jobs
from alphastrat.core.models import Job
from strategies.models import Sweep, Trial
from tests.factories import bearer, make_token, make_user, signed_in
from tests.strategies.builders import make_market
from tests.strategies.search_builders import finished_sweep, make_sweep

pytestmark = pytest.mark.django_db
NEW = "/sweeps/new/"
API = "/api/v1/sweeps"


@pytest.fixture
def market():
    make_market()


@pytest.fixture
def browser(alice):
    return signed_in(alice)


@pytest.fixture
def headers(alice):
    return bearer(make_token(alice)[1])


def form(**changes):
    return {
        "plugin": "rsi_mean_reversion",
        "shown_plugin": "rsi_mean_reversion",
        "symbols": "KO",
        "timeframe": "1d",
        "start": "2015-01-02",
        "end": "2016-12-30",
        "capital": "50000",
        "space__period__low": "6",
        "space__period__high": "14",
        "space__period__step": "2",
        "space__oversold__low": "",
        "space__oversold__high": "",
        "space__direction__values": ["long", "both"],
        **changes,
    }


def body(**changes):
    return {
        "plugin": "rsi_mean_reversion",
        "symbols": ["KO"],
        "start": "2015-01-02",
        "end": "2016-12-30",
        "space": {"period": {"low": 6, "high": 14, "step": 2}, "oversold": {"values": [25, 30]}},
        **changes,
    }


def test_a_sweep_asked_for_on_the_page_runs_with_what_was_typed(browser, market):
    answer = browser.post(NEW, form())
    sweep = Sweep.objects.get()
    assert answer.url == f"/sweeps/{sweep.pk}/"
    assert sweep.space["direction"] == {"values": ["long", "both"]}
    assert sweep.n_sets == 10


def test_the_estimate_is_shown_and_nothing_started(browser, market):
    answer = browser.post(f"{NEW}?validate=1", form(), headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert "10 sets on about" in text
    assert "in 1 chunk of 10" in text
    assert not Sweep.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space__period__low": "20"}, "at least the lowest, 20"),
        ({"space__period__low": "1"}, "lie in [2, 200]"),
        ({"method": "bayesian", "budget": "2"}, "Choose 10 to 5,000 sets."),
        ({"symbols": "KOO"}, "did you mean KO?"),
    ],
)
def test_a_mistake_is_answered_with_422_and_the_values_kept(browser, market, changes, said):
    answer = browser.post(NEW, form(**changes))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Sweep.objects.exists()


def test_what_does_not_fit_is_refused_on_the_page(browser, market, settings):
    settings.SWEEP_MEMORY_MB = 0
    answer = browser.post(NEW, form())
    assert answer.status_code == 422
    assert "SWEEP_MEMORY_MB" in answer.content.decode()


def test_a_result_shows_the_steadiest_set_and_what_it_is_worth(browser, alice, market):
    sweep = finished_sweep(alice)
    text = browser.get(sweep.get_absolute_url()).content.decode()
    for words in ("Steadiest set", "Probability of overfitting", "Deflated Sharpe", "Stability"):
        assert words in text
    assert "All 45 sets" in text
    assert f"/backtests/new/?sweep={sweep.pk}&amp;set=" in text


@pytest.mark.parametrize("query", ["", "?x=oversold&y=period&metric=total_return&at=12", "?x=moon"])
def test_the_heat_map_is_a_figure_over_two_parameters(browser, alice, market, query):
    sweep = finished_sweep(alice)
    url = reverse("strategies:sweep-chart", args=[sweep.pk, "heat"]) + query
    figure = browser.get(url).json()
    (trace,) = figure["data"]
    assert trace["type"] == "heatmap"
    assert sorted([len(trace["x"]), len(trace["y"])]) == [5, 9]
    assert len(trace["z"]) == len(trace["y"])


def test_the_heat_map_marks_the_steadiest_set(browser, alice, market):
    sweep = finished_sweep(alice)
    url = reverse("strategies:sweep-chart", args=[sweep.pk, "heat"])
    figure = browser.get(f"{url}?x=period&y=oversold").json()
    (trace,) = figure["data"]
    ((row, column),) = [
        (row, column)
        for row, texts in enumerate(trace["text"])
        for column, text in enumerate(texts)
        if text.endswith("◆")
    ]
    chosen = sweep.summary["plateau"]["parameters"]
    assert trace["x"][column] == f"{chosen['period']:g}"
    assert trace["y"][row] == f"{chosen['oversold']:g}"
    assert "◆ marks the steadiest set." in browser.get(sweep.get_absolute_url()).content.decode()


def test_one_parameter_is_drawn_as_a_line(browser, alice, market):
    sweep = finished_sweep(alice, space={"period": {"low": 4, "high": 20, "step": 2}})
    url = reverse("strategies:sweep-chart", args=[sweep.pk, "heat"])
    (trace,) = browser.get(url).json()["data"]
    assert (trace["type"], len(trace["y"])) == ("scatter", 9)
    rows = list(csv.reader(io.StringIO(browser.get(f"{url}?format=csv").getvalue().decode())))
    assert len(rows) == 10
    assert browser.get(sweep.get_absolute_url()).status_code == 200


@pytest.mark.parametrize("chart", ["heat", "sharpes", "overfitting"])
def test_each_chart_is_a_figure_and_its_numbers_a_file(browser, alice, market, chart):
    sweep = finished_sweep(alice)
    url = reverse("strategies:sweep-chart", args=[sweep.pk, chart])
    answer = browser.get(url)
    assert answer.json()["data"]
    assert browser.get(url, headers={"If-None-Match": answer["ETag"]}).status_code == 304
    rows = list(csv.reader(io.StringIO(browser.get(f"{url}?format=csv").getvalue().decode())))
    assert len(rows) > 10


def test_sets_are_sorted_paged_and_exported(browser, alice, market):
    sweep = finished_sweep(alice)
    url = reverse("strategies:sweep-sets", args=[sweep.pk])
    assert browser.get(f"{url}?sort=set.period").status_code == 200
    assert browser.get(f"{url}?sort=nonsense").status_code == 200
    answer = browser.get(f"{url}?sort=-sharpe&format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    sharpes = [float(row["sharpe"]) for row in rows if row["sharpe"]]
    assert len(rows) == 45
    assert sharpes == sorted(sharpes, reverse=True)
    assert {row["period"] for row in rows} == {str(value) for value in range(4, 21, 2)}
    table = pq.read_table(io.BytesIO(browser.get(f"{url}?format=parquet").content))
    assert table.num_rows == 45
    assert len(json.loads(browser.get(f"{url}?format=json").getvalue())) == 45


def test_a_set_is_taken_into_a_backtest(browser, alice, market):
    sweep = finished_sweep(alice, space={"period": [7, 11], "stop_loss": [0.04, 0.08]})
    text = browser.get(f"/backtests/new/?sweep={sweep.pk}&set=3").content.decode()
    assert 'name="parameters__period" value="11"' in text
    assert 'name="exit_rules__stop_loss" value="8.0"' in text
    assert browser.get(f"/backtests/new/?sweep={sweep.pk}&set=99999").status_code == 200
    assert browser.get(f"/backtests/new/?sweep={uuid4()}&set=1").status_code == 404


def test_a_cancelled_sweep_can_go_on(browser, alice, market):
    sweep = make_sweep(alice)
    assert f'data-job="{sweep.job_id}"' in browser.get(sweep.get_absolute_url()).content.decode()
    Job.objects.get(pk=sweep.job_id).request_cancel(at=sweep.requested_at)
    assert "Go on from there" in browser.get(sweep.get_absolute_url()).content.decode()
    browser.post(reverse("strategies:sweep-resume", args=[sweep.pk]))
    sweep.refresh_from_db()
    assert sweep.job.status == "queued"


def test_strangers_find_nothing_and_viewers_change_nothing(alice, charlie, market):
    sweep = finished_sweep(alice)
    stranger = signed_in(charlie)
    detail = sweep.get_absolute_url()
    for part in ("", "sets/", "charts/heat/"):
        assert stranger.get(f"{detail}{part}").status_code == 404
    for url in (f"{NEW}?from={sweep.pk}", f"/backtests/new/?sweep={sweep.pk}&set=1"):
        assert stranger.get(url).status_code == 404
    for action in ("resume", "delete"):
        assert stranger.post(f"{detail}{action}/").status_code == 404
    viewer = signed_in(make_user("victor", role="viewer"))
    assert viewer.get("/sweeps/").status_code == 200
    assert viewer.post(NEW, form()).status_code == 403
    assert viewer.post(f"{detail}delete/").status_code == 403


def test_deleting_leaves_the_trials(browser, alice, market):
    sweep = finished_sweep(alice)
    browser.post(reverse("strategies:sweep-delete", args=[sweep.pk]))
    assert not Sweep.objects.exists()
    assert Trial.objects.count() == 45


@pytest.mark.parametrize("n", [2, 20])
def test_the_list_costs_the_same_however_many_it_holds(
    browser, alice, market, n, django_assert_num_queries
):
    for day in range(n):
        make_sweep(alice, start=date(2015, 1, 2 + day))
    browser.get("/sweeps/")
    # session, user, live heads, count, page, running jobs of the tray
    with django_assert_num_queries(6):
        browser.get("/sweeps/")


def test_the_api_asks_follows_and_reads(client, headers, market):
    answer = client.post(API, body(), "application/json", headers=headers)
    assert answer.status_code == 202, answer.json()
    jobs.run_job(answer.json()["id"])
    job = client.get(answer.json()["url"], headers=headers).json()
    url = f"{API}/{job['result']['sweep']}"
    found = client.get(url, headers=headers).json()
    assert (found["status"], found["n_evaluated"]) == ("succeeded", 10)
    assert found["luck"]["n_trials"] == 10
    assert found["findings"]
    sets = client.get(f"{url}/sets?page_size=3&sort=-total_return", headers=headers).json()
    assert (sets["count"], len(sets["items"])) == (10, 3)
    assert set(sets["items"][0]["set"]) == {"period", "oversold"}
    assert client.get(f"{url}/sets?sort=moon", headers=headers).status_code == 422
    assert client.get(API, headers=headers).json()["count"] == 1
    assert client.post(f"{url}/resume", headers=headers).status_code == 409
    assert client.delete(url, headers=headers).status_code == 204


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"space": {}}, "space"),
        ({"method": "guess"}, "method"),
        ({"space": {"period": {"low": 9, "high": 5}}}, "space.period"),
        ({"parameters": {"overbought": 500}}, "parameters.overbought"),
    ],
)
def test_an_api_mistake_is_a_problem_that_names_the_field(client, headers, market, changes, field):
    answer = client.post(API, body(**changes), "application/json", headers=headers)
    assert answer.status_code == 422
    assert field in answer.json()["fields"]


def test_the_api_hides_what_is_not_yours(client, alice, charlie, market):
    sweep = finished_sweep(alice)
    stranger = bearer(make_token(charlie)[1])
    for part in ("", "/sets"):
        assert client.get(f"{API}/{sweep.pk}{part}", headers=stranger).status_code == 404
    reader = bearer(make_token(alice, scope="read")[1])
    assert client.post(API, body(), "application/json", headers=reader).status_code == 403


ARGUMENTS = [
    "--plugin=rsi_mean_reversion",
    "--symbols=KO",
    "--owner=alice",
    "--start=2015-01-02",
    "--end=2016-12-30",
]


def test_the_command_prints_json_alone_or_words(alice, market, capsys):
    call_command("sweep", "--vary=period=6:14:4", "--vary=oversold=25,30", "--json", *ARGUMENTS)
    document = json.loads(capsys.readouterr().out)
    assert document["n_evaluated"] == 6
    assert document["summary"]["best"]["parameters"]
    call_command("sweep", "--vary=period=6:14:4", *ARGUMENTS)
    assert "plateau sharpe" in capsys.readouterr().out


def test_the_command_names_a_mistake(alice, market):
    with pytest.raises(CommandError, match="at least the lowest"):
        call_command("sweep", "--vary=period=9:5", *ARGUMENTS)
