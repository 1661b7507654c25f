"""What is known against stored bars: found again at every look, resolved once it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from alphastrat.marketdata.models import QualityFinding


def keep_findings(
    found: Sequence[QualityFinding],
    kind: QualityFinding.Kind,
    series_ids: Sequence[UUID],
    *,
    at: datetime,
) -> None:
    """Store what was found of one kind in these series; what stood before and is gone, resolve."""
    QualityFinding.objects.bulk_create(
        found,
        update_conflicts=True,
        unique_fields=["series", "kind", "start_at"],
        update_fields=["end_at", "n_bars", "detail", "resolved_at"],
        batch_size=2_000,
    )
    standing = {(finding.series_id, finding.start_at) for finding in found}
    before = QualityFinding.objects.filter(
        series_id__in=series_ids, kind=kind, resolved_at__isnull=True
    )
    gone = [
        key
        for key, series_id, start_at in before.values_list("pk", "series_id", "start_at")
        if (series_id, start_at) not in standing
    ]
    QualityFinding.objects.filter(pk__in=gone).update(resolved_at=at)
