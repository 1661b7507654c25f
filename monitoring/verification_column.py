"""The verdict on each strategy, in the list of strategies."""

from __future__ import annotations

from typing import Any

from django.db.models import F

from alphastrat.core.tables import Column


class VerificationAddition:
    """The status of a strategy's verification, and what it earned live."""

    columns: tuple[Column, ...] = (
        Column("verdict", "Verification", "status", sort="verdict"),
        Column("live_return", "Live return", "signed_percent"),
    )

    def annotate(self, strategies: Any) -> Any:
        return strategies.annotate(
            verdict=F("verification__status"),
            live_return=F("verification__metrics__total_return"),
        )
