"""Why no message is sent about an alert: silences, maintenance windows and snoozes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from monitoring.models import Alert, Silence


def mute_reasons(alerts: Collection[Alert], *, at: datetime) -> dict[UUID, str]:
    """Return why each muted alert is muted at `at`; one read for any number of alerts."""
    silences: dict[int, list[Silence]] = defaultdict(list)
    owners = {alert.owner_id for alert in alerts}
    for silence in Silence.objects.active(at=at).filter(owner__in=owners).order_by("-ends_at"):
        silences[silence.owner_id].append(silence)
    reasons = {alert.pk: _mute_reason(alert, silences[alert.owner_id], at=at) for alert in alerts}
    return {key: reason for key, reason in reasons.items() if reason}


def is_matched(alert: Alert, matchers: dict[str, Any]) -> bool:
    """Whether every matcher names the alert's own value; without matchers every alert matches."""
    return all(
        _value(alert, name) in (wanted if isinstance(wanted, list) else [str(wanted)])
        for name, wanted in matchers.items()
    )


def _value(alert: Alert, name: str) -> str:
    if name in {"strategy", "portfolio", "rule"}:
        return str(getattr(alert, f"{name}_id") or "")
    return str(getattr(alert, name, ""))


def _mute_reason(alert: Alert, silences: Iterable[Silence], *, at: datetime) -> str:
    if alert.is_snoozed(at=at):
        until = f"{alert.snoozed_until:%Y-%m-%d %H:%M} UTC" if alert.snoozed_until else ""
        return f"Snoozed until {until or 'it passes another bound'}"
    for silence in silences:
        if is_matched(alert, silence.matchers):
            kind, until = silence.get_kind_display(), f"{silence.ends_at:%Y-%m-%d %H:%M} UTC"
            return f"{kind} until {until}: {silence.comment}"[:300]
    return ""
