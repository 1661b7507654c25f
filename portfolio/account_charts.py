"""The figures of an account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from alphastrat.core import charts, previews
from alphastrat.core.charts import Figure, Panel
from alphastrat.core.formatting import day, money, signed_percent
from portfolio.models import Account, EquityPoint


@dataclass(frozen=True, slots=True)
class EquityChart:
    """Equity, cash and exposure of an account at every close."""

    account: Account
    points: Sequence[tuple[Any, ...]]

    COLUMNS = (
        "marked_at",
        "equity",
        "cash",
        "position_value",
        "realised",
        "unrealised",
        "commission",
        "net_flow",
        "bar_return",
        "gross_exposure",
    )

    @classmethod
    def load(cls, account: Account) -> EquityChart:
        """Read every mark of an account."""
        rows = EquityPoint.objects.filter(account=account).order_by("marked_at")
        return cls(account, list(rows.values_list(*cls.COLUMNS)))

    @property
    def is_empty(self) -> bool:
        return not self.points

    def column(self, name: str) -> list[Any]:
        place = self.COLUMNS.index(name)
        values = [row[place] for row in self.points]
        return values if name == "marked_at" else [None if v is None else float(v) for v in values]

    @property
    def caption(self) -> str:
        """Say in words what the curve shows."""
        if not self.points:
            return "The account has not been marked yet: it is at the close of its first bar."
        first, last = self.points[0], self.points[-1]
        worth = money(last[1], currency=self.account.currency).text
        gained = signed_percent(self.account.total_return).text
        return f"From {day(first[0])} to {day(last[0])}: {worth}, {gained} of what was put in."

    @property
    def svg(self) -> SafeString:
        return previews.svg_preview({"equity": self.column("equity")})

    def draw(self) -> Figure:
        """Return the figure."""
        times = self.column("marked_at")
        traces = [
            charts.line(times, self.column("equity"), name="Equity", role="equity"),
            charts.line(
                times,
                self.column("gross_exposure"),
                name="Exposure",
                role="series-2",
                panel=2,
                fill=True,
            ),
        ]
        panels = (Panel("Equity", "money", 3.0), Panel("Exposure", "percent", 1.0))
        return charts.figure(traces, panels=panels, summary=self.caption)
