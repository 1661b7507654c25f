"""The weights of an answer in use: they become the targets, and a rebalance is proposed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from alphastrat.core.errors import ConflictError, InvalidInput
from portfolio.models import Optimisation, Portfolio, Rebalance, RebalanceStatus
from portfolio.models.portfolio import UNDECIDED
from portfolio.quant.allocation_problem import LABELS
from portfolio.services import portfolio_optimizer, rebalancing

NOTHING_TO_MOVE = (
    "These weights are the targets now. Every strategy is as near its own as is worth an order."
)


def apply_and_propose(optimisation: Optimisation, *, by: Any, at: datetime) -> Rebalance:
    """Make an answer's weights the targets and propose the rebalance that leads to them.

    Asked again, it returns the same proposal. One that waits for other weights is rejected,
    because its targets are gone.

    Raises ConflictError where a rebalance is under way or the answer cannot be used, which
    changes nothing; InvalidInput where the targets are set and there is nothing to move.
    """
    with transaction.atomic():
        portfolio = Portfolio.objects.select_for_update().get(pk=optimisation.portfolio_id)
        rebalancing.expire_proposals(portfolio, at=at)
        waiting = portfolio.rebalances.filter(status__in=UNDECIDED).first()
        if waiting is not None and waiting.optimisation_id == optimisation.pk:
            return waiting
        if waiting is not None and waiting.status != RebalanceStatus.PROPOSED:
            raise ConflictError("A rebalance of this portfolio is under way; let it end first.")
        portfolio_optimizer.apply_targets(optimisation)
        if waiting is not None:
            rebalancing.decide(
                waiting, is_approved=False, by=by, reason="Replaced by newer weights.", at=at
            )
    method = LABELS.get(optimisation.method, optimisation.method)
    reason = f"Weights of {method.lower()}, asked {optimisation.requested_at:%Y-%m-%d %H:%M} UTC."
    try:
        return rebalancing.propose(portfolio, at=at, reason=reason, optimisation=optimisation)
    except InvalidInput as error:
        raise InvalidInput(NOTHING_TO_MOVE) from error
