"""The first page says what is stored, what runs and what came out last."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from alphastrat.core.heartbeats import beat
from alphastrat.core.models import Heartbeat
from monitoring.services.overview import processes
from tests.factories import make_job, make_user, signed_in
from tests.strategies.builders import finished_run, make_market, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make_user("alice")


def test_a_new_user_is_told_the_three_steps(alice):
    html = signed_in(alice).get("/").content.decode()
    assert "Three steps to the first answer" in html
    assert "Load data" in html


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
