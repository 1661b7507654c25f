"""The demo's strategies reach paper through the ordinary steps, once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils.timezone import now

from alphastrat.accounts.services.demo import USERNAME
from alphastrat.core import events, jobs
from portfolio.models import Account, Portfolio, RiskLimits
from portfolio.services import demo
from strategies.models import BacktestRun, Strategy
from tests.factories import make_user
from tests.portfolio.trading_builders import replay_clock
from tests.strategies.builders import make_market

pytestmark = pytest.mark.django_db
REPLAY_FROM = datetime(2016, 8, 16, tzinfo=UTC)


def test_seeding_backtests_and_goes_live_once(django_capture_on_commit_callbacks):
    make_market("AAPL", "BA", "CSCO", "DUK", "INTC", "NEM", "NKE")
    replay_clock(REPLAY_FROM)
    owner = make_user(USERNAME, role="admin")
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            events.send_on_commit(events.demo_seeded, user_id=owner.pk)
    runs = BacktestRun.objects.filter(title__startswith=demo.TITLE)
    assert {run.strategy_version.strategy.name for run in runs} >= {
        "MACD momentum, the best six",
        "RSI mean reversion, Boeing",
    }
    assert all(run.end_at <= REPLAY_FROM for run in runs)
    for run in runs:
        with django_capture_on_commit_callbacks(execute=True):
            jobs.run_job(str(run.job_id))
    live = Strategy.objects.filter(state="paper")
    assert live.count() == runs.count()
    accounts = Account.objects.filter(strategy__in=live)
    assert accounts.count() == runs.count()
    assert {one.opened_at for one in accounts} == {REPLAY_FROM}
    assert accounts.first().costs["commission_bps"] == 1.0
    assert RiskLimits.objects.get().drawdown_action == "reduce"
    assert Portfolio.objects.get().members.count() == live.count()


def test_other_peoples_backtests_go_nowhere(alice):
    make_market("BA")
    strategy = demo._strategy(alice, demo.DEMO_STRATEGIES[-1])
    demo._backtest(strategy, alice, until=REPLAY_FROM.date(), at=now())
    run = BacktestRun.objects.get()
    jobs.run_job(str(run.job_id))
    strategy.refresh_from_db()
    assert strategy.state == "research"
