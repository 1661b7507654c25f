"""Hold all rules against all strategies and portfolios at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from alphastrat.core.formatting import format_value
from alphastrat.quant.calendars import session_times
from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from monitoring.models import Alert, Severity, ThresholdRule
from monitoring.models.alert import AlertSource
from monitoring.models.rule import NoDataPolicy, RuleScope
from monitoring.quant.metric_catalogue import METRICS
from monitoring.quant.thresholds import Bounds, Comparator, Threshold, Verdict, judge
from monitoring.services.performance_alerts import Breach
from monitoring.services.rule_metrics import Values

SEVERITIES = {Verdict.WARNING: Severity.WARNING, Verdict.CRITICAL: Severity.CRITICAL}


@dataclass(frozen=True, slots=True)
class Subject:
    """A strategy or portfolio that a rule is held against."""

    kind: str
    id: UUID
    name: str
    newest_us: int

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """One row per rule and subject: which rule, which subject, and the value."""

    rule: IntArray
    subject: IntArray
    value: FloatArray


def threshold_of(rule: ThresholdRule) -> Threshold:
    """Return the bounds of a rule."""
    return Threshold(
        Comparator(rule.comparator), rule.warning_bound, rule.critical_bound, rule.clear_bound
    )


def cause_of(rule_id: UUID, subject_key: str) -> str:
    """Return what identifies the episodes of a rule and a subject."""
    return f"rule:{rule_id}|{subject_key}"


def breaches_of(
    rules: Sequence[ThresholdRule], values: Values, *, at: datetime, recorded_at: datetime
) -> list[Breach]:
    """Judge every rule against its subjects; return what opens, keeps, or ends an episode.

    A rule outside its active hours says nothing, and neither does a subject that was not observed.
    """
    active = [rule for rule in rules if rule.metric in METRICS and is_active(rule, at=at)]
    subjects = _subjects(values)
    pairs = _pairs(active, values)
    if not len(pairs.rule):
        return []
    open_causes = _open_causes(active)
    causes = [
        cause_of(active[r].pk, subjects[s].key)
        for r, s in zip(pairs.rule.tolist(), pairs.subject.tolist(), strict=True)
    ]
    in_breach: BoolArray = np.array([cause in open_causes for cause in causes], np.bool_)
    bounds = Bounds.of([threshold_of(rule) for rule in active]).take(pairs.rule)
    verdicts = judge(pairs.value, bounds, in_breach=in_breach)
    limits = bounds.of_severity(verdicts)
    found = []
    for i in np.flatnonzero(in_breach | (verdicts != Verdict.OK)):
        rule, subject = active[pairs.rule[i]], subjects[pairs.subject[i]]
        verdict = Verdict(int(verdicts[i]))
        if verdict is Verdict.NO_DATA and rule.no_data_policy != NoDataPolicy.ALERT:
            continue
        found.append(
            _breach(
                rule,
                subject,
                verdict,
                value=float(pairs.value[i]),
                bound=float(limits[i]),
                at=at,
                recorded_at=recorded_at,
            )
        )
    return found


def is_active(rule: ThresholdRule, *, at: datetime) -> bool:
    """Whether the rule speaks now: always, or in the sessions of its exchange."""
    if not rule.active_calendar:
        return True
    day = timedelta(days=1)
    sessions = session_times(rule.active_calendar, at - day, at + day)
    return bool(((sessions["opened_at"] <= at) & (at < sessions["closed_at"])).any())


def replaced(rules: Iterable[ThresholdRule]) -> set[tuple[int, str, str, UUID]]:
    """Return owner, metric, comparator and strategy wherever a strategy has a rule of its own.

    There it replaces the owner's rule for all strategies.
    """
    return {
        (rule.owner_id, rule.metric, rule.comparator, rule.strategy_id)
        for rule in rules
        if rule.strategy_id is not None
    }


def _subjects(values: Values) -> list[Subject]:
    observations, portfolios = values.observations, values.portfolios
    newest = observations.newest.tolist()
    strategies = [
        Subject("strategy", key, name, moment)
        for key, name, moment in zip(
            observations.strategies, observations.names, newest, strict=True
        )
    ]
    return strategies + [
        Subject("portfolio", key, name, moment)
        for key, name, moment in zip(
            portfolios.ids, portfolios.names, portfolios.newest.tolist(), strict=True
        )
    ]


def _pairs(rules: Sequence[ThresholdRule], values: Values) -> Pairs:
    observations, portfolios = values.observations, values.portfolios
    n = len(observations.strategies)
    place = {key: i for i, key in enumerate(observations.strategies)}
    own = {key: i for i, key in enumerate(portfolios.ids)}
    owners = np.array(observations.owners, np.int64)
    exceptions = replaced(rules)
    parts: list[tuple[IntArray, IntArray, FloatArray]] = []
    for number, rule in enumerate(rules):
        options = (rule.metric, rule.window_bars, rule.minimum_observations)
        if rule.scope == RuleScope.PORTFOLIO:
            if not METRICS[rule.metric].is_for_portfolios or rule.portfolio_id not in own:
                continue
            rows = np.array([own[rule.portfolio_id]], np.int64)
            column, shift = values.of_portfolios(*options), n
        else:
            rows = _strategy_rows(rule, place, owners, exceptions)
            column, shift = values.of_strategies(*options), 0
        parts.append((np.full(len(rows), number), rows + shift, column[rows]))
    if not parts:
        empty = np.empty(0, np.int64)
        return Pairs(empty, empty, np.empty(0))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _strategy_rows(
    rule: ThresholdRule,
    place: dict[UUID, int],
    owners: IntArray,
    exceptions: set[tuple[int, str, str, UUID]],
) -> IntArray:
    if rule.strategy_id is not None:
        row = place.get(rule.strategy_id)
        return np.array([] if row is None else [row], np.int64)
    rows = np.flatnonzero(owners == rule.owner_id)
    excluded = {
        place[strategy]
        for owner, metric, comparator, strategy in exceptions
        if (owner, metric, comparator) == (rule.owner_id, rule.metric, rule.comparator)
        and strategy in place
    }
    return rows[~np.isin(rows, list(excluded))] if excluded else rows


def _open_causes(rules: Sequence[ThresholdRule]) -> set[str]:
    found = Alert.objects.open().filter(rule__in=[rule.pk for rule in rules])
    return set(found.values_list("cause", flat=True))


def _breach(
    rule: ThresholdRule,
    subject: Subject,
    verdict: Verdict,
    *,
    value: float,
    bound: float,
    at: datetime,
    recorded_at: datetime,
) -> Breach:
    title, detail = _words(rule, subject, verdict, value=value, bound=bound)
    is_missing = verdict is Verdict.NO_DATA
    fields: dict[str, Any] = {f"{subject.kind}_id": subject.id}
    newest = datetime.fromtimestamp(subject.newest_us / 1e6, UTC) if subject.newest_us else at
    return Breach(
        cause=cause_of(rule.pk, subject.key),
        source=AlertSource.RULE,
        owner_id=rule.owner_id,
        severity=Severity.WARNING if is_missing else SEVERITIES.get(verdict),
        title=title,
        detail=detail,
        metric=rule.metric,
        value=None if is_missing else value,
        bound=bound,
        breached_at=at if is_missing else min(newest, at),
        recorded_at=recorded_at,
        rule_id=rule.pk,
        group=subject.key,
        evidence={
            "rule": rule.name,
            "rule_version": rule.version,
            "window_bars": rule.window_bars,
            "bounds": [rule.warning_bound, rule.critical_bound, rule.clear_bound],
            "comparator": rule.comparator,
        },
        is_missing=is_missing,
        pending_seconds=rule.pending_seconds,
        cooldown_seconds=rule.cooldown_seconds,
        escalate_after_seconds=rule.escalate_after_seconds,
        **fields,
    )


def _words(
    rule: ThresholdRule, subject: Subject, verdict: Verdict, *, value: float, bound: float
) -> tuple[str, str]:
    metric = METRICS[rule.metric]
    if verdict is Verdict.NO_DATA:
        return f"No data: {metric.label} of {subject.name}", f"Rule “{rule.name}” has no value."
    limit = format_value(metric.format, bound).text
    window = f" over {rule.window_bars} bars" if rule.window_bars else ""
    title = f"{metric.label} {rule.comparator} {limit}"
    return title, f"{format_value(metric.format, value).text} against {limit}{window}"
