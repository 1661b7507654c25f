"""Threshold rules as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alphastrat.core.formatting import duration
from alphastrat.core.tables import Column
from monitoring.models import ThresholdRule
from monitoring.models.rule import RuleScope
from monitoring.quant.metric_catalogue import METRICS
from monitoring.services import rules as rule_service
from strategies.models import Strategy

COLUMNS = (
    Column("name", "Rule"),
    Column("subject", "Looks at"),
    Column("metric", "Metric"),
    Column("warning", "Warning", "ratio"),
    Column("critical", "Critical", "ratio"),
    Column("clear", "Clears at", "ratio"),
    Column("pending", "After"),
    Column("n_open", "Open", "count"),
    Column("state", "State", "status"),
    Column("actions", "Actions"),
)


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What the table shows of a rule."""

    rule: ThresholdRule
    metric: str
    condition: str
    warning: str
    critical: str
    clear: str
    pending: str
    n_open: int
    inheritance: str


def rule_rows(
    kept: Sequence[ThresholdRule],
    *,
    everything: Sequence[ThresholdRule],
    strategy: Strategy | None,
) -> list[RuleRow]:
    """Return rules as rows, widest scope first; with a strategy only those that concern it."""
    order = [RuleScope.ALL, RuleScope.PORTFOLIO, RuleScope.STRATEGY]
    ordered = sorted(kept, key=lambda rule: (order.index(RuleScope(rule.scope)), rule.name))
    if strategy is not None:
        words = rule_service.effective(everything, strategy.pk)
        concerned = [
            rule for rule in ordered if rule.pk in words and rule.owner_id == strategy.owner_id
        ]
        return [_row(rule, words[rule.pk]) for rule in concerned]
    replaced = rule_service.replacements(everything)
    return [_row(rule, _replaced_words(replaced.get(rule.pk, []))) for rule in ordered]


def _replaced_words(names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"Replaced for {shown}{more}"


def _row(rule: ThresholdRule, inheritance: str) -> RuleRow:
    metric = METRICS.get(rule.metric)
    window = f" over {rule.window_bars} bars" if rule.window_bars else ""
    return RuleRow(
        rule=rule,
        metric=(metric.label if metric else rule.metric) + window,
        condition=rule.get_comparator_display().lower(),
        warning=rule_service.bound_text(rule, "warning_bound"),
        critical=rule_service.bound_text(rule, "critical_bound"),
        clear=rule_service.bound_text(rule, "clear_bound"),
        pending=duration(rule.pending_seconds).text if rule.pending_seconds else "At once",
        n_open=getattr(rule, "n_open", 0),
        inheritance=inheritance,
    )
