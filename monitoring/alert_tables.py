"""Alerts as rows of tables: numbers in the unit of their metric, times that matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min, OuterRef, QuerySet, Subquery

from alphastrat.core.formatting import format_value
from alphastrat.core.tables import Column
from monitoring.models import Alert, Notification
from monitoring.models.alert import AlertQuerySet
from monitoring.quant.metric_catalogue import METRICS

COLUMNS = (
    Column("severity", "Severity", "status", sort="severity"),
    Column("title", "Alert", sort="title"),
    Column("value", "Value", "ratio"),
    Column("bound", "Limit", "ratio"),
    Column("breached_at", "Breached", "age", sort="breached_at"),
    Column("detected_after", "Seen after", "duration"),
    Column("standing", "State", "status"),
    Column("actions", "Actions"),
)
EXPORTS = (
    Column("id", "id"),
    Column("state", "state"),
    Column("severity", "severity"),
    Column("source", "source"),
    Column("title", "title"),
    Column("detail", "detail"),
    Column("subject", "subject"),
    Column("metric", "metric"),
    Column("value", "value"),
    Column("bound", "bound"),
    Column("breached_at", "breached_at"),
    Column("evaluated_at", "evaluated_at"),
    Column("detected_after", "detected_after_seconds"),
    Column("fired_at", "fired_at"),
    Column("delivered_at", "delivered_at"),
    Column("acknowledged_at", "acknowledged_at"),
    Column("acknowledged_by.username", "acknowledged_by"),
    Column("resolved_at", "resolved_at"),
    Column("is_flapping", "is_flapping"),
    Column("feedback", "feedback"),
    Column("comment", "comment"),
    Column("group", "group"),
)
DELIVERY_COLUMNS = (
    Column("transport.name", "Transport"),
    Column("event.kind", "About"),
    Column("status", "State", "status"),
    Column("attempts", "Attempts", "count"),
    Column("queued_at", "Queued", "time"),
    Column("accepted_at", "Accepted", "time"),
    Column("delay", "Took", "duration"),
    Column("why", "Note"),
)
SIGNAL_COLUMNS = (
    Column("instrument.symbol", "Instrument"),
    Column("signal_type", "Signal", "status"),
    Column("strength", "Strength", "ratio"),
    Column("price", "Price", "price"),
    Column("closed_at", "Bar closed", "time"),
)


@dataclass(frozen=True, slots=True)
class AlertRow:
    """What a row of the inbox shows."""

    alert: Alert
    value: str
    bound: str
    said: str
    lasts: timedelta
    is_snoozed: bool
    can_acknowledge: bool


def with_delivery(alerts: AlertQuerySet) -> QuerySet[Alert]:
    """Annotate when a transport first accepted a message about each alert."""
    first = (
        Notification.objects.filter(alert=OuterRef("pk"))
        .values("alert")
        .annotate(first=Min("accepted_at"))
    )
    return alerts.annotate(delivered_at=Subquery(first.values("first")))


def alert_rows(alerts: Iterable[Alert], *, at: datetime) -> list[AlertRow]:
    return [alert_row(alert, at=at) for alert in alerts]


def alert_row(alert: Alert, *, at: datetime) -> AlertRow:
    """Return an alert as a row; fetch its strategy and portfolio with it."""
    is_open = alert.state != Alert.State.RESOLVED
    value, bound = (shown(alert, one) for one in (alert.value, alert.bound))
    if alert.value is not None and alert.bound is None:
        value = f"{METRICS[alert.metric].label} {value}" if alert.metric in METRICS else value
        said = value
    else:
        said = f"{value} against {bound}" if alert.value is not None else ""
    return AlertRow(
        alert=alert,
        value=value,
        bound=bound,
        said=said,
        lasts=alert.duration(at=at),
        is_snoozed=is_open and alert.is_snoozed(at=at),
        can_acknowledge=is_open and not alert.is_acknowledged,
    )


def shown(alert: Alert, value: float | None) -> str:
    """Return a number in the unit of the alert's metric."""
    metric = METRICS.get(alert.metric)
    return format_value(metric.format if metric else "ratio", value).text
