"""The trades of an approved rebalance, one transaction each: idempotent, and safe to kill."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import F

from alphastrat.core.errors import ConflictError
from alphastrat.core.job_progress import JobProgress
from alphastrat.core.money import MONEY_PLACES, QUANTITY_PLACES, to_decimal
from portfolio.brokers import base
from portfolio.models import (
    Account,
    Order,
    OrderReason,
    Portfolio,
    PortfolioAllocation,
    Rebalance,
    RebalanceStatus,
    RebalanceTrade,
)
from portfolio.models.account import MovementKind
from portfolio.models.order import OPEN_STATUSES
from portfolio.services.accounts import move_cash
from portfolio.services.portfolio_state import take_snapshot
from portfolio.services.rebalancing import announce, start
from portfolio.services.risk_facts import ZERO, equity_of, value_of

logger = logging.getLogger(__name__)

SOURCE = "rebalance"
UNDER_WAY = (RebalanceStatus.APPROVED, RebalanceStatus.RUNNING)
_INSTANT = timedelta(microseconds=1)
_CENT = Decimal("0.01")


def execute(rebalance_id: str, *, at: datetime, progress: JobProgress | None = None) -> Rebalance:
    """Do every trade that can be done now; the rebalance is done when all are.

    A trade that waits for fills ends the turn: the next fill or sweep goes on with it.
    """
    Rebalance.objects.filter(pk=rebalance_id, status=RebalanceStatus.APPROVED).update(
        status=RebalanceStatus.RUNNING
    )
    rebalance = Rebalance.objects.select_related("portfolio__owner").get(pk=rebalance_id)
    if rebalance.status != RebalanceStatus.RUNNING:
        return rebalance
    keys = list(rebalance.trades.order_by("sequence").values_list("pk", flat=True))
    for number, key in enumerate(keys, start=1):
        if not execute_trade(key, at=at):
            break
        if progress is not None:
            progress.update(number, len(keys), f"Trade {number} of {len(keys)}")
    else:
        finish(rebalance, at=at)
    rebalance.refresh_from_db()
    return rebalance


@transaction.atomic
def execute_trade(trade_id: int, *, at: datetime) -> bool:
    """Do one trade once; False while it waits for orders to fill.

    The portfolio's row is locked first, so that two workers never do the same trade.
    """
    trade = RebalanceTrade.objects.select_related("rebalance", "account__strategy").get(pk=trade_id)
    portfolio = Portfolio.objects.select_for_update().get(pk=trade.rebalance.portfolio_id)
    status = Rebalance.objects.values_list("status", flat=True).get(pk=trade.rebalance_id)
    trade.refresh_from_db(fields=["done_at", "note"])
    if trade.done_at is not None:
        return True
    if status != RebalanceStatus.RUNNING:
        return False
    account = Account.objects.select_for_update(of=("self",)).get(pk=trade.account_id)
    if account.closed_at is not None:
        return _done(trade, ZERO, "The account was closed.", at=at)
    if trade.amount >= 0:
        return _deposit(trade, portfolio, account, at=at)
    return _withdraw(trade, portfolio, account, at=at)


def resume(account_ids: Iterable[UUID] | None = None) -> int:
    """Go on with the rebalances that wait for these accounts, or with all; return how many."""
    waiting = Rebalance.objects.filter(status__in=UNDER_WAY).select_related("portfolio__owner")
    if account_ids is not None:
        waiting = waiting.filter(trades__account__in=list(account_ids)).distinct()
    found = list(waiting)
    for rebalance in found:
        start(rebalance)
    return len(found)


def finish(rebalance: Rebalance, *, at: datetime) -> None:
    """Note the weights that came of it in `portfolio_allocations`, and end it."""
    with transaction.atomic():
        Portfolio.objects.select_for_update().get(pk=rebalance.portfolio_id)
        claimed = Rebalance.objects.filter(pk=rebalance.pk, status=RebalanceStatus.RUNNING).update(
            status=RebalanceStatus.DONE, finished_at=at
        )
        if not claimed:
            return
        rebalance.refresh_from_db()
        snapshot = take_snapshot(rebalance.portfolio, at=at)
        PortfolioAllocation.objects.bulk_create(
            PortfolioAllocation(
                portfolio=rebalance.portfolio,
                strategy_id=line.strategy_id,
                allocated_at=at,
                weight=line.weight,
                target_weight=line.target,
                capital=to_decimal(line.equity, MONEY_PLACES),
                rebalance=rebalance,
            )
            for line in snapshot.lines
        )
        announce(rebalance)
    logger.info("rebalance done", extra={"rebalance": str(rebalance.pk)})


def _withdraw(
    trade: RebalanceTrade, portfolio: Portfolio, account: Account, *, at: datetime
) -> bool:
    """Sell the same share of every position as of the whole, then let the cash leave."""
    wanted = -trade.amount
    if not _sold(trade, account, wanted, at=at):
        return False
    # Prices moved meanwhile: no more leaves than is there.
    free = to_decimal(max(ZERO, _free_cash(account)), MONEY_PLACES)
    amount = min(wanted, free)
    if amount > 0:
        _move(trade, account, -amount, at=at)
        Portfolio.objects.filter(pk=portfolio.pk).update(reserve=F("reserve") + amount)
    note = "" if amount == wanted else f"Only {amount:,.2f} could be freed."
    return _done(trade, amount, note, at=at)


def _deposit(
    trade: RebalanceTrade, portfolio: Portfolio, account: Account, *, at: datetime
) -> bool:
    """Give cash from the reserve, and let every position grow by the same share."""
    amount = min(trade.amount, max(portfolio.reserve, ZERO))
    before = equity_of(account, account.positions.held())
    if amount > 0:
        Portfolio.objects.filter(pk=portfolio.pk).update(reserve=F("reserve") - amount)
        _move(trade, account, amount, at=at)
        if before > 0:
            _order(trade, account, share=amount / before, at=at)
    note = "" if amount == trade.amount else f"Only {amount:,.2f} was in reserve."
    return _done(trade, amount, note, at=at)


def _sold(trade: RebalanceTrade, account: Account, wanted: Decimal, *, at: datetime) -> bool:
    """Send the sales that free the cash, once; True when none of them still works."""
    orders = Order.objects.filter(account=account, client_order_id__startswith=_key(trade))
    if orders.exists():
        return not orders.filter(status__in=OPEN_STATUSES).exists()
    equity = equity_of(account, account.positions.held())
    if equity <= 0:
        return True
    share = min(Decimal(1), wanted / equity)
    sent = _order(trade, account, share=-share, at=at)
    if sent:
        trade.note = f"Waits for {sent} orders."
        trade.save(update_fields=["note"])
    return not sent


def _order(trade: RebalanceTrade, account: Account, *, share: Decimal, at: datetime) -> int:
    """Change every position by a share of itself; return how many orders were let through."""
    orders = []
    for position in account.positions.held().select_related("instrument"):
        change = to_decimal(position.quantity * share, QUANTITY_PLACES)
        if abs(change) * (position.mark_price or ZERO) < _CENT:
            continue
        orders.append(
            Order(
                account=account,
                strategy_version=account.strategy.current_version,
                instrument=position.instrument,
                client_order_id=f"{_key(trade)}{position.instrument.symbol}",
                side="buy" if change > 0 else "sell",
                quantity=abs(change),
                reason=OrderReason.REBALANCE,
                reference_price=position.mark_price,
                decided_at=account.marked_to or at,
            )
        )
    if not orders:
        return 0
    submitted = base.submit(orders, at=at)
    base.store(orders)
    return len(submitted.accepted)


def _move(trade: RebalanceTrade, account: Account, amount: Decimal, *, at: datetime) -> None:
    moved_at = at if account.marked_to is None else account.marked_to + _INSTANT
    is_new = move_cash(
        account,
        MovementKind.TRANSFER,
        amount,
        moved_at=moved_at,
        at=at,
        source=SOURCE,
        key=str(trade.rebalance_id),
    )
    if not is_new:
        raise ConflictError("The capital of this trade has been moved already.")
    account.refresh_from_db()


def _free_cash(account: Account) -> Decimal:
    """Return the cash that no short position is secured by."""
    shorts = [one for one in account.positions.held() if one.quantity < 0]
    return account.cash + sum((value_of(one) for one in shorts), ZERO)


def _done(trade: RebalanceTrade, amount: Decimal, note: str, *, at: datetime) -> bool:
    trade.done_at, trade.note = at, note
    trade.save(update_fields=["done_at", "note"])
    logger.info(
        "capital moved",
        extra={"rebalance": str(trade.rebalance_id), "trade": trade.pk, "amount": str(amount)},
    )
    return True


def _key(trade: RebalanceTrade) -> str:
    return f"rebalance:{trade.rebalance_id}:{trade.sequence}:"
