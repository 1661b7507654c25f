"""The optimiser from request to stored answer, and what it says where there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import numpy as np
import pytest

from alphastrat.core import jobs
from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.marketdata.models import Instrument
from portfolio.allocation_forms import OptimiseForm
from portfolio.models import Optimisation, PortfolioMember
from portfolio.quant.allocation_problem import Method
from portfolio.services import portfolio_optimizer, portfolios
from portfolio.services.allocation_options import AllocationOptions, options_of
from portfolio.services.strategy_groups import groups_of_members
from tests.factories import signed_in
from tests.portfolio.allocation_builders import make_backtest, make_book

AT = datetime(2026, 7, 1, tzinfo=UTC)


def answered(portfolio, **options):
    asked = portfolio_optimizer.request_optimisation(portfolio, options_of(options), at=AT)
    jobs.run_job(str(asked.job_id))
    asked.refresh_from_db()
    return asked


def test_portfolio_optimization(alice):
    portfolio = make_book(alice, 8)
    asked = answered(portfolio, method="max_sharpe", return_model="historical")
    assert asked.status == "succeeded", asked.failure_reason
    assert asked.job.status == "succeeded"
    found = asked.result
    weights = np.array([row["weight"] for row in found["strategies"]])
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    assert weights.max() <= 0.30 + 1e-6
    assert weights[weights > 0].min() >= 0.05 - 1e-6
    assert sum(row["risk_share"] for row in found["strategies"]) == pytest.approx(1.0)
    assert "PyPortfolioOpt" in found["solver"]
    assert len(found["frontier"]["volatilities"]) > 5
    assert found["sensitivity"]["n_draws"] == 100
    assert found["walk_forward"]["n_rebalances"] > 3
    assert len(found["walk_forward"]["days"]) == len(found["walk_forward"]["equal"])
    assert found["correlation"]["verdict"] in ("reduced", "raised", "unclear")
    assert asked.data_fingerprint


@pytest.mark.parametrize("method", list(Method))
def test_every_method_answers_with_evidence_from_histories_that_overlap_in_part(alice, method):
    portfolio = make_book(alice, 5, n_days=320)
    young = portfolio.members.order_by("strategy__name").last().strategy
    returns = np.random.default_rng(9).normal(0.0005, 0.01, 45)
    make_backtest(young, returns, finished_at=AT)
    targets = {Method.TARGET_RETURN: 0.05, Method.TARGET_VOLATILITY: 0.2}
    asked = answered(portfolio, method=method.value, target=targets.get(method))
    assert asked.status == "succeeded", asked.failure_reason
    found = asked.result
    assert sum(row["weight"] for row in found["strategies"]) == pytest.approx(1.0, abs=1e-6)
    assert [row["n_days"] for row in found["strategies"]] == [320] * 4 + [45]
    # Some resampled histories hold fewer whole days than scenarios need; those are counted.
    least = 1 if method is Method.MIN_CVAR else 0
    assert least <= found["sensitivity"]["n_failed"] < found["sensitivity"]["n_draws"]
    assert found["walk_forward"]["n_rebalances"] == 4
    assert len(found["frontier"]["volatilities"]) >= 2


def test_the_same_question_gives_the_same_answer(alice):
    portfolio = make_book(alice, 5)
    first = answered(portfolio, method="min_volatility", seed=3)
    second = answered(portfolio, method="min_volatility", seed=3)
    assert first.pk != second.pk
    assert first.result == second.result


def test_running_a_job_twice_changes_nothing(alice):
    portfolio = make_book(alice, 4)
    asked = answered(portfolio)
    portfolio_optimizer.run_optimisation(str(asked.pk), None, at=AT)
    again = Optimisation.objects.get(pk=asked.pk)
    assert again.result == asked.result
    assert again.finished_at == asked.finished_at


def test_a_question_that_is_being_answered_is_not_asked_twice(alice):
    portfolio = make_book(alice, 4)
    first = portfolio_optimizer.request_optimisation(portfolio, AllocationOptions(), at=AT)
    again = portfolio_optimizer.request_optimisation(portfolio, AllocationOptions(), at=AT)
    other = portfolio_optimizer.request_optimisation(
        portfolio, AllocationOptions(method="hrp"), at=AT
    )
    assert again.pk == first.pk
    assert other.pk != first.pk


def test_what_nothing_fits_is_said_in_words_with_the_nearest_that_does(alice):
    asked = answered(make_book(alice, 3))
    assert asked.status == "failed"
    assert asked.job.status == "succeeded"
    assert asked.failure_reason == (
        "These cannot be met together: everything is invested and at most 30 % per strategy. "
        "The nearest that fits: at most 33.4 % per strategy instead of 30 %."
    )
    kinds = [one["kind"] for one in asked.result["conflict"]["alternatives"]]
    assert kinds == ["max_weight", "cash"]


def test_the_weights_become_targets_only_when_somebody_says_so(alice):
    portfolio = make_book(alice, 5)
    asked = answered(portfolio, method="hrp")
    assert set(portfolio.members.values_list("target_weight", flat=True)) == {0.0}
    portfolio_optimizer.apply_targets(asked)
    stored = dict(portfolio.members.values_list("strategy_id", "target_weight"))
    for row in asked.result["strategies"]:
        assert stored[UUID(row["id"])] == pytest.approx(row["weight"])
    PortfolioMember.objects.filter(portfolio=portfolio).first().delete()
    with pytest.raises(ConflictError, match="left the portfolio"):
        portfolio_optimizer.apply_targets(asked)


def test_an_answer_without_weights_cannot_be_used(alice):
    with pytest.raises(ConflictError):
        portfolio_optimizer.apply_targets(answered(make_book(alice, 3)))


def test_limits_of_members_groups_and_lock_ups_are_kept(alice):
    portfolio = make_book(alice, 6)
    members = list(portfolio.members.order_by("strategy__name"))
    members[0].maximum_weight = 0.1
    members[1].minimum_weight = 0.2
    members[2].group = members[3].group = "Trend"
    for member in members:
        member.save()
    asked = answered(portfolio, method="min_volatility", group_limits={"Trend": 0.15})
    weights = [row["weight"] for row in asked.result["strategies"]]
    assert weights[0] <= 0.1 + 1e-6
    assert weights[1] >= 0.2 - 1e-6
    assert weights[2] + weights[3] <= 0.15 + 1e-6


def test_strategies_of_one_sector_or_asset_class_can_be_limited_together(alice):
    portfolio = make_book(alice, 6)
    for name, sector in (("BANK1", "Finance"), ("BANK2", "Finance"), ("PUMP", "Energy")):
        Instrument.objects.create(symbol=name, sector=sector)
    members = list(portfolio.members.order_by("strategy__name"))
    traded = [["BANK1"], ["BANK1", "BANK2"], ["BANK2", "PUMP"]]
    for member, symbols in zip(members, traded, strict=False):
        member.strategy.universe.set(Instrument.objects.filter(symbol__in=symbols))
    found = groups_of_members(members)
    # What trades two sectors is in neither.
    assert found["Finance"] == {members[0].strategy_id, members[1].strategy_id}
    assert "Energy" not in found
    (everything,) = (name for name, inside in found.items() if len(inside) == 6)
    limits = {"Finance": 0.12, "Utilities": 0.2}
    result = answered(portfolio, method="min_volatility", group_limits=limits).result
    weights = {row["id"]: row["weight"] for row in result["strategies"]}
    assert sum(weights[str(key)] for key in found["Finance"]) <= 0.12 + 1e-6
    assert "No strategy is in the group Utilities; its limit holds nothing." in result["notes"]
    form = OptimiseForm(members=members)
    assert "Finance" in form.groups
    assert everything not in form.groups


def test_who_takes_no_part_is_said_with_an_answer_and_with_a_conflict(alice):
    portfolio = make_book(alice, 4)
    gone = portfolio.members.order_by("strategy__name").first().strategy
    type(gone).objects.filter(pk=gone.pk).update(state="suspended")
    words = f"Given nothing, because suspended, retired or failed in verification: {gone.name}."
    assert words in answered(portfolio, max_weight=0.4).result["notes"]
    # Four could have held 30 % each; three cannot.
    refused = answered(portfolio)
    assert refused.status == "failed"
    assert refused.failure_reason.endswith(words)
    assert refused.result["conflict"]["remarks"] == [words]
    assert words in signed_in(alice).get("/portfolio/").text


def test_a_strategy_with_too_little_in_common_is_left_out_and_named(alice):
    portfolio = make_book(alice, 5, short=1)
    found = answered(portfolio).result
    assert len(found["strategies"]) == 4
    assert "Left out for fewer than 30 days of returns in common" in found["notes"][0]
    assert "Strategy 4" in found["notes"][0]


def test_black_litterman_follows_the_view(alice):
    portfolio = make_book(alice, 4)
    key = str(portfolio.members.order_by("strategy__name").first().strategy_id)
    views = [{"strategy": key, "excess": 0.5, "confidence": 0.9}]
    asked = answered(
        portfolio,
        method="max_sharpe",
        return_model="black_litterman",
        views=views,
        min_weight=0.0,
        max_weight=0.6,
    )
    weights = [row["weight"] for row in asked.result["strategies"]]
    assert weights[0] == max(weights)
    strangers = [{"strategy": str(uuid4()), "excess": 0.5}]
    failed = answered(
        portfolio, method="max_sharpe", return_model="black_litterman", views=strangers
    )
    assert failed.status == "failed"
    assert "view" in failed.failure_reason


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"method": "magic"}, "method"),
        ({"max_weight": 1.5}, "max_weight"),
        ({"min_weight": 0.4}, "min_weight"),
        ({"method": "target_return"}, "target"),
        ({"cash": float("nan")}, "cash"),
        ({"views": [{"strategy": "x", "excess": 0.1, "confidence": 2}]}, "views"),
        ({"group_limits": {"A": -1}}, "group_limits"),
        ({"leverage": 2}, "leverage"),
        ({"return_model": "black_litterman"}, "views"),
    ],
)
def test_options_that_cannot_be_used_name_their_field(values, field):
    with pytest.raises(InvalidInput) as caught:
        options_of(values)
    assert field in caught.value.fields


def test_options_survive_being_stored():
    options = replace(AllocationOptions(), method="hrp", group_limits={"A": 0.2})
    assert options_of(options.as_json()) == options


@pytest.mark.parametrize("n", [2, 20])
def test_reading_takes_the_same_queries_however_many_members(
    alice, n, django_assert_max_num_queries
):
    portfolio = make_book(alice, n)
    with django_assert_max_num_queries(12):
        portfolio_optimizer.compute(portfolio, AllocationOptions(max_weight=1.0), at=AT)


def test_targets_are_announced_to_the_portfolios_page(alice):
    from alphastrat.core.models import LiveEvent

    portfolio = make_book(alice, 4)
    keys = list(portfolio.members.values_list("strategy_id", flat=True))
    portfolios.set_targets(portfolio, {keys[0]: 1.0})
    event = LiveEvent.objects.get(topic=f"portfolio:{portfolio.pk}")
    assert event.kind == "invalidate"
