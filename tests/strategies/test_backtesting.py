"""A backtest is computed once, stored whole, and says why when it cannot be computed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from django.utils.timezone import now

from alphastrat.core import events, jobs
from alphastrat.core.errors import ConflictError, InvalidInput, NotEnoughData
from alphastrat.core.models import Job, LiveEvent
from alphastrat.marketdata.models import Bar, Instrument
from strategies import receivers
from strategies.models import BacktestRun, StrategyPerformance, Trial
from strategies.services import backtesting, examination
from strategies.services.results import Results
from tests.strategies.builders import (
    SYMBOLS,
    asked,
    finished_run,
    make_market,
    make_prices,
    make_run,
    make_strategy,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def market():
    make_market()


def test_a_backtest_goes_from_the_request_through_a_worker_to_a_stored_result(alice, market):
    run = make_run(alice)
    assert run.status == "queued"
    jobs.run_job(str(run.job_id))
    run.refresh_from_db()
    results = Results(run)
    assert run.status == "succeeded"
    assert run.job.__class__.objects.get(pk=run.job_id).result["run"] == str(run.pk)
    assert len(results.curves.equity) == len(results.times) == 504
    assert results.curves.symbols == SYMBOLS
    assert run.n_bars == 3 * 504
    assert len(results.closed) == run.n_trades > 10
    assert len(run.data_fingerprint) == 64
    assert run.periods_per_year == 252
    assert run.library_versions["numpy"] == np.__version__


def test_backtest_performance_calculation(alice, market):
    """The headline numbers are those of the stored curve and round trips, computed apart."""
    results = Results(finished_run(alice))
    run, equity = results.run, results.curves.equity
    returns = np.diff(np.concatenate(([100_000.0], equity))) / np.concatenate(
        ([100_000.0], equity[:-1])
    )
    peak = np.maximum.accumulate(np.concatenate(([100_000.0], equity)))
    pnl = results.closed["pnl"]
    expected = {
        "total_return": equity[-1] / 100_000.0 - 1,
        "annual_return": (equity[-1] / 100_000.0) ** (252 / len(equity)) - 1,
        "volatility": returns.std(ddof=1) * 252**0.5,
        "sharpe_ratio": returns.mean() / returns.std(ddof=1) * 252**0.5,
        "max_drawdown": (np.concatenate(([100_000.0], equity)) / peak - 1).min(),
        "win_rate": (pnl > 0).mean(),
        "profit_factor": pnl[pnl > 0].sum() / -pnl[pnl < 0].sum(),
    }
    stored = {name: float(getattr(run, name)) for name in expected}
    assert stored == pytest.approx(expected, abs=1e-6)


def test_rsi_mean_reversion_strategy(alice, market):
    """Each long entry follows a close with an RSI below 30, each short one an RSI above 70."""
    from alphastrat.marketdata.frames import find_series, load_bars
    from strategies.quant import indicators

    results = Results(finished_run(alice, symbols=("AAPL",)))
    bars = load_bars(find_series(["AAPL"], "1d")[0])
    rsi = indicators.rsi(bars["close"].to_numpy(), 14)
    before = bars.index.get_indexer(results.trips["entry_time"]) - 1
    is_long = (results.trips["side"] == "long").to_numpy()
    assert is_long.any()
    assert not is_long.all()
    assert (rsi[before][is_long] < 30).all()
    assert (rsi[before][~is_long] > 70).all()
    slipped = results.trips["entry_price"] / bars["open"].to_numpy()[before + 1] - 1
    assert slipped.to_numpy() == pytest.approx(np.where(is_long, 2e-4, -2e-4), abs=1e-12)


def test_pnl_and_the_account_reconcile(alice, market):
    results = Results(finished_run(alice))
    earned = results.trips["pnl"].sum()
    assert results.curves.equity[-1] - 100_000.0 == pytest.approx(earned, abs=1e-6)


def test_the_benchmark_buys_every_instrument_at_its_first_open_and_holds(alice, market):
    from alphastrat.marketdata.frames import find_series, load_frames

    results = Results(finished_run(alice))
    frames = load_frames(find_series(SYMBOLS, "1d"))
    growth = [
        frames[s]["close"][results.times[-1]] / frames[s]["open"][results.times[0]] for s in SYMBOLS
    ]
    assert results.curves.benchmark[-1] == pytest.approx(100_000.0 * np.mean(growth))


def test_a_second_delivery_changes_nothing(alice, market):
    run = finished_run(alice)
    before = BacktestRun.objects.filter(pk=run.pk).values().get()
    jobs.run_job(str(run.job_id))
    backtesting.run_backtest(str(run.pk), report=lambda *_: None, at=now())
    assert BacktestRun.objects.filter(pk=run.pk).values().get() == before
    assert Trial.objects.count() == 1


def test_a_worker_killed_between_storing_and_asking_for_the_examination_asks_again(alice, market):
    run = finished_run(alice)
    Job.objects.filter(key=f"examine:{run.pk}").delete()
    Job.objects.filter(pk=run.job_id).update(status="queued", finished_at=None)
    jobs.run_job(str(run.job_id))
    assert Job.objects.filter(key=f"examine:{run.pk}", owner=alice).count() == 1
    assert Job.objects.get(pk=run.job_id).status == "succeeded"


@pytest.mark.parametrize("symbols", [SYMBOLS[:1], SYMBOLS])
def test_a_backtest_costs_few_statements_however_many_instruments(
    alice, market, symbols, django_assert_max_num_queries
):
    finished_run(alice, symbols=symbols)  # derives the blocks of its bars
    run = make_run(alice, symbols=symbols)
    # Two claims, series, bars, result, trial, the examination's job, the end of this one, and
    # two announcements; the rest are savepoints of the test's own transaction.
    with django_assert_max_num_queries(18):
        jobs.run_job(str(run.job_id))


def test_a_worker_rehearses_without_leaving_a_trace(market):
    held = Instrument.objects.count(), Bar.objects.count()
    jobs.warm_up()
    assert (Instrument.objects.count(), Bar.objects.count()) == held
    assert not Job.objects.exists()
    assert not LiveEvent.objects.exists()
    assert not BacktestRun.objects.exists()
    assert not Trial.objects.exists()


def test_the_same_question_twice_gives_the_same_numbers_and_counts_as_one_look(alice, market):
    first, second = finished_run(alice), finished_run(alice)
    assert bytes(first.curves) == bytes(second.curves)
    assert bytes(first.trades) == bytes(second.trades)
    assert first.data_fingerprint == second.data_fingerprint
    assert Trial.objects.count() == 1


def test_deleting_a_run_does_not_undo_the_look(alice, market):
    for period in (10, 14, 20):
        finished_run(alice, parameters={"period": period}).delete()
    last = finished_run(alice, parameters={"period": 25})
    assert examination.sharpe_evidence(Results(last))["n_trials"] == 4


def test_later_looks_lower_the_confidence_in_an_earlier_run(alice, market):
    run = finished_run(alice)
    alone = examination.sharpe_evidence(Results(run))["deflated"]
    for period in (5, 10, 20, 40):
        finished_run(alice, parameters={"period": period})
    assert examination.sharpe_evidence(Results(run))["deflated"] < alone


def test_a_backtest_of_a_version_records_the_strategys_performance(alice, market):
    strategy = make_strategy(alice)
    run = finished_run(alice, version=strategy.current_version)
    stored = StrategyPerformance.objects.get(strategy=strategy)
    assert (stored.run, stored.source, stored.total_trades) == (run, "backtest", run.n_trades)
    assert stored.sharpe_ratio == run.sharpe_ratio


def test_who_waits_for_the_result_is_told_after_commit(
    alice, market, django_capture_on_commit_callbacks
):
    heard: list[str] = []
    events.backtest_finished.connect(lambda **event: heard.append(event["run_id"]), weak=False)
    run = make_run(alice)
    with django_capture_on_commit_callbacks(execute=True):
        jobs.run_job(str(run.job_id))
        assert heard == []
    assert heard == [str(run.pk)]


BAD = [
    ({"plugin": "astrology"}, "plugin"),
    ({"parameters": {"period": 1}}, "parameters.period"),
    ({"parameters": {"period": "many"}}, "parameters.period"),
    ({"parameters": {"moon": 3}}, "parameters.moon"),
    ({"parameters": {"oversold": 60}}, "parameters"),
    ({"symbols": ()}, "symbols"),
    ({"symbols": ("AAPL", "AAPPL")}, "symbols"),
    ({"end": date(2015, 1, 2)}, "end"),
    ({"end": date(2014, 1, 2)}, "end"),
    ({"timeframe": "2d"}, "timeframe"),
    ({"timeframe": "1h"}, "symbols"),
    ({"capital": 0}, "capital"),
    ({"capital": -5}, "capital"),
    ({"costs": {"commission_bps": -1}}, "costs.commission_bps"),
    ({"costs": {"slippage_bps": 20_000}}, "costs.slippage_bps"),
    ({"costs": {"bribes": 1}}, "costs.bribes"),
    ({"costs": {"slippage_bps": float("nan")}}, "costs.slippage_bps"),
    ({"exit_rules": {"stop_loss": 1.5}}, "exit_rules.stop_loss"),
    ({"exit_rules": {"max_bars": 0}}, "exit_rules.max_bars"),
    ({"sizing": {"kind": "everything"}}, "sizing.kind"),
    ({"sizing": {"kind": "fixed_fraction", "fraction": 0}}, "sizing.fraction"),
    ({"sizing": {"kind": "fixed_risk"}}, "exit_rules.stop_loss"),
    ({"benchmark": "NOPE"}, "benchmark"),
    ({"engine": "abacus"}, "engine"),
    ({"engine": "vectorbt", "costs": {"borrow_bps_per_year": 10}}, "engine"),
    ({"plugin": "pairs_spread"}, "symbols"),
    ({"plugin": "cross_sectional_momentum", "symbols": ("KO",)}, "symbols"),
]


@pytest.mark.parametrize(("changes", "field"), BAD, ids=[str(change) for change, _ in BAD])
def test_a_wrong_value_is_named_with_what_to_do_and_nothing_is_queued(
    alice, market, changes, field
):
    with pytest.raises(InvalidInput) as caught:
        make_run(alice, **changes)
    assert field in caught.value.fields
    assert caught.value.fields[field].endswith((".", "?"))
    assert not BacktestRun.objects.exists()
    assert not Job.objects.exists()


def test_every_problem_is_named_at_once(alice, market):
    with pytest.raises(InvalidInput) as caught:
        make_run(
            alice,
            parameters={"period": 1},
            symbols=("AAPPL",),
            end=date(2014, 1, 1),
            costs={"slippage_bps": -1},
        )
    assert set(caught.value.fields) == {
        "parameters.period",
        "symbols",
        "end",
        "costs.slippage_bps",
    }


def test_an_unknown_symbol_is_answered_with_one_like_it(alice, market):
    with pytest.raises(InvalidInput) as caught:
        make_run(alice, symbols=("APPL",))
    assert "did you mean AAPL?" in caught.value.fields["symbols"]


def test_a_period_without_bars_says_which_bars_are_held(alice, market):
    with pytest.raises(NotEnoughData) as caught:
        make_run(alice, start=date(2001, 1, 1), end=date(2002, 1, 1))
    assert "2013-02-08 to 2018-02-07" in str(caught.value)
    assert caught.value.available == 0


def test_too_few_bars_for_the_warm_up_says_how_many_are_missing(alice, market):
    with pytest.raises(NotEnoughData) as caught:
        make_run(alice, start=date(2013, 2, 8), end=date(2013, 8, 8))
    assert caught.value.needed == 282
    assert 120 <= caught.value.available <= 130
    assert "end" in caught.value.fields


def test_warm_up_bars_before_the_period_are_used(alice, market):
    """A run that starts later sees the same signals as one that started earlier."""
    short = Results(finished_run(alice, symbols=("KO",), start=date(2016, 1, 4)))
    long = Results(finished_run(alice, symbols=("KO",), start=date(2015, 1, 2)))
    entries = set(short.trips["entry_time"])
    assert entries
    assert entries <= set(long.trips["entry_time"])


def test_a_strategy_that_never_trades_is_a_result_with_a_finding(alice, market):
    run = finished_run(alice, parameters={"oversold": 1, "overbought": 99})
    assert (run.status, run.n_trades) == ("succeeded", 0)
    assert (run.win_rate, run.profit_factor, run.sharpe_ratio) == (None, None, None)
    assert run.total_return == 0
    assert "no_trips" in [finding["code"] for finding in run.findings]


def test_constant_prices_give_a_flat_account_and_undefined_ratios(alice):
    make_prices("FLAT", [(10.0, 10.0, 10.0, 10.0)] * 320)
    run = finished_run(
        alice, symbols=("FLAT",), start=date(2016, 1, 4), end=date(2017, 3, 1), costs={}
    )
    assert run.status == "succeeded"
    assert run.sharpe_ratio is None


def test_a_run_whose_bars_vanish_before_it_runs_keeps_the_reason(alice, market):
    from alphastrat.marketdata.models import Bar, BarSeries

    run = make_run(alice)
    Bar.objects.all().delete()
    BarSeries.objects.all().delete()
    jobs.run_job(str(run.job_id))
    run.refresh_from_db()
    assert (run.status, run.failure_code) == ("failed", "invalid_input")
    assert "no 1d bars" in run.failure_reason
    assert run.job.__class__.objects.get(pk=run.job_id).status == "failed"


def test_a_failed_run_can_be_run_again_and_a_good_one_not(alice, market):
    run = make_run(alice)
    backtesting.fail_backtest(run, reason="The disk was full.", code="unexpected", at=now())
    Job.objects.filter(pk=run.job_id).update(status="failed", finished_at=now())
    run = backtesting.retry_backtest(BacktestRun.objects.get(pk=run.pk), at=now())
    assert (run.status, run.failure_reason) == ("queued", "")
    jobs.run_job(str(run.job_id))
    run.refresh_from_db()
    assert run.status == "succeeded"
    with pytest.raises(ConflictError):
        backtesting.retry_backtest(run, at=now())


def test_a_job_that_breaks_down_gives_its_run_the_reason(alice, market):
    run = make_run(alice)
    Job.objects.filter(pk=run.job_id).update(
        status="failed", finished_at=now(), error="The worker was lost.", error_code="worker_lost"
    )
    receivers.close_run(job_id=str(run.job_id), task=backtesting.TASK, status="failed")
    run.refresh_from_db()
    assert (run.status, run.failure_reason) == ("failed", "The worker was lost.")


def test_the_second_engine_agrees_bar_for_bar_and_luck_is_measured(alice, market):
    run = finished_run(alice)
    jobs.run_job(str(Job.objects.get(key=f"examine:{run.pk}").pk))
    run.refresh_from_db()
    assert run.agreement["agrees"] is True
    assert run.agreement["n_matched"] == run.agreement["n_fills"] > 20
    assert run.agreement["max_equity_difference"] < 1e-9
    assert run.luck["trips"]["n_runs"] == run.luck["bars"]["n_runs"]
    assert run.luck["costs"]["total_returns"][0] == pytest.approx(float(run.total_return), abs=1e-6)


def test_what_the_second_engine_cannot_express_is_said(alice, market):
    run = finished_run(alice, costs={"commission_per_share": 0.01})
    examination.examine_run(str(run.pk), report=lambda *_: None)
    run.refresh_from_db()
    assert run.agreement["not_expressible"] == ["commission per share"]


def test_a_run_by_the_second_engine_equals_the_simulators(alice, market):
    by_simulator, by_vectorbt = finished_run(alice), finished_run(alice, engine="vectorbt")
    assert by_vectorbt.status == "succeeded"
    assert Results(by_vectorbt).curves.equity == pytest.approx(
        Results(by_simulator).curves.equity, rel=1e-9
    )


def test_restated_bars_are_not_compared_with(alice, market):
    from alphastrat.marketdata.models import Bar, BarSeries

    run = finished_run(alice)
    bar = Bar.objects.filter(series__instrument__symbol="AAPL").order_by("opened_at")[600]
    Bar.objects.filter(pk=bar.pk).update(high=bar.high + 1)
    BarSeries.objects.update(revision=2)
    found = examination.examine_run(str(run.pk), report=lambda *_: None)
    assert found["agrees"] is None
    assert "restated" in found["explanation"]


def test_only_bars_closed_inside_the_period_take_part(alice, market):
    results = Results(finished_run(alice, start=date(2015, 3, 2), end=date(2015, 9, 1)))
    assert results.times[0].date() == date(2015, 3, 2)
    assert results.times[-1].date() == date(2015, 9, 1)


def test_the_demo_account_gets_one_strategy_and_one_backtest(alice):
    from strategies.services import demo

    make_market("AAPL", "MSFT", "JPM")
    assert demo.seed(alice, at=now()) is not None
    assert demo.seed(alice, at=now()) is None
    assert BacktestRun.objects.count() == 1
    jobs.run_job(str(BacktestRun.objects.get().job_id))
    run = BacktestRun.objects.get()
    assert (run.status, run.strategy_version.number) == ("succeeded", 1)
    assert "short_warmup" not in [finding["code"] for finding in run.findings]


def test_asked_period_and_capital_come_back_from_a_run(alice, market):
    from strategies.services.specification import of_run

    run = finished_run(alice)
    again, wanted = of_run(run), asked()
    assert (again.start, again.end) == (wanted.start, wanted.end)
    assert again.symbols == wanted.symbols
