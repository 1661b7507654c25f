"""Signals are given once per bar close, equal the backtest's, and repaints are recorded."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from alphastrat.core import events, jobs
from alphastrat.core.models import Job, LiveEvent
from alphastrat.marketdata.models import Bar, BarSeries, FeedPosition, Instrument
from strategies.models import SignalRepaint, Strategy, StrategyCheck, StrategySignal
from strategies.quant import registry
from strategies.quant.signals import fold_positions, panel_signals
from strategies.services import market, strategy_engine
from strategies.services.strategy_checks import request_checks
from tests.factories import bearer, make_token, signed_in
from tests.strategies.builders import (
    at_midnight,
    make_market,
    make_strategy,
    sample_bars,
    store_bars,
)

pytestmark = pytest.mark.django_db
API = "/api/v1/strategies"


@pytest.fixture(autouse=True)
def stored(db):
    make_market()


@pytest.fixture
def strategy(alice) -> Strategy:
    made = make_strategy(alice)
    Strategy.objects.update(state="paper")
    made.refresh_from_db()
    return made


def give(on: date):
    known_at = at_midnight(on + timedelta(days=1))
    return strategy_engine.generate_signals(
        Strategy.objects.active(), at=known_at, known_at=known_at
    )


def test_the_newest_bar_gives_one_signal_per_instrument(strategy):
    assert give(date(2016, 6, 30)).n_signals == 3
    signals = StrategySignal.objects.all()
    assert {signal.closed_at.date() for signal in signals} == {date(2016, 6, 30)}
    assert {signal.instrument.symbol for signal in signals} == {"AAPL", "JPM", "KO"}
    assert all("rsi" in signal.metadata["indicators"] for signal in signals)
    assert all(signal.version == strategy.current_version for signal in signals)


def test_a_bar_that_is_announced_twice_gives_its_signals_once(strategy):
    give(date(2016, 6, 30))
    assert give(date(2016, 6, 30)).n_signals == 0
    assert StrategySignal.objects.count() == 3


def test_bars_that_were_missed_are_caught_up_with(strategy):
    give(date(2016, 6, 30))
    assert give(date(2016, 7, 8)).n_signals == 3 * 5


@pytest.mark.parametrize("key", registry.plugin_keys())
def test_the_live_window_gives_exactly_the_backtests_signals(alice, key):
    """Bar by bar over the last three weeks, against one pass over the whole history."""
    symbols = ["AAPL", "JPM"] if registry.is_panel_plugin(registry.plugin(key)) else ["KO"]
    strategy = make_strategy(alice, name=key, plugin=key, symbols=symbols)
    Strategy.objects.update(state="paper")
    whole = market.load_panel(symbols, "1d")
    plugin = registry.build(key, strategy.current_version.parameters)
    answer = panel_signals(plugin, whole)
    for t in range(whole.n_bars - 15, whole.n_bars):
        give(whole.index[t].date())
    for symbol in symbols:
        j = whole.symbols.index(symbol)
        rows = range(whole.n_bars - 15, whole.n_bars)
        given = StrategySignal.objects.filter(instrument__symbol=symbol).order_by("closed_at")
        assert [signal.closed_at for signal in given] == [
            whole.index[t].to_pydatetime() for t in rows
        ]
        column = answer.column(symbol)
        side, expected = 0, []
        for t in rows:
            signal = column.at(t, position=side)
            side = signal.target
            expected.append((signal.type.value, signal.target))
        assert [(signal.signal_type, signal.target) for signal in given] == expected
        strengths = [signal.strength for signal in given]
        assert strengths == pytest.approx(answer.strength[rows.start :, j].tolist(), abs=1e-6)


def test_the_sides_follow_the_shared_folding_of_wishes(strategy):
    whole = market.load_panel(["KO"], "1d")
    first = whole.n_bars - 40
    for t in range(first, whole.n_bars):
        give(whole.index[t].date())
    answer = panel_signals(registry.build("rsi_mean_reversion", {}), whole).column("KO")
    folded = fold_positions(
        type(answer)(answer.index[first:], answer.wishes[first:], answer.strength[first:])
    )
    given = StrategySignal.objects.filter(instrument__symbol="KO").order_by("closed_at")
    assert [signal.target for signal in given] == folded.tolist()
    assert len(np.unique(folded)) > 1


def test_stored_bars_give_signals_without_a_queue(strategy, django_capture_on_commit_callbacks):
    series = BarSeries.objects.filter(instrument__symbol="KO")
    with django_capture_on_commit_callbacks(execute=True):
        events.send_on_commit(
            events.bars_stored,
            series_ids=[str(one.pk) for one in series],
            start=now(),
            end=now(),
        )
    assert StrategySignal.objects.count() == 3
    assert not Job.objects.exists()


def test_only_strategies_in_operation_give_signals(strategy):
    Strategy.objects.update(state="research")
    assert give(date(2016, 6, 30)).n_strategies == 0


def test_a_restated_bar_is_recorded_as_a_repaint_and_the_signal_stays(
    strategy, alice, django_capture_on_commit_callbacks
):
    give(date(2016, 6, 30))
    series = BarSeries.objects.get(instrument__symbol="KO")
    bar = Bar.objects.filter(series=series, closed_at__date=date(2016, 6, 30)).get()
    signal = StrategySignal.objects.get(instrument__symbol="KO")
    Bar.objects.filter(pk=bar.pk).update(low=bar.low * 0.7, close=bar.close * 0.75)
    BarSeries.objects.filter(pk=series.pk).update(revision=2)
    with django_capture_on_commit_callbacks(execute=True):
        events.send_on_commit(
            events.bars_restated,
            series_ids=[str(series.pk)],
            start=bar.opened_at,
            end=bar.closed_at,
        )
    job = Job.objects.get(task__endswith="recheck_signals")
    jobs.run_job(str(job.pk))
    jobs.run_job(str(job.pk))
    repaint = SignalRepaint.objects.get()
    assert repaint.signal == signal
    assert repaint.price == pytest.approx(bar.close * 0.75)
    assert (signal.signal_type, repaint.signal_type) == ("HOLD", "BUY")
    signal.refresh_from_db()
    assert signal.price == pytest.approx(bar.close)
    page = signed_in(alice).get("/signals/?kind=all&repainted=yes").content.decode()
    assert "KO" in page


def test_looking_again_at_unchanged_bars_finds_nothing(strategy):
    give(date(2016, 6, 30))
    give(date(2016, 7, 29))
    found = strategy_engine.recheck_signals(
        Strategy.objects.all(), since=at_midnight(date(2016, 1, 1)), at=now(), reason="Daily"
    )
    assert found.n_repaints == 0


def test_buy_and_sell_signals_are_told_live_and_holds_are_not(strategy):
    give(date(2015, 8, 21))
    told = LiveEvent.objects.filter(topic=f"strategy:{strategy.pk}", kind="signal")
    given = StrategySignal.objects.exclude(signal_type="HOLD")
    assert given.exists()
    assert told.count() == given.count()


def test_the_pages_show_filter_and_export_signals(strategy, alice, charlie):
    give(date(2015, 8, 21))
    browser = signed_in(alice)
    page = browser.get(f"/strategies/{strategy.pk}/signals/").content.decode()
    assert "Buy" in page
    assert browser.get("/signals/?kind=SELL&symbol=ko").status_code == 200
    rows = json.loads(b"".join(browser.get("/signals/?kind=all&format=json")))
    assert len(rows) == 3
    drawn = browser.get(f"/strategies/{strategy.pk}/signals/AAPL/chart/").json()
    assert drawn["data"][0]["type"] == "candlestick"
    assert browser.get(f"/strategies/{strategy.pk}/signals/GE/chart/").status_code == 404
    stranger = signed_in(charlie)
    assert stranger.get(f"/strategies/{strategy.pk}/signals/").status_code == 404
    assert json.loads(b"".join(stranger.get("/signals/?kind=all&format=json"))) == []


def test_the_page_of_a_strategy_that_waits_for_its_first_bars_has_no_chart(alice):
    hourly = make_strategy(alice, name="Hourly", timeframe="1h")
    answer = signed_in(alice).get(f"/strategies/{hourly.pk}/signals/")
    assert answer.status_code == 200
    assert "data-chart data-src" not in answer.content.decode()


def test_an_instruments_chart_shows_the_signals_of_a_chosen_strategy(strategy, alice, charlie):
    give(date(2016, 6, 1))
    give(date(2017, 6, 30))
    page, chart = "/instruments/AAPL/", "/instruments/AAPL/chart.json"
    query = f"?range=All&signals={strategy.pk}"
    assert f"Signals of {strategy.name}" in signed_in(alice).get(page + query).content.decode()
    given = StrategySignal.objects.filter(instrument__symbol="AAPL").exclude(signal_type="HOLD")
    names = {"BUY": "Buy", "SELL": "Sell"}
    for person, expected in ((alice, given), (charlie, given.none())):
        drawn = signed_in(person).get(f"{chart}{query}").json()["data"]
        marked = {
            trace["name"]: len(trace["x"]) for trace in drawn if trace["name"] in ("Buy", "Sell")
        }
        kinds = list(expected.values_list("signal_type", flat=True))
        assert marked == {names[kind]: kinds.count(kind) for kind in set(kinds)}
    assert given.exists()
    assert "Signals of" not in signed_in(charlie).get(page + query).content.decode()
    assert signed_in(alice).get(f"{chart}?signals=nonsense").status_code == 200


@pytest.mark.parametrize("n_days", [1, 10])
def test_the_page_costs_the_same_however_many_signals_it_shows(
    strategy, alice, n_days, django_assert_num_queries
):
    for day in range(n_days):
        give(date(2016, 6, 1) + timedelta(days=day))
    browser = signed_in(alice)
    # session, user, live head, running jobs, count, page
    with django_assert_num_queries(6):
        browser.get("/signals/?kind=all")


def test_the_api_gives_and_lists_signals(client, strategy, alice, charlie):
    headers = bearer(make_token(alice)[1])
    url = f"{API}/{strategy.pk}/signals"
    assert client.post(url, headers=headers).json() == {"n_signals": 3}
    assert client.post(url, headers=headers).json() == {"n_signals": 0}
    listed = client.get(f"{url}?symbol=KO", headers=headers).json()["items"]
    assert [one["symbol"] for one in listed] == ["KO"]
    stranger = bearer(make_token(charlie)[1])
    assert client.get(url, headers=stranger).status_code == 404
    assert client.post(url, headers=stranger).status_code == 404
    assert client.get(f"{API}/{strategy.pk}/performance", headers=headers).json()["count"] == 0


def test_checks_are_asked_for_run_and_shown(client, strategy, alice):
    job = request_checks(strategy)
    jobs.run_job(str(job.pk))
    assert {(check.name, check.passed) for check in StrategyCheck.objects.all()} == {
        ("lookahead", True),
        ("warmup", True),
        ("determinism", True),
    }
    page = signed_in(alice).get(strategy.get_absolute_url()).content.decode()
    assert "Lookahead" in page
    headers = bearer(make_token(alice)[1])
    assert len(client.get(f"{API}/{strategy.pk}/checks", headers=headers).json()) == 3
    assert client.post(f"{API}/{strategy.pk}/checks", headers=headers).status_code == 202


def test_the_commands_give_signals_and_check(strategy, capsys):
    call_command("generate_signals", "--json")
    assert json.loads(capsys.readouterr().out) == {"strategies": 1, "signals": 3}
    call_command("check_lookahead", "--strategy", strategy.name, "--json")
    assert json.loads(capsys.readouterr().out)["passed"] is True
    call_command("check_warmup", "--plugin", "macd_momentum", "--symbols", "KO")
    with pytest.raises(CommandError, match="no plug-in"):
        call_command("check_warmup", "--plugin", "astrology", "--symbols", "KO")


def a_signal(strategy: Strategy, symbol: str, on: date, **changes: Any) -> StrategySignal:
    terms = {"signal_type": "BUY", "target": 1, "strength": 0.5, "price": 100.0, **changes}
    return StrategySignal.objects.create(
        strategy=strategy,
        version=strategy.current_version,
        instrument=strategy.universe.get(symbol=symbol),
        closed_at=at_midnight(on),
        generated_at=at_midnight(on),
        **terms,
    )


def test_the_outcome_is_the_move_until_the_next_buy_or_sell_seen_from_the_side_taken(strategy):
    long = a_signal(strategy, "KO", date(2016, 1, 4))
    a_signal(strategy, "KO", date(2016, 1, 5), signal_type="HOLD", price=500.0)
    a_signal(strategy, "AAPL", date(2016, 1, 6), price=900.0)
    short = a_signal(strategy, "KO", date(2016, 1, 7), signal_type="SELL", target=-1, price=110.0)
    flat = a_signal(strategy, "KO", date(2016, 1, 8), target=0, price=99.0)
    last = a_signal(strategy, "KO", date(2016, 1, 11), price=99.0)
    found = {one.pk: one.outcome for one in StrategySignal.objects.with_sequel()}
    assert found[long.pk] == pytest.approx(0.10)
    assert found[short.pk] == pytest.approx(0.10)
    assert (found[flat.pk], found[last.pk]) == (None, None)


def test_the_page_says_what_a_repainted_signal_would_be_now_and_why(strategy, alice):
    signal = a_signal(strategy, "KO", date(2016, 1, 4))
    assert StrategySignal.objects.with_sequel().get().repaint == ""
    SignalRepaint.objects.create(
        signal=signal,
        found_at=now(),
        reason="bars were restated",
        signal_type="HOLD",
        target=0,
        strength=0.1,
        price=99.0,
    )
    page = signed_in(alice).get(f"/strategies/{strategy.pk}/signals/").content.decode()
    assert "Hold now: bars were restated" in page
    exported = signed_in(alice).get(f"/strategies/{strategy.pk}/signals/?format=csv")
    assert "Hold now: bars were restated" in b"".join(exported.streaming_content).decode()


def test_the_chart_shows_the_instrument_of_the_newest_signal_or_the_one_asked_for(strategy, alice):
    browser, url = signed_in(alice), f"/strategies/{strategy.pk}/signals/"
    assert "/signals/AAPL/chart/" in browser.get(url).content.decode()
    a_signal(strategy, "KO", date(2016, 1, 4))
    page = browser.get(url).content.decode()
    assert "/signals/KO/chart/" in page
    assert "/signals/JPM/chart/" in browser.get(f"{url}?symbol=JPM").content.decode()
    assert 'id="id_q"' not in page


def test_of_a_replayed_market_the_chart_shows_nothing_that_is_still_to_come(
    strategy, alice, settings
):
    browser, url = signed_in(alice), f"/strategies/{strategy.pk}/signals/KO/chart/"
    shown = sample_bars()
    shown = shown[(shown["symbol"] == "KO") & (shown["date"].astype(str) <= "2015-06-30")]
    store_bars(Instrument.objects.get(symbol="KO"), shown, source="replay")
    settings.FEED_PROVIDER = "replay"
    FeedPosition.objects.create(
        name="replay:1d", starts_at=now(), position_at=now(), stepped_at=now()
    )
    bars = browser.get(url).json()["data"][0]["x"]
    assert str(max(bars)).startswith("2015-06-30")
    FeedPosition.objects.all().delete()
    assert str(max(browser.get(url).json()["data"][0]["x"])).startswith("2018-02-07")


def test_a_signal_shows_its_strength_as_a_number_and_a_bar(strategy, alice):
    a_signal(strategy, "KO", date(2016, 1, 4))
    StrategySignal.objects.update(strength=0.4)
    page = signed_in(alice).get("/signals/").content.decode()
    assert '<rect width="0.400" height="1"/></svg>0.40<' in page


def test_an_open_page_hears_of_new_signals_and_of_repaints(strategy, alice):
    page = signed_in(alice).get("/signals/").content.decode()
    assert f'data-new="signal" data-topic="signals:u{alice.pk}"' in page
    assert "live:invalidate" in page
