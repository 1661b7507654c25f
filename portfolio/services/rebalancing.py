"""Rebalances: proposed with their reasons and checks, decided, and executed trade by trade.

Capital leaves an account for the portfolio's reserve and comes out of it: at every moment the
sum is the same, so a rebalance can stop between any two trades and go on later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction

from alphastrat.core import live
from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.jobs import enqueue
from alphastrat.core.jsonable import jsonable
from alphastrat.core.models import Job
from alphastrat.core.money import MONEY_PLACES, to_decimal
from alphastrat.quant.types import FloatArray
from portfolio.models import (
    BrokerName,
    Optimisation,
    Portfolio,
    Rebalance,
    RebalanceStatus,
    RebalanceTrade,
)
from portfolio.models.portfolio import UNDECIDED
from portfolio.quant.covariances import portfolio_volatility
from portfolio.quant.rebalance_policies import Reading, Trigger, readings, weights_after
from portfolio.quant.rebalancing import turnover
from portfolio.services.portfolio_state import (
    DAYS_PER_YEAR,
    Line,
    Snapshot,
    covariance,
    returns_of,
    take_snapshot,
)
from portfolio.services.rebalance_checks import checks_of
from portfolio.services.rebalance_settings import settings_of, switched
from portfolio.services.strategy_returns import StrategyReturns

logger = logging.getLogger(__name__)

PROPOSAL_LASTS = timedelta(days=3)
TASK = "portfolio.rebalancing_tasks.execute_rebalance"


def trigger_readings(snapshot: Snapshot, returns: StrategyReturns | None = None) -> list[Reading]:
    """Return what each of the portfolio's triggers says now.

    The strategies' returns are read only where the risk trigger is on.
    """
    settings = snapshot.settings
    if returns is None and settings.policy.risk_band is not None:
        returns = returns_of(snapshot)
    state = snapshot.state(returns)
    return readings(settings.policy, state, cost=settings.cost, on=snapshot.today)


def propose(
    portfolio: Portfolio,
    *,
    at: datetime,
    trigger: str = Trigger.MANUAL,
    reason: str = "",
    optimisation: Optimisation | None = None,
) -> Rebalance:
    """Write down what a rebalance would do; nothing is moved yet.

    Raises InvalidInput if there is nothing to move, ConflictError while another is undecided.
    """
    snapshot = take_snapshot(portfolio, at=at)
    returns = returns_of(snapshot)
    asked = Trigger(trigger)
    return _propose(snapshot, returns, trigger=asked, reason=reason, optimisation=optimisation)


def check_triggers(portfolio: Portfolio, *, at: datetime) -> Rebalance | None:
    """Propose a rebalance if a trigger asks for one; None if none does or one is undecided.

    Where the portfolio is rebalanced automatically and nothing speaks against it, it is approved
    at once.
    """
    expire_proposals(portfolio, at=at)
    if portfolio.rebalances.filter(status__in=UNDECIDED).exists():
        return None
    snapshot = take_snapshot(portfolio, at=at)
    due = [reading for reading in trigger_readings(snapshot) if reading.is_due]
    if not due:
        return None
    returns = returns_of(snapshot)
    # What happened to a strategy matters more than what drifted.
    reading = next((one for one in due if one.trigger is Trigger.STATUS), due[0])
    try:
        proposal = _propose(snapshot, returns, trigger=reading.trigger, reason=_because(reading))
    except (InvalidInput, ConflictError):
        return None
    if snapshot.settings.is_automatic and not proposal.blocking_checks:
        decide(proposal, is_approved=True, reason="Approved by setting.", at=at)
    return proposal


def decide(
    rebalance: Rebalance, *, is_approved: bool, by: Any = None, reason: str = "", at: datetime
) -> Job | None:
    """Approve a proposal, which starts its execution, or reject it.

    Raises ConflictError if it was decided or went stale meanwhile, or if a check forbids it.
    """
    if is_approved:
        snapshot = take_snapshot(rebalance.portfolio, at=at)
        failed = [one for one in checks_of(snapshot, _planned(rebalance)) if one["blocks"]]
        if failed:
            raise ConflictError(failed[0]["message"])
    status = RebalanceStatus.APPROVED if is_approved else RebalanceStatus.REJECTED
    with transaction.atomic():
        claimed = Rebalance.objects.filter(
            pk=rebalance.pk,
            status=RebalanceStatus.PROPOSED,
            proposed_at__gt=at - PROPOSAL_LASTS
            if is_approved
            else datetime.min.replace(tzinfo=at.tzinfo),
        ).update(status=status, decided_at=at, decided_by=by, decision_reason=reason[:300])
        if not claimed:
            raise ConflictError("This proposal has been decided or is out of date; look again.")
        rebalance.refresh_from_db()
        announce(rebalance)
        return start(rebalance) if is_approved else None


def start(rebalance: Rebalance) -> Job:
    """Ask the workers to execute an approved rebalance, or to go on with one that waits."""
    job = enqueue(
        TASK,
        key=f"rebalance:{rebalance.pk}",
        title=f"Rebalance {rebalance.portfolio.name}",
        owner=rebalance.portfolio.owner_id,
        result_url=rebalance.get_absolute_url(),
        rebalance_id=str(rebalance.pk),
    )
    Rebalance.objects.filter(pk=rebalance.pk).update(job=job)
    return job


def abandon(rebalance: Rebalance, *, by: Any, reason: str, at: datetime) -> None:
    """Stop a rebalance between two trades; what was moved stays moved.

    Raises ConflictError if it is not under way.
    """
    claimed = Rebalance.objects.filter(
        pk=rebalance.pk, status__in=[RebalanceStatus.APPROVED, RebalanceStatus.RUNNING]
    ).update(
        status=RebalanceStatus.FAILED,
        finished_at=at,
        decision_reason=f"Stopped by {by}: {reason}"[:300],
    )
    if not claimed:
        raise ConflictError("This rebalance is not under way.")
    rebalance.refresh_from_db()
    announce(rebalance)


def expire_proposals(portfolio: Portfolio, *, at: datetime) -> int:
    """End the proposals that nobody decided on while their numbers were fresh."""
    old = portfolio.rebalances.filter(
        status=RebalanceStatus.PROPOSED, proposed_at__lte=at - PROPOSAL_LASTS
    )
    return old.update(status=RebalanceStatus.EXPIRED, finished_at=at)


def announce(rebalance: Rebalance) -> None:
    """Tell the portfolio's pages that a rebalance has changed."""
    live.publish(
        f"portfolio:{rebalance.portfolio_id}",
        "invalidate",
        {"fragment": "portfolio-live", "rebalance": str(rebalance.pk), "status": rebalance.status},
    )


