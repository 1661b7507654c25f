"""Where the returns of strategies come from, and that sources are never mixed silently."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from portfolio.models import EquityPoint
from portfolio.services import strategy_returns
from strategies.models import StrategyVersion
from tests.portfolio.allocation_builders import closes, make_backtest, make_live
from tests.strategies.builders import make_strategy

AT = datetime(2026, 7, 1, tzinfo=UTC)


def strategy_of(owner, name):
    from alphastrat.marketdata.models import Instrument

    Instrument.objects.get_or_create(symbol="AAA")
    return make_strategy(owner, name=name, symbols=["AAA"])


def test_a_strategy_speaks_from_its_backtest_until_it_has_thirty_days_of_live_trading(alice):
    young, grown = strategy_of(alice, "Young"), strategy_of(alice, "Grown")
    for strategy, n_live in ((young, 29), (grown, 30)):
        make_backtest(strategy, np.full(60, 0.001))
        make_live(strategy, np.full(n_live, -0.002))
    loaded = strategy_returns.load([young.pk, grown.pk], at=AT)
    assert loaded.sources == ("backtest", "live")
    assert loaded.is_mixed
    assert loaded.n_days == [60, 30]
    np.testing.assert_allclose(loaded.matrix[:, 0], 0.001, atol=1e-12)
    np.testing.assert_allclose(loaded.matrix[-30:, 1], -0.002, atol=1e-12)
    assert np.isnan(loaded.matrix[:-30, 1]).all()
    assert loaded.run_ids[0] is not None
    assert loaded.run_ids[1] is None


def test_columns_keep_the_order_asked_for_and_a_strategy_without_returns_has_none(alice):
    empty, full = strategy_of(alice, "Empty"), strategy_of(alice, "Full")
    make_backtest(full, np.full(40, 0.001))
    loaded = strategy_returns.load([empty.pk, full.pk], at=AT)
    assert loaded.strategy_ids == (empty.pk, full.pk)
    assert loaded.sources == ("none", "backtest")
    assert loaded.n_days == [0, 40]
    assert not loaded.is_mixed
    assert strategy_returns.load([empty.pk], at=AT).matrix.shape == (0, 1)


def test_returns_of_one_day_compound_and_a_close_at_midnight_belongs_to_the_day_that_ends(alice):
    strategy = strategy_of(alice, "Hourly")
    account = make_live(strategy, np.zeros(0))
    midnight = datetime(2026, 6, 30, tzinfo=UTC)
    for hours, value in ((-2, 0.10), (-1, 0.10), (0, -0.50), (1, 0.25)):
        EquityPoint.objects.create(
            account=account,
            marked_at=midnight + timedelta(hours=hours),
            cash=1,
            position_value=0,
            equity=1,
            bar_return=value,
        )
    loaded = strategy_returns.load([strategy.pk], at=AT)
    assert loaded.dates == (date(2026, 6, 29), date(2026, 6, 30))
    np.testing.assert_allclose(loaded.matrix[:, 0], [1.1 * 1.1 * 0.5 - 1, 0.25])
    assert loaded.sources == ("live",)


def test_nothing_later_than_the_time_asked_for_is_read(alice):
    strategy = strategy_of(alice, "RSI")
    make_live(strategy, np.full(80, 0.001))
    make_backtest(strategy, np.full(50, 0.002))
    before = closes(80)[39]
    loaded = strategy_returns.load([strategy.pk], at=before)
    assert loaded.sources == ("live",)
    assert loaded.n_days == [40]
    assert strategy_returns.load([strategy.pk], at=closes(80)[9]).n_days == [10]


def test_the_run_of_the_current_version_is_taken_before_a_newer_run_of_an_older_one(alice):
    strategy = strategy_of(alice, "RSI")
    first = strategy.current_version
    second = StrategyVersion.objects.create(
        strategy=strategy,
        number=2,
        plugin=strategy.plugin,
        symbols=["AAA"],
        timeframe="1d",
        created_by=alice,
    )
    strategy.current_version = second
    strategy.save()
    wanted = make_backtest(strategy, np.full(40, 0.001), finished_at=AT - timedelta(days=9))
    make_backtest(strategy, np.full(40, 0.003), strategy_version=first)
    assert strategy_returns.load([strategy.pk], at=AT).run_ids == (wanted.pk,)


def test_the_backtest_can_be_asked_for_where_live_trading_is_long_enough(alice):
    strategy = strategy_of(alice, "RSI")
    make_live(strategy, np.full(80, 0.001))
    make_backtest(strategy, np.full(50, 0.002))
    loaded = strategy_returns.load([strategy.pk], at=AT, prefer="backtest")
    assert loaded.sources == ("backtest",)


def test_the_fingerprint_changes_with_a_return_and_not_with_the_reading(alice):
    strategy = strategy_of(alice, "RSI")
    account = make_live(strategy, np.full(40, 0.001))
    first = strategy_returns.load([strategy.pk], at=AT).fingerprint
    assert strategy_returns.load([strategy.pk], at=AT).fingerprint == first
    EquityPoint.objects.filter(account=account, bar_return__isnull=False).update(bar_return=0.002)
    assert strategy_returns.load([strategy.pk], at=AT).fingerprint != first


@pytest.mark.parametrize("n", [2, 20])
def test_loading_takes_two_queries_however_many_strategies(alice, django_assert_num_queries, n):
    keys = []
    for i in range(n):
        strategy = strategy_of(alice, f"Strategy {i}")
        make_backtest(strategy, np.full(40, 0.001))
        keys.append(strategy.pk)
    # Daily live returns by account; newest runs with their curves.
    with django_assert_num_queries(2):
        strategy_returns.load(keys, at=AT)
