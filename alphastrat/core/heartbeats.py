"""Signs of life of the long-running processes."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from typing import Any

from django.utils.timezone import now

from alphastrat.core.models import Heartbeat

FRESH_FOR = timedelta(seconds=20)
_started_at = now()


def beat(process: str, detail: dict[str, Any] | None = None) -> None:
    """Write that this `process` is alive, and what it has to say of itself."""
    Heartbeat.objects.bulk_create(
        [
            Heartbeat(
                process=process,
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=_started_at,
                beat_at=now(),
                detail=detail or {},
            )
        ],
        update_conflicts=True,
        unique_fields=["process", "host", "pid"],
        update_fields=["beat_at", "detail"],
    )


def newest(*, at: datetime) -> dict[str, Heartbeat]:
    """Return the freshest heartbeat of each process seen in the last hour."""
    recent = Heartbeat.objects.filter(beat_at__gt=at - timedelta(hours=1))
    return {beat.process: beat for beat in recent.order_by("beat_at")}
