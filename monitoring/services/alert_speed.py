"""How long alerts of the last day took, step by step, against their limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

DETECTED_WITHIN, DELIVERED_WITHIN = timedelta(seconds=60), timedelta(seconds=30)

# A replayed bar closed years ago: its clock starts when it was stored.
_STEPS = """
    WITH alerts AS (
        SELECT a.evaluated_at - greatest(a.breached_at, coalesce(a.recorded_at, a.breached_at))
                AS detected,
            (SELECT min(n.accepted_at) FROM monitoring_notification n WHERE n.alert_id = a.id)
                - coalesce(a.fired_at, a.evaluated_at) AS delivered
        FROM monitoring_alert a WHERE a.evaluated_at > %(since)s
    )
    SELECT step, count(took),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took),
        percentile_cont(0.95) WITHIN GROUP (ORDER BY took), max(took)
    FROM (SELECT 'detected' AS step, detected AS took FROM alerts
          UNION ALL SELECT 'delivered', delivered FROM alerts) steps
    WHERE took IS NOT NULL GROUP BY step
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way of an alert."""

    label: str
    n_alerts: int
    median: timedelta | None
    p95: timedelta | None
    longest: timedelta | None
    limit: timedelta

    @property
    def status(self) -> str:
        if self.longest is None:
            return "no_data"
        if self.longest <= self.limit:
            return "ok"
        return "warn" if self.p95 is not None and self.p95 <= self.limit else "breach"


def alert_speed(*, at: datetime) -> list[Step]:
    """Return each step from a breach to its message, over the alerts of the last day."""
    with connection.cursor() as cursor:
        cursor.execute(_STEPS, {"since": at - timedelta(days=1)})
        found = {row[0]: (int(row[1]), row[2], row[3], row[4]) for row in cursor.fetchall()}
    steps = (
        ("detected", "Breach seen", DETECTED_WITHIN),
        ("delivered", "Message accepted", DELIVERED_WITHIN),
    )
    nothing = (0, None, None, None)
    return [Step(label, *found.get(key, nothing), limit=limit) for key, label, limit in steps]
