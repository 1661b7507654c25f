"""A bar close sees what is stored now: strategies, last signals and bars, whoever changed them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from alphastrat.core import events
from alphastrat.core.models import LiveEvent
from alphastrat.core.prepared import PreparedStatement
from alphastrat.marketdata import live_bars
from alphastrat.marketdata.models import BarSeries
from alphastrat.marketdata.services.ingestion import Target
from alphastrat.quant.types import Timeframe
from strategies.models import Strategy, StrategySignal, StrategyVersion
from strategies.quant import registry
from strategies.quant.signals import panel_signals
from strategies.services import lifecycle, market, strategy_engine
from tests.factories import make_user
from tests.marketdata.builders import deliver
from tests.strategies.builders import SYMBOLS, make_market, make_strategy, sample_bars

# Only what is committed is kept from one close to the next.
pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
UNTIL = date(2017, 12, 29)
TARGET = Target(Timeframe.DAY_1, "test")
VALUES = ("open", "high", "low", "close", "volume")


@pytest.fixture(autouse=True)
def stored():
    live_bars._kept.clear()
    make_market(until=UNTIL)


@pytest.fixture
def alice():
    return make_user("alice")


@pytest.fixture
def strategy(alice) -> Strategy:
    return on_paper(make_strategy(alice))


def on_paper(strategy: Strategy) -> Strategy:
    Strategy.objects.filter(pk=strategy.pk).update(state="paper")
    strategy.refresh_from_db()
    return strategy


def sessions(*symbols: str) -> list[pd.DataFrame]:
    """Return the deliveries that follow the stored bars, a session each."""
    rows = sample_bars()
    rows = rows[rows["symbol"].isin(symbols or SYMBOLS)]
    rows = rows.assign(time=pd.to_datetime(rows["date"]))
    later = rows[(rows["time"].dt.date > UNTIL) & (rows["time"].dt.date <= date(2018, 2, 7))]
    return [
        session[["symbol", "time", *VALUES]].assign(row_number=range(1, len(session) + 1))
        for _, session in later.groupby("time")
    ]


def close(session: pd.DataFrame) -> None:
    """Store a session; the signals are given when it is committed."""
    deliver(session, target=TARGET, at=now())


def newest(symbol: str = "KO") -> StrategySignal:
    signals = StrategySignal.objects.filter(instrument__symbol=symbol)
    return signals.select_related("version").latest("closed_at")


def test_every_plugin_gives_its_backtests_signals_bar_by_bar(alice):
    """On windows that are extended, against one pass over the whole history."""
    keys = registry.plugin_keys()
    for key in keys:
        is_panel = registry.is_panel_plugin(registry.plugin(key))
        symbols = ["AAPL", "JPM"] if is_panel else ["KO"]
        on_paper(make_strategy(alice, name=key, plugin=key, symbols=symbols))
    closes = sessions()
    for session in closes:
        close(session)
    for strategy in Strategy.objects.with_version():
        symbols = strategy.current_version.symbols
        whole = market.load_panel(symbols, "1d")
        plugin = registry.build(strategy.plugin, strategy.current_version.parameters)
        answer = panel_signals(plugin, whole)
        for symbol in symbols:
            column = answer.column(symbol)
            side, expected = 0, []
            for t in range(whole.n_bars - len(closes), whole.n_bars):
                at = column.at(t, position=side)
                side = at.target
                expected.append((whole.index[t].to_pydatetime(), at.type.value, side))
            given = strategy.signals.filter(instrument__symbol=symbol).order_by("closed_at")
            rows = given.values_list("closed_at", "signal_type", "target")
            assert list(rows) == expected, (strategy.plugin, symbol)


@pytest.mark.parametrize("n_strategies", [2, 20])
def test_a_bar_close_costs_two_statements_however_many_strategies_look_at_it(
    alice, monkeypatch, django_assert_num_queries, n_strategies
):
    for number in range(n_strategies):
        # Never oversold nor overbought, so there is nothing to tell.
        quiet = {"oversold": 1.0, "overbought": 99.0}
        on_paper(make_strategy(alice, name=f"RSI {number}", parameters=quiet))
    ids = [str(pk) for pk in BarSeries.objects.values_list("pk", flat=True)]
    strategy_engine.generate_at_close(ids, at=now())
    StrategySignal.objects.all().delete()
    run: list[str] = []
    call = PreparedStatement.__call__

    def counted(statement, document):
        run.append(statement.name)
        return call(statement, document)

    monkeypatch.setattr(PreparedStatement, "__call__", counted)
    # whoever looks for orders asks for accounts
    with django_assert_num_queries(1):
        strategy_engine.generate_at_close(ids, at=now())
    assert run == ["strategies_at_close", "store_signals"]
    assert StrategySignal.objects.count() == 3 * n_strategies


def test_a_new_version_counts_from_the_next_bar(strategy, alice, settings):
    settings.FEED_LIVE_DAYS = 0  # the account that changing opens has no past to trade through
    first, second = sessions()[:2]
    close(first)
    draft = lifecycle.StrategyDraft(
        name="RSI", plugin="rsi_mean_reversion", symbols=["KO"], parameters={"period": 5}
    )
    version = lifecycle.change_strategy(
        strategy, draft, by=alice, reason="Faster", expected_version=1
    )
    close(second)
    assert newest("KO").version == version
    assert newest("KO").closed_at > newest("AAPL").closed_at
    assert newest("AAPL").version.number == 1


def test_a_strategy_that_is_suspended_gives_no_signals_and_catches_up_later(strategy):
    first, second, third = sessions()[:3]
    close(first)
    Strategy.objects.update(state="suspended")
    close(second)
    assert StrategySignal.objects.count() == 3
    Strategy.objects.update(state="paper")
    close(third)
    assert StrategySignal.objects.count() == 9


def test_restated_bars_are_seen_by_the_next_signal(strategy):
    first, second = sessions("KO")[:2]
    close(first)
    before = newest()
    prices = {name: first[name] * 0.5 for name in VALUES[:4]}
    deliver(first.assign(**prices), target=TARGET, at=now())
    close(second)
    plugin = registry.build("rsi_mean_reversion", {})
    answer = panel_signals(plugin, market.load_panel(["KO"], "1d")).column("KO")
    assert newest().closed_at > before.closed_at
    assert newest().metadata["indicators"]["rsi"] == pytest.approx(answer.indicators["rsi"][-1])


def test_bars_that_another_process_stored_are_caught_up_with(strategy, monkeypatch):
    first, second, third = sessions()[:3]
    close(first)
    monkeypatch.setattr(events.bars_stored, "send_robust", lambda **_: [])
    close(second)
    monkeypatch.undo()
    close(third)
    days = StrategySignal.objects.filter(instrument__symbol="KO").values_list("closed_at__date")
    assert len(days) == 3


def test_bars_whose_process_died_before_a_strategys_first_signals_are_caught_up_with(
    alice, monkeypatch
):
    beginner = on_paper(make_strategy(alice, name="Beginner"))
    Strategy.objects.filter(pk=beginner.pk).update(state_changed_at=now())
    first, second, third = sessions()[:3]
    monkeypatch.setattr(events.bars_stored, "send_robust", lambda **_: [])
    close(first)
    close(second)
    monkeypatch.undo()
    close(third)
    given = beginner.signals.filter(instrument__symbol="KO").order_by("closed_at")
    days = [str(at) for at in given.values_list("closed_at__date", flat=True)]
    assert days == [str(one["time"].iloc[0].date()) for one in (first, second, third)]


def test_a_history_that_comes_after_a_strategy_was_started_gives_one_signal(alice):
    BarSeries.objects.all().delete()
    beginner = on_paper(make_strategy(alice, name="Beginner", symbols=["KO"]))
    Strategy.objects.filter(pk=beginner.pk).update(state_changed_at=now())
    history = sample_bars()
    history = history[history["symbol"] == "KO"].assign(time=pd.to_datetime(history["date"]))
    close(history[["symbol", "time", *VALUES]].assign(row_number=range(1, len(history) + 1)))
    assert beginner.signals.count() == 1


def test_signals_that_another_process_gave_are_gone_on_from(strategy):
    first, second = sessions("KO")[:2]
    close(first)
    StrategySignal.objects.filter(instrument__symbol="KO").update(target=1)
    close(second)
    assert newest().metadata["from"] == 1


def test_a_plugin_that_fails_or_is_gone_keeps_nobody_else_from_their_signals(
    strategy, alice, monkeypatch
):
    gone = on_paper(make_strategy(alice, name="Gone", symbols=["KO"]))
    StrategyVersion.objects.filter(strategy=gone).update(plugin="astrology")
    failing = on_paper(make_strategy(alice, name="Failing", plugin="macd_momentum", symbols=["KO"]))
    cls = registry.plugin("macd_momentum")
    monkeypatch.setattr(cls, "signals", lambda *_: 1 / 0)
    close(sessions()[0])
    assert strategy.signals.count() == 3
    assert not gone.signals.exists()
    assert not failing.signals.exists()


def test_two_processes_at_once_give_and_tell_every_signal_once(strategy):
    strategy.signals.all().delete()
    version = StrategyVersion.objects.filter(strategy=strategy)
    version.update(parameters={"oversold": 59.0, "exit_level": 59.5, "overbought": 60.0})
    with transaction.atomic(), connection.cursor() as cursor:
        # Both read and compute; neither can store before the other is there.
        cursor.execute("LOCK TABLE strategy_signals IN EXCLUSIVE MODE")
        both = [generating(), generating()]
        wait_for_blocked(2)
    said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert sum(one["signals"] for one in said) == StrategySignal.objects.count() == 3
    told = LiveEvent.objects.filter(topic=f"strategy:{strategy.pk}", kind="signal")
    assert told.count() == StrategySignal.objects.exclude(signal_type="HOLD").count() > 0


def generating() -> subprocess.Popen[bytes]:
    to = connection.settings_dict
    address = f"{to['HOST']}:{to['PORT']}" if to["PORT"] else to["HOST"]
    password = f":{quote(to['PASSWORD'])}" if to["PASSWORD"] else ""
    url = f"postgres://{quote(to['USER'])}{password}@{address}/{to['NAME']}"
    return subprocess.Popen(
        [sys.executable, "manage.py", "generate_signals", "--json"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def wait_for_blocked(n_processes: int) -> None:
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted"
        " AND relation = 'strategy_signals'::regclass"
    )
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute(waiting)
            if cursor.fetchone()[0] == n_processes:
                return
        time.sleep(0.1)
    pytest.fail("the processes did not come to store their signals")


def test_what_may_be_lost_makes_no_other_transaction_lose_anything(strategy):
    said = commit_setting()
    close(sessions()[0])
    assert StrategySignal.objects.exists()
    assert commit_setting() == said
    with transaction.atomic():
        strategy_engine.generate_signals(Strategy.objects.all(), at=now())
        assert commit_setting() == said


def commit_setting() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        return cursor.fetchone()[0]
