"""What watches one strategy: its open alerts, and the rules that apply to it with their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.core.formatting import format_value
from monitoring.models import Alert, ThresholdRule
from monitoring.models.rule import RuleScope
from monitoring.quant.metric_catalogue import METRICS
from monitoring.quant.thresholds import Bounds, Verdict, judge
from monitoring.services import performance_validator, rule_metrics, rules
from monitoring.services.rule_evaluation import cause_of, is_active, threshold_of
from strategies.models import Strategy

STATES = {
    Verdict.OK: "ok",
    Verdict.WARNING: "warning",
    Verdict.CRITICAL: "critical",
    Verdict.NO_DATA: "no_data",
}
RANKS = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class WatchingRule:
    """A rule as it stands for one strategy.

    `state` is ok, warning, critical or no_data; disabled or paused where it does not speak now.
    """

    strategy_id: UUID
    rule: ThresholdRule
    inheritance: str
    value: float | None
    state: str

    @property
    def is_own(self) -> bool:
        return self.rule.strategy_id is not None

    @property
    def metric(self) -> str:
        found = METRICS.get(self.rule.metric)
        window = f" over {self.rule.window_bars} bars" if self.rule.window_bars else ""
        return (found.label if found else self.rule.metric) + window

    @property
    def value_text(self) -> str:
        found = METRICS.get(self.rule.metric)
        return format_value(found.format if found else "ratio", self.value).text

    @property
    def warning(self) -> str:
        return rules.bound_text(self.rule, "warning_bound")

    @property
    def critical(self) -> str:
        return rules.bound_text(self.rule, "critical_bound")


def open_alerts(strategy: Strategy, user: Any) -> list[Alert]:
    """Return the open alerts of a strategy that a person may see, the worst and newest first."""
    found = Alert.objects.for_user(user).filter(strategy=strategy).open().listed()
    newest_first = sorted(found, key=lambda one: one.breached_at, reverse=True)
    return sorted(newest_first, key=lambda one: RANKS[one.severity])


def watching_rules(
    strategy: Strategy, *, alerts: Sequence[Alert], at: datetime
) -> list[WatchingRule]:
    """Return the rules about a strategy, its own first, with values as the monitor reads them.

    A general rule that the strategy's own replaces is left out.
    """
    mine = ThresholdRule.objects.filter(owner=strategy.owner_id).exclude(scope=RuleScope.PORTFOLIO)
    everything = list(mine.select_related("strategy").order_by("name"))
    words = rules.effective(everything, strategy.pk)
    shown = [one for one in everything if not words.get(one.pk, "Replaced").startswith("Replaced")]
    if not shown:
        return []
    values = _values(strategy, shown, at=at)
    causes = {one.cause for one in alerts}
    held = [cause_of(one.pk, f"strategy:{strategy.pk}") in causes for one in shown]
    bounds = Bounds.of([threshold_of(one) for one in shown])
    verdicts = judge(np.array(values), bounds, in_breach=np.array(held, np.bool_))
    found = [
        WatchingRule(
            strategy.pk,
            rule,
            words[rule.pk],
            value if math.isfinite(value) else None,
            _state(rule, Verdict(verdict), at=at),
        )
        for rule, value, verdict in zip(shown, values, verdicts.tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: not one.is_own)


def _values(strategy: Strategy, shown: Sequence[ThresholdRule], *, at: datetime) -> list[float]:
    seen = performance_validator.examine(strategy.pk, at=at)
    values = rule_metrics.values_of(
        seen.observations, seen.assessment, portfolios=rule_metrics.NO_PORTFOLIOS
    )
    return [
        float(values.of_strategies(one.metric, one.window_bars, one.minimum_observations)[0])
        if one.metric in METRICS
        else math.nan
        for one in shown
    ]


def _state(rule: ThresholdRule, verdict: Verdict, *, at: datetime) -> str:
    if not rule.is_enabled:
        return "disabled"
    return STATES[verdict] if is_active(rule, at=at) else "paused"
