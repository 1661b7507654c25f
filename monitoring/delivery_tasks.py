"""What the workers do for deliveries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils.timezone import now

from alphastrat.core.job_progress import JobProgress
from alphastrat.core.jobs import job_task
from monitoring.services import delivery_retention


@job_task
def forget_old_deliveries(progress: JobProgress) -> dict[str, Any]:
    """Delete deliveries older than DELIVERY_RETENTION_DAYS; 0 keeps them for ever."""
    days = settings.DELIVERY_RETENTION_DAYS
    if days <= 0:
        return {"deleted": 0}
    before = now() - timedelta(days=days)
    return {"deleted": delivery_retention.forget_old_deliveries(before=before)}
