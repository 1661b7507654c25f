"""The weights of an answer in use: targets and a proposal in one action."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
from django.core.management import call_command

from alphastrat.core import jobs
from alphastrat.core.errors import ConflictError, InvalidInput
from portfolio.models import Optimisation, PortfolioMember, Rebalance
from portfolio.services import portfolio_optimizer, rebalancing
from portfolio.services.allocation_options import options_of
from portfolio.services.applied_weights import apply_and_propose
from tests.factories import bearer, make_token, make_user, signed_in
from tests.portfolio.allocation_builders import make_backtest
from tests.portfolio.risk_builders import AT, START, make_portfolio


@pytest.fixture
def book(alice):
    """Four accounts of the same size, and an answer that gives them other weights."""
    portfolio, accounts = make_portfolio(alice, n=4)
    rng = np.random.default_rng(4)
    for scale, account in enumerate(accounts, start=1):
        make_backtest(account.strategy, rng.normal(0.0005, 0.004 * scale, 300))
    return portfolio, accounts


@pytest.fixture
def answer(book):
    return asked(book[0])


def asked(portfolio, **options):
    found = portfolio_optimizer.request_optimisation(
        portfolio, options_of({"method": "risk_parity", "max_weight": 0.6, **options}), at=AT
    )
    jobs.run_job(str(found.job_id))
    found.refresh_from_db()
    assert found.status == "succeeded", found.failure_reason
    return found


def targets(portfolio):
    return dict(portfolio.members.values_list("strategy_id", "target_weight"))


def test_weights_become_targets_and_a_proposal_leads_to_them(book, answer, alice):
    portfolio, _ = book
    proposal = apply_and_propose(answer, by=alice, at=AT)
    found = {row["id"]: row["weight"] for row in answer.result["strategies"]}
    assert {str(key): weight for key, weight in targets(portfolio).items()} == pytest.approx(found)
    after = {str(one.strategy_id): one.weight_after for one in proposal.trades.all()}
    assert after == pytest.approx({key: found[key] for key in after})
    assert (proposal.status, proposal.optimisation) == ("proposed", answer)
    assert "equal risk contribution" in proposal.reason


def test_asked_again_it_is_the_same_proposal(answer, alice):
    first = apply_and_propose(answer, by=alice, at=AT)
    assert apply_and_propose(answer, by=alice, at=AT) == first
    assert Rebalance.objects.count() == 1


def test_a_proposal_for_other_weights_is_replaced(book, answer, alice):
    portfolio, _ = book
    newer = asked(portfolio, method="min_volatility")
    old = apply_and_propose(answer, by=alice, at=AT)
    new = apply_and_propose(newer, by=alice, at=AT)
    old.refresh_from_db()
    assert (old.status, old.decided_by) == ("rejected", alice)
    assert old.decision_reason == "Replaced by newer weights."
    assert new.optimisation == newer


def test_a_rebalance_under_way_is_left_alone(book, answer, alice, monkeypatch):
    portfolio, _ = book
    monkeypatch.setattr(
        "portfolio.services.rebalance_checks.market_time", lambda timeframe, *, at: START
    )
    PortfolioMember.objects.filter(portfolio=portfolio).update(target_weight=0.1)
    running = rebalancing.propose(portfolio, at=AT)
    rebalancing.decide(running, is_approved=True, by=alice, at=AT)
    before = targets(portfolio)
    with pytest.raises(ConflictError, match="under way"):
        apply_and_propose(answer, by=alice, at=AT)
    assert targets(portfolio) == before


def test_nothing_to_move_sets_the_targets_and_says_so(book, alice):
    portfolio, _ = book
    equal = asked(portfolio, method="equal_weight")
    with pytest.raises(InvalidInput, match="are the targets now"):
        apply_and_propose(equal, by=alice, at=AT)
    assert set(targets(portfolio).values()) == {0.25}
    url = f"/portfolio/allocation/{equal.pk}/propose/"
    page = signed_in(alice).post(url, follow=True)
    assert "as near its own as is worth an order" in page.text


def test_an_answer_that_failed_cannot_be_used(book, alice):
    portfolio, _ = book
    failed = Optimisation.objects.create(
        portfolio=portfolio, method="hrp", requested_at=AT, status="failed"
    )
    with pytest.raises(ConflictError):
        apply_and_propose(failed, by=alice, at=AT)


def test_the_page_opens_the_proposal_and_knows_who_may(answer, alice, charlie):
    url = f"/portfolio/allocation/{answer.pk}/propose/"
    client = signed_in(alice)
    assert url in client.get("/portfolio/").text
    opened = client.post(url)
    assert opened.url == Rebalance.objects.get().get_absolute_url()
    assert client.post(url).url == opened.url
    assert signed_in(charlie).post(url).status_code == 404
    assert signed_in(make_user("vera", role="viewer")).post(url).status_code == 403


def test_the_api_and_the_command_do_the_same(book, answer, alice, charlie, client):
    portfolio, _ = book
    address, body = "/api/v1/portfolio/rebalance", {"optimisation_id": str(answer.pk)}
    options = {"content_type": "application/json", "headers": bearer(make_token(alice)[1])}
    first = client.post(address, json.dumps(body), **options)
    assert first.status_code == 202
    assert first.json()["optimisation_id"] == str(answer.pk)
    assert client.post(address, json.dumps(body), **options).json()["id"] == first.json()["id"]
    options["headers"] = bearer(make_token(charlie)[1])
    assert client.post(address, json.dumps(body), **options).status_code == 404
    printed = StringIO()
    arguments = ("optimize_portfolio", str(portfolio.pk), "--method", "min_volatility")
    call_command(*arguments, "--max-weight", "0.6", "--propose", stdout=printed)
    assert "Proposed: rebalance" in printed.getvalue()
    assert Rebalance.objects.filter(status="proposed").count() == 1
