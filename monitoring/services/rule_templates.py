"""Sets of rules to begin with, from careful to tolerant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from alphastrat.core.errors import InvalidInput
from monitoring.models import Comparator, ThresholdRule
from monitoring.models.rule import RuleScope
from monitoring.quant.metric_catalogue import METRICS
from monitoring.services.rules import create_rule

BELOW, ABOVE = Comparator.BELOW, Comparator.ABOVE


@dataclass(frozen=True, slots=True)
class Bound:
    """One rule of a template: a metric with its bounds, losses negative, fractions."""

    metric: str
    comparator: Comparator
    warning: float
    critical: float
    clear: float
    minimum: int = 1


@dataclass(frozen=True, slots=True)
class RuleTemplate:
    """A named set of rules for all strategies of an owner."""

    key: str
    label: str
    description: str
    bounds: tuple[Bound, ...]
    cooldown_seconds: int
    escalate_after_seconds: int | None


TEMPLATES = {
    template.key: template
    for template in (
        RuleTemplate(
            "conservative",
            "Conservative",
            "Tight bounds: you hear of trouble early, and of some that is none.",
            (
                Bound("drawdown", BELOW, -0.05, -0.08, -0.04),
                Bound("day_return", BELOW, -0.015, -0.03, -0.01),
                Bound("sharpe_ratio", BELOW, 0.0, -1.0, 0.25, 40),
                Bound("slippage_bps", ABOVE, 5.0, 10.0, 4.0, 10),
                Bound("tracking_error", ABOVE, 0.03, 0.06, 0.025, 20),
                Bound("e_value", ABOVE, 10.0, 20.0, 5.0),
                Bound("days_since_bar", ABOVE, 4.5, 6.0, 4.5),
                Bound("exposure", ABOVE, 1.0, 1.2, 1.0),
            ),
            3_600,
            1_800,
        ),
        RuleTemplate(
            "balanced",
            "Balanced",
            "Bounds that a healthy strategy passes about once a year.",
            (
                Bound("drawdown", BELOW, -0.10, -0.15, -0.08),
                Bound("day_return", BELOW, -0.03, -0.05, -0.02),
                Bound("sharpe_ratio", BELOW, -1.0, -2.0, -0.5, 40),
                Bound("slippage_bps", ABOVE, 10.0, 20.0, 8.0, 10),
                Bound("tracking_error", ABOVE, 0.05, 0.10, 0.04, 20),
                Bound("e_value", ABOVE, 20.0, 100.0, 10.0),
                Bound("days_since_bar", ABOVE, 5.0, 8.0, 5.0),
            ),
            14_400,
            7_200,
        ),
        RuleTemplate(
            "aggressive",
            "Aggressive",
            "Wide bounds: you hear only of what needs you.",
            (
                Bound("drawdown", BELOW, -0.20, -0.30, -0.17),
                Bound("day_return", BELOW, -0.06, -0.10, -0.04),
                Bound("slippage_bps", ABOVE, 25.0, 50.0, 20.0, 10),
                Bound("e_value", ABOVE, 100.0, 1000.0, 20.0),
                Bound("days_since_bar", ABOVE, 7.0, 14.0, 7.0),
            ),
            86_400,
            None,
        ),
    )
}


@transaction.atomic
def apply_template(owner: Any, key: str) -> tuple[list[ThresholdRule], int]:
    """Make the rules of a template for all strategies of `owner`.

    Return those made, and how many were left out because a rule of that name exists.
    """
    template = TEMPLATES.get(key)
    if template is None:
        raise InvalidInput("There is no such template.", fields={"template": "Choose one."})
    drafts = [_rule(owner, template, bound) for bound in template.bounds]
    names = ThresholdRule.objects.filter(owner=owner, name__in=[rule.name for rule in drafts])
    taken = set(names.values_list("name", flat=True))
    made = [create_rule(rule) for rule in drafts if rule.name not in taken]
    return made, len(taken)


def _rule(owner: Any, template: RuleTemplate, bound: Bound) -> ThresholdRule:
    metric = METRICS[bound.metric]
    return ThresholdRule(
        owner=owner,
        name=f"{metric.label} ({template.label.lower()})",
        scope=RuleScope.ALL,
        metric=bound.metric,
        comparator=bound.comparator,
        warning_bound=bound.warning,
        critical_bound=bound.critical,
        clear_bound=bound.clear,
        window_bars=metric.default_window,
        minimum_observations=bound.minimum,
        cooldown_seconds=template.cooldown_seconds,
        escalate_after_seconds=template.escalate_after_seconds,
        template=template.key,
    )
