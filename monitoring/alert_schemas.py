"""Shapes of the alert API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Schema
from pydantic import AfterValidator

from alphastrat.core.jsonable import jsonable
from monitoring.models import Alert, AlertEvent, AlertState, Severity, ThresholdRule
from monitoring.models.alert import AlertEventKind, AlertSource, SilenceKind
from monitoring.models.rule import Comparator, NoDataPolicy, RuleScope


def _in_utc(moment: datetime) -> datetime:
    """Return an instant in UTC; without a zone it is taken to be in UTC.

    PostgreSQL knows no zone as far from UTC as ISO 8601 can write.
    """
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("This instant is out of range.") from None


Instant = Annotated[datetime, AfterValidator(_in_utc)]


class AlertOut(Schema):
    """One episode of breach. `detected_after_seconds` counts from the breach to its evaluation."""

    id: UUID
    source: AlertSource
    state: AlertState
    severity: Severity
    title: str
    detail: str
    subject: str
    group: str
    metric: str
    value: float | None
    bound: float | None
    strategy_id: UUID | None
    portfolio_id: UUID | None
    rule_id: UUID | None
    breached_at: datetime
    evaluated_at: datetime
    detected_after_seconds: float
    fired_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    comment: str
    snoozed_until: datetime | None
    snoozed_bound: float | None
    escalated_at: datetime | None
    resolved_at: datetime | None
    is_flapping: bool
    feedback: str
    evidence: dict[str, Any]

    @staticmethod
    def resolve_detected_after_seconds(alert: Alert) -> float:
        return alert.detected_after.total_seconds()

    @staticmethod
    def resolve_acknowledged_by(alert: Alert) -> str | None:
        return alert.acknowledged_by.get_username() if alert.acknowledged_by else None

    @staticmethod
    def resolve_evidence(alert: Alert) -> dict[str, Any]:
        return dict(jsonable(alert.evidence))


class AlertEventOut(Schema):
    """One line of an alert's history."""

    kind: AlertEventKind
    happened_at: datetime
    by: str | None
    text: str
    value: float | None

    @staticmethod
    def resolve_by(event: AlertEvent) -> str | None:
        return event.by.get_username() if event.by else None


class AlertFilterIn(Schema):
    """Which alerts to list; `state` firing includes those that somebody has."""

    state: AlertState | None = None
    severity: Severity | None = None
    source: AlertSource | None = None
    strategy_id: UUID | None = None
    portfolio_id: UUID | None = None
    rule_id: UUID | None = None
    acknowledged: bool | None = None
    since: Instant | None = None


class AcknowledgeIn(Schema):
    comment: str = Field("", max_length=500)


class CommentIn(Schema):
    comment: str = Field(max_length=500)


class SnoozeIn(Schema):
    """Until a time, or until the value passes `bound`, whichever comes first."""

    until: Instant | None = None
    bound: float | None = Field(None, allow_inf_nan=False)


class FeedbackIn(Schema):
    feedback: str


class BulkIn(Schema):
    """The same for many alerts at once."""

    ids: list[UUID] = Field(max_length=1_000)
    comment: str = Field("", max_length=500)


class ChangedOut(Schema):
    """How many alerts were changed; the others were so already."""

    n_changed: int


class RuleIn(Schema):
    """A threshold rule; bounds are fractions where the metric prints percent."""

    name: str = Field(max_length=120)
    scope: RuleScope = RuleScope.ALL
    strategy_id: UUID | None = None
    portfolio_id: UUID | None = None
    metric: str
    comparator: Comparator
    warning_bound: float | None = Field(None, allow_inf_nan=False)
    critical_bound: float | None = Field(None, allow_inf_nan=False)
    clear_bound: float | None = Field(None, allow_inf_nan=False)
    window_bars: int | None = Field(None, ge=1, le=100_000)
    minimum_observations: int = Field(1, ge=1, le=100_000)
    pending_seconds: int = Field(0, ge=0, le=2_592_000)
    cooldown_seconds: int = Field(3600, ge=0, le=2_592_000)
    escalate_after_seconds: int | None = Field(None, ge=0, le=2_592_000)
    active_calendar: str = Field("", max_length=10)
    no_data_policy: NoDataPolicy = NoDataPolicy.IGNORE
    is_enabled: bool = True


class RuleChangeIn(RuleIn):
    """A rule as it shall be; `version` is the one the change was made on (409 otherwise)."""

    version: int


class RuleOut(RuleIn):
    """A rule as it is."""

    id: UUID
    version: int
    template: str
    subject: str
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def resolve_subject(rule: ThresholdRule) -> str:
        return rule.subject


class RuleMetricOut(Schema):
    """A metric that rules can be about."""

    key: str
    label: str
    description: str
    unit: str
    scale: float
    needs_window: bool
    has_window: bool
    default_window: int | None
    higher_is_worse: bool
    is_for_portfolios: bool


class RuleSubjectOut(Schema):
    """What the rule would have done on one strategy or portfolio."""

    name: str
    strategy_id: UUID | None
    source: str
    n_fired: int
    fired_at: list[datetime]
    n_years: float
    chance_per_year: float | None
    chance_error: float | None


class RulePreviewOut(Schema):
    """When the rule would have fired over the last year, and how often by chance."""

    words: str
    n_fired: int
    chance_per_year: float | None
    n_left_out: int
    subjects: list[RuleSubjectOut]


class SilenceIn(Schema):
    """What to mute and until when; `matchers` names fields of the alert and their values."""

    kind: SilenceKind = SilenceKind.SILENCE
    matchers: dict[str, str | list[str]] = {}
    starts_at: Instant
    ends_at: Instant
    comment: str = Field(min_length=1, max_length=300)


class SilenceOut(Schema):
    """A silence or maintenance window."""

    id: UUID
    kind: SilenceKind
    matchers: dict[str, str | list[str]]
    starts_at: datetime
    ends_at: datetime
    comment: str
