"""What apps above draw into the price chart: they register here, so that imports point down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd
from django.http import HttpRequest

from alphastrat.core.charts import Panel, Trace
from alphastrat.marketdata.models import Instrument

# Panels of the price chart itself: the price, and the volume.
N_OWN_PANELS = 2


@dataclass(slots=True)
class Drawn:
    """Traces on the price, or in panels of their own below the volume."""

    traces: list[Trace] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)


class ChartAddition(Protocol):
    """Something a reader can add to the price chart; what is added stands in the address."""

    # Rendered above the chart with what `controls` returns.
    template: str

    def controls(self, request: HttpRequest, instrument: Instrument) -> dict[str, Any]: ...

    def draw(
        self, request: HttpRequest, instrument: Instrument, bars: pd.DataFrame, *, n_shown: int
    ) -> Drawn:
        """Draw on the last `n_shown` of the bars; the ones before are for warming up."""
        ...


_additions: list[ChartAddition] = []


def register(addition: ChartAddition) -> None:
    _additions.append(addition)


def additions() -> Sequence[ChartAddition]:
    return tuple(_additions)
