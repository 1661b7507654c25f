"""Tells portfolios what verification says of their strategies, so that they can act on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.dispatch import receiver
from django.utils.timezone import now

from alphastrat.core import events
from monitoring.models import Verification, VerificationStatus
from portfolio.models import StrategyStanding

ACTED_ON = {VerificationStatus.DEGRADED.value, VerificationStatus.FAILED.value}


@receiver(events.verification_changed, dispatch_uid="monitoring.tell_standing")
def tell_standing(*, strategy_ids: list[str], **_: Any) -> None:
    """Keep with each strategy whether it is degraded or has failed; the trigger looks at it."""
    at = now()
    found = Verification.objects.filter(strategy__in=[UUID(one) for one in strategy_ids])
    for strategy_id, status in found.values_list("strategy_id", "status"):
        verification = status if status in ACTED_ON else ""
        StrategyStanding.objects.update_or_create(
            strategy_id=strategy_id,
            defaults={"verification": verification},
            create_defaults={"verification": verification, "changed_at": at},
        )
