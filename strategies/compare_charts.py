"""The figures of a comparison: growth and drawdown of several runs on the same axes."""

from __future__ import annotations

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Figure, Panel
from alphastrat.core.formatting import percent, signed_percent
from strategies.services.comparison import Comparison

# More lines than this cannot be told apart.
MAX_LINES = 6


def growth_caption(found: Comparison) -> str:
    """Say which run grew most and which least."""
    final = found.growth[-1]
    best, worst = int(final.argmax()), int(final.argmin())
    return (
        f"From {found.times[0]:%Y-%m-%d} to {found.times[-1]:%Y-%m-%d} "
        f"{found.labels[best]} grew most ({signed_percent(final[best] - 1)}), "
        f"{found.labels[worst]} least ({signed_percent(final[worst] - 1)})."
    )


def drawdown_caption(found: Comparison) -> str:
    """Say which run fell deepest."""
    lows = found.drawdowns.min(axis=0)
    worst = int(lows.argmin())
    return f"{found.labels[worst]} fell deepest: {percent(lows[worst])} below its peak."


def growth(found: Comparison) -> Figure:
    """Draw the growth of one unit from the first common bar."""
    return _lines(found, found.growth, Panel("Growth of 1", "ratio"), growth_caption(found))


def drawdowns(found: Comparison) -> Figure:
    """Draw how far each run is below its peak."""
    panel = Panel("Below peak", "percent")
    return _lines(found, found.drawdowns, panel, drawdown_caption(found))


def previews_of(values: object) -> dict[str, list[float]]:
    """Return the first lines by role, for the picture that stands for a figure."""
    matrix = np.asarray(values, float)
    shown = range(min(matrix.shape[1], MAX_LINES))
    return {f"series-{j + 1}": matrix[:, j].tolist() for j in shown}


def _lines(found: Comparison, values: object, panel: Panel, summary: str) -> Figure:
    times = list(found.times)
    traces = [
        charts.line(times, line, name=found.labels[j], role=f"series-{j + 1}")
        for j, line in enumerate(previews_of(values).values())
    ]
    return charts.figure(traces, panels=(panel,), summary=summary)


COMPARED = {"growth": growth, "drawdowns": drawdowns}
