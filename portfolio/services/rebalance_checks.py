"""What speaks for and against a rebalance: each check with its result in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from alphastrat.marketdata.live_market import market_time
from portfolio.models import BrokerName, RebalanceTrade, TradingState
from portfolio.services.portfolio_state import Snapshot

# Daily accounts are marked at most this long before the market's present, holidays included.
STALE_AFTER = timedelta(days=5)


def checks_of(snapshot: Snapshot, trades: Sequence[RebalanceTrade]) -> list[dict[str, Any]]:
    """Return the checks of planned trades; one that `blocks` forbids the approval."""
    return [
        _state_check(snapshot),
        _freshness_check(snapshot),
        _reserve_check(snapshot, trades),
        _weight_check(snapshot, trades),
        *_notes(snapshot),
    ]


def _check(code: str, message: str, *, passed: bool, blocks: bool = True) -> dict[str, Any]:
    return {"code": code, "passed": passed, "blocks": blocks and not passed, "message": message}


def _state_check(snapshot: Snapshot) -> dict[str, Any]:
    state = snapshot.portfolio.trading_state
    passed = state != TradingState.HALTED
    message = "Trading is allowed." if passed else "Trading is halted; nothing can be moved."
    return _check("TRADING_STATE", message, passed=passed)


def _freshness_check(snapshot: Snapshot) -> dict[str, Any]:
    """Weights from old marks are not what would be traded."""
    accounts = [line.account for line in snapshot.lines if line.account is not None]
    timeframes = {line.member.strategy.timeframe for line in snapshot.lines}
    present = {one: market_time(one, at=snapshot.at) for one in timeframes}
    stale = [
        line.name
        for line in snapshot.lines
        if line.account is not None
        and line.account.marked_to is not None
        and present[line.member.strategy.timeframe] - line.account.marked_to > STALE_AFTER
    ]
    if not accounts or not stale:
        return _check("FRESH_PRICES", "All weights are from fresh prices.", passed=bool(accounts))
    names = ", ".join(stale[:3]) + (f" and {len(stale) - 3} more" if len(stale) > 3 else "")
    return _check("FRESH_PRICES", f"The prices of {names} are stale.", passed=False)


def _reserve_check(snapshot: Snapshot, trades: Sequence[RebalanceTrade]) -> dict[str, Any]:
    left = snapshot.portfolio.reserve - sum(trade.amount for trade in trades)
    passed = left >= -1 or left >= snapshot.portfolio.reserve
    message = f"{left:,.2f} stays in reserve." if passed else f"The reserve is {-left:,.2f} short."
    return _check("RESERVE", message, passed=passed, blocks=False)


def _weight_check(snapshot: Snapshot, trades: Sequence[RebalanceTrade]) -> dict[str, Any]:
    caps = {line.strategy_id: line.member.maximum_weight for line in snapshot.lines}
    names = {line.strategy_id: line.name for line in snapshot.lines}
    over = [
        names[trade.strategy_id]
        for trade in trades
        if trade.strategy_id in names
        and (cap := caps[trade.strategy_id]) is not None
        and trade.weight_after > max(cap, trade.weight_before) + 1e-9
    ]
    message = "No strategy gets more than its largest weight."
    if over:
        message = f"{', '.join(over[:3])} would get more than its largest weight."
    return _check("MAXIMUM_WEIGHT", message, passed=not over)


def _notes(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Say which strategies are left out, and why."""
    notes = []
    for line in snapshot.lines:
        if line.account is None and line.member.target_weight:
            text = f"{line.name} has no account yet and is left out."
        elif line.account is not None and line.account.broker != BrokerName.PAPER:
            text = f"The capital of {line.name} is at its broker: move it there by hand."
        elif line.is_locked:
            text = f"{line.name} is locked up until {line.member.locked_until:%Y-%m-%d}."
        else:
            continue
        notes.append(_check("LEFT_OUT", text, passed=False, blocks=False))
    return notes
