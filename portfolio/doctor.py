"""Whether the keys of accounts at brokers can be read."""

from __future__ import annotations

from datetime import datetime

from alphastrat.core.doctor.finding import Finding, error, needs_database, ok
from portfolio.models import BrokerKey
from portfolio.services import broker_keys


@needs_database
def broker_credentials(at: datetime) -> Finding:
    name = "broker keys"
    lost = broker_keys.unreadable()
    if lost:
        return error(
            name,
            f"No key decrypts the broker keys of {len(lost)} accounts.",
            "Put the old key back into ALPHASTRAT_ENCRYPTION_KEYS, or enter the keys again.",
        )
    return ok(name, f"{BrokerKey.objects.count()} accounts with a key of their own, all readable.")
