"""What may be traded: changed by a person at once, or by a drawdown limit, always on record."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from alphastrat.core import events, live
from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from alphastrat.core.money import QUANTITY_PLACES, to_decimal
from alphastrat.core.notify import notify
from portfolio.brokers import base
from portfolio.models import (
    Account,
    Order,
    OrderReason,
    Portfolio,
    RiskAction,
    StrategyStanding,
)
from portfolio.models.order import OPEN_STATUSES
from portfolio.models.portfolio import TradingState
from portfolio.quant.limit_catalogue import LimitUnit, written
from portfolio.services.risk_facts import RiskBook, load_book
from portfolio.services.risk_manager import DrawdownCheck, drawdown_check
from strategies.models import Strategy

logger = logging.getLogger(__name__)

MANUAL = "MANUAL"
STRATEGY_DRAWDOWN = "STRATEGY_DRAWDOWN"
PORTFOLIO_DRAWDOWN = "PORTFOLIO_DRAWDOWN"
FULL = Decimal(1)


@dataclass(slots=True)
class Watched:
    """What a look at the drawdowns led to."""

    actions: list[RiskAction] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)


@transaction.atomic
def set_trading_state(
    subject: Portfolio | Strategy,
    state: str,
    *,
    reason: str,
    by: Any = None,
    at: datetime,
    code: str = MANUAL,
    scale: Decimal | None = None,
    evidence: dict[str, Any] | None = None,
    keeps_protection: bool = True,
) -> RiskAction:
    """Change what a portfolio or one strategy may trade, and cancel the orders this forbids.

    A halt lets stops, targets and trailing stops of what is held act, unless it is told not to.
    Raises InvalidInput without a reason, or for a state that does not exist.
    """
    if state not in TradingState.values:
        raise InvalidInput("There is no such trading state.", fields={"trading_state": "Unknown."})
    if not reason.strip():
        raise InvalidInput("Say why.", fields={"reason": "A reason is kept with every change."})
    reason = reason.strip()[:300]
    keeps = keeps_protection or state != TradingState.HALTED
    if isinstance(subject, Portfolio):
        _keep_of_portfolio(subject, state, reason=reason, at=at, keeps_protection=keeps)
        where: dict[str, Any] = {"portfolio": subject}
        accounts = Account.objects.open().filter(strategy__portfolio_members__portfolio=subject)
    else:
        _keep_of_strategy(subject, state, reason=reason, at=at, keeps_protection=keeps, scale=scale)
        where = {"strategy": subject}
        accounts = Account.objects.open().filter(strategy=subject)
    action = RiskAction.objects.create(
        **where,
        taken_at=at,
        taken_by=by,
        trading_state=state,
        keeps_protection=keeps,
        code=code,
        reason=reason,
        evidence=jsonable(evidence or {}),
    )
    touched = list(accounts.select_for_update(of=("self",)))
    n_cancelled = _cancel_forbidden(touched, state, at=at)
    _tell(action, touched)
    logger.info(
        "trading state changed",
        extra={"action": str(action.pk), "state": state, "code": code, "cancelled": n_cancelled},
    )
    return action


def _keep_of_portfolio(
    portfolio: Portfolio, state: str, *, reason: str, at: datetime, keeps_protection: bool
) -> None:
    portfolio.trading_state, portfolio.state_reason = state, reason
    portfolio.keeps_protection, portfolio.state_changed_at = keeps_protection, at
    Portfolio.objects.filter(pk=portfolio.pk).update(
        trading_state=state,
        state_reason=reason,
        state_changed_at=at,
        keeps_protection=keeps_protection,
    )


def _keep_of_strategy(
    strategy: Strategy,
    state: str,
    *,
    reason: str,
    at: datetime,
    keeps_protection: bool,
    scale: Decimal | None,
) -> None:
    values: dict[str, Any] = {
        "trading_state": state,
        "reason": reason,
        "changed_at": at,
        "keeps_protection": keeps_protection,
    }
    # A person who lets a strategy trade again lets it do so at full size.
    kept = FULL if scale is None and state == TradingState.ACTIVE else scale
    values |= {} if kept is None else {"scale": kept}
    StrategyStanding.objects.update_or_create(strategy=strategy, defaults=values)


def stops_again(subject: Portfolio | Strategy) -> str:
    """Return why a limit would stop again at the next mark what may trade now; empty if none."""
    accounts = Account.objects.open()
    if isinstance(subject, Portfolio):
        accounts = accounts.filter(strategy__portfolio_members__portfolio=subject)
    else:
        accounts = accounts.filter(strategy=subject)
    book = load_book(accounts.values_list("pk", flat=True))
    ours = [one for one in book.accounts.values() if book.actions[one.pk] != "deny"]
    if isinstance(subject, Portfolio):
        drawdown, limit = book.portfolio_standing(subject).drawdown, _drawdown_limit(book, ours)
        is_beyond = drawdown is not None and limit is not None and drawdown <= limit
    else:
        check = next((drawdown_check(book, one) for one in ours if one.strategy == subject), None)
        drawdown = None if check is None else check.drawdown
        is_beyond = check is not None and check.scale < FULL
    if not is_beyond:
        return ""
    shown = written(drawdown or FULL, LimitUnit.FRACTION)
    return f"{subject} is still {shown} from its peak: a limit stops it again at the next mark."


def watch_drawdowns(account_ids: Iterable[UUID], *, at: datetime) -> Watched:
    """Reduce or halt the strategies whose drawdown asks for it, where their limits say so.

    Safe to call at any time and again: what has been done is not done twice. Other strategies
    are left to the denials at their limit.
    """
    book = load_book(account_ids)
    watched = Watched()
    for account in book.accounts.values():
        if book.actions[account.pk] != "deny":
            _watch_strategy(book, account, watched, at=at)
    _watch_portfolios(book, watched, at=at)
    return watched


def _watch_strategy(book: RiskBook, account: Account, watched: Watched, *, at: datetime) -> None:
    check = drawdown_check(book, account)
    row = book.states.get(account.strategy_id)
    before = FULL if row is None else row.scale
    if row is not None and row.trading_state == TradingState.HALTED:
        # Nothing is left to take away, and only a person lets it trade again.
        return
    halts = book.actions[account.pk] == "halt" and check.scale == 0 and _is_flat(book, account)
    if check.scale == before and not halts:
        return
    if check.scale > before:
        if _is_by_limit(account.strategy):
            watched.actions.append(_recover(account, check, at=at))
        return
    with transaction.atomic():
        action = set_trading_state(
            account.strategy,
            TradingState.HALTED if halts else TradingState.REDUCING,
            reason=_why(check, halts=halts),
            at=at,
            code=STRATEGY_DRAWDOWN,
            scale=check.scale,
            evidence=_evidence(check, before),
        )
        orders = [] if halts else _reduce(account, keep=check.scale / before, action=action, at=at)
    watched.actions.append(action)
    watched.orders += orders


def _is_flat(book: RiskBook, account: Account) -> bool:
    """Say whether an account holds nothing and waits for nothing."""
    held = any(key[0] == account.pk and one.quantity for key, one in book.holdings.items())
    return not held and not Order.objects.open().filter(account=account).exists()


def _is_by_limit(strategy: Strategy) -> bool:
    """Say whether a drawdown limit had the last word: it does not take back anyone else's."""
    newest = RiskAction.objects.filter(strategy=strategy).order_by("-taken_at", "-pk").first()
    return newest is None or newest.code == STRATEGY_DRAWDOWN


