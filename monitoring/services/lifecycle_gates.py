"""What a strategy must have shown before it goes on, and what is done when it has degraded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from auditlog.models import LogEntry
from django.db import transaction

from alphastrat.core.errors import ConflictError, InvalidInput
from monitoring.models import Verification, VerificationStatus, VerificationTransition
from monitoring.models.verification import DegradationAction
from monitoring.services import performance_validator
from monitoring.services.account_series import Memory
from monitoring.services.performance_validator import Evaluated, Verdict, announce
from portfolio.models import Account, StrategyStanding, TradingState
from portfolio.services.trading_states import set_trading_state
from strategies.models import LifecycleState, Strategy
from strategies.services.lifecycle import move_strategy

logger = logging.getLogger(__name__)

PAPER_DAYS = 30
GOOD = (VerificationStatus.VERIFIED, VerificationStatus.MONITORING)
BAD = (VerificationStatus.DEGRADED, VerificationStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that a strategy must have shown."""

    label: str
    is_met: bool
    text: str


def gates_to_live(strategy: Strategy) -> list[Gate]:
    """Return what stands between a paper strategy and real money."""
    account = Account.objects.open().filter(strategy=strategy).first()
    days = 0
    if account is not None and account.marked_to is not None:
        days = (account.marked_to - account.opened_at) // timedelta(days=1)
    verification = Verification.objects.filter(strategy=strategy).first()
    standing = verification.status if verification else VerificationStatus.INSUFFICIENT
    label = VerificationStatus(standing).label.lower()
    return [
        Gate(
            "Time on paper",
            days >= PAPER_DAYS,
            f"{days} of {PAPER_DAYS} days traded on paper.",
        ),
        Gate(
            "Within tolerance of the backtest",
            standing in GOOD,
            f"The verdict is {label}; verified or monitoring is needed.",
        ),
    ]


def check_move(strategy: Strategy, state: str, reason: str) -> None:
    """Refuse a step of the lifecycle whose gates are closed, unless a reason overrules them.

    Raises ConflictError naming each gate that is not met.
    """
    if state != LifecycleState.LIVE or strategy.state != LifecycleState.PAPER:
        return
    closed = [gate for gate in gates_to_live(strategy) if not gate.is_met]
    if not closed:
        return
    if reason.strip():
        LogEntry.objects.log_create(
            strategy,
            force_log=True,
            action=LogEntry.Action.UPDATE,
            changes={"gates": [" ".join(gate.text for gate in closed), f"overruled: {reason}"]},
        )
        return
    raise ConflictError(
        "Not ready for real money: "
        + " ".join(gate.text for gate in closed)
        + " Give a reason to go on all the same."
    )


@transaction.atomic
def acknowledge(strategy: Strategy, *, by: Any, reason: str, at: datetime) -> Verification:
    """Start the evidence anew: somebody has looked, and what comes from here on counts.

    A degraded or failed verdict stays until ten bars in a row are clean.
    """
    verification = _locked(strategy)
    _reset(verification, by=by, reason=reason, at=at, status=verification.status)
    return verification


@transaction.atomic
def overrule(
    strategy: Strategy, *, status: str, by: Any, reason: str, at: datetime
) -> Verification:
    """Set a verdict by hand, with a reason; the evidence starts anew.

    Raises InvalidInput without a reason or for a verdict that only evidence can give.
    """
    if not reason.strip():
        raise InvalidInput("Overruling needs a reason.", fields={"reason": "Say why."})
    allowed = (VerificationStatus.MONITORING, VerificationStatus.WATCH, *BAD)
    if status not in allowed:
        raise InvalidInput(
            "This verdict cannot be set by hand.",
            fields={"status": "Choose monitoring, watch, degraded or failed."},
        )
    verification = _locked(strategy)
    _reset(verification, by=by, reason=reason, at=at, status=status)
    return verification


@transaction.atomic
def judge(
    strategy_ids: Sequence[UUID] | None, *, at: datetime, memory: Memory | None = None
) -> Evaluated:
    """Judge strategies as `performance_validator.evaluate` does, and act on those that degrade.

    Both in one transaction: a verdict that is stored has been acted on, whoever gave it and
    wherever it was killed.
    """
    found = performance_validator.evaluate(strategy_ids, at=at, memory=memory)
    act_on(found.transitions, at=at)
    return found


def act_on(verdicts: Sequence[Verdict], *, at: datetime) -> list[Verdict]:
    """Reduce or suspend the strategies that have just degraded, where their owners asked for it.

    Every action is audited and can be taken back by hand.
    """
    acted = []
    for one in verdicts:
        if one.status not in BAD or one.before in BAD or one.action == DegradationAction.NONE:
            continue
        strategy = Strategy.objects.get(pk=one.strategy_id)
        if not strategy.is_active:
            continue
        if one.action == DegradationAction.SUSPEND:
            move_strategy(strategy, LifecycleState.SUSPENDED, at=at)
        _stop(strategy, one, at=at)
        acted.append(one)
    return acted


def _stop(strategy: Strategy, verdict: Verdict, *, at: datetime) -> None:
    """Halt or reduce the trading of a strategy; a halt that holds already is not loosened."""
    suspends = verdict.action == DegradationAction.SUSPEND
    halted = StrategyStanding.objects.filter(strategy=strategy, trading_state=TradingState.HALTED)
    if not suspends and halted.exists():
        return
    set_trading_state(
        strategy,
        TradingState.HALTED if suspends else TradingState.REDUCING,
        reason=verdict.reason,
        at=at,
        code="DEGRADED",
        evidence={"status": verdict.status, "e_value": verdict.e_value},
    )
    logger.warning(
        "degraded strategy acted on",
        extra={"strategy": str(strategy.pk), "action": verdict.action},
    )


def _locked(strategy: Strategy) -> Verification:
    Verification.objects.get_or_create(strategy=strategy)
    return Verification.objects.select_for_update().get(strategy=strategy)


def _reset(verification: Verification, *, by: Any, reason: str, at: datetime, status: str) -> None:
    before = verification.status
    observed = verification.observed_to
    verification.evidence_from = (observed or at) + timedelta(microseconds=1)
    verification.clean_bars = 0
    if status != before:
        verification.status = status
        verification.status_since = at
        verification.reason = f"Set by hand: {reason}"[:400]
    verification.save()
    VerificationTransition.objects.create(
        strategy_id=verification.strategy_id,
        before=before,
        after=status,
        happened_at=at,
        observed_to=observed,
        reason=f"{'Set by hand' if status != before else 'Acknowledged'}: {reason}"[:400],
        e_value=verification.e_value,
        evidence=verification.evidence.get("checks", []),
        overridden_by=by,
    )
    announce({verification.strategy_id: status}, owner_id=verification.strategy.owner_id)
