"""Silences as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alphastrat.core.tables import Column
from monitoring.models import Silence
from monitoring.quant.metric_catalogue import METRICS
from portfolio.models import Portfolio
from strategies.models import Strategy

COLUMNS = (
    Column("comment", "Why"),
    Column("kind", "Kind"),
    Column("matches", "Mutes"),
    Column("starts_at", "From", "time"),
    Column("ends_at", "Until", "time"),
    Column("state", "State", "status"),
    Column("actions", "Actions"),
)


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """What the table shows of a silence."""

    silence: Silence
    matches: str
    state: str
    can_end: bool


def silence_rows(silences: Iterable[Silence], user: Any, *, at: datetime) -> list[SilenceRow]:
    """Return silences as rows; strategies and portfolios are named with one read each."""
    kept = list(silences)
    names = {
        "strategy": _names(Strategy, kept, "strategy", user),
        "portfolio": _names(Portfolio, kept, "portfolio", user),
        "metric": {key: metric.label for key, metric in METRICS.items()},
    }
    return [
        SilenceRow(
            silence=one,
            matches=_words(one, names),
            state=_state(one, at=at),
            can_end=one.ends_at > at,
        )
        for one in kept
    ]


def _names(model: Any, silences: list[Silence], kind: str, user: Any) -> dict[str, str]:
    keys = {one.matchers[kind] for one in silences if isinstance(one.matchers.get(kind), str)}
    if not keys:
        return {}
    found = model.objects.for_user(user).filter(pk__in=keys)
    return {str(key): name for key, name in found.values_list("pk", "name")}


def _words(silence: Silence, names: dict[str, dict[str, str]]) -> str:
    parts = [
        f"{kind} {names.get(kind, {}).get(str(value), value)}"
        for kind, value in silence.matchers.items()
    ]
    return ", ".join(parts) if parts else "everything"


def _state(silence: Silence, *, at: datetime) -> str:
    if silence.ends_at <= at:
        return "expired"
    return "pending" if silence.starts_at > at else "silenced"
