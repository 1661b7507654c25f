"""Threshold rules as people keep them: made, changed, undone, copied, and tried beforehand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from auditlog.models import LogEntry
from django.db import transaction

from alphastrat.core.errors import ConflictError, InvalidInput
from alphastrat.core.formatting import duration, format_value
from alphastrat.core.notify import notify
from monitoring.models import ThresholdRule
from monitoring.models.rule import RuleScope
from monitoring.quant.metric_catalogue import METRICS

MONITOR = "monitor"
FIELDS = (
    "name",
    "scope",
    "strategy",
    "portfolio",
    "metric",
    "comparator",
    "warning_bound",
    "critical_bound",
    "clear_bound",
    "window_bars",
    "minimum_observations",
    "pending_seconds",
    "cooldown_seconds",
    "escalate_after_seconds",
    "active_calendar",
    "no_data_policy",
    "is_enabled",
)


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """A rule as it was from one change to the next."""

    entry_id: int
    version: int
    at: datetime
    by: str
    changes: tuple[str, ...]
    is_current: bool


@transaction.atomic
def create_rule(rule: ThresholdRule) -> ThresholdRule:
    """Store a checked rule and wake the monitor."""
    rule.save(force_insert=True)
    wake_monitor(rule)
    return rule


@transaction.atomic
def change_rule(
    rule_id: UUID, values: dict[str, Any], *, expected_version: int | None
) -> ThresholdRule:
    """Change a rule; raises ConflictError where it is not the version the change was made on."""
    rule = ThresholdRule.objects.select_for_update().get(pk=rule_id)
    if expected_version is not None and rule.version != expected_version:
        raise ConflictError(
            f"Version {rule.version} has been saved meanwhile; yours was made on version "
            f"{expected_version}. Look at it before you save again."
        )
    before = {name: getattr(rule, name) for name in FIELDS}
    for name in FIELDS:
        if name in values:
            setattr(rule, name, values[name])
    if before == {name: getattr(rule, name) for name in FIELDS}:
        return rule
    rule.version += 1
    rule.full_clean()
    rule.save()
    wake_monitor(rule)
    return rule


@transaction.atomic
def delete_rule(rule: ThresholdRule) -> None:
    """Delete a rule; its open alerts end with it."""
    wake_monitor(rule)
    rule.delete()


def wake_monitor(rule: ThresholdRule) -> None:
    """Have the rule evaluated at once, in the transaction that changes it."""
    notify(MONITOR, f"rule:{rule.pk}")


def history(rule: ThresholdRule) -> list[RuleVersion]:
    """Return the versions of a rule, newest first."""
    entries = _entries(rule).select_related("actor")
    found = []
    for place, entry in enumerate(entries):
        state = _state(entry)
        who = entry.actor.get_username() if entry.actor else "the system"
        found.append(
            RuleVersion(
                entry_id=entry.pk,
                version=state.get("version", 0),
                at=entry.timestamp,
                by=who,
                changes=tuple(_change_words(entry, state.get("metric", rule.metric))),
                is_current=place == 0,
            )
        )
    return found


def revert(rule: ThresholdRule, entry_id: int, *, expected_version: int | None) -> ThresholdRule:
    """Make the rule what it was after an earlier change; that is a change of its own."""
    entry = _entries(rule).filter(pk=entry_id).first()
    if entry is None:
        raise InvalidInput("There is no such version.")
    state = _state(entry)
    values: dict[str, Any] = {}
    for name in FIELDS:
        field = ThresholdRule._meta.get_field(name)
        key = name if name in state else getattr(field, "attname", name)
        if key not in state:
            continue
        if field.is_relation:
            values[name] = _related(field, state[key])
        else:
            values[name] = field.to_python(state[key])  # type: ignore[union-attr]
    return change_rule(rule.pk, values, expected_version=expected_version)


def replacements(rules: Iterable[ThresholdRule]) -> dict[UUID, list[str]]:
    """Return, by rule for all strategies, the strategies whose own rule replaces it."""
    own: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    everything = list(rules)
    for rule in everything:
        if rule.scope == RuleScope.STRATEGY and rule.is_enabled and rule.strategy is not None:
            own[rule.owner_id, rule.metric, rule.comparator].append(rule.strategy.name)
    return {
        rule.pk: own.get((rule.owner_id, rule.metric, rule.comparator), [])
        for rule in everything
        if rule.scope == RuleScope.ALL
    }


def effective(rules: Sequence[ThresholdRule], strategy_id: UUID) -> dict[UUID, str]:
    """Say of each rule what it means for one strategy: its own, inherited, or replaced by which."""
    own = {
        (rule.owner_id, rule.metric, rule.comparator): rule.name
        for rule in rules
        if rule.strategy_id == strategy_id and rule.is_enabled
    }
    words = {}
    for rule in rules:
        key = (rule.owner_id, rule.metric, rule.comparator)
        if rule.strategy_id == strategy_id:
            words[rule.pk] = "Its own"
        elif rule.scope == RuleScope.ALL:
            words[rule.pk] = f"Replaced by “{own[key]}”" if key in own else "Inherited"
    return words


def bound_text(rule: ThresholdRule, name: str) -> str:
    """Return a bound in the unit of the rule's metric."""
    metric = METRICS.get(rule.metric)
    return format_value(metric.format if metric else "ratio", getattr(rule, name)).text


def _entries(rule: ThresholdRule) -> Any:
    return LogEntry.objects.get_for_object(rule).order_by("-timestamp", "-pk")


def _state(entry: LogEntry) -> dict[str, Any]:
    """Return the fields of the rule as the entry left them."""
    state: dict[str, Any] = (entry.serialized_data or {}).get("fields", {})
    return state


def _related(field: Any, key: Any) -> Any:
    return None if key is None else field.related_model.objects.filter(pk=key).first()


def _change_words(entry: LogEntry, metric_key: str) -> Iterable[str]:
    if entry.action == LogEntry.Action.CREATE:
        yield "Made"
        return
    for name, values in (entry.changes or {}).items():
        if name in FIELDS and len(values) == 2:
            label = str(ThresholdRule._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
            before, after = (_shown(name, value, metric_key) for value in values)
            yield f"{label.capitalize()}: {before} → {after}"


def _shown(name: str, value: str, metric_key: str) -> str:
    if value in ("None", ""):
        return "none"
    if name.endswith("_bound") and metric_key in METRICS:
        return format_value(METRICS[metric_key].format, float(value)).text
    if name.endswith("_seconds"):
        return duration(float(value)).text
    return value