def _recover(account: Account, check: DrawdownCheck, *, at: datetime) -> RiskAction:
    return set_trading_state(
        account.strategy,
        TradingState.ACTIVE,
        reason=f"The drawdown has healed to {written(check.drawdown or FULL, LimitUnit.FRACTION)}.",
        at=at,
        code=STRATEGY_DRAWDOWN,
        scale=check.scale,
        evidence=_evidence(check, check.scale),
    )


def _watch_portfolios(book: RiskBook, watched: Watched, *, at: datetime) -> None:
    portfolios = {member.portfolio_id: member.portfolio for member in book.members.values()}
    for portfolio in portfolios.values():
        accounts = [one for one in book.accounts.values() if book.portfolio_of(one) == portfolio]
        if portfolio.trading_state != TradingState.ACTIVE or not accounts:
            continue
        limit = _drawdown_limit(book, accounts)
        drawdown = book.portfolio_standing(portfolio).drawdown
        wanted = {book.actions[account.pk] for account in accounts}
        if limit is None or drawdown is None or drawdown > limit or wanted == {"deny"}:
            continue
        state = TradingState.HALTED if "halt" in wanted else TradingState.REDUCING
        shown = written(drawdown, LimitUnit.FRACTION)
        action = set_trading_state(
            portfolio,
            state,
            reason=f"The portfolio is {shown} from its peak; its limit is "
            f"{written(limit, LimitUnit.FRACTION)}.",
            at=at,
            code=PORTFOLIO_DRAWDOWN,
            evidence={"drawdown": str(drawdown), "limit": str(limit)},
        )
        watched.actions.append(action)


