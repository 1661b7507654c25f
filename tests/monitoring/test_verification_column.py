"""The list of strategies shows the verdict on each, and what it earns live."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from alphastrat.marketdata.models import Instrument
from monitoring.models import Verification
from portfolio.models import Account, EquityPoint
from portfolio.services.recent_results import recent_results
from strategies.models import StrategySignal
from tests.factories import signed_in
from tests.monitoring.alert_builders import plain_strategy
from tests.portfolio.risk_builders import make_portfolio, mark
from tests.strategies.builders import make_strategy

pytestmark = pytest.mark.django_db
AT = datetime(2016, 6, 30, 20, tzinfo=UTC)


def test_the_list_of_strategies_shows_verdict_live_return_and_last_signal(alice):
    for symbol in ("AAPL", "JPM", "KO"):
        Instrument.objects.create(symbol=symbol)
    judged, other = make_strategy(alice, name="Judged"), make_strategy(alice, name="Other")
    Verification.objects.create(
        strategy=judged,
        status="degraded",
        metrics={"total_return": -0.0321, "drawdown": -0.0457, "departure": -1.84},
    )
    StrategySignal.objects.create(
        strategy=judged,
        version=judged.current_version,
        instrument=Instrument.objects.get(symbol="KO"),
        signal_type="BUY",
        target=1,
        strength=0.5,
        price=40.0,
        closed_at=AT,
        generated_at=AT,
    )
    browser = signed_in(alice)
    page = browser.get("/strategies/?sort=-verdict").content.decode()
    assert "Degraded" in page
    assert "−3.21%" in page
    assert "−1.8<" in page
    rows = json.loads(b"".join(browser.get("/strategies/?format=json").streaming_content))
    names = ("verdict", "live_return", "live_drawdown", "z_score")
    found = {row["name"]: tuple(row[name] for name in names) for row in rows}
    assert found == {"Judged": ("degraded", -0.0321, -0.0457, -1.84), other.name: (None,) * 4}


def test_strategies_are_chosen_by_their_verdict(alice):
    judged, other = (plain_strategy(alice, name) for name in ("Judged", "Other"))
    Verification.objects.create(strategy=judged, status="degraded")
    Verification.objects.create(strategy=other, status="verified")
    browser = signed_in(alice)
    page = browser.get("/strategies/?verdict=degraded").content.decode()
    assert judged.get_absolute_url() in page
    assert other.get_absolute_url() not in page
    assert '<option value="degraded" selected>' in page
    everything = browser.get("/strategies/?verdict=nonsense").content.decode()
    assert other.get_absolute_url() in everything


def test_the_list_shows_the_last_session_the_month_and_thirty_days(alice):
    _, (account, idle) = make_portfolio(alice, n=2)
    # 30 and 31 January, 1 and 2 February.
    mark(account, 0.10, -0.05, 0.02, start=datetime(2016, 1, 30, 21, tzinfo=UTC))
    browser = signed_in(alice)
    page = browser.get("/strategies/").content.decode()
    assert "+2.00%" in page
    # 0.95 * 1.02 - 1.
    assert "−3.10%" in page
    assert f'aria-label="Equity of {account.strategy.name} over 30 days"' in page
    rows = json.loads(b"".join(browser.get("/strategies/?format=json").streaming_content))
    found = {row["name"]: (row["day_return"], row["month_return"]) for row in rows}
    assert found[account.strategy.name] == pytest.approx((0.02, 0.95 * 1.02 - 1))
    assert found[idle.strategy.name] == (None, None)
    assert "live_curve" not in rows[0]


def test_capital_that_came_in_is_no_result(alice):
    _, (account,) = make_portfolio(alice, n=1)
    mark(account, 0.01, 0.02, start=datetime(2016, 3, 1, 21, tzinfo=UTC))
    newest = EquityPoint.objects.filter(account=account).latest("marked_at")
    EquityPoint.objects.filter(account=account, marked_at=newest.marked_at).update(
        cash=newest.cash + 50_000, equity=newest.equity + 50_000, net_flow=50_000
    )
    found = recent_results([account.strategy_id])[account.strategy_id]
    assert found.day_return == pytest.approx(0.02)
    assert found.month_return == pytest.approx(1.01 * 1.02 - 1)
    assert found.equity == [100_000.0, 101_000.0, 153_020.0]


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_and_month_that_end(alice):
    _, (account,) = make_portfolio(alice, n=1)
    # The sessions of 29, 30 and 31 January.
    mark(account, 0.10, -0.05, start=datetime(2016, 1, 30, tzinfo=UTC))
    found = recent_results([account.strategy_id])[account.strategy_id]
    assert found.day_return == pytest.approx(-0.05)
    assert found.month_return == pytest.approx(1.10 * 0.95 - 1)


def test_the_curve_is_thirty_days_long_and_sessions_of_many_bars_are_compounded(alice):
    _, (long, intraday) = make_portfolio(alice, n=2)
    mark(long, *[0.001] * 60)
    for hour, value in ((18, 0.02), (20, 0.03)):
        at = datetime(2016, 5, 2, hour, tzinfo=UTC)
        equity = Decimal(100_000 + hour)
        EquityPoint.objects.create(
            account=intraday,
            marked_at=at,
            cash=equity,
            position_value=0,
            equity=equity,
            bar_return=value,
        )
    found = recent_results([long.strategy_id, intraday.strategy_id])
    assert len(found[long.strategy_id].equity) == 30
    assert found[long.strategy_id].equity[-1] == pytest.approx(float(long.equity))
    assert found[intraday.strategy_id].day_return == pytest.approx(1.02 * 1.03 - 1)
    assert found[intraday.strategy_id].equity == [100_020.0]


def test_an_account_that_is_closed_or_never_marked_has_no_recent_result(alice):
    _, (closed, unmarked) = make_portfolio(alice, n=2)
    mark(closed, 0.01)
    Account.objects.filter(pk=closed.pk).update(closed_at=closed.marked_to)
    assert recent_results([closed.strategy_id, unmarked.strategy_id]) == {}


@pytest.mark.parametrize("n", [1, 5])
def test_any_number_of_live_strategies_costs_one_query_more(alice, n, django_assert_num_queries):
    _, accounts = make_portfolio(alice, n=n)
    for account in accounts:
        mark(account, 0.01, -0.01)
    browser = signed_in(alice)
    # session, user, running jobs, count, page, recent live results
    with django_assert_num_queries(6):
        browser.get("/strategies/")
