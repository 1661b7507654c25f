"""Breaches that are no rule's: verdicts of the verification, limits that stopped trading, silence.

Each returns what opens, keeps, or ends an episode, for `performance_alerts.observe`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Max

from alphastrat.core.access import Role
from alphastrat.core.models import Heartbeat
from monitoring.models import Alert, Severity
from monitoring.models.alert import AlertSource
from monitoring.services.performance_alerts import Breach
from monitoring.services.performance_validator import Verdict
from portfolio.models import Portfolio, RiskAction, StrategyStanding
from portfolio.models.portfolio import TradingState

VERDICTS = {
    "watch": Severity.WARNING,
    "degraded": Severity.CRITICAL,
    "failed": Severity.CRITICAL,
}
STATES = {TradingState.REDUCING: Severity.WARNING, TradingState.HALTED: Severity.CRITICAL}
MANUAL = "MANUAL"
ESCALATE_SECONDS = 3_600
# A process that was heard of lately and is not any more; one that was stopped long ago is no news.
WATCHED = ("worker", "feed")
SILENT_AFTER, KNOWN_FOR = timedelta(seconds=60), timedelta(hours=12)


def of_verdicts(
    verdicts: Sequence[Verdict], *, at: datetime, recorded_at: datetime
) -> list[Breach]:
    """Return a breach for every verdict that needs somebody; insufficient data is no recovery."""
    open_causes = _open_causes(AlertSource.VERIFICATION)
    return [
        Breach(
            cause=cause,
            source=AlertSource.VERIFICATION,
            owner_id=one.owner_id,
            severity=VERDICTS.get(one.status),
            title=f"Verification: {one.status}",
            detail=one.reason,
            metric="health_score",
            value=one.score,
            breached_at=min(one.observed_to or at, at),
            recorded_at=recorded_at,
            strategy_id=one.strategy_id,
            group=f"strategy:{one.strategy_id}",
            evidence={"status": one.status, "e_value": one.e_value, "coverage": one.coverage},
            grade=int(one.status == "failed"),
            is_missing=one.status == "insufficient",
            escalate_after_seconds=ESCALATE_SECONDS if one.status != "watch" else None,
        )
        for one in verdicts
        if (cause := f"verification|strategy:{one.strategy_id}") in open_causes
        or one.status in VERDICTS
    ]


def of_trading_states(*, at: datetime) -> list[Breach]:
    """Return a breach for every portfolio or strategy that a limit keeps from trading.

    What a person stopped is no surprise to them, and makes none.
    """
    open_causes = _open_causes(AlertSource.RISK)
    stopped = Portfolio.objects.exclude(trading_state=TradingState.ACTIVE)
    standings = StrategyStanding.objects.exclude(trading_state=TradingState.ACTIVE)
    codes = _codes()
    found = [
        _stopped("portfolio", one.pk, one.owner_id, one.trading_state, one.state_reason, at=at)
        for one in stopped
        if codes.get(one.pk, MANUAL) != MANUAL
    ] + [
        _stopped(
            "strategy", one.strategy_id, one.strategy.owner_id, one.trading_state, one.reason, at=at
        )
        for one in standings.select_related("strategy")
        if codes.get(one.strategy_id, MANUAL) != MANUAL
    ]
    return found + _ended(AlertSource.RISK, open_causes - {one.cause for one in found}, at=at)


def of_processes(*, at: datetime, watched_since: datetime) -> list[Breach]:
    """Return a breach for every process that has fallen silent, one for each administrator.

    Silence counts from `watched_since` at the earliest: when everything starts together, what was
    heard before it was stopped is no sign that it does not come back.
    """
    beats = Heartbeat.objects.filter(process__in=WATCHED, beat_at__gt=at - KNOWN_FOR)
    newest = dict(beats.values_list("process").annotate(Max("beat_at")))
    people = get_user_model().objects.filter(role=Role.ADMIN, is_active=True)
    admins = list(people.values_list("pk", flat=True))
    found = []
    for process, beat_at in newest.items():
        is_silent = at - max(beat_at, watched_since) > SILENT_AFTER
        found += [
            Breach(
                cause=f"system|process:{process}|user:{admin}",
                source=AlertSource.SYSTEM,
                owner_id=admin,
                severity=Severity.CRITICAL if is_silent else None,
                title=f"No sign of life of the {process}",
                detail=f"Last heard of at {beat_at.astimezone(UTC):%H:%M:%S} UTC.",
                breached_at=beat_at,
                group="system",
            )
            for admin in admins
        ]
    open_causes = _open_causes(AlertSource.SYSTEM)
    return [one for one in found if one.severity is not None or one.cause in open_causes]


def _open_causes(source: str) -> set[str]:
    return set(Alert.objects.open().filter(source=source).values_list("cause", flat=True))


def _codes() -> dict[UUID, str]:
    """Return why each portfolio and strategy last changed its trading state."""
    actions = RiskAction.objects.order_by("taken_at").values_list(
        "portfolio_id", "strategy_id", "code"
    )
    recent = actions.exclude(trading_state=TradingState.ACTIVE)
    return {portfolio or strategy: code for portfolio, strategy, code in recent}


def _stopped(
    kind: str, key: UUID, owner_id: int, state: str, reason: str, *, at: datetime
) -> Breach:
    word = TradingState(state).label.lower()
    return Breach(
        cause=f"risk|{kind}:{key}",
        source=AlertSource.RISK,
        owner_id=owner_id,
        severity=STATES[TradingState(state)],
        title=f"Trading: {word}",
        detail=reason,
        breached_at=at,
        strategy_id=key if kind == "strategy" else None,
        portfolio_id=key if kind == "portfolio" else None,
        group=f"{kind}:{key}",
        escalate_after_seconds=ESCALATE_SECONDS,
    )


def _ended(source: str, causes: set[str], *, at: datetime) -> list[Breach]:
    alerts = Alert.objects.open().filter(source=source, cause__in=causes) if causes else []
    return [
        Breach(
            cause=alert.cause,
            source=source,
            owner_id=alert.owner_id,
            severity=None,
            title=alert.title,
            breached_at=at,
        )
        for alert in alerts
    ]