@transaction.atomic
def set_settings(portfolio: Portfolio, values: dict[str, Any]) -> None:
    """Store rebalancing settings once they are known to be usable."""
    portfolio.rebalance_settings = jsonable(settings_of(values).as_json())
    portfolio.save(update_fields=["rebalance_settings", "updated_at"])
    live.publish(f"portfolio:{portfolio.pk}", "invalidate", {"fragment": "portfolio-live"})


@transaction.atomic
def switch_trigger(portfolio: Portfolio, trigger: Trigger, *, is_on: bool) -> None:
    """Switch one trigger on or off at once, whatever others change meanwhile."""
    locked = Portfolio.objects.select_for_update().get(pk=portfolio.pk)
    settings = settings_of(locked.rebalance_settings)
    set_settings(locked, switched(settings, trigger, is_on=is_on).as_json())


def _propose(
    snapshot: Snapshot,
    returns: StrategyReturns,
    *,
    trigger: Trigger,
    reason: str,
    optimisation: Optimisation | None = None,
) -> Rebalance:
    state = snapshot.state(returns)
    settings = snapshot.settings
    after = weights_after(settings.policy, state, cost=settings.cost, trigger=trigger)
    trades = _trades(snapshot, after)
    if not trades:
        raise InvalidInput("Every strategy is as near its target as is worth an order.")
    rows = [(trade.weight_before, trade.weight_after) for trade in trades]
    before, planned = (np.array(column) for column in zip(*rows, strict=True))
    proposal = Rebalance(
        portfolio=snapshot.portfolio,
        optimisation=optimisation,
        trigger=trigger,
        reason=reason[:300],
        proposed_at=snapshot.at,
        equity=to_decimal(snapshot.equity, MONEY_PLACES),
        turnover=turnover(before, planned),
        cost=sum((trade.cost for trade in trades), Decimal(0)),
        effect=jsonable(_effect(snapshot, returns, after)),
        checks=checks_of(snapshot, trades),
    )
    try:
        with transaction.atomic():
            proposal.save(force_insert=True)
            for trade in trades:
                trade.rebalance = proposal
            RebalanceTrade.objects.bulk_create(trades)
            announce(proposal)
    except IntegrityError:
        raise ConflictError("A rebalance of this portfolio is already under way.") from None
    logger.info("rebalance proposed", extra={"rebalance": str(proposal.pk), "trigger": trigger})
    return proposal


