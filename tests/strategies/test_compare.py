"""Runs are compared on their common bars; the address holds everything; strangers get 404."""

from __future__ import annotations

import csv
import io
from datetime import date

import numpy as np
import pytest

from alphastrat.core.errors import InvalidInput
from strategies.services.comparison import compare
from strategies.services.results import Results
from tests.factories import signed_in
from tests.strategies.builders import finished_run, make_market, make_strategy

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


def test_runs_are_compared_on_the_bars_that_all_have(runs):
    found = compare(runs)
    assert found.times[0].date() == date(2015, 6, 1)
    assert found.times[-1].date() == date(2016, 12, 30)
    second = Results(runs[1]).curves
    assert found.growth[-1, 1] == pytest.approx(second.equity[-1] / 100_000)
    equity = Results(runs[0]).curves.equity
    offset = len(equity) - len(found.times)
    assert found.growth[-1, 0] == pytest.approx(equity[-1] / equity[offset - 1])
    assert (found.drawdowns <= 0).all()
    assert np.diag(found.correlation) == pytest.approx([1.0, 1.0])


def test_the_best_of_each_measure_is_the_higher_or_the_lower_one(runs):
    rows = {row["key"]: row for row in compare(runs).measures}
    sharpe, volatility = rows["sharpe_ratio"], rows["annual_volatility"]
    assert sharpe["best"] == int(np.argmax(sharpe["values"]))
    assert volatility["best"] == int(np.argmin(volatility["values"]))
    assert rows["skewness"]["best"] in (None, int(np.argmax(rows["skewness"]["values"])))


def test_only_settings_that_differ_are_listed(runs):
    settings = {row["setting"]: row["values"] for row in compare(runs).differences}
    assert settings["period"] == ["14", "7"]
    assert "start at" in settings
    assert "oversold" not in settings
    assert "symbols" not in settings


def test_a_period_narrows_the_comparison(runs):
    found = compare(runs, start=date(2016, 1, 1), end=date(2016, 6, 30))
    assert (found.times[0].year, found.times[-1].date()) == (2016, date(2016, 6, 30))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda runs: runs[:1], "2 to 8"),
        (lambda runs: runs * 5, "2 to 8"),
    ],
)
def test_too_few_and_too_many_are_refused(runs, make, said):
    with pytest.raises(InvalidInput, match=said):
        compare(make(runs))


def test_runs_without_a_common_period_are_refused(alice):
    early = finished_run(alice, start=date(2015, 1, 2), end=date(2015, 6, 30))
    late = finished_run(alice, start=date(2016, 1, 4), end=date(2016, 6, 30))
    with pytest.raises(InvalidInput, match="no period in common"):
        compare([early, late])


def test_the_page_charts_and_export_follow_the_address(runs, alice):
    browser = signed_in(alice)
    query = f"?r={runs[0].pk}&r={runs[1].pk}&start=2016-01-01"
    page = browser.get(f"/compare/{query}").content.decode()
    assert "· best" in page
    assert "Where the settings differ" in page
    for chart in ("growth", "drawdowns"):
        drawn = browser.get(f"/compare/charts/{chart}/{query}").json()
        assert [trace["meta"]["role"] for trace in drawn["data"]] == ["series-1", "series-2"]
        assert drawn["data"][0]["x"][0].startswith("2016-01-04")
    exported = b"".join(browser.get(f"/compare/{query}&format=csv")).decode()
    rows = list(csv.reader(io.StringIO(exported)))
    assert len(rows[0]) == 3
    assert "sharpe_ratio" in [row[0] for row in rows]


def test_a_strategy_stands_for_its_newest_backtest(runs, alice):
    strategy = make_strategy(alice)
    own = finished_run(alice, version=strategy.current_version)
    page = signed_in(alice).get(f"/compare/?r={runs[1].pk}&s={strategy.pk}").content.decode()
    assert str(own.strategy_version) in page


def test_the_page_without_a_choice_offers_runs(runs, alice):
    page = signed_in(alice).get("/compare/").content.decode()
    assert str(runs[0].pk) in page


def test_one_run_alone_is_answered_with_what_to_do(runs, alice):
    answer = signed_in(alice).get(f"/compare/?r={runs[0].pk}")
    assert answer.status_code == 422
    assert "Choose 2 to 8." in answer.content.decode()


def test_a_stranger_finds_nothing(runs, charlie):
    stranger = signed_in(charlie)
    assert stranger.get(f"/compare/?r={runs[0].pk}&r={runs[1].pk}").status_code == 404
    assert stranger.get("/compare/?r=nonsense").status_code == 404
    assert str(runs[0].pk) not in stranger.get("/compare/").content.decode()
