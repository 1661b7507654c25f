"""The verdict on each strategy and what it earns live, in the list of strategies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db.models import F
from django.forms import ChoiceField, Field

from alphastrat.core.previews import sparkline
from alphastrat.core.tables import Column
from monitoring.models.verification import VerificationStatus
from portfolio.services.recent_results import recent_results
from strategies.services.table_additions import TableAddition


class VerificationAddition(TableAddition):
    """The status of a strategy's verification, what it earned live, and how that compares."""

    columns = (
        Column("verdict", "Verification", "status", sort="verdict"),
        Column("day_return", "Session", "signed_percent"),
        Column("month_return", "Month", "signed_percent"),
        Column("live_return", "Live return", "signed_percent"),
        Column("live_drawdown", "Live drawdown", "signed_percent"),
        Column("z_score", "z-score", "signed_ratio", options={"places": 1}),
        Column("live_curve", "30 days", "html"),
    )

    def fields(self) -> dict[str, Field]:
        choices = [("", "Any"), *VerificationStatus.choices]
        return {"verdict": ChoiceField(label="Verification", choices=choices, required=False)}

    def annotate(self, strategies: Any) -> Any:
        return strategies.annotate(
            verdict=F("verification__status"),
            live_return=F("verification__metrics__total_return"),
            live_drawdown=F("verification__metrics__drawdown"),
            z_score=F("verification__metrics__departure"),
        )

    def complete(self, strategies: Sequence[Any]) -> None:
        found = recent_results(one.pk for one in strategies) if strategies else {}
        for strategy in strategies:
            if (result := found.get(strategy.pk)) is not None:
                strategy.day_return = result.day_return
                strategy.month_return = result.month_return
                # Drawn where it is shown: files have no pictures.
                strategy.live_curve = partial(
                    sparkline, result.equity, label=f"Equity of {strategy.name} over 30 days"
                )
