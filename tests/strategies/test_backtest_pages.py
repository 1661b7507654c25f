"""Pages of backtests: who sees what, how they answer mistakes, and what they cost."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.models import Job
from strategies.models import BacktestRun, Trial
from strategies.services import backtesting
from tests.factories import make_user, signed_in
from tests.strategies.builders import finished_run, make_market, make_run, make_strategy
from tests.strategies.search_builders import finished_sweep, finished_walk_forward

pytestmark = pytest.mark.django_db
NEW = "/backtests/new/"


@pytest.fixture
def market():
    make_market()


@pytest.fixture
def browser(alice):
    return signed_in(alice)


def form(**changes):
    return {
        "plugin": "rsi_mean_reversion",
        "symbols": "AAPL, KO",
        "timeframe": "1d",
        "start": "2015-01-02",
        "end": "2016-12-30",
        "capital": "50000",
        "costs__slippage_bps": "2",
        **changes,
    }


def test_a_backtest_asked_for_on_the_page_runs_with_what_was_typed(browser, market):
    answer = browser.post(NEW, form(parameters__period="10", exit_rules__stop_loss="5"))
    run = BacktestRun.objects.get()
    assert answer.status_code == 302
    assert answer.url == f"/backtests/{run.pk}/"
    assert run.parameters["period"] == 10
    assert run.parameters["oversold"] == 30
    assert run.exit_rules == {"stop_loss": 0.05}
    assert run.symbols == ["AAPL", "KO"]
    assert float(run.capital) == 50_000


def test_htmx_is_sent_to_the_run_by_a_header(browser, market):
    answer = browser.post(NEW, form(), headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == f"/backtests/{BacktestRun.objects.get().pk}/"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters__period": "1"}, "greater than or equal to 2"),
        ({"parameters__oversold": "60"}, "oversold &lt; exit_level"),
        ({"symbols": "AAPPL"}, "did you mean AAPL?"),
        ({"end": "2014-01-01"}, "Choose a day after 2015-01-02."),
        ({"start": "soon"}, "Enter a valid date."),
        ({"capital": "-1"}, "Choose an amount above 0"),
        ({"exit_rules__stop_loss": "150"}, "Choose a value above 0 and below 100 %."),
        ({"start": "2001-01-01", "end": "2002-01-01"}, "2013-02-08 to 2018-02-07"),
        ({"start": "2013-02-08", "end": "2013-08-08"}, "282 bars are needed"),
    ],
)
def test_a_mistake_is_answered_with_422_and_the_values_kept(browser, market, changes, said):
    answer = browser.post(NEW, form(**changes))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert 'name="costs__slippage_bps" value="2"' in answer.content.decode()
    assert not BacktestRun.objects.exists()


def test_a_change_is_checked_at_once_without_starting_anything(browser, market):
    url, headers = f"{NEW}?validate=1", {"HX-Request": "true"}
    bad = browser.post(url, form(parameters__period="1"), headers=headers)
    good = browser.post(url, form(), headers=headers)
    assert bad.status_code == good.status_code == 200
    assert "greater than or equal to 2" in bad.content.decode()
    assert "about 1,00" in good.content.decode()
    assert "<html" not in good.content.decode()
    assert not BacktestRun.objects.exists()


def test_another_strategy_type_brings_its_own_parameters_and_defaults(browser, market):
    changed = form(plugin="macd_momentum", shown_plugin="rsi_mean_reversion", parameters__fast="99")
    page = browser.post(f"{NEW}?validate=1", changed).content.decode()
    assert 'name="parameters__slow"' in page
    assert 'name="parameters__oversold"' not in page
    assert 'value="99"' not in page


def test_a_run_can_be_repeated_with_its_settings_filled_in(browser, alice, market):
    run = finished_run(alice, parameters={"period": 9}, exit_rules={"stop_loss": 0.07})
    page = browser.get(f"{NEW}?from={run.pk}").content.decode()
    assert 'value="9"' in page
    assert 'name="exit_rules__stop_loss" value="7.0"' in page
    assert "AAPL, JPM, KO" in page
    assert 'value="2015-01-02"' in page


def test_the_result_page_shows_numbers_charts_and_findings(browser, alice, market):
    run = finished_run(alice)
    page = browser.get(f"/backtests/{run.pk}/").content.decode()
    for words in (
        "Equity against benchmark",
        "Underwater",
        "Monthly returns",
        "Rolling Sharpe ratio",
        "Worst drawdowns",
        "What is wrong with this backtest?",
        "Is it luck?",
        run.data_fingerprint[:16],
        run.code_version,
    ):
        assert words in page
    assert page.count("<h1") == 1
    assert page.count('class="preview"') >= 6
    assert "style=" not in page


@pytest.mark.parametrize(
    "chart",
    [
        "equity",
        "underwater",
        "monthly",
        "rolling-sharpe",
        "distribution",
        "excursions",
        "by-symbol",
        "bands",
        "costs",
    ],
)
def test_every_chart_is_a_valid_figure_with_its_numbers_as_csv(browser, alice, market, chart):
    import plotly.graph_objects as go

    run = finished_run(alice)
    jobs.run_job(str(jobs.Job.objects.get(key=f"examine:{run.pk}").pk))
    url = f"/backtests/{run.pk}/charts/{chart}/"
    answer = browser.get(url)
    drawn = answer.json()
    go.Figure({"data": drawn["data"], "layout": drawn["layout"]})
    assert drawn["meta"]["summary"]
    assert all(len(trace.get("x", [])) <= 2_000 for trace in drawn["data"])
    again = browser.get(url, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    rows = list(csv.reader(io.StringIO(b"".join(browser.get(f"{url}?format=csv")).decode())))
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}


def test_round_trips_export_in_full_precision_and_add_up(browser, alice, market):
    run = finished_run(alice)
    url = f"/backtests/{run.pk}/trades/"
    assert browser.get(f"{url}?sort=-pnl").status_code == 200
    rows = json.loads(b"".join(browser.get(f"{url}?format=json")))
    closed = [row for row in rows if row["exit_reason"] != "open"]
    assert len(closed) == run.n_trades
    curve = list(
        csv.DictReader(
            io.StringIO(
                b"".join(browser.get(f"/backtests/{run.pk}/charts/equity/?format=csv")).decode()
            )
        )
    )
    assert sum(row["pnl"] for row in rows) == pytest.approx(float(curve[-1]["equity"]) - 100_000)


def test_a_strategy_that_never_traded_has_a_page(browser, alice, market):
    run = finished_run(alice, parameters={"oversold": 1, "overbought": 99})
    page = browser.get(f"/backtests/{run.pk}/").content.decode()
    assert "never traded" in page
    assert "Nothing was bought and sold" in page


def test_a_run_under_way_shows_its_progress_and_then_its_result(browser, alice, market):
    run = make_run(alice)
    url = f"/backtests/{run.pk}/"
    assert "Waiting for a worker" in browser.get(url).content.decode()
    jobs.run_job(str(run.job_id))
    poll = browser.get(
        url, headers={"HX-Request": "true", "HX-Target": f"section#job-{run.job_id}"}
    )
    assert poll.headers["HX-Refresh"] == "true"


def test_a_failed_run_says_why_and_offers_to_try_again(browser, alice, market):
    run = make_run(alice)
    backtesting.fail_backtest(run, reason="The disk was full.", code="unexpected", at=now())
    jobs.Job.objects.filter(pk=run.job_id).update(status="failed", finished_at=now())
    page = browser.get(f"/backtests/{run.pk}/").content.decode()
    assert "The disk was full." in page
    assert browser.post(f"/backtests/{run.pk}/retry/").status_code == 302
    run.refresh_from_db()
    assert run.status == "queued"


def test_deleting_asks_first_and_keeps_the_trial(browser, alice, market):
    run = finished_run(alice)
    assert "It still counts as a trial" in browser.get(f"/backtests/{run.pk}/").content.decode()
    assert browser.post(f"/backtests/{run.pk}/delete/").status_code == 302
    assert not BacktestRun.objects.exists()
    assert Trial.objects.count() == 1


def test_a_run_that_could_not_be_checked_says_why_and_where_to_try_again(browser, alice, market):
    run = finished_run(alice)
    page = f"/backtests/{run.pk}/"
    assert "vectorbt is running the same signals" in browser.get(page).content.decode()
    check = Job.objects.get(key=f"examine:{run.pk}")
    Job.objects.filter(pk=check.pk).update(
        status="failed", finished_at=now(), error="The worker was lost."
    )
    content = browser.get(page).content.decode()
    assert "did not come to its end: The worker was lost." in content
    assert check.get_absolute_url() in content
    check.delete()
    assert "has not been sent through vectorbt" in browser.get(page).content.decode()


def test_a_stranger_finds_nothing(charlie, alice, market):
    run = finished_run(alice)
    stranger = signed_in(charlie)
    for name in ("detail", "trades", "examination"):
        assert (
            stranger.get(reverse(f"strategies:backtest-{name}", args=[run.pk])).status_code == 404
        )
    assert stranger.get(f"/backtests/{run.pk}/charts/equity/").status_code == 404
    assert stranger.get(f"{NEW}?from={run.pk}").status_code == 404
    assert stranger.post(f"/backtests/{run.pk}/delete/").status_code == 404
    assert stranger.post(f"/backtests/{run.pk}/retry/").status_code == 404
    assert run.title not in stranger.get("/backtests/").content.decode()


def test_a_viewer_may_look_but_not_ask(market):
    viewer = signed_in(make_user("vera", role="viewer"))
    assert viewer.get("/backtests/").status_code == 200
    assert viewer.get(NEW).status_code == 403
    assert viewer.post(NEW, form()).status_code == 403


def test_an_administrator_sees_everyones_runs(alice, market):
    run = finished_run(alice)
    admin = signed_in(make_user("ada", role="admin"))
    assert admin.get(f"/backtests/{run.pk}/").status_code == 200


def test_nobody_is_let_in_without_signing_in(client, alice, market):
    run = make_run(alice)
    assert client.get(f"/backtests/{run.pk}/").status_code == 302


def test_an_address_that_names_nothing_is_404(browser):
    assert browser.get(f"/backtests/{uuid4()}/").status_code == 404
    assert browser.get(f"{NEW}?from=nonsense").status_code == 404


def test_the_list_filters_sorts_and_exports(browser, alice, market):
    finished_run(alice, symbols=("KO",), parameters={"period": 5})
    finished_run(alice, symbols=("JPM",))
    make_run(alice, symbols=("AAPL",), plugin="macd_momentum", parameters={})
    page = browser.get("/backtests/?q=JPM").content.decode()
    assert "on JPM" in page
    assert "on KO" not in page
    assert "on AAPL" in browser.get("/backtests/?status=queued").content.decode()
    assert "on AAPL" in browser.get("/backtests/?plugin=macd_momentum").content.decode()
    assert browser.get("/backtests/?sort=-sharpe_ratio").status_code == 200
    rows = json.loads(b"".join(browser.get("/backtests/?format=json&q=JPM")))
    assert [row["title"] for row in rows] == ["RSI mean reversion on JPM"]


@pytest.mark.parametrize("n", [2, 20])
def test_the_list_costs_the_same_however_many_runs_it_shows(
    browser, alice, market, n, django_assert_num_queries
):
    version = make_strategy(alice).current_version
    for day in range(n):
        make_run(alice, version=version, start=date(2015, 1, 2 + day))
    BacktestRun.objects.update(status="succeeded", finished_at=now(), curves=b"", trades=b"")
    # session, user, live head, running jobs, count, page
    with django_assert_num_queries(6):
        browser.get("/backtests/")


def test_a_run_shows_how_likely_the_newest_sweep_of_its_hypothesis_is_overfitted(
    browser, alice, market
):
    run = finished_run(alice, symbols=("KO",))
    page = f"/backtests/{run.pk}/"
    assert "No sweep of this strategy" in browser.get(page).content.decode()
    other = finished_sweep(alice, symbols=("JPM",))
    sweep = finished_sweep(alice, symbols=("KO",))
    content = browser.get(page).content.decode()
    assert sweep.overfitting_probability is not None
    assert sweep.get_absolute_url() in content
    assert other.get_absolute_url() not in content


def test_the_newest_walk_forward_of_the_hypothesis_is_linked(browser, alice, market):
    run = finished_run(alice, symbols=("KO",))
    page = f"/backtests/{run.pk}/"
    assert "No walk-forward of this strategy" in browser.get(page).content.decode()
    analysis = finished_walk_forward(alice, symbols=("KO",))
    assert analysis.status == "succeeded"
    assert analysis.get_absolute_url() in browser.get(page).content.decode()


def test_a_large_page_of_a_result_costs_few_queries(
    browser, alice, market, django_assert_max_num_queries
):
    run = finished_run(alice)
    with django_assert_max_num_queries(9):
        browser.get(f"/backtests/{run.pk}/")
