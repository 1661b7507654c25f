"""What trading does when bars, signals and strategies change."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.core import events
from portfolio.models import Account
from portfolio.services import accounts, execution
from strategies.models import LifecycleState, Strategy


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
def sweep(**_: Any) -> None:
    """Find accounts that lag behind the bars, such as after a kill between two commits."""
    execution.sweep(at=now())
