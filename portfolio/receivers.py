"""What trading does when bars, signals and strategies change."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.accounts.services import demo as demo_account
from alphastrat.core import events
from alphastrat.core.jobs import enqueue
from portfolio.models import Account, BrokerName
from portfolio.services import accounts, demo, execution
from strategies.models import BacktestRun, LifecycleState, Strategy

COMPARE_TASK = "portfolio.trading_tasks.compare_books"


@receiver(events.bars_stored, dispatch_uid="portfolio.trade_bar")
def trade_bar(*, series_ids: list[str], **_: Any) -> None:
    """Fill, protect and mark the accounts that look at the stored bars.

    In the process that stored them, as signals are given: the way goes through no queue.
    """
    affected = execution.accounts_of_series(series_ids)
    if affected:
        execution.advance(affected, at=now())


@receiver(events.signals_stored, dispatch_uid="portfolio.act_on_signals")
def act_on_signals(*, strategy_ids: list[Any], **_: Any) -> None:
    """Turn the signals of these strategies into orders."""
    found = Account.objects.open().filter(strategy__in=strategy_ids)
    affected = list(found.values_list("pk", flat=True))
    if affected:
        execution.advance(affected, at=now())


@receiver(events.strategy_changed, dispatch_uid="portfolio.open_account")
def open_account(*, strategy_id: str, **_: Any) -> None:
    """Give a strategy that is on paper an account to trade in."""
    strategy = Strategy.objects.with_version().filter(pk=strategy_id).first()
    if strategy is not None and strategy.state == LifecycleState.PAPER:
        accounts.open_for_paper(strategy, at=now())


@receiver(events.feed_turned, dispatch_uid="portfolio.sweep")
def sweep(*, is_first: bool = False, **_: Any) -> None:
    """Find accounts that lag behind the bars, such as after a kill between two commits.

    When the feed starts, accounts at brokers are compared with their books as well.
    """
    if is_first and Account.objects.open().filter(broker=BrokerName.ALPACA).exists():
        enqueue(COMPARE_TASK, key=COMPARE_TASK, title="Compare accounts with their brokers")
    execution.sweep(at=now())


@receiver(events.demo_seeded, dispatch_uid="portfolio.seed_demo")
def seed_demo(*, user_id: Any, **_: Any) -> None:
    """Give the demo account strategies that trade on paper."""
    demo.seed(get_user_model().objects.get(pk=user_id), at=now())


@receiver(events.backtest_finished, dispatch_uid="portfolio.demo_goes_live")
def demo_goes_live(*, run_id: str, **_: Any) -> None:
    """Put a demo strategy on paper once its backtest stands."""
    run = BacktestRun.objects.select_related("owner").get(pk=run_id)
    if run.owner_id is not None and run.owner.username == demo_account.USERNAME:
        demo.go_live(run, at=now())
