"""The research API: work is 202 with a job, mistakes are problems, strangers get 404."""

from __future__ import annotations

from datetime import date

import pytest

from alphastrat.core import jobs
from strategies.models import BacktestRun, Strategy
from strategies.quant import registry
from tests.factories import bearer, make_token
from tests.strategies.builders import finished_run, make_market, make_run, make_strategy

pytestmark = pytest.mark.django_db
API = "/api/v1"


@pytest.fixture
def market():
    make_market()


@pytest.fixture
def headers(alice):
    return bearer(make_token(alice)[1])


def body(**changes):
    return {
        "plugin": "rsi_mean_reversion",
        "symbols": ["AAPL", "KO"],
        "start": "2015-01-02",
        "end": "2016-12-30",
        **changes,
    }


def test_a_backtest_is_asked_for_followed_and_read(client, headers, market):
    answer = client.post(f"{API}/backtests", body(), "application/json", headers=headers)
    assert answer.status_code == 202
    job = answer.json()
    jobs.run_job(job["id"])
    run_id = client.get(job["url"], headers=headers).json()["result"]["run"]
    run = client.get(f"{API}/backtests/{run_id}", headers=headers).json()
    assert (run["status"], run["symbols"]) == ("succeeded", ["AAPL", "KO"])
    assert run["metrics"]["strategy"]["sharpe_ratio"] == pytest.approx(
        run["sharpe_ratio"], abs=1e-6
    )
    assert run["sharpe_evidence"]["n_trials"] == 1
    trades = client.get(f"{API}/backtests/{run_id}/trades?page_size=5", headers=headers).json()
    assert len(trades["items"]) == 5
    assert {"symbol", "side", "pnl", "return", "mae", "mfe"} <= set(trades["items"][0])
    equity = client.get(f"{API}/backtests/{run_id}/equity", headers=headers).json()
    assert len(equity["time"]) == len(equity["equity"]) == 504
    assert equity["equity"][-1] / 100_000 - 1 == pytest.approx(run["total_return"], abs=1e-6)


def test_a_result_that_has_not_changed_is_304(client, headers, alice, market):
    run = finished_run(alice)
    for part in ("", "/equity"):
        url = f"{API}/backtests/{run.pk}{part}"
        tag = client.get(url, headers=headers).headers["ETag"]
        assert client.get(url, headers={**headers, "If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"parameters": {"period": 1}}, "invalid_input", "parameters.period"),
        ({"symbols": ["AAPPL"]}, "invalid_input", "symbols"),
        ({"end": "2014-01-01"}, "invalid_input", "end"),
        ({"end": "soon"}, "invalid_input", "end"),
        ({"start": "2001-01-01", "end": "2002-01-01"}, "not_enough_data", "start"),
        ({"costs": {"slippage_bps": -1}}, "invalid_input", "costs.slippage_bps"),
        ({"seed": -1}, "invalid_input", "seed"),
    ],
)
def test_a_mistake_is_a_problem_that_names_the_field(client, headers, market, changes, code, field):
    answer = client.post(f"{API}/backtests", body(**changes), "application/json", headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code)
    assert field in problem["fields"]
    assert not BacktestRun.objects.exists()


def test_not_enough_data_says_how_many_bars_are_needed(client, headers, market):
    asked = body(start="2013-02-08", end="2013-08-08")
    problem = client.post(f"{API}/backtests", asked, "application/json", headers=headers).json()
    assert (problem["needed"], problem["code"]) == (282, "not_enough_data")


def test_the_plug_ins_are_listed_with_their_ranges(client, headers):
    plugins = client.get(f"{API}/plugins", headers=headers).json()
    assert [plugin["key"] for plugin in plugins] == list(registry.plugin_keys())
    rsi = client.get(f"{API}/plugins/rsi_mean_reversion", headers=headers).json()
    period = next(spec for spec in rsi["parameters"] if spec["name"] == "period")
    assert (period["default"], period["low"], period["high"]) == (14, 2, 200)
    assert rsi["parameter_schema"]["properties"]["period"]["minimum"] == 2
    assert client.get(f"{API}/plugins/astrology", headers=headers).status_code == 404


def test_a_strategy_is_created_and_backtested(client, headers, market):
    draft = {"name": "RSI", "plugin": "rsi_mean_reversion", "symbols": ["KO"]}
    made = client.post(f"{API}/strategies", draft, "application/json", headers=headers)
    assert (made.status_code, made.json()["version"]) == (201, 1)
    url = f"{API}/strategies/{made.json()['id']}"
    asked = {"start": "2015-01-02", "end": "2016-12-30"}
    answer = client.post(f"{url}/backtest", asked, "application/json", headers=headers)
    assert answer.status_code == 202
    run = BacktestRun.objects.get()
    assert run.strategy_version.strategy_id == Strategy.objects.get().pk
    listed = client.get(f"{API}/backtests?strategy_id={made.json()['id']}", headers=headers).json()
    assert listed["count"] == 1


