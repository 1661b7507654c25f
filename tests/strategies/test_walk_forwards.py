"""A walk-forward is computed fold by fold, resumed after a crash, and counts every look."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.errors import ConflictError, InvalidInput, NotEnoughData
from alphastrat.core.models import Job
from strategies.models import Trial, WalkForward
from strategies.services import searching, walk_forwards
from strategies.services.verdicts import judge
from tests.strategies.builders import finished_run, make_market
from tests.strategies.search_builders import (
    SPACE,
    finished_walk_forward,
    make_walk_forward,
    wanted,
)

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """What a worker does not catch."""


@pytest.fixture
def market():
    make_market()


def test_a_walk_forward_goes_from_the_request_through_a_worker_to_a_stored_result(alice, market):
    analysis = finished_walk_forward(alice)
    frame = walk_forwards.equity_frame(analysis)
    assert analysis.status == "succeeded", analysis.failure_reason
    assert [fold["number"] for fold in analysis.folds] == [1, 2, 3, 4]
    assert analysis.n_sets == 9
    assert analysis.n_evaluated == 36
    assert len(frame) == sum(fold["n_test"] for fold in analysis.folds)
    assert frame["time"].is_monotonic_increasing
    assert set(frame["fold"]) == {1, 2, 3, 4}
    assert len(analysis.data_fingerprint) == 64
    assert analysis.periods_per_year == 252


def test_the_stitched_equity_is_the_product_of_the_out_of_sample_returns(alice, market):
    analysis = finished_walk_forward(alice)
    frame = walk_forwards.equity_frame(analysis)
    expected = 100_000.0 * np.cumprod(1.0 + frame["return"].to_numpy())
    np.testing.assert_allclose(frame["equity"], expected)
    assert float(analysis.total_return) == pytest.approx(expected[-1] / 1e5 - 1, abs=1e-6)
    ends = frame.groupby("fold")["equity"].last().to_numpy()
    np.testing.assert_allclose(ends, [fold["final_cash"] for fold in analysis.folds])


def test_efficiency_is_the_median_over_the_folds_that_earned_in_sample(alice, market):
    analysis = finished_walk_forward(alice)
    ratios = []
    for fold in analysis.folds:
        if fold["in_sample_return"] > 0:
            ratio = fold["out_of_sample_return"] / fold["in_sample_return"]
            assert fold["efficiency"] == pytest.approx(ratio)
            ratios.append(ratio)
        else:
            assert fold["efficiency"] is None
    assert float(analysis.efficiency) == pytest.approx(np.median(ratios), abs=1e-6)


def test_every_set_of_every_fold_counts_as_a_trial(alice, market):
    finished_walk_forward(alice)
    trials = Trial.objects.filter(source="walk_forward")
    assert trials.count() == 36
    assert trials.values("configuration").distinct().count() == 9
    assert trials.values("start_at", "end_at").distinct().count() == 4


def test_the_same_set_is_the_same_configuration_as_in_a_backtest(alice, market):
    finished_walk_forward(alice)
    finished_run(alice, symbols=("KO",), parameters={"period": 10, "oversold": 30})
    run_key = Trial.objects.get(source="backtest").configuration
    assert Trial.objects.filter(source="walk_forward", configuration=run_key).count() == 4


def test_a_killed_worker_goes_on_at_the_next_fold_with_the_same_result(alice, market, monkeypatch):
    whole = finished_walk_forward(alice)
    looked = Trial.objects.count()
    analysis = make_walk_forward(alice)
    seen: list[int] = []
    count_looks = walk_forwards.record_trials

    def killed_in_the_third(*arguments, **options):
        if len(seen) == 2:
            raise Killed
        seen.append(1)
        count_looks(*arguments, **options)

    monkeypatch.setattr(walk_forwards, "record_trials", killed_in_the_third)
    with pytest.raises(Killed):
        jobs.run_job(str(analysis.job_id))
    stored = Job.objects.get(pk=analysis.job_id).checkpoint["folds"]
    assert [fold["number"] for fold in stored] == [0, 1]
    again: list[int] = []

    def counted(*arguments, **options):
        again.append(1)
        count_looks(*arguments, **options)

    monkeypatch.setattr(walk_forwards, "record_trials", counted)
    Job.objects.filter(pk=analysis.job_id).update(status="queued", started_at=None)
    jobs.run_job(str(analysis.job_id))
    analysis.refresh_from_db()
    assert analysis.status == "succeeded"
    assert len(again) == 2
    assert analysis.folds == whole.folds
    assert bytes(analysis.curves) == bytes(whole.curves)
    assert analysis.efficiency == whole.efficiency
    # The same looks at the same hypothesis, counted once.
    assert Trial.objects.count() == looked


def test_a_second_delivery_changes_nothing(alice, market):
    analysis = finished_walk_forward(alice)
    before = WalkForward.objects.filter(pk=analysis.pk).values().get()
    jobs.run_job(str(analysis.job_id))
    assert WalkForward.objects.filter(pk=analysis.pk).values().get() == before


def test_a_cancelled_walk_forward_keeps_its_folds_and_goes_on(
    alice, market, monkeypatch, django_capture_on_commit_callbacks
):
    analysis = make_walk_forward(alice)
    count_looks = walk_forwards.record_trials

    def cancel(*arguments, **options):
        count_looks(*arguments, **options)
        Job.objects.get(pk=analysis.job_id).request_cancel(at=now())

    monkeypatch.setattr(walk_forwards, "record_trials", cancel)
    with django_capture_on_commit_callbacks(execute=True):
        jobs.run_job(str(analysis.job_id))
    analysis.refresh_from_db()
    assert (analysis.status, analysis.state) == ("cancelled", "cancelled")
    monkeypatch.setattr(walk_forwards, "record_trials", count_looks)
    searching.resume(analysis, task=walk_forwards.TASK, kind=walk_forwards.KIND, at=now())
    jobs.run_job(str(analysis.job_id))
    analysis.refresh_from_db()
    assert analysis.status == "succeeded"
    with pytest.raises(ConflictError):
        searching.resume(analysis, task=walk_forwards.TASK, kind=walk_forwards.KIND, at=now())


def test_anchored_folds_look_back_to_the_first_bar(alice, market):
    analysis = finished_walk_forward(alice, scheme="anchored")
    starts = {fold["fold"]["train_start"] for fold in analysis.folds}
    lengths = [fold["n_train"] for fold in analysis.folds]
    assert len(starts) == 1
    assert lengths == sorted(set(lengths))


def test_seventy_to_thirty_with_purge_and_embargo_unless_said_otherwise(alice, market):
    plan = walk_forwards.check(wanted(exit_rules={"max_bars": 10}))
    assert (plan.purge, plan.embargo) == (11, 6)
    assert plan.n_train / (plan.n_train + plan.n_test) == pytest.approx(0.7, abs=0.01)
    analysis = finished_walk_forward(alice, purge=7, embargo=3)
    for fold in analysis.folds:
        assert fold["fold"]["test_start"] - fold["fold"]["train_stop"] == 10


def test_what_comes_after_a_fold_does_not_change_it(alice, market):
    """More folds of the same length: the choice never sees bars after its span."""
    analysis = finished_walk_forward(alice)
    first = analysis.folds[0]
    rows = Trial.objects.filter(source="walk_forward").order_by("start_at")
    assert rows[0].end_at < date_time(first["test_start_at"])


def date_time(text):
    from datetime import datetime

    return datetime.fromisoformat(text)


def test_a_plateau_can_be_chosen_instead_of_the_peak(alice, market):
    peak, plateau = (
        finished_walk_forward(alice, selection=selection) for selection in ("peak", "plateau")
    )
    for one, other in zip(peak.folds, plateau.folds, strict=True):
        assert other["in_sample_sharpe"] <= one["in_sample_sharpe"]


def test_combinatorial_paths_give_a_distribution(alice, market):
    analysis = finished_walk_forward(
        alice, symbols=("KO",), start=date(2013, 6, 3), end=date(2018, 2, 6)
    )
    paths = analysis.summary["paths"]
    assert len(paths["sharpes"]) == 7
    assert paths["n_splits"] == 28
    assert 1 <= paths["n_choices"] <= 9


BAD = [
    ({"space": {}}, "space"),
    ({"space": {"moon": [1, 2]}}, "space.moon"),
    ({"space": {"period": {"low": 5}}}, "space.period"),
    ({"space": {"period": {"low": 20, "high": 5}}}, "space.period"),
    ({"space": {"period": {"low": 5, "high": 20, "step": 0}}}, "space.period"),
    ({"space": {"period": {"low": 1, "high": 20}}}, "space.period"),
    ({"space": {"period": [5, 5]}}, "space.period"),
    ({"space": {"period": [5.5]}}, "space.period"),
    ({"space": {"oversold": [60, 70]}}, "space"),
    ({"space": {"stop_loss": [1.5]}}, "space.stop_loss"),
    (
        {
            "space": {
                "period": {"low": 2, "high": 200},
                "oversold": {"low": 1, "high": 45},
                "overbought": {"low": 55, "high": 95},
            }
        },
        "space",
    ),
    ({"n_folds": 0}, "n_folds"),
    ({"train_share": 0.99}, "train_share"),
    ({"scheme": "sideways"}, "scheme"),
    ({"selection": "luck"}, "selection"),
    ({"purge": -1}, "purge"),
    ({"symbols": ("KOO",)}, "symbols"),
    ({"end": date(2014, 1, 1)}, "end"),
    ({"parameters": {"overbought": 500}}, "parameters.overbought"),
    ({"costs": {"slippage_bps": -1}}, "costs.slippage_bps"),
]


@pytest.mark.parametrize(("changes", "field"), BAD, ids=[str(change) for change, _ in BAD])
def test_a_wrong_value_is_named_with_what_to_do_and_nothing_is_queued(
    alice, market, changes, field
):
    with pytest.raises(InvalidInput) as caught:
        make_walk_forward(alice, **changes)
    assert field in caught.value.fields
    assert caught.value.fields[field].endswith((".", "?"))
    assert not WalkForward.objects.exists()
    assert not Job.objects.exists()


def test_every_problem_is_named_at_once(alice, market):
    with pytest.raises(InvalidInput) as caught:
        make_walk_forward(
            alice, space={"period": {"low": 1, "high": 5}}, n_folds=0, symbols=("KOO",)
        )
    assert set(caught.value.fields) == {"space.period", "n_folds", "symbols"}


def test_too_many_folds_say_how_many_bars_they_need(alice, market):
    with pytest.raises(NotEnoughData) as caught:
        make_walk_forward(alice, n_folds=100)
    assert caught.value.needed > caught.value.available > 480
    assert "n_folds" in caught.value.fields


def test_what_does_not_fit_into_memory_is_refused_with_how_much_does(alice, market, settings):
    settings.SWEEP_MEMORY_MB = 1
    with pytest.raises(InvalidInput) as caught:
        make_walk_forward(
            alice,
            symbols=("KO", "JPM", "AAPL"),
            space={"period": {"low": 2, "high": 30}, "oversold": {"low": 10, "high": 40}},
        )
    assert "fit with these instruments" in caught.value.fields["space"]


def test_a_set_that_contradicts_itself_is_left_out(alice, market):
    analysis = finished_walk_forward(
        alice,
        plugin="moving_average_cross",
        space={"fast": [5, 40], "slow": [30, 60]},
    )
    assert analysis.n_sets == 4
    assert Trial.objects.count() == 3 * 4


def test_stops_can_vary_too(alice, market):
    analysis = finished_walk_forward(alice, space={"stop_loss": [0.03, 0.08], "period": [10, 14]})
    assert analysis.status == "succeeded"
    assert {fold["parameters"]["stop_loss"] for fold in analysis.folds} <= {0.03, 0.08}


def test_the_plan_says_what_it_will_take(alice, market):
    plan = walk_forwards.check(wanted(space=SPACE))
    assert plan.n_trials == 36
    assert 0 < plan.seconds < 60
    assert plan.peak_bytes > 0
    assert plan.search.years_needed > 0


def test_an_analysis_that_cannot_be_computed_keeps_the_reason(alice, market, monkeypatch):
    analysis = make_walk_forward(alice)
    monkeypatch.setattr(
        walk_forwards, "_stored_folds", lambda *_: (_ for _ in ()).throw(InvalidInput("No bars."))
    )
    jobs.run_job(str(analysis.job_id))
    analysis.refresh_from_db()
    assert (analysis.status, analysis.failure_reason) == ("failed", "No bars.")


def fold(efficiency: float | None) -> dict[str, Any]:
    return {
        "efficiency": efficiency,
        "out_of_sample_return": 0.01,
        "n_trips": 40,
        "parameters": {"period": 14},
    }


@pytest.mark.parametrize(
    ("efficiencies", "said"),
    [
        ([1.4, -2.8, -2.5, None, None, 2.2], "Half of the 4 folds that earned in sample lost"),
        ([0.9, 0.7, 0.6, 0.8, 0.7, 0.7], "Half of the folds kept 70% or more"),
        ([None, None, 0.4, None, None, None], "The one fold that earned in sample kept only 40%"),
    ],
)
def test_the_verdict_counts_only_folds_that_have_an_efficiency(efficiencies, said):
    known = [value for value in efficiencies if value is not None]
    analysis = WalkForward(
        folds=[fold(value) for value in efficiencies], efficiency=float(np.median(known))
    )
    assert judge(analysis)[1][0]["text"].startswith(said)
