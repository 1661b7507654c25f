"""The first page says what is stored, what runs and what came out last."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils.timezone import now

from alphastrat.core.heartbeats import beat
from alphastrat.core.models import Heartbeat
from monitoring.models import Verification
from monitoring.services import live_overview
from monitoring.services.overview import processes
from tests.factories import make_job, make_user, signed_in
from tests.monitoring.alert_builders import firing, plain_strategy
from tests.monitoring.test_performance_monitor import trade
from tests.strategies.builders import finished_run, make_market, make_run

pytestmark = pytest.mark.django_db


def test_a_new_user_is_told_the_three_steps(alice):
    html = signed_in(alice).get("/").content.decode()
    assert "Three steps to the first answer" in html
    assert "Load data" in html
    assert "jobs:refresh from:body" in html  # what a finished job brought is shown at once


def test_the_newest_result_is_shown_with_its_conclusion_in_words(alice):
    make_market("AAPL")
    run = finished_run(alice, symbols=["AAPL"])
    html = signed_in(alice).get("/").content.decode()
    assert run.title in html
    assert "The account went from" in html
    assert "<svg" in html  # the picture comes with the page, before any script


def test_somebody_else_s_results_are_not_shown(alice):
    make_market("AAPL")
    run = make_run(make_user("bob"), symbols=["AAPL"])
    assert run.title not in signed_in(alice).get("/").content.decode()


@pytest.mark.parametrize("n", [2, 20])
def test_the_number_of_queries_does_not_grow(alice, django_assert_max_num_queries, n):
    make_market("AAPL")
    finished_run(alice, symbols=["AAPL"])
    for _ in range(n):
        make_run(alice, symbols=["AAPL"])
    make_job(alice, status="failed")
    client = signed_in(alice)
    client.get("/")
    # session, user, live head, shell's running jobs, jobs, market totals, findings,
    # recent runs, newest result, heartbeats
    with django_assert_max_num_queries(12) as seen:
        client.get("/")
    assert len(seen.captured_queries) <= 12


def test_a_process_that_has_stopped_beating_is_stale():
    beat("worker", {"workers": 2})
    beat("feed", {"state": "replaying"})
    Heartbeat.objects.filter(process="feed").update(beat_at=now() - timedelta(minutes=5))
    found = {process.name: process.status for process in processes(at=now())}
    assert found == {"worker": "active", "monitor": "stopped", "feed": "stale"}


def test_what_trades_comes_first_with_its_results(alice):
    strategies = [plain_strategy(alice, name) for name in ("Fine", "Ill")]
    trade(strategies[0], 0.0, 0.01)
    trade(strategies[1], 0.0, -0.03)
    Verification.objects.create(
        strategy=strategies[1], status="degraded", metrics={"drawdown": -0.03, "percentile": 0.02}
    )
    firing(alice, strategy_id=strategies[1].pk)
    seen = live_overview.live_overview(alice)
    assert [row.name for row in seen.rows] == ["Ill", "Fine"]
    assert (seen.n_strategies, seen.n_needing, seen.n_alerts) == (2, 1, 1)
    assert seen.day_pnl == Decimal("-2000")
    assert seen.day_return == pytest.approx(-0.01)
    assert seen.worst_drawdown.name == "Ill"
    html = signed_in(alice).get("/").content.decode()
    for text in ("What trades now", "−$2,000", "Degraded", 'class="spark"', "Drawdown below"):
        assert text in html
    assert live_overview.live_overview(make_user("bob")) is None


def test_money_that_was_put_in_is_no_result(alice):
    account = trade(plain_strategy(alice), 0.0, 0.01)
    point = account.equity_points.latest("marked_at")
    point.equity += 5000
    point.cash += 5000
    point.net_flow = 5000
    point.save()
    assert live_overview.live_overview(alice).day_pnl == Decimal("1000")


@pytest.mark.parametrize("n", [2, 20])
def test_the_number_of_queries_with_live_strategies_does_not_grow(
    alice, django_assert_max_num_queries, n
):
    for i in range(n):
        strategy = plain_strategy(alice, f"S{i}")
        trade(strategy, 0.0, -0.03)
        firing(alice, cause=f"c{i}", strategy_id=strategy.pk)
    client = signed_in(alice)
    client.get("/")
    # As above without market totals and findings; besides what trades, its curves, firing alerts.
    with django_assert_max_num_queries(12):
        client.get("/")