def test_an_earlier_version_is_backtested_by_its_number(client, headers, alice, market):
    strategy = make_strategy(alice, symbols=["KO"], parameters={"period": 14})
    url = f"{API}/strategies/{strategy.pk}"
    changed = {
        "name": strategy.name,
        "plugin": strategy.plugin,
        "symbols": ["KO"],
        "parameters": {"period": 9},
        "expected_version": 1,
    }
    assert client.put(url, changed, "application/json", headers=headers).status_code == 200
    asked = {"start": "2015-01-02", "end": "2016-12-30", "version": 1}
    answer = client.post(f"{url}/backtest", asked, "application/json", headers=headers)
    assert answer.status_code == 202
    assert BacktestRun.objects.get().parameters["period"] == 14
    asked["version"] = 3
    answer = client.post(f"{url}/backtest", asked, "application/json", headers=headers)
    assert answer.status_code == 422
    assert "no version 3; the current one is 2" in answer.content.decode()


def test_a_second_strategy_of_the_same_name_is_refused(client, headers, alice, market):
    make_strategy(alice, name="RSI")
    draft = {"name": "RSI", "plugin": "rsi_mean_reversion", "symbols": ["KO"]}
    answer = client.post(f"{API}/strategies", draft, "application/json", headers=headers)
    assert (answer.status_code, answer.json()["fields"]) == (422, {"name": "Choose another name."})


def test_a_stranger_finds_nothing(client, charlie, alice, market):
    run, strategy = finished_run(alice), make_strategy(alice)
    stranger = bearer(make_token(charlie)[1])
    for part in ("", "/trades", "/equity"):
        url = f"{API}/backtests/{run.pk}{part}"
        assert client.get(url, headers=stranger).status_code == 404
    assert client.delete(f"{API}/backtests/{run.pk}", headers=stranger).status_code == 404
    assert client.get(f"{API}/strategies/{strategy.pk}", headers=stranger).status_code == 404
    asked = {"start": "2015-01-02", "end": "2016-12-30"}
    url = f"{API}/strategies/{strategy.pk}/backtest"
    assert client.post(url, asked, "application/json", headers=stranger).status_code == 404
    assert client.get(f"{API}/backtests", headers=stranger).json()["count"] == 0


def test_a_read_token_cannot_ask_for_work(client, alice, market):
    headers = bearer(make_token(alice, scope="read")[1])
    answer = client.post(f"{API}/backtests", body(), "application/json", headers=headers)
    assert answer.status_code == 403


def test_deleting_answers_204(client, headers, alice, market):
    run = finished_run(alice)
    assert client.delete(f"{API}/backtests/{run.pk}", headers=headers).status_code == 204
    assert not BacktestRun.objects.exists()


@pytest.mark.parametrize("n", [2, 20])
def test_the_list_costs_the_same_however_many_runs_it_holds(
    client, headers, alice, market, n, django_assert_num_queries
):
    version = make_strategy(alice).current_version
    for day in range(n):
        make_run(alice, version=version, start=date(2015, 1, 2 + day))
    client.get(f"{API}/backtests", headers=headers)
    # token with its user, count, page
    with django_assert_num_queries(3):
        client.get(f"{API}/backtests", headers=headers)


def test_a_strategy_is_changed_and_moved_along_its_lifecycle(client, headers, alice, market):
    strategy = make_strategy(alice, name="Cola", symbols=["KO"])
    path = f"{API}/strategies/{strategy.pk}"
    wanted = {
        "name": "Cola",
        "plugin": "rsi_mean_reversion",
        "parameters": {"period": 10},
        "symbols": ["KO"],
        "expected_version": 1,
        "reason": "Faster",
    }
    changed = client.put(path, wanted, "application/json", headers=headers)
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert client.get(f"{path}/versions", headers=headers).json()["items"][0]["reason"] == "Faster"
    late = client.put(path, wanted, "application/json", headers=headers)
    assert late.status_code == 409
    moved = client.post(
        f"{path}/state",
        {"state": "validated", "reason": "Looked at"},
        "application/json",
        headers=headers,
    )
    assert (moved.status_code, moved.json()["state"]) == (200, "validated")
    nowhere = client.post(f"{path}/state", {"state": "live"}, "application/json", headers=headers)
    assert nowhere.status_code == 409


@pytest.mark.parametrize("path", ["backtests", "sweeps", "walk-forwards"])
def test_a_field_that_is_not_known_is_refused(client, headers, market, path):
    space = {} if path == "backtests" else {"space": {"period": {"values": [5, 9]}}}
    wanted = body(exits={"stop_loss": 0.05}, **space)
    answer = client.post(f"{API}/{path}", wanted, "application/json", headers=headers)
    assert (answer.status_code, set(answer.json()["fields"])) == (422, {"exits"})
