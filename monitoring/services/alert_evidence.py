"""What lies behind an alert: its history, its deliveries, and the signals around it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from monitoring.models import Alert, AlertEvent, Notification
from strategies.models import StrategySignal
from strategies.models.signal import SignalKind

AROUND = timedelta(days=5)
N_SIGNALS, N_OTHERS, N_DELIVERIES = 12, 8, 50


def timeline(alert: Alert) -> list[AlertEvent]:
    """Return what happened to an alert, newest first."""
    return list(alert.events.select_related("by").order_by("-happened_at", "-pk"))


def deliveries(alert: Alert) -> list[Notification]:
    """Return the messages about an alert, newest first."""
    return list(Notification.objects.filter(alert=alert).listed()[:N_DELIVERIES])


def related_signals(alert: Alert) -> list[StrategySignal]:
    """Return what the strategy wanted around the breach, without holds, newest first."""
    if alert.strategy_id is None:
        return []
    around = StrategySignal.objects.filter(
        strategy=alert.strategy_id,
        closed_at__range=(alert.breached_at - AROUND, alert.breached_at + AROUND),
    )
    signals = around.exclude(signal_type=SignalKind.HOLD).select_related("instrument")
    return list(signals.order_by("-closed_at")[:N_SIGNALS])


def others_of_group(alert: Alert, user: Any) -> list[Alert]:
    """Return the other open alerts of the same group."""
    others = Alert.objects.for_user(user).open().filter(group=alert.group).exclude(pk=alert.pk)
    return list(others.listed()[:N_OTHERS])
