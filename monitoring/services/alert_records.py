"""Write what happened to alerts: rows, history, live events and messages, set by set.

The number of statements does not depend on the number of alerts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from alphastrat.core import live
from alphastrat.core.formatting import format_value
from alphastrat.core.jsonable import jsonable
from monitoring.models import Alert, AlertEvent
from monitoring.models.alert import AlertEventKind
from monitoring.quant.metric_catalogue import METRICS
from monitoring.services import notifications
from portfolio.models import Portfolio
from strategies.models import Strategy

# What makes a page show a banner; everything else only brings it up to date.
LOUD_KINDS = frozenset(
    {
        AlertEventKind.FIRED,
        AlertEventKind.WORSENED,
        AlertEventKind.ESCALATED,
        AlertEventKind.WOKEN,
    }
)

_COLUMNS: dict[str, str] = {
    "severity": "text",
    "title": "text",
    "detail": "text",
    "value": "float8",
    "bound": "float8",
    "evidence": "jsonb",
    "state": "text",
    "fired_at": "timestamptz",
    "resolved_at": "timestamptz",
    "acknowledged_at": "timestamptz",
    "acknowledged_by_id": "bigint",
    "comment": "text",
    "snoozed_until": "timestamptz",
    "snoozed_bound": "float8",
    "fire_at": "timestamptz",
    "tell_at": "timestamptz",
    "escalate_at": "timestamptz",
    "told_at": "timestamptz",
    "calm_since": "timestamptz",
    "escalated_at": "timestamptz",
    "is_flapping": "boolean",
    "feedback": "text",
}
_UPDATE = f"""
    UPDATE monitoring_alert AS alert
    SET {", ".join(f"{name} = new.{name}" for name in _COLUMNS)}
    FROM jsonb_to_recordset(%s::jsonb) AS new
        (id uuid, {", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())})
    WHERE alert.id = new.id
"""


@dataclass(slots=True)
class AlertRecord:
    """What happened to alerts in one transaction; written by `save`."""

    at: datetime
    by: Any = None
    changed: dict[Any, Alert] = field(default_factory=dict)
    events: list[AlertEvent] = field(default_factory=list)
    told: list[AlertEvent] = field(default_factory=list)

    def note(self, alert: Alert, kind: str, text: str = "", *, tell: bool = False) -> AlertEvent:
        """Add a line to an alert's history; `tell` sends it over the transports."""
        event = AlertEvent(
            alert=alert,
            kind=kind,
            happened_at=self.at,
            by=self.by,
            text=text[:500],
            value=alert.value,
        )
        self.events.append(event)
        if tell:
            alert.told_at, alert.tell_at = self.at, None
            self.told.append(event)
        self.change(alert)
        return event

    def change(self, alert: Alert) -> None:
        """Say that the alert's row has to be written."""
        self.changed[alert.pk] = alert

    def tell_later(self, events: Iterable[AlertEvent]) -> None:
        """Send events that were recorded before, once what held them back is over."""
        self.told.extend(events)

    def save(self, *, inserted: Iterable[Alert] = ()) -> list[Alert]:
        """Write everything; alerts in `inserted` are rows already. Return what changed."""
        fresh = {alert.pk for alert in inserted}
        update([alert for key, alert in self.changed.items() if key not in fresh])
        AlertEvent.objects.bulk_create(self.events)
        live.publish_many(_news(self.events))
        if self.told:
            notifications.queue_for(self.told, at=self.at)
        return list(self.changed.values())


def update(alerts: Sequence[Alert]) -> None:
    """Write the columns that episodes change, in one statement."""
    if not alerts:
        return
    names = ("id", *_COLUMNS)
    rows = [jsonable({name: getattr(alert, name) for name in names}) for alert in alerts]
    with connection.cursor() as cursor:
        cursor.execute(_UPDATE, [json.dumps(rows)])


def _news(events: Sequence[AlertEvent]) -> list[tuple[str, str, dict[str, Any]]]:
    names = _subjects([event.alert for event in events])
    return [
        (
            f"alerts:u{event.alert.owner_id}",
            "alert" if event.kind in LOUD_KINDS else "alert_state",
            payload(event.alert, names.get(event.alert.pk, "")),
        )
        for event in events
    ]


def _subjects(alerts: Sequence[Alert]) -> dict[Any, str]:
    """Return the name of each alert's strategy or portfolio."""
    strategies = _names(Strategy, {alert.strategy_id for alert in alerts})
    portfolios = _names(Portfolio, {alert.portfolio_id for alert in alerts})
    return {
        alert.pk: strategies.get(alert.strategy_id) or portfolios.get(alert.portfolio_id, "")
        for alert in alerts
    }


def _names(model: Any, keys: set[Any]) -> dict[Any, str]:
    wanted = keys - {None}
    if not wanted:
        return {}
    return dict(model.objects.filter(pk__in=wanted).values_list("pk", "name"))


def payload(alert: Alert, subject: str) -> dict[str, Any]:
    """Return what pages are told of an alert."""
    metric = METRICS.get(alert.metric)
    form = metric.format if metric else "ratio"
    return {
        "id": alert.pk,
        "level": alert.severity,
        "state": alert.standing,
        "title": alert.title,
        "strategy": subject,
        "url": alert.get_absolute_url(),
        "value": format_value(form, alert.value).text,
        "limit": format_value(form, alert.bound).text,
        "breached_at": alert.breached_at,
        "group": alert.group,
    }
