"""A sweep is computed chunk by chunk, resumed after a crash, and judged for luck."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest
from django.utils.timezone import now

from alphastrat.core import jobs
from alphastrat.core.errors import InvalidInput
from alphastrat.core.models import Job
from strategies.models import Sweep, SweepChunk, Trial
from strategies.services import executors, searching, sweep_judging, sweeps
from strategies.services.sweep_surface import Surface
from strategies.services.trials import configuration_key, set_keys
from tests.strategies.builders import finished_run, make_market
from tests.strategies.search_builders import finished_sweep, make_sweep, wanted_sweep

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """What a worker does not catch."""


@pytest.fixture
def market():
    make_market()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(sweeps, "MAX_CHUNK", 10)


def test_a_sweep_goes_from_the_request_through_a_worker_to_a_stored_result(alice, market):
    sweep = finished_sweep(alice)
    frame = Surface(sweep).frame
    assert sweep.status == "succeeded", sweep.failure_reason
    assert (sweep.n_sets, sweep.n_evaluated, len(frame)) == (45, 45, 45)
    assert frame["number"].tolist() == list(range(45))
    assert float(sweep.best_sharpe) == pytest.approx(frame["sharpe"].max(), abs=1e-6)
    assert not SweepChunk.objects.exists()
    assert len(sweep.data_fingerprint) == 64


def test_a_set_has_the_numbers_of_its_backtest(alice, market):
    sweep = finished_sweep(alice)
    surface = Surface(sweep)
    for number in (3, 22, 44):
        (own,) = surface.grid.sets(np.array([number]))
        run = finished_run(alice, symbols=("KO",), parameters=own)
        row = surface.frame.iloc[number]
        assert row["total_return"] == pytest.approx(float(run.total_return), abs=1e-6)
        assert row["max_drawdown"] == pytest.approx(float(run.max_drawdown), abs=1e-6)
        assert row["n_trips"] == run.n_trades
    # Looked at by the sweep before: not a new look.
    assert Trial.objects.count() == 45


def test_a_set_is_known_by_the_key_of_the_backtest_that_it_is(alice, market):
    sweep = make_sweep(alice)
    sweep.exit_rules = {"stop_loss": 0.05, "max_bars": None}
    sets = [
        {"period": 9, "max_bars": 5, "oversold": 20.0},
        {"period": 8, "max_bars": 6, "oversold": 1},
    ]
    assert set_keys(sweep, []) == []
    assert set_keys(sweep, sets) == [
        configuration_key(
            parameters={**sweep.parameters, "period": own["period"], "oversold": own["oversold"]},
            exits={"stop_loss": 0.05, "max_bars": own["max_bars"]},
            sizing=sweep.sizing,
        )
        for own in sets
    ]


def test_chunks_change_nothing(alice, market, monkeypatch):
    whole = finished_sweep(alice)
    monkeypatch.setattr(sweeps, "MAX_CHUNK", 7)
    parts = finished_sweep(alice)
    assert parts.chunk_size == 7
    assert bytes(whole.results) == bytes(parts.results)
    assert whole.summary == parts.summary


@pytest.mark.parametrize("method", ["grid", "bayesian"])
def test_a_killed_worker_goes_on_at_the_next_chunk_with_the_same_result(
    alice, market, small_chunks, monkeypatch, method
):
    options = {"method": method, "budget": 40}
    whole = finished_sweep(alice, **options)
    looked = Trial.objects.count()
    sweep = make_sweep(alice, **options)
    evaluate, seen = sweeps.evaluate, []

    def killed_in_the_third(ground, sets):
        seen.append(len(sets))
        if len(seen) == 3:
            raise Killed
        return evaluate(ground, sets)

    monkeypatch.setattr(sweeps, "evaluate", killed_in_the_third)
    with pytest.raises(Killed):
        jobs.run_job(str(sweep.job_id))
    assert sweep.chunks.count() == 2
    assert Job.objects.get(pk=sweep.job_id).checkpoint["chunks"] == 2
    again: list[int] = []
    monkeypatch.setattr(
        sweeps, "evaluate", lambda ground, sets: again.append(len(sets)) or evaluate(ground, sets)
    )
    Job.objects.filter(pk=sweep.job_id).update(status="queued", started_at=None)
    jobs.run_job(str(sweep.job_id))
    sweep.refresh_from_db()
    assert sweep.status == "succeeded"
    assert bytes(sweep.results) == bytes(whole.results)
    assert sweep.summary == whole.summary
    assert sum(again) + sum(seen[:2]) == (45 if method == "grid" else whole.n_evaluated)
    assert Trial.objects.count() == looked


def test_a_cancelled_sweep_keeps_its_chunks_and_goes_on(
    alice, market, small_chunks, monkeypatch, django_capture_on_commit_callbacks
):
    sweep = make_sweep(alice)
    evaluate = sweeps.evaluate

    def cancel(ground, sets):
        Job.objects.get(pk=sweep.job_id).request_cancel(at=now())
        return evaluate(ground, sets)

    monkeypatch.setattr(sweeps, "evaluate", cancel)
    with django_capture_on_commit_callbacks(execute=True):
        jobs.run_job(str(sweep.job_id))
    sweep.refresh_from_db()
    assert (sweep.status, sweep.chunks.count()) == ("cancelled", 1)
    monkeypatch.setattr(sweeps, "evaluate", evaluate)
    searching.resume(sweep, task=sweeps.TASK, kind=sweeps.KIND, at=now())
    jobs.run_job(str(sweep.job_id))
    sweep.refresh_from_db()
    assert (sweep.status, sweep.n_evaluated) == ("succeeded", 45)


def test_restated_bars_start_the_sweep_over(alice, market, small_chunks):
    sweep = make_sweep(alice)
    SweepChunk.objects.create(sweep=sweep, number=0, n_sets=10, results=b"of other bars")
    Sweep.objects.filter(pk=sweep.pk).update(data_fingerprint="other")
    jobs.run_job(str(sweep.job_id))
    sweep.refresh_from_db()
    assert (sweep.status, sweep.n_evaluated) == ("succeeded", 45)


def test_a_bayesian_sweep_stays_on_its_grid_and_tries_the_neighbours_of_the_best(alice, market):
    options = {
        "method": "bayesian",
        "budget": 32,
        "space": {
            "period": {"low": 2, "high": 40},
            "oversold": {"low": 10, "high": 40},
            "overbought": {"low": 60, "high": 90},
        },
    }
    sweep = finished_sweep(alice, **options)
    surface = Surface(sweep)
    assert sweep.n_sets == 39 * 31 * 31
    assert 32 <= sweep.n_evaluated <= 32 + 26
    best = sweep.summary["best"]
    assert best["stability"]["n_neighbours"] > 0
    assert surface.frame["sharpe"].max() == pytest.approx(best["metrics"]["sharpe"])
    again = finished_sweep(alice, **options)
    assert bytes(again.results) == bytes(sweep.results)


def test_an_edge_of_the_grid_is_named(alice, market):
    sweep = finished_sweep(alice)
    grid = Surface(sweep).grid
    assert grid.edges(0) == ("period", "oversold")
    assert grid.edges(int(grid.numbers(np.array([[4, 2]]))[0])) == ()
    assert sweep.summary["best"]["edges"] == list(grid.edges(sweep.summary["best"]["number"]))


def test_the_honest_number_of_trials_deflates_the_best(alice, market):
    sweep = finished_sweep(alice)
    alone = sweep_judging.luck_of(sweep)
    finished_sweep(alice, space={"period": {"low": 2, "high": 40}, "overbought": [60, 70, 80]})
    later = sweep_judging.luck_of(sweep)
    assert alone["n_trials"] == 45
    assert later["n_trials"] > 140
    assert 1 <= later["n_effective"] < later["n_trials"]
    assert 0 <= later["deflated"] <= later["deflated_effective"] <= 1


def test_overfitting_is_estimated_from_the_blocks(alice, market):
    found = finished_sweep(alice).summary["overfitting"]
    assert found["n_splits"] == math.comb(16, 8)
    assert found["n_trials"] == 45
    assert 0 <= found["probability"] <= 1
    assert sum(found["counts"]) == 12_870


def test_too_few_sets_have_no_probability_of_overfitting(alice, market):
    sweep = finished_sweep(alice, space={"period": [10, 14]})
    assert sweep.summary["overfitting"] is None
    assert sweep.overfitting_probability is None


def test_a_set_that_contradicts_itself_is_neither_a_result_nor_a_trial(alice, market):
    sweep = finished_sweep(
        alice,
        plugin="moving_average_cross",
        space={
            "fast": {"low": 5, "high": 40, "step": 5},
            "slow": {"low": 10, "high": 50, "step": 10},
        },
    )
    frame = Surface(sweep).frame
    assert sweep.n_sets == 40
    assert len(frame) == Trial.objects.count() < 40
    sets = Surface(sweep).grid.sets(frame["number"].to_numpy())
    assert all(own["fast"] < own["slow"] for own in sets)


def test_sets_that_never_trade_are_no_error(alice, market):
    sweep = finished_sweep(alice, space={"oversold": [1, 2, 3], "overbought": [97, 98, 99]})
    assert sweep.status == "succeeded", sweep.failure_reason
    assert sweep.best_sharpe is None
    assert sweep_judging.luck_of(sweep) is None


def test_several_instruments_and_stops(alice, market):
    sweep = finished_sweep(
        alice,
        symbols=("KO", "JPM"),
        space={"stop_loss": [0.02, 0.05, 0.1], "period": [10, 14], "direction": ["long", "both"]},
    )
    assert (sweep.status, sweep.n_evaluated) == ("succeeded", 12)


BAD = [
    ({"method": "guess"}, "method"),
    ({"objective": "luck"}, "objective"),
    ({"method": "bayesian", "budget": 3}, "budget"),
    ({"space": {}}, "space"),
    ({"space": {"period": {"low": 2, "high": 200, "step": 1e-9}}}, "space.period"),
    ({"space": {"direction": ["up"]}}, "space.direction"),
    ({"space": {"direction": {"low": 1, "high": 2}}}, "space.direction"),
    ({"symbols": ("KOO",)}, "symbols"),
    ({"end": date(2014, 1, 1)}, "end"),
]


@pytest.mark.parametrize(("changes", "field"), BAD, ids=[str(change) for change, _ in BAD])
def test_a_wrong_value_is_named_with_what_to_do_and_nothing_is_queued(
    alice, market, changes, field
):
    with pytest.raises(InvalidInput) as caught:
        make_sweep(alice, **changes)
    assert caught.value.fields[field].endswith((".", "?"))
    assert not Sweep.objects.exists()
    assert not Job.objects.exists()


def test_what_does_not_fit_at_once_is_cut_into_chunks(alice, market, settings):
    settings.SWEEP_MEMORY_MB = 16
    space = {"period": {"low": 2, "high": 20}, "oversold": {"low": 10, "high": 40}}
    plan = sweeps.check(wanted_sweep(symbols=("KO", "JPM", "AAPL"), space=space))
    assert plan.n_chunks > 1
    assert plan.peak_bytes <= 16 * 2**20


def test_what_cannot_be_cut_is_refused_with_what_to_do(alice, market, settings):
    settings.SWEEP_MEMORY_MB = 1
    with pytest.raises(InvalidInput) as caught:
        make_sweep(alice, symbols=("KO", "JPM", "AAPL"), start=date(2013, 6, 3))
    assert "SWEEP_MEMORY_MB" in caught.value.fields["symbols"]


def test_what_takes_too_long_is_refused(alice, market, settings):
    settings.JOB_TIMEOUT_SECONDS = 1
    with pytest.raises(InvalidInput) as caught:
        make_sweep(alice)
    assert "Bayesian" in caught.value.fields["space"]


def test_a_dask_cluster_gives_the_identical_result(alice, market, small_chunks, settings):
    distributed = pytest.importorskip("distributed")
    here = finished_sweep(alice)
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    )
    with cluster:
        settings.DASK_SCHEDULER = cluster.scheduler_address
        with executors.connect() as site:
            assert "Dask" in site.name
        there = finished_sweep(alice)
    assert there.status == "succeeded", there.failure_reason
    assert bytes(there.results) == bytes(here.results)
    assert there.summary == here.summary


def test_a_cluster_that_does_not_answer_is_tried_again(alice, market, settings, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.2)
    settings.DASK_SCHEDULER = "tcp://127.0.0.1:9"
    sweep = make_sweep(alice)
    jobs.run_job(str(sweep.job_id))
    job = Job.objects.get(pk=sweep.job_id)
    assert (job.status, job.setbacks) == ("queued", 1)
    assert "does not answer" in job.step
