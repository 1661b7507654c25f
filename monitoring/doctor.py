"""Whether messages go out: their credentials can be read, and none of them is stuck."""

from __future__ import annotations

from datetime import datetime, timedelta

from alphastrat.core.doctor.finding import Finding, error, needs_database, ok, warning
from monitoring.models import Notification, Transport
from monitoring.models.notification import UNSENT
from monitoring.services import credentials

RECENT = timedelta(days=1)
STUCK_AFTER = timedelta(seconds=60)


@needs_database
def transport_credentials(at: datetime) -> Finding:
    name = "transport credentials"
    lost = credentials.unreadable()
    if lost:
        names = ", ".join(transport.name for transport in lost[:5])
        return error(
            name,
            f"No key decrypts the address of {len(lost)} transports: {names}.",
            "Put the old key back into ALPHASTRAT_ENCRYPTION_KEYS, or enter the addresses again.",
        )
    return ok(name, f"{Transport.objects.count()} transports, all readable.")


@needs_database
def deliveries(at: datetime) -> Finding:
    stuck = Notification.objects.filter(status__in=UNSENT, due_at__lt=at - STUCK_AFTER).count()
    if stuck:
        return error(
            "deliveries",
            f"{stuck} messages have been due for over a minute: nothing sends them.",
            "Start the monitor (`make run`), or `manage.py send_alerts --loop`.",
        )
    given_up = Notification.objects.dead().filter(ended_at__gt=at - RECENT).count()
    if given_up:
        return warning(
            "deliveries",
            f"{given_up} messages were given up in the last day.",
            "Correct the transport, then send them again from the deliveries page.",
        )
    return ok("deliveries", "Nothing is stuck, and nothing was given up in the last day.")
