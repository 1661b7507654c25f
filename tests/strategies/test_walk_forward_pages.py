"""Pages, API and command of walk-forwards: who sees what, mistakes, and what they cost."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from alphastrat.core import jobs
from alphastrat.core.models import Job
from strategies.models import Trial, WalkForward
from tests.factories import bearer, make_token, make_user, signed_in
from tests.strategies.builders import make_market
from tests.strategies.search_builders import finished_walk_forward, make_walk_forward

pytestmark = pytest.mark.django_db
NEW = "/walk-forwards/new/"
API = "/api/v1/walk-forwards"


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
        "n_folds": "4",
        "space__period__low": "6",
        "space__period__high": "14",
        "space__period__step": "4",
        "space__oversold__low": "",
        "space__oversold__high": "",
        **changes,
    }


def body(**changes):
    return {
        "plugin": "rsi_mean_reversion",
        "symbols": ["KO"],
        "start": "2015-01-02",
        "end": "2016-12-30",
        "n_folds": 4,
        "space": {"period": {"low": 6, "high": 14, "step": 4}},
        **changes,
    }


def test_a_walk_forward_asked_for_on_the_page_runs_with_what_was_typed(browser, market):
    answer = browser.post(NEW, form(train_share="60", purge="5", parameters__oversold="25"))
    analysis = WalkForward.objects.get()
    assert answer.url == f"/walk-forwards/{analysis.pk}/"
    assert analysis.space == {"period": {"low": 6.0, "high": 14.0, "step": 4.0}}
    assert (analysis.n_sets, analysis.n_folds, analysis.train_share) == (3, 4, 0.6)
    assert analysis.purge == 5
    assert analysis.parameters["oversold"] == 25
    assert "period" not in analysis.parameters


def test_the_estimate_is_shown_and_nothing_started(browser, market):
    answer = browser.post(f"{NEW}?validate=1", form(), headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "3 sets in each of 4 folds" in text
    assert "12 trials" in text
    assert not WalkForward.objects.exists()


def test_a_new_form_suggests_ranges_for_two_parameters(browser, market):
    text = browser.get(f"{NEW}?plugin=rsi_mean_reversion").content.decode()
    assert 'name="space__period__low" value="7"' in text
    assert 'name="symbols"' in text


def test_another_strategy_type_brings_its_own_parameters(browser, market):
    answer = browser.post(f"{NEW}?validate=1", form(plugin="moving_average_cross"))
    text = answer.content.decode()
    assert 'name="space__fast__low"' in text
    assert 'name="space__oversold__low"' not in text
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space__period__high": ""}, "Give both the lowest and the highest value."),
        ({"space__period__low": "20"}, "at least the lowest, 20"),
        ({"space__period__low": "1"}, "lie in [2, 200]"),
        ({"space__period__step": "-1"}, "The step must be above 0."),
        (
            {"space__period__low": "", "space__period__high": ""},
            "Give at least one parameter a range",
        ),
        ({"n_folds": "0"}, "Choose 1 to 100 folds."),
        ({"n_folds": "100"}, "Take fewer folds"),
        ({"train_share": "99"}, "Choose a share"),
        ({"symbols": "KOO"}, "did you mean KO?"),
        ({"space__period__low": "few"}, "Enter a number."),
    ],
)
def test_a_mistake_is_answered_with_422_and_the_values_kept(browser, market, changes, said):
    answer = browser.post(NEW, form(**changes))
    text = answer.content.decode()
    assert answer.status_code == 422
    assert said in text
    assert 'value="50000"' in text
    assert not WalkForward.objects.exists()


def test_a_result_shows_its_folds_verdict_and_numbers(browser, alice, market):
    analysis = finished_walk_forward(alice)
    text = browser.get(analysis.get_absolute_url()).content.decode()
    assert "Walk-forward efficiency" in text
    assert "What it says" in text
    assert "4 folds are few" in text
    assert "Out-of-sample equity" in text
    assert text.count('id="folds-') >= 1
    assert "Purge and embargo" in text


@pytest.mark.parametrize("chart", ["stitched", "sharpe-by-fold", "drift"])
def test_each_chart_is_a_figure_and_its_numbers_a_file(browser, alice, market, chart):
    analysis = finished_walk_forward(alice)
    url = reverse("strategies:walk-forward-chart", args=[analysis.pk, chart])
    answer = browser.get(url)
    figure = answer.json()
    assert figure["data"]
    assert figure["meta"]["summary"]
    assert browser.get(url, headers={"If-None-Match": answer["ETag"]}).status_code == 304
    rows = list(csv.reader(io.StringIO(browser.get(f"{url}?format=csv").getvalue().decode())))
    assert len(rows) > 4


def test_folds_and_list_are_exported(browser, alice, market):
    analysis = finished_walk_forward(alice)
    url = reverse("strategies:walk-forward-folds", args=[analysis.pk])
    rows = list(csv.DictReader(io.StringIO(browser.get(f"{url}?format=csv").getvalue().decode())))
    assert [row["number"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["parameters.period"] in {"6", "10", "14"}
    listed = json.loads(browser.get("/walk-forwards/?format=json").getvalue())
    assert listed[0]["id"] == str(analysis.pk)
    (document,) = json.loads(browser.get(f"{analysis.get_absolute_url()}?format=json").getvalue())
    assert len(document["folds"]) == 4


def test_a_queued_one_shows_its_progress_and_a_cancelled_one_can_go_on(browser, alice, market):
    analysis = make_walk_forward(alice)
    text = browser.get(analysis.get_absolute_url()).content.decode()
    assert f'data-job="{analysis.job_id}"' in text
    Job.objects.get(pk=analysis.job_id).request_cancel(at=analysis.requested_at)
    text = browser.get(analysis.get_absolute_url()).content.decode()
    assert "This was cancelled" in text
    assert "Go on from there" in text
    url = reverse("strategies:walk-forward-resume", args=[analysis.pk])
    assert browser.post(url).status_code == 302
    analysis.refresh_from_db()
    assert (analysis.status, analysis.job.status) == ("queued", "queued")


def test_deleting_leaves_the_trials(browser, alice, market):
    analysis = finished_walk_forward(alice)
    browser.post(reverse("strategies:walk-forward-delete", args=[analysis.pk]))
    assert not WalkForward.objects.exists()
    assert Trial.objects.count() == 36


def test_the_same_ranges_can_be_taken_again(browser, alice, market):
    analysis = finished_walk_forward(alice)
    text = browser.get(f"{NEW}?from={analysis.pk}").content.decode()
    assert 'name="space__period__high" value="14"' in text


def test_strangers_find_nothing_and_viewers_change_nothing(alice, charlie, market):
    analysis = finished_walk_forward(alice)
    stranger = signed_in(charlie)
    detail = analysis.get_absolute_url()
    for url in (
        detail,
        f"{detail}folds/",
        f"{detail}charts/stitched/",
        f"{NEW}?from={analysis.pk}",
    ):
        assert stranger.get(url).status_code == 404
    for action in ("resume", "delete"):
        assert stranger.post(f"{detail}{action}/").status_code == 404
    assert "KO" not in stranger.get("/walk-forwards/").content.decode()
    viewer = signed_in(make_user("victor", role="viewer"))
    assert viewer.get("/walk-forwards/").status_code == 200
    assert viewer.post(NEW, form()).status_code == 403
    assert viewer.post(f"{detail}delete/").status_code == 403
    assert WalkForward.objects.count() == 1


def test_someone_without_a_session_is_sent_to_the_login(client):
    assert client.get("/walk-forwards/").status_code == 302


@pytest.mark.parametrize("n", [2, 20])
def test_the_list_costs_the_same_however_many_it_holds(
    browser, alice, market, n, django_assert_num_queries
):
    for day in range(n):
        make_walk_forward(alice, start=date(2015, 1, 2 + day))
    browser.get("/walk-forwards/")
    # session, user, live heads, count, page, running jobs of the tray
    with django_assert_num_queries(6):
        browser.get("/walk-forwards/")


def test_the_api_asks_follows_and_reads(client, headers, market):
    answer = client.post(API, body(), "application/json", headers=headers)
    assert answer.status_code == 202, answer.json()
    job = answer.json()
    jobs.run_job(job["id"])
    search_id = client.get(job["url"], headers=headers).json()["result"]["walk_forward"]
    found = client.get(f"{API}/{search_id}", headers=headers).json()
    assert (found["status"], found["n_evaluated"], len(found["folds"])) == ("succeeded", 12, 4)
    assert found["verdict"] in {"pass", "warn", "fail", "insufficient_data"}
    assert found["findings"]
    equity = client.get(f"{API}/{search_id}/equity", headers=headers).json()
    assert (
        len(equity["time"])
        == len(equity["equity"])
        == sum(fold["n_test"] for fold in found["folds"])
    )
    assert client.get(API, headers=headers).json()["count"] == 1
    assert client.post(f"{API}/{search_id}/resume", headers=headers).status_code == 409
    assert client.delete(f"{API}/{search_id}", headers=headers).status_code == 204


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"space": {}}, "space"),
        ({"space": {"moon": {"values": [1]}}}, "space.moon"),
        ({"space": {"period": {"low": 5}}}, "space.period"),
        ({"n_folds": 0}, "n_folds"),
        ({"scheme": "sideways"}, "scheme"),
        ({"symbols": ["KOO"]}, "symbols"),
        ({"start": "soon"}, "start"),
    ],
)
def test_an_api_mistake_is_a_problem_that_names_the_field(client, headers, market, changes, field):
    answer = client.post(API, body(**changes), "application/json", headers=headers)
    assert answer.status_code == 422
    assert field in answer.json()["fields"]


def test_the_api_hides_what_is_not_yours_and_read_tokens_ask_for_nothing(
    client, alice, charlie, market
):
    analysis = finished_walk_forward(alice)
    stranger = bearer(make_token(charlie)[1])
    for part in ("", "/equity"):
        assert client.get(f"{API}/{analysis.pk}{part}", headers=stranger).status_code == 404
    assert client.delete(f"{API}/{analysis.pk}", headers=stranger).status_code == 404
    assert client.get(f"{API}/{uuid4()}", headers=stranger).status_code == 404
    reader = bearer(make_token(alice, scope="read")[1])
    assert client.post(API, body(), "application/json", headers=reader).status_code == 403


ARGUMENTS = [
    "--plugin=rsi_mean_reversion",
    "--symbols=KO",
    "--owner=alice",
    "--start=2015-01-02",
    "--end=2016-12-30",
    "--folds=4",
]


def test_the_command_prints_json_alone_on_stdout(alice, market, capsys):
    call_command("walk_forward", "--vary=period=6:14:4", "--json", *ARGUMENTS)
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert len(document["folds"]) == 4
    assert document["verdict"]
    assert "12 trials" in err


def test_the_command_prints_words_and_an_estimate(alice, market, capsys):
    call_command("walk_forward", "--vary=period=6,10", "--estimate", *ARGUMENTS)
    assert capsys.readouterr().out.startswith("8 trials, about ")
    call_command("walk_forward", "--vary=period=6,10", "--estimate", "--json", *ARGUMENTS)
    assert json.loads(capsys.readouterr().out)["n_trials"] == 8
    assert not WalkForward.objects.exists()
    call_command("walk_forward", "--vary=period=6,10", *ARGUMENTS)
    assert "fold 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--vary=period", "LOW:HIGH"),
        ("--vary=period=1:5", r"lie in \[2, 200\]"),
        ("--vary=moon=1,2", "neither a parameter"),
    ],
)
def test_the_command_names_a_mistake(alice, market, argument, said):
    with pytest.raises(CommandError, match=said):
        call_command("walk_forward", argument, *ARGUMENTS)