def _drawdown_limit(book: RiskBook, accounts: Sequence[Account]) -> Decimal | None:
    return book.limits[accounts[0].pk].drawdown if accounts else None


def _reduce(account: Account, *, keep: Decimal, action: RiskAction, at: datetime) -> list[Order]:
    """Send the orders that leave `keep` of every position of an account."""
    decided_at = account.marked_to or at
    orders = []
    for position in account.positions.held().select_related("instrument"):
        quantity = to_decimal(abs(position.quantity) * (1 - keep), QUANTITY_PLACES)
        if not quantity:
            continue
        orders.append(
            Order(
                account=account,
                strategy_version=account.strategy.current_version,
                instrument=position.instrument,
                client_order_id=f"reduce:{action.pk}:{position.instrument.symbol}",
                side="sell" if position.quantity > 0 else "buy",
                quantity=quantity,
                reason=OrderReason.REDUCE,
                reference_price=position.mark_price,
                decided_at=decided_at,
                note=action.reason,
            )
        )
    if orders:
        base.submit(orders, at=at)
        base.store(orders)
    return orders


def _cancel_forbidden(accounts: Sequence[Account], state: str, *, at: datetime) -> int:
    """Cancel what has not been sent to a market and the new state does not let through."""
    if state == TradingState.ACTIVE:
        return 0
    open_orders = Order.objects.filter(account__in=accounts, status__in=OPEN_STATUSES)
    if state == TradingState.REDUCING:
        entries = (OrderReason.ENTRY, OrderReason.REVERSAL, OrderReason.REBALANCE)
        open_orders = open_orders.filter(reason__in=entries)
    doomed = list(open_orders.select_related("account"))
    for name in {order.account.broker for order in doomed}:
        base.broker(name).cancel([one for one in doomed if one.account.broker == name], at=at)
    for order in doomed:
        order.note = "Cancelled: trading was stopped."
    Order.objects.bulk_update(doomed, ["status", "ended_at", "note"])
    return len(doomed)


def _tell(action: RiskAction, accounts: Sequence[Account]) -> None:
    news = {"fragment": "portfolio-live", "state": action.trading_state, "reason": action.reason}
    topics = [f"strategy:{account.strategy_id}" for account in accounts]
    if action.portfolio_id is not None:
        topics.append(f"portfolio:{action.portfolio_id}")
    elif action.strategy is not None:
        member = action.strategy.portfolio_members.first()
        topics += [] if member is None else [f"portfolio:{member.portfolio_id}"]
    for topic in dict.fromkeys(topics):
        live.publish(topic, "invalidate", news)
    for account in accounts:
        notify("monitor", f"account:{account.pk}")
    events.send_on_commit(
        events.trading_state_changed,
        portfolio_ids=[str(action.portfolio_id)] if action.portfolio_id else [],
        strategy_ids=[str(account.strategy_id) for account in accounts],
    )


def _why(check: DrawdownCheck, *, halts: bool) -> str:
    shown = written(check.drawdown or FULL, LimitUnit.FRACTION)
    limit = written(check.limit or FULL, LimitUnit.FRACTION)
    far = f"{shown} from its peak, with a limit of {limit}"
    if halts:
        return f"{far}: everything is closed; halted until a person lets it trade again."
    size = "nothing" if check.scale == 0 else written(check.scale, LimitUnit.FRACTION)
    return f"{far}: size cut to {size} of full."


def _evidence(check: DrawdownCheck, before: Decimal) -> dict[str, Any]:
    return {
        "drawdown": str(check.drawdown),
        "limit": str(check.limit),
        "scale_before": str(before),
        "scale": str(check.scale),
    }
