"""Verification pages and API: what they show, to whom, and what they change."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from django.urls import reverse

from alphastrat.core import jobs
from alphastrat.core.models import Job
from monitoring.models import Expectation, Verification, VerificationTransition
from monitoring.services import detection, performance_validator
from monitoring.services.detection import Delay, Sensitivity
from portfolio.models import Account, EquityPoint
from tests.factories import bearer, make_token, make_user, signed_in
from tests.monitoring.verification_builders import (
    AT,
    OPENED_AT,
    make_account,
    make_promised,
    make_strategy,
    trade_like_shadow,
)
from tests.strategies.builders import make_market

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
# Six of them read the observations, however many there are.
N_SUMMARY = 12
CHARTS = ("envelope", "evidence", "fills", "drift", "live-sharpe", "overlay", "waterfall")


@pytest.fixture
def judged(alice):
    """Alice's strategy with a year of live trading that its shadow explains, but for 20 bp."""
    make_market()
    strategy, _ = make_promised(alice)
    trade_like_shadow(make_account(strategy), worse_bps=20.0)
    performance_validator.evaluate([strategy.pk], at=AT)
    return strategy


def page(name, strategy, *arguments):
    return reverse(f"monitoring:{name}", args=[strategy.pk, *arguments])


def test_the_list_shows_every_check_of_every_strategy(judged, alice):
    answer = signed_in(alice).get(reverse("monitoring:verification"))
    text = answer.content.decode()
    assert answer.status_code == 200
    assert judged.name in text
    assert page("verification-detail", judged) in text
    assert text.count("badge") >= 10
    assert " bp</span>" in text  # each check with its value
    assert reverse("monitoring:verification") in text


def test_the_list_filters_and_exports(judged, alice):
    client = signed_in(alice)
    address = reverse("monitoring:verification")
    status = Verification.objects.get().status
    assert judged.name in client.get(address, {"status": status}).content.decode()
    assert judged.name not in client.get(address, {"status": "failed"}).content.decode() or (
        status == "failed"
    )
    lines = b"".join(client.get(address, {"format": "csv"}).streaming_content).decode().splitlines()
    assert len(lines) == 2
    assert "values.slippage" in lines[0]


def test_the_page_of_a_strategy_says_why(judged, alice):
    text = signed_in(alice).get(page("verification-detail", judged)).content.decode()
    reason = Verification.objects.get().reason
    assert reason.split(".")[0][:40] in text
    for words in ("Mean return", "What was promised", "History of verdicts", "calm", "turbulent"):
        assert words in text


@pytest.mark.parametrize("chart", CHARTS)
def test_every_figure_draws_and_exports(judged, alice, chart):
    client = signed_in(alice)
    address = page("verification-chart", judged, chart)
    drawn = client.get(address)
    assert drawn.status_code == 200
    figure = json.loads(drawn.content)
    assert figure["data"]
    assert "NaN" not in drawn.content.decode()
    lines = b"".join(client.get(address, {"format": "csv"}).streaming_content).decode().splitlines()
    assert len(lines) > 2


def test_a_figure_that_is_not_there_is_missing(judged, alice):
    client = signed_in(alice)
    assert client.get(page("verification-chart", judged, "nothing")).status_code == 404
    other = make_strategy(alice, "Untraded")
    assert client.get(page("verification-chart", other, "overlay")).status_code == 404


@pytest.mark.parametrize("name", ["verification-detail", "reconciliation", "verification-summary"])
def test_pages_of_a_strategy_that_never_traded_say_so(alice, name):
    make_market()
    strategy = make_strategy(alice)
    assert signed_in(alice).get(page(name, strategy)).status_code == 200


def test_the_gap_page_adds_up(judged, alice):
    client = signed_in(alice)
    text = client.get(page("reconciliation", judged)).content.decode()
    for words in ("Price and slippage", "Unexplained", "Missed fills", "Fill by fill"):
        assert words in text
    only = client.get(page("reconciliation", judged), {"cause": "price"}).content.decode()
    assert "No difference" not in only.split("Fill by fill")[1].split("<tbody>")[1]
    exported = client.get(page("reconciliation", judged), {"format": "csv"})
    assert b"slippage_bps" in b"".join(exported.streaming_content)


