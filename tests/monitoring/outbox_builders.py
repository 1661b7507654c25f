"""Transports, alerts and their events, as the outbox meets them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from alphastrat.accounts.models import User
from monitoring.models import Alert, AlertEvent, Transport
from monitoring.services import credentials

AT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def make_transport(owner: User, *, name: str = "Hook", url: str = "", **fields: Any) -> Transport:
    """Make a webhook, or another `kind`, to an address that nothing answers at."""
    address = url or "https://hooks.example.org/alerts"
    values = {"kind": "webhook", "signing_key": credentials.encrypt("whsec_c2VjcmV0"), **fields}
    return Transport.objects.create(
        owner=owner, name=name, address=credentials.encrypt(address), **values
    )


def make_alert(owner: User, *, cause: str = "", state: str = "firing", **fields: Any) -> Alert:
    """Make an episode that fired at once."""
    values: dict[str, Any] = {
        "source": "rule",
        "cause": cause or f"rule:{uuid4()}",
        "group": "strategy:1",
        "severity": "critical",
        "title": "Drawdown of Momentum below −15 %",
        "detail": "Drawdown −16.2 %, bound −15 %",
        "metric": "drawdown",
        "value": -0.162,
        "bound": -0.15,
        "state": state,
        "breached_at": AT,
        "recorded_at": AT,
        "evaluated_at": AT,
        "fired_at": AT if state != "pending" else None,
        "resolved_at": AT if state == "resolved" else None,
    }
    return Alert.objects.create(owner=owner, **{**values, **fields})


def make_event(alert: Alert, kind: str = "fired", text: str = "", **fields: Any) -> AlertEvent:
    """Add a line to the history of `alert`."""
    values = {"happened_at": AT, "value": alert.value, "text": text, **fields}
    return AlertEvent.objects.create(alert=alert, kind=kind, **values)
