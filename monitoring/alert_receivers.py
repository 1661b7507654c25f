"""What alerts do when something happens elsewhere."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.dispatch import receiver

from alphastrat.core import events
from monitoring.services.rule_templates import apply_template

DEMO_TEMPLATE = "balanced"


@receiver(events.demo_seeded, dispatch_uid="monitoring.seed_demo_rules")
def give_demo_rules(user_id: int, **_: Any) -> None:
    """Let a first look show rules that watch what trades."""
    apply_template(get_user_model().objects.get(pk=user_id), DEMO_TEMPLATE)
