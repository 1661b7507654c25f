"""How the strategies that trade are doing now, and which of them needs somebody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.urls import reverse
from django.utils.safestring import SafeString

from alphastrat.core.previews import sparkline
from monitoring.models import Alert

N_ROWS = 12
N_ALERTS = 6
N_POINTS = 60
# What needs somebody first.
RANKS = {"failed": 0, "degraded": 1, "watch": 2, "insufficient": 3, "monitoring": 4, "verified": 5}

# One row per open account: its worth now, at the end of the day before, and of the month before;
# capital that came or went since then is no result.
_ROWS = """
    SELECT s.id, s.name, s.state, s.timeframe, a.id, a.currency, v.status, v.score, v.reason,
        v.metrics, newest.marked_at, newest.equity, before.equity, month.equity,
        coalesce(flow.day, 0), coalesce(flow.month, 0),
        (SELECT count(*) FROM monitoring_alert x
         WHERE x.strategy_id = s.id AND x.state = 'firing')
    FROM portfolio_account a
    JOIN strategies s ON s.id = a.strategy_id
    LEFT JOIN monitoring_verification v ON v.strategy_id = s.id
    LEFT JOIN LATERAL (
        SELECT p.marked_at, p.equity FROM portfolio_equitypoint p
        WHERE p.account_id = a.id ORDER BY p.marked_at DESC LIMIT 1
    ) newest ON true
    LEFT JOIN LATERAL (
        SELECT p.marked_at, p.equity FROM portfolio_equitypoint p
        WHERE p.account_id = a.id
            AND p.marked_at < date_trunc('day', newest.marked_at, 'UTC')
        ORDER BY p.marked_at DESC LIMIT 1
    ) before ON true
    LEFT JOIN LATERAL (
        SELECT p.marked_at, p.equity FROM portfolio_equitypoint p
        WHERE p.account_id = a.id
            AND p.marked_at < date_trunc('month', newest.marked_at, 'UTC')
        ORDER BY p.marked_at DESC LIMIT 1
    ) month ON true
    LEFT JOIN LATERAL (
        SELECT sum(p.net_flow) FILTER (WHERE p.marked_at > before.marked_at) AS day,
            sum(p.net_flow) AS month
        FROM portfolio_equitypoint p
        WHERE p.account_id = a.id AND p.net_flow <> 0
            AND p.marked_at > coalesce(month.marked_at, before.marked_at, 'infinity'::timestamptz)
    ) flow ON true
    WHERE a.closed_at IS NULL AND (%(owner)s::bigint IS NULL OR s.owner_id = %(owner)s)
"""
_POINTS = """
    SELECT a.id, (
        SELECT array_agg(q.equity::float8 ORDER BY q.marked_at) FROM (
            SELECT p.marked_at, p.equity FROM portfolio_equitypoint p
            WHERE p.account_id = a.id ORDER BY p.marked_at DESC LIMIT %(limit)s
        ) q)
    FROM unnest(%(accounts)s::uuid[]) AS a (id)
"""


@dataclass(slots=True)
class LiveRow:
    """One strategy that trades."""

    id: UUID
    name: str
    state: str
    account_id: UUID
    currency: str
    status: str
    score: float | None
    reason: str
    drawdown: float | None
    percentile: float | None
    marked_at: datetime | None
    equity: Decimal | None
    day_pnl: Decimal | None
    day_return: float | None
    month_pnl: Decimal | None
    n_alerts: int
    spark: SafeString = field(default_factory=SafeString)

    @property
    def href(self) -> str:
        return reverse("strategies:strategy-detail", args=[self.id])


@dataclass(frozen=True, slots=True)
class LiveOverview:
    """All strategies that trade: totals, and the rows that come first."""

    rows: tuple[LiveRow, ...]
    n_strategies: int
    n_needing: int
    n_verified: int
    n_alerts: int
    currency: str
    day_pnl: Decimal | None
    day_return: float | None
    month_pnl: Decimal | None
    worst_drawdown: LiveRow | None
    newest_at: datetime | None


def live_overview(user: Any) -> LiveOverview | None:
    """Return the standing of the user's open accounts; None where nothing trades.

    Two statements for any number of strategies. Amounts are added up where all accounts have one
    currency.
    """
    owner = None if user.sees_everyone else user.pk
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, {"owner": owner})
        rows = [_row(record) for record in cursor.fetchall()]
    if not rows:
        return None
    rows.sort(key=lambda row: (RANKS.get(row.status, 3), -row.n_alerts, row.name))
    shown = tuple(rows[:N_ROWS])
    _draw(shown)
    currencies = {row.currency for row in rows}
    is_one = len(currencies) == 1
    day = _total([row.day_pnl for row in rows]) if is_one else None
    equity = _total([row.equity for row in rows]) if is_one else None
    before = equity - day if equity is not None and day is not None else None
    falling = [row for row in rows if row.drawdown is not None]
    return LiveOverview(
        rows=shown,
        n_strategies=len(rows),
        n_needing=sum(RANKS.get(row.status, 3) < 3 for row in rows),
        n_verified=sum(row.status == "verified" for row in rows),
        n_alerts=sum(row.n_alerts for row in rows),
        currency=next(iter(currencies)) if is_one else "",
        day_pnl=day,
        day_return=float(day / before) if day is not None and before else None,
        month_pnl=_total([row.month_pnl for row in rows]) if is_one else None,
        worst_drawdown=min(falling, key=lambda row: row.drawdown or 0.0, default=None),
        newest_at=max((row.marked_at for row in rows if row.marked_at), default=None),
    )


def open_alerts(user: Any) -> list[Alert]:
    """Return the newest alerts that fire."""
    found = Alert.objects.for_user(user).firing().listed()
    return list(found.order_by("-fired_at")[:N_ALERTS])


def _row(record: Sequence[Any]) -> LiveRow:
    (key, name, state, _, account, currency, status, score, reason, metrics, *rest) = record
    marked_at, equity, before, month, day_flow, month_flow, n_alerts = rest
    day_pnl = None if before is None else equity - before - day_flow
    known: dict[str, Any] = _document(metrics)
    return LiveRow(
        id=key,
        name=name,
        state=state,
        account_id=account,
        currency=currency,
        status=status or "insufficient",
        score=score,
        reason=reason or "",
        drawdown=known.get("drawdown"),
        percentile=known.get("percentile"),
        marked_at=marked_at,
        equity=equity,
        day_pnl=day_pnl,
        day_return=float(day_pnl / before) if day_pnl is not None and before else None,
        month_pnl=None if month is None else equity - month - month_flow,
        n_alerts=n_alerts,
    )


def _document(metrics: Any) -> dict[str, Any]:
    # A cursor of its own gives jsonb as text.
    if isinstance(metrics, str):
        return dict(json.loads(metrics))
    return metrics or {}


def _draw(rows: Sequence[LiveRow]) -> None:
    with connection.cursor() as cursor:
        accounts = [row.account_id for row in rows]
        cursor.execute(_POINTS, {"accounts": accounts, "limit": N_POINTS})
        points = dict(cursor.fetchall())
    for row in rows:
        row.spark = sparkline(points.get(row.account_id) or [], label=f"Equity of {row.name}")


def _total(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known else None
