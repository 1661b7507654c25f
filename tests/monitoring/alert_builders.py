"""Plain functions that make the rows of alert tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.models import Alert, Severity, ThresholdRule
from monitoring.services.performance_alerts import Breach, observe
from strategies.models import Strategy

NOW = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def plain_strategy(owner: Any, name: str = "RSI", **fields: Any) -> Strategy:
    """Make a strategy that trades on paper, without versions or bars."""
    values = {"plugin": "rsi_mean_reversion", "state": "paper", **fields}
    return Strategy.objects.create(owner=owner, name=name, **values)


def make_rule(owner: Any, name: str = "Drawdown", **fields: Any) -> ThresholdRule:
    values: dict[str, Any] = {
        "metric": "drawdown",
        "comparator": "below",
        "warning_bound": -0.05,
        "critical_bound": -0.10,
        "clear_bound": -0.03,
    }
    return ThresholdRule.objects.create(owner=owner, name=name, **{**values, **fields})


def breach(owner: Any, **fields: Any) -> Breach:
    """Return a drawdown of 6 % against a bound of 5 %."""
    values: dict[str, Any] = {
        "cause": "rule:1|strategy:1",
        "source": "rule",
        "owner_id": owner.pk,
        "severity": Severity.WARNING,
        "title": "Drawdown below −5.00%",
        "detail": "−6.00% against −5.00%",
        "metric": "drawdown",
        "value": -0.06,
        "bound": -0.05,
        "breached_at": NOW - timedelta(seconds=1),
        "cooldown_seconds": 0,
    }
    return Breach(**{**values, **fields})


def calm(owner: Any, **fields: Any) -> Breach:
    """Return the same cause within its bounds."""
    return breach(owner, severity=None, value=-0.01, **fields)


def firing(owner: Any, *, at: datetime = NOW, **fields: Any) -> Alert:
    """Make an alert that fires."""
    (alert,) = observe([breach(owner, **fields)], at=at)
    return alert