@pytest.mark.parametrize(
    "name",
    ["verification-detail", "reconciliation", "verification-summary", "verification-delays"],
)
def test_others_do_not_find_it(judged, name):
    assert signed_in(make_user("charlie")).get(page(name, judged)).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "verification-settings",
        "verification-verify",
        "verification-freeze",
        "verification-acknowledge",
        "verification-overrule",
    ],
)
def test_viewers_change_nothing(judged, name):
    viewer = make_user("vera", role="viewer")
    assert signed_in(viewer).post(page(name, judged)).status_code == 403


TERMS = {
    "false_alarms_per_year": "1",
    "tolerance": "25",
    "hard_drawdown": "30",
    "on_degraded": "suspend",
}


def test_the_terms_are_stored_as_fractions_and_looked_at_at_once(judged, alice):
    answer = signed_in(alice).post(page("verification-settings", judged), TERMS)
    assert answer.status_code == 302
    stored = Verification.objects.get()
    assert stored.false_alarms_per_year == 1.0
    assert stored.tolerance == 0.25
    assert stored.hard_drawdown == -0.3
    assert stored.on_degraded == "suspend"


@pytest.mark.parametrize(
    ("field", "value"),
    [("false_alarms_per_year", "0"), ("tolerance", "0"), ("hard_drawdown", "-5")],
)
def test_terms_that_make_no_sense_are_refused_on_their_field(judged, alice, field, value):
    client = signed_in(alice)
    address = page("verification-settings", judged)
    answer = client.post(address, {**TERMS, field: value})
    assert answer.status_code == 422
    assert f'id="id_{field}' in answer.content.decode()
    checked = client.post(f"{address}?validate=1", {**TERMS, field: value}, HTTP_HX_REQUEST="true")
    assert checked.status_code == 200
    assert Verification.objects.get().tolerance == 0.1


def test_the_delay_of_a_budget_is_shown_before_it_is_saved(judged, alice):
    client = signed_in(alice)
    made = Expectation.objects.get(is_current=True)
    text = client.get(page("verification-delays", judged), TERMS).content.decode()
    assert "no edge that could be lost" in text
    returns = np.frombuffer(made.returns, "<f8") + 0.002
    made.summary["scalars"] |= {"mean": returns.mean(), "mean_floor": returns.mean()}
    made.returns = returns.tobytes()
    made.save()
    text = client.get(page("verification-delays", judged), TERMS).content.decode()
    assert "Half of the edge" in text
    assert "1.0 false alarms a year" in text
    wrong = client.get(page("verification-delays", judged), {"false_alarms_per_year": "x"})
    assert wrong.status_code == 200


def test_acknowledging_and_overruling_leave_their_reason(judged, alice):
    client = signed_in(alice)
    client.post(page("verification-acknowledge", judged), {"reason": "Broker was down"})
    client.post(
        page("verification-overrule", judged), {"status": "watch", "reason": "Until Monday"}
    )
    text = client.get(page("verification-detail", judged)).content.decode()
    assert "Broker was down" in text
    assert "Until Monday" in text
    assert Verification.objects.get().status == "watch"


def test_freezing_by_hand_names_the_person(judged, alice):
    signed_in(alice).post(page("verification-freeze", judged))
    assert Expectation.objects.get(is_current=True).frozen_by == alice


