"""Turn breaches into episodes: opened once, told once, ended only by evidence.

The only writer of episodes. People's own actions on them are in `alert_actions`.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from alphastrat.core.formatting import duration
from monitoring.models import Alert, AlertEvent, AlertState, Severity
from monitoring.models.alert import AlertEventKind, AlertQuerySet, AlertSource
from monitoring.quant.flapping import CALM_SECONDS, FLAPPING_SECONDS, is_calm, is_flapping
from monitoring.quant.thresholds import Verdict, is_told_again
from monitoring.services.alert_records import AlertRecord
from strategies.models import LifecycleState

logger = logging.getLogger(__name__)

Kind = AlertEventKind
RANKS = {None: Verdict.OK, Severity.INFO: Verdict.OK}
RANKS |= {Severity.WARNING: Verdict.WARNING, Severity.CRITICAL: Verdict.CRITICAL}
LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Breach:
    """What one evaluation says about one cause: in breach, within bounds, or nothing known.

    `severity` None means that the metric is within its (clear) bound. `is_missing` means that
    nothing is known: an episode that is open stays as it is, and with a severity it opens one for
    the missing data. Of two breaches of one severity the one of the higher `grade` is worse.
    """

    cause: str
    source: str
    owner_id: int
    severity: str | None
    title: str
    breached_at: datetime
    detail: str = ""
    metric: str = ""
    value: float | None = None
    bound: float | None = None
    strategy_id: UUID | None = None
    portfolio_id: UUID | None = None
    rule_id: UUID | None = None
    group: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    grade: int = 0
    is_missing: bool = False
    recorded_at: datetime | None = None
    pending_seconds: int = 0
    cooldown_seconds: int = 3600
    escalate_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier episodes of a cause: seconds since each ended, and what was last told."""

    ages: tuple[float, ...] = ()
    told_seconds: float = math.inf
    told_severity: Verdict = Verdict.OK
    told_at: datetime | None = None


@transaction.atomic
def observe(breaches: Sequence[Breach], *, at: datetime) -> list[Alert]:
    """Open, keep, worsen or end the episodes of `breaches`; return the alerts that changed.

    Missing data never ends an episode: silence from a dead feed is no recovery. Two monitors that
    see the same breach open one episode; so does one that sees it twice.
    """
    by_cause = {breach.cause: breach for breach in sorted(breaches, key=_rank)}
    causes = sorted(by_cause)
    record = AlertRecord(at)
    # In one order, so that two monitors wait for each other and never for themselves.
    known = Alert.objects.open().filter(cause__in=causes).order_by("cause").select_for_update()
    open_alerts = {alert.cause: alert for alert in known}
    for cause, alert in open_alerts.items():
        _continue(alert, by_cause[cause], record)
    fresh = [
        by_cause[cause]
        for cause in causes
        if cause not in open_alerts and by_cause[cause].severity is not None
    ]
    inserted = _open(fresh, record)
    return record.save(inserted=inserted)


@transaction.atomic
def advance(*, at: datetime) -> list[Alert]:
    """Do what time alone brings about: pending periods, cooldowns, snoozes and patience end."""
    record = AlertRecord(at)
    due = Q(fire_at__lte=at) | Q(tell_at__lte=at) | Q(snoozed_until__lte=at)
    due |= Q(escalate_at__lte=at)
    held_back: list[Alert] = []
    alerts = Alert.objects.open().filter(due).order_by("cause").select_for_update(skip_locked=True)
    locked = list(alerts)
    pending = [alert for alert in locked if alert.fire_at is not None and alert.fire_at <= at]
    past = _past({alert.cause: _cooldown(alert) for alert in pending}, at=at)
    for alert in locked:
        if alert.fire_at is not None and alert.fire_at <= at:
            _fire(alert, record, past.get(alert.cause, Past()))
        if alert.snoozed_until is not None and alert.snoozed_until <= at:
            wake(alert, record, "The time it was snoozed for is over.")
        if alert.tell_at is not None and alert.tell_at <= at and not alert.is_snoozed(at=at):
            held_back.append(alert)
            alert.told_at, alert.tell_at = at, None
            record.change(alert)
        if alert.escalate_at is not None and alert.escalate_at <= at:
            _escalate(alert, record)
    if held_back:
        fired = AlertEvent.objects.filter(alert__in=held_back, kind=Kind.FIRED)
        record.tell_later(fired.select_related("alert"))
    return record.save()


@transaction.atomic
def end_orphans(*, at: datetime) -> list[Alert]:
    """End episodes that nothing will evaluate again: rule off or gone, strategy retired."""
    record = AlertRecord(at)
    alerts = _orphans(Alert.objects.open().filter(source=AlertSource.RULE))
    for alert in alerts.order_by("cause").select_for_update(of=("self",), skip_locked=True):
        resolve(alert, record, "Ended: its rule was switched off, or its strategy retired.")
    return record.save()


