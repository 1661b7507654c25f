"""Raise alerts one after the other, as a monitor does: python -m tests.faults.raise_alerts."""

from __future__ import annotations

import sys
import time


def main(owner_id: int, n_alerts: int, pause_seconds: float) -> None:
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.utils.timezone import now

    from monitoring.services.performance_alerts import observe
    from tests.monitoring.alert_builders import breach

    owner = get_user_model().objects.get(pk=owner_id)
    for number in range(n_alerts):
        at = now()
        found = breach(owner, cause=f"rule:{number}", title=f"Alert {number}", breached_at=at)
        observe([found], at=at)
        time.sleep(pause_seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
