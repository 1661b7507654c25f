"""Whether an order may be sent: what refuses it, in stable codes with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from portfolio.models import Order, OrderReason, PortfolioMember, StrategyStanding, TradingState

# What was accepted with the entry and only takes risk away.
PROTECTIVE = (OrderReason.STOP, OrderReason.TARGET, OrderReason.TRAILING)
_SEVERITY = list(TradingState)


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason against an order."""

    code: str
    limit: str = ""
    value: str = ""
    bound: str = ""
    message: str = ""


def review(orders: Sequence[Order], *, at: datetime) -> dict[UUID, list[Denial]]:
    """Return the denials of each order that is refused, in a constant number of queries."""
    states = _states({order.account.strategy_id for order in orders})
    found = {order.pk: _denials(order, states[order.account.strategy_id]) for order in orders}
    return {key: denials for key, denials in found.items() if denials}


def _denials(order: Order, state: TradingState) -> list[Denial]:
    reduces = order.reason != OrderReason.ENTRY
    if state == TradingState.HALTED and order.reason not in PROTECTIVE:
        return [Denial("TRADING_HALTED", "trading state", state, "", "Trading is halted.")]
    if state == TradingState.REDUCING and not reduces:
        return [Denial("ONLY_REDUCING", "trading state", state, "", "Only exits are let through.")]
    if not reduces and order.account.equity <= 0:
        equity = f"{order.account.equity}"
        return [Denial("NO_EQUITY", "buying power", equity, "0", "The account is worth nothing.")]
    return []


def _states(strategy_ids: set[UUID]) -> dict[UUID, TradingState]:
    """Return the strictest state that each strategy and its portfolio are in."""
    states = dict.fromkeys(strategy_ids, TradingState.ACTIVE)
    own = StrategyStanding.objects.filter(strategy__in=strategy_ids)
    of_portfolio = PortfolioMember.objects.filter(strategy__in=strategy_ids)
    rows = [
        *own.values_list("strategy_id", "trading_state"),
        *of_portfolio.values_list("strategy_id", "portfolio__trading_state"),
    ]
    for strategy_id, state in rows:
        stricter = max(states[strategy_id], TradingState(state), key=_SEVERITY.index)
        states[strategy_id] = stricter
    return states