def resolve(alert: Alert, record: AlertRecord, text: str) -> None:
    """End an episode; people are told if they had been told of it."""
    was_told = alert.told_at is not None and alert.state == AlertState.FIRING
    alert.state, alert.resolved_at = AlertState.RESOLVED, record.at
    alert.fire_at = alert.tell_at = alert.escalate_at = None
    alert.snoozed_until, alert.snoozed_bound = None, None
    told_at = alert.told_at
    record.note(alert, Kind.RESOLVED, text, tell=was_told)
    # The cooldown counts from the last message about a breach.
    alert.told_at = told_at
    logger.info("alert resolved", extra={"alert": str(alert.pk), "cause": alert.cause})


def wake(alert: Alert, record: AlertRecord, text: str) -> None:
    """End a snooze; what still fires is told again."""
    alert.snoozed_until, alert.snoozed_bound = None, None
    record.note(alert, Kind.WOKEN, text, tell=alert.state == AlertState.FIRING)


def _rank(breach: Breach) -> Verdict:
    """Of two findings about one cause the worse one counts: it is sorted last."""
    return Verdict.NO_DATA if breach.is_missing else RANKS[_severity(breach.severity)]


def _severity(value: str | None) -> Severity | None:
    return None if value is None else Severity(value)


def _continue(alert: Alert, breach: Breach, record: AlertRecord) -> None:
    if breach.is_missing:
        return
    if breach.severity is None:
        _recover(alert, breach, record)
        return
    if alert.calm_since is not None:
        alert.calm_since = None
        record.change(alert)
    held = (RANKS[_severity(alert.severity)], alert.evidence.get("grade", 0))
    is_worse = (RANKS[_severity(breach.severity)], breach.grade) > held
    detail = breach.detail[:LONGEST_DETAIL]
    if (alert.value, alert.detail) != (breach.value, detail) or is_worse:
        alert.value, alert.detail = breach.value, detail
        record.change(alert)
    if is_worse:
        _worsen(alert, breach, record)
    if _is_beyond_snooze(alert, breach):
        wake(alert, record, "The bound it was snoozed until has been passed.")


def _recover(alert: Alert, breach: Breach, record: AlertRecord) -> None:
    if alert.is_flapping and alert.calm_since is None:
        alert.calm_since = record.at
        record.change(alert)
    calm = (record.at - (alert.calm_since or record.at)).total_seconds()
    if not is_calm(calm, flapping=alert.is_flapping):
        return
    alert.value = breach.value
    lasted = duration(alert.duration(at=record.at)).text
    resolve(alert, record, f"Recovered after {lasted}.")


def _worsen(alert: Alert, breach: Breach, record: AlertRecord) -> None:
    before = alert.severity
    alert.severity, alert.title = str(breach.severity), breach.title
    alert.bound, alert.evidence = breach.bound, _evidence(breach)
    if alert.state == AlertState.FIRING:
        is_graver = before != alert.severity
        step = f"From {before} to {breach.severity}" if is_graver else breach.title
        text = f"{step}: {breach.detail}"
        record.note(alert, Kind.WORSENED, text, tell=True)


def _is_beyond_snooze(alert: Alert, breach: Breach) -> bool:
    if alert.snoozed_bound is None or breach.value is None or breach.bound is None:
        return False
    # A breach lies on the far side of its bound, which tells the direction.
    sign = 1.0 if breach.value >= breach.bound else -1.0
    return sign * breach.value > sign * alert.snoozed_bound


def _open(breaches: Sequence[Breach], record: AlertRecord) -> list[Alert]:
    """Insert an episode for each breach that nobody else has opened meanwhile."""
    if not breaches:
        return []
    cooldowns = {breach.cause: breach.cooldown_seconds for breach in breaches}
    past = _past(cooldowns, at=record.at)
    drafts = [_draft(breach, at=record.at) for breach in breaches]
    plans = AlertRecord(record.at)
    for alert, breach in zip(drafts, breaches, strict=True):
        before = past.get(breach.cause, Past())
        alert.is_flapping = is_flapping(before.ages)
        if breach.pending_seconds:
            alert.fire_at = record.at + timedelta(seconds=breach.pending_seconds)
            plans.note(alert, Kind.OPENED, breach.detail)
        else:
            _fire(alert, plans, before, breach)
    Alert.objects.bulk_create(drafts, ignore_conflicts=True)
    ours = Alert.objects.filter(pk__in=[alert.pk for alert in drafts])
    kept = set(ours.values_list("pk", flat=True))
    record.changed |= {key: alert for key, alert in plans.changed.items() if key in kept}
    record.events += [event for event in plans.events if event.alert_id in kept]
    record.told += [event for event in plans.told if event.alert_id in kept]
    opened = [alert for alert in drafts if alert.pk in kept]
    if opened:
        logger.info("alerts opened", extra={"count": len(opened)})
    return opened


