"""What risk and rebalancing do when accounts are filled and marked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.core import events, live
from portfolio.models import Account, Portfolio, RiskLimits
from portfolio.services import rebalance_execution, trading_states


@receiver(events.equity_marked, dispatch_uid="portfolio.watch_drawdowns")
def watch_drawdowns(*, account_ids: list[str], **_: Any) -> None:
    """Act on drawdowns where limits say more than to deny, and tell the portfolios' pages."""
    accounts = [UUID(one) for one in account_ids]
    if _acting(accounts):
        trading_states.watch_drawdowns(accounts, at=now())
    marked = Portfolio.objects.filter(members__strategy__accounts__in=accounts).distinct()
    for portfolio in marked.values_list("pk", flat=True):
        live.publish(f"portfolio:{portfolio}", "invalidate", {"fragment": "portfolio-live"})


@receiver(events.fill_recorded, dispatch_uid="portfolio.resume_rebalances")
def resume_rebalances(*, account_ids: list[str], **_: Any) -> None:
    """Go on with rebalances that waited for these fills."""
    rebalance_execution.resume([UUID(one) for one in account_ids])


def _acting(account_ids: list[UUID]) -> bool:
    """Whether any limit that could apply does more than deny."""
    accounts = Account.objects.filter(pk__in=account_ids)
    return (
        RiskLimits.objects.exclude(drawdown_action="deny")
        .filter(
            Q(strategy__accounts__in=accounts)
            | Q(portfolio__members__strategy__accounts__in=accounts)
            | Q(
                portfolio__isnull=True,
                strategy__isnull=True,
                owner__strategies__accounts__in=accounts,
            )
        )
        .exists()
    )
