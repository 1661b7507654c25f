"""How long alerts of the last day took, step by step, against their limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from alphastrat.core.heartbeats import FRESH_FOR
from alphastrat.core.models import Heartbeat

DETECTED_WITHIN, DELIVERED_WITHIN = timedelta(seconds=60), timedelta(seconds=30)
EVALUATED_WITHIN = timedelta(seconds=30)
STEPS = (
    ("evaluated", "Breach to evaluated", DETECTED_WITHIN),
    ("stored", "Fired to stored", None),
    ("sent", "Stored to sent", None),
    ("accepted", "Sent to accepted", None),
    ("delivered", "Fired to accepted", DELIVERED_WITHIN),
)
PASS_PARTS = (("alerted", "Pass: rules held, alerts told"), ("stored", "Pass: verdicts stored"))

# A replayed bar closed years ago: its clock starts when it was stored.
_STEPS = """
    WITH alerts AS (
        SELECT a.id, a.evaluated_at, coalesce(a.fired_at, a.evaluated_at) AS fired_at,
            greatest(a.breached_at, coalesce(a.recorded_at, a.breached_at)) AS breached_at
        FROM monitoring_alert a WHERE a.evaluated_at > %(since)s
    ), told AS (
        SELECT DISTINCT ON (a.id) a.fired_at, n.stored_at, n.sent_at, n.accepted_at
        FROM alerts a
        JOIN monitoring_notification n ON n.alert_id = a.id AND n.accepted_at IS NOT NULL
        JOIN monitoring_alertevent e ON e.id = n.event_id AND e.kind = 'fired'
        ORDER BY a.id, n.accepted_at
    )
    SELECT step, count(took),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took),
        percentile_cont(0.95) WITHIN GROUP (ORDER BY took), max(took)
    FROM (SELECT 'evaluated' AS step, evaluated_at - breached_at AS took FROM alerts
          UNION ALL SELECT 'stored', stored_at - fired_at FROM told
          UNION ALL SELECT 'sent', sent_at - stored_at FROM told
          UNION ALL SELECT 'accepted', accepted_at - sent_at FROM told
          UNION ALL SELECT 'delivered', accepted_at - fired_at FROM told) steps
    WHERE took IS NOT NULL GROUP BY step
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way of an alert, and how often it was taken."""

    label: str
    n: int
    median: timedelta | None
    p95: timedelta | None
    longest: timedelta | None
    limit: timedelta | None

    @property
    def status(self) -> str:
        if self.longest is None:
            return "no_data"
        if self.limit is None:
            return ""
        if self.longest <= self.limit:
            return "ok"
        return "warn" if self.p95 is not None and self.p95 <= self.limit else "breach"


def alert_speed(*, at: datetime) -> list[Step]:
    """Return each step from a breach to its message, over the alerts of the last day."""
    with connection.cursor() as cursor:
        cursor.execute(_STEPS, {"since": at - timedelta(days=1)})
        found = {row[0]: (int(row[1]), row[2], row[3], row[4]) for row in cursor.fetchall()}
    nothing = (0, None, None, None)
    return [Step(label, *found.get(key, nothing), limit=limit) for key, label, limit in STEPS]


def pass_speed(*, at: datetime) -> list[Step]:
    """Return how long the newest passes of the active monitor took, as it last said itself."""
    beats = Heartbeat.objects.filter(process="monitor", beat_at__gt=at - FRESH_FOR)
    active = (one for one in beats.order_by("-beat_at") if one.detail.get("state") != "standby")
    said: dict[str, Any] = next((one.detail for one in active), {})
    return [_pass_step(said, part, label) for part, label in PASS_PARTS]


def _pass_step(said: dict[str, Any], part: str, label: str) -> Step:
    taken = said.get(f"{part}_ms") or {}
    median, p95, longest = (
        timedelta(milliseconds=taken[name]) if name in taken else None
        for name in ("p50", "p95", "max")
    )
    return Step(label, said.get("n_passes", 0), median, p95, longest, EVALUATED_WITHIN)