def _trades(snapshot: Snapshot, after: FloatArray) -> list[RebalanceTrade]:
    """Return the movements of capital, those that free it first."""
    settings, equity = snapshot.settings, snapshot.equity
    moves = [
        (line, float(weight))
        for line, weight in zip(snapshot.lines, after, strict=False)
        if _is_movable(line) and abs(weight - line.weight) >= settings.minimum
    ]
    moves.sort(key=lambda move: move[1] - move[0].weight)
    return [
        RebalanceTrade(
            strategy_id=line.strategy_id,
            account=line.account,
            sequence=number,
            weight_before=line.weight,
            weight_after=weight,
            amount=(amount := to_decimal(float(equity) * (weight - line.weight), 2)),
            cost=to_decimal(abs(float(amount)) * settings.cost, MONEY_PLACES),
        )
        for number, (line, weight) in enumerate(moves, start=1)
    ]


def _is_movable(line: Line) -> bool:
    """Whether capital of this strategy is ours to move: a broker's is not."""
    return (
        line.account is not None and line.account.broker == BrokerName.PAPER and not line.is_locked
    )


def _planned(rebalance: Rebalance) -> Sequence[RebalanceTrade]:
    return list(rebalance.trades.select_related("account", "strategy"))


def _effect(snapshot: Snapshot, returns: StrategyReturns, after: FloatArray) -> dict[str, Any]:
    """Return what is expected to change: distance from the targets, and volatility."""
    matrix = covariance(returns)
    before = snapshot.weights
    effect: dict[str, Any] = {
        "drift_before": float(np.abs(before - snapshot.targets)[:-1].max(initial=0.0)),
        "drift_after": float(np.abs(after - snapshot.targets)[:-1].max(initial=0.0)),
        "cash_before": float(before[-1]),
        "cash_after": float(after[-1]),
    }
    if matrix is not None:
        year = DAYS_PER_YEAR**0.5
        effect["volatility_before"] = portfolio_volatility(before, matrix) * year
        effect["volatility_after"] = portfolio_volatility(after, matrix) * year
    return effect


def _because(reading: Reading) -> str:
    value, limit = reading.value, reading.limit
    words = {
        Trigger.CALENDAR: "A new period has begun.",
        Trigger.BAND: f"A weight is {(value or 0) * 100:.1f} points off its target; the band is "
        f"{(limit or 0) * 100:.1f}.",
        Trigger.RISK: f"A share of the risk is {(value or 0) * 100:.0f} % off what is intended; "
        f"the band is {(limit or 0) * 100:.0f} %.",
        Trigger.SHARPE: f"The Sharpe ratio is {value or 0:.2f}, below {limit or 0:.2f}.",
        Trigger.VOLATILITY: "The realised volatility has entered another regime: it is "
        f"{(value or 0) * 100:.0f} % of its long-run level, usual is {(reading.low or 0) * 100:.0f}"
        f" to {(limit or 0) * 100:.0f} %.",
        Trigger.STATUS: f"{value or 0:.0f} degraded or suspended strategies still have capital.",
    }
    return words.get(reading.trigger, "")