def _draft(breach: Breach, *, at: datetime) -> Alert:
    subject = f"strategy:{breach.strategy_id}" if breach.strategy_id else ""
    subject = subject or (f"portfolio:{breach.portfolio_id}" if breach.portfolio_id else "")
    return Alert(
        owner_id=breach.owner_id,
        source=breach.source,
        rule_id=breach.rule_id,
        strategy_id=breach.strategy_id,
        portfolio_id=breach.portfolio_id,
        cause=breach.cause,
        group=breach.group or subject or breach.source,
        severity=str(breach.severity),
        title=breach.title[:200],
        detail=breach.detail[:LONGEST_DETAIL],
        metric=breach.metric,
        value=breach.value,
        bound=breach.bound,
        evidence=_evidence(breach),
        state=AlertState.PENDING,
        breached_at=breach.breached_at,
        recorded_at=breach.recorded_at,
        evaluated_at=at,
    )


def _evidence(breach: Breach) -> dict[str, Any]:
    policy = {
        "cooldown_seconds": breach.cooldown_seconds,
        "escalate_after_seconds": breach.escalate_after_seconds,
    }
    return {**breach.evidence, "grade": breach.grade, "policy": policy}


def _fire(alert: Alert, record: AlertRecord, before: Past, breach: Breach | None = None) -> None:
    policy = alert.evidence.get("policy", {})
    alert.state, alert.fired_at, alert.fire_at = AlertState.FIRING, record.at, None
    patience = policy.get("escalate_after_seconds")
    if patience is not None:
        alert.escalate_at = record.at + timedelta(seconds=patience)
    cooldown = _cooldown(alert)
    severity = RANKS[_severity(alert.severity)]
    tell = not alert.is_snoozed(at=record.at) and is_told_again(
        before.told_seconds,
        cooldown=cooldown,
        severity=severity,
        told_severity=before.told_severity,
    )
    text = (breach.detail if breach else alert.detail) or alert.title
    if alert.is_flapping:
        calm = duration(CALM_SECONDS).text
        text = f"Comes and goes: it stays open until it has been calm for {calm}. {text}"
    record.note(alert, Kind.FIRED, text, tell=tell)
    if not tell and before.told_at is not None:
        alert.tell_at = before.told_at + timedelta(seconds=cooldown)


def _escalate(alert: Alert, record: AlertRecord) -> None:
    if alert.is_acknowledged:
        alert.escalate_at = None
        record.change(alert)
    elif not alert.is_snoozed(at=record.at):
        alert.escalate_at, alert.escalated_at = None, record.at
        waited = duration(record.at - (alert.fired_at or record.at)).text
        record.note(alert, Kind.ESCALATED, f"Nobody acknowledged it for {waited}.", tell=True)


def _cooldown(alert: Alert) -> int:
    return int(alert.evidence.get("policy", {}).get("cooldown_seconds", 0))


def _past(cooldowns: Mapping[str, int], *, at: datetime) -> dict[str, Past]:
    """Read what cooldown and flapping need of the earlier episodes of each cause."""
    if not cooldowns:
        return {}
    since = at - timedelta(seconds=max([FLAPPING_SECONDS, *cooldowns.values()]))
    rows = (
        Alert.objects.filter(cause__in=list(cooldowns))
        .filter(Q(resolved_at__gt=since) | Q(told_at__gt=since), state=AlertState.RESOLVED)
        .order_by("told_at")
        .values_list("cause", "resolved_at", "told_at", "severity")
    )
    episodes: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for cause, *episode in rows:
        episodes[cause].append(tuple(episode))
    return {cause: _summary(found, at=at) for cause, found in episodes.items()}


def _summary(episodes: list[tuple[Any, ...]], *, at: datetime) -> Past:
    ages = tuple((at - resolved_at).total_seconds() for resolved_at, _, _ in episodes)
    told = [(told_at, severity) for _, told_at, severity in episodes if told_at is not None]
    if not told:
        return Past(ages)
    told_at, severity = told[-1]
    return Past(ages, (at - told_at).total_seconds(), RANKS[_severity(severity)], told_at)


def _orphans(alerts: AlertQuerySet) -> AlertQuerySet:
    is_retired = Q(strategy__state=LifecycleState.RETIRED)
    return alerts.filter(Q(rule__isnull=True) | Q(rule__is_enabled=False) | is_retired)