def test_verifying_now_is_a_job(judged, alice, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = signed_in(alice).post(page("verification-verify", judged))
    job = Job.objects.get(key=f"verify:{judged.pk}")
    assert answer.url == reverse("core:job-detail", args=[job.pk])
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert job.result["status"] == Verification.objects.get().status


def test_going_live_is_refused_on_the_page_and_overruled_with_a_reason(judged, alice):
    Account.objects.update(marked_to=OPENED_AT + timedelta(days=3))
    client = signed_in(alice)
    client.post(reverse("strategies:strategy-move", args=[judged.pk]), {"state": "live"})
    judged.refresh_from_db()
    assert judged.state == "paper"
    client.post(
        reverse("strategies:strategy-move", args=[judged.pk]),
        {"state": "live", "reason": "Was traded elsewhere for years"},
    )
    judged.refresh_from_db()
    assert judged.state == "live"


def get(token, path, **query):
    from django.test import Client

    return Client().get(f"/api/v1{path}", query, headers=bearer(token))


def test_the_api_tells_what_the_pages_show(judged, alice):
    _, token = make_token(alice)
    base = f"/strategies/{judged.pk}"
    shown = get(token, f"{base}/verification").json()
    assert shown["status"] == Verification.objects.get().status
    assert {check["key"] for check in shown["checks"]} >= {"return", "slippage"}
    listed = get(token, "/verification").json()
    assert [one["strategy_id"] for one in listed["items"]] == [str(judged.pk)]
    expectation = get(token, f"{base}/expectations").json()["items"][0]
    assert expectation["summary"]["scalars"]["win_rate"] > 0
    observed = get(token, f"{base}/observations", page_size=5).json()
    assert observed["count"] > 200
    gap = get(token, f"{base}/gap-ledger").json()
    assert sum(one["bps"] for one in gap["causes"]) == pytest.approx(gap["gap_bps"])
    changes = get(token, f"{base}/verification/transitions").json()
    assert changes["count"] == VerificationTransition.objects.count()


def test_the_api_verifies_with_a_job(judged, alice):
    from django.test import Client

    _, token = make_token(alice)
    address = f"/api/v1/strategies/{judged.pk}/verify"
    answer = Client().post(address, headers=bearer(token))
    assert answer.status_code == 202
    _, reading = make_token(alice, scope="read", name="reader")
    assert Client().post(address, headers=bearer(reading)).status_code == 403
    everything = Client().post("/api/v1/verification/evaluate", headers=bearer(token))
    assert everything.json() == []


def test_the_api_hides_the_strategies_of_others(judged):
    _, token = make_token(make_user("charlie"))
    assert get(token, f"/strategies/{judged.pk}/verification").status_code == 404
    assert get(token, "/verification").json()["items"] == []


def test_the_list_costs_the_same_however_long_it_is(alice, django_assert_num_queries):
    make_market()
    client = signed_in(alice)
    counts = []
    for n_more in (2, 18):
        for number in range(n_more):
            strategy = make_strategy(alice, f"Many {n_more}-{number}")
            Verification.objects.create(strategy=strategy)
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as queries:
            client.get(reverse("monitoring:verification"))
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_page_of_a_strategy_says_live_beside_the_promise_and_which_part_moved(judged, alice):
    client = signed_in(alice)
    text = client.get(page("verification-summary", judged)).content.decode()
    for words in ("Live return", "Promised", "Live drawdown", "Place in the envelope", "Execution"):
        assert words in text
    assert "Which part moved" in text
    assert "Rolling Sharpe ratio, live" in text
    assert "Over the newest 126 bars" in text
    assert "Which part moved" in client.get(page("verification-detail", judged)).content.decode()


def test_the_delays_say_how_much_evidence_is_possible_yet(judged, alice, monkeypatch):
    client = signed_in(alice)
    delays = (Delay("Half of the edge", 0.5, None, None, None), Delay("All", 1.0, 10.0, 20.0, 0.1))
    found = Sensitivity(0.5, 100.0, 0.8, delays)
    monkeypatch.setattr(detection, "sensitivity", lambda *_args, **_options: found)
    asked = {"false_alarms_per_year": "0.5"}
    text = client.get(page("verification-delays", judged), asked).content.decode()
    assert "bars so far: all would probably show by now; half of the edge cannot be" in text


def test_the_summary_costs_the_same_however_long_one_has_traded(
    judged, alice, django_assert_num_queries
):
    client = signed_in(alice)
    client.get(page("verification-summary", judged))
    with django_assert_num_queries(N_SUMMARY):
        client.get(page("verification-summary", judged))
    EquityPoint.objects.filter(marked_at__gt=OPENED_AT + timedelta(days=60)).delete()
    with django_assert_num_queries(N_SUMMARY):
        text = client.get(page("verification-summary", judged)).content.decode()
    assert "of the 126 live bars that one window holds" in text
