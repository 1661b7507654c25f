"""The figures of a comparison: every account on the same axes, from the same start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.core import charts
from alphastrat.core.charts import Chart, Figure, Panel
from alphastrat.core.formatting import signed_percent
from alphastrat.quant.types import FloatArray
from strategies.services.comparison import Comparison, Subject

LONGEST_NAME = 40


def equity(found: Comparison) -> Chart:
    """Draw every account as if it had begun the period with 100."""
    ends = [(one, _last(found.growth(one)) / 100.0 - 1.0) for one in found.subjects]
    best = max(ends, key=lambda pair: pair[1] if np.isfinite(pair[1]) else -np.inf)
    words = ", ".join(f"{one.letter} {signed_percent(value)}" for one, value in ends)
    caption = f"From the same 100: {words}. {best[0].letter} ended highest."
    return _chart(
        found,
        "equity",
        "Equity from the same start",
        caption,
        values=found.growth,
        panel=Panel("Start = 100", "price"),
    )


def underwater(found: Comparison) -> Chart:
    """Draw how far every account is below its peak within the period."""
    worst = [(one, float(np.nanmin(found.drawdown(one), initial=0.0))) for one in found.subjects]
    deepest = min(worst, key=lambda pair: pair[1])
    words = ", ".join(f"{one.letter} {signed_percent(value)}" for one, value in worst)
    caption = f"Deepest falls: {words}. {deepest[0].letter} fell furthest."
    return _chart(
        found,
        "underwater",
        "Drawdown",
        caption,
        values=found.drawdown,
        panel=Panel("Below peak", "percent"),
    )


CHARTS: dict[str, Callable[[Comparison], Chart]] = {"equity": equity, "underwater": underwater}


def _chart(
    found: Comparison,
    key: str,
    title: str,
    caption: str,
    *,
    values: Callable[[Subject], FloatArray],
    panel: Panel,
) -> Chart:
    lines = {one.letter: _line(found, one, values(one)) for one in found.subjects}

    def draw() -> Figure:
        traces = [
            charts.line(
                list(lines[one.letter].index),
                lines[one.letter].to_numpy(),
                name=_name(one),
                role=f"series-{number}",
            )
            for number, one in enumerate(found.subjects, start=1)
        ]
        return charts.figure(traces, panels=(panel,), summary=caption)

    def rows() -> Iterable[Sequence[Any]]:
        table = pd.concat(lines, axis=1).sort_index()
        return ([time, *row] for time, row in zip(table.index, table.to_numpy(), strict=True))

    table = pd.concat(lines, axis=1).sort_index().ffill()
    return Chart(
        key=key,
        title=title,
        caption=caption,
        svg=charts.preview(
            {f"series-{i}": table[letter].to_numpy() for i, letter in enumerate(lines, start=1)}
        ),
        draw=draw,
        columns=("time", *lines),
        rows=rows,
    )


def _line(found: Comparison, one: Subject, values: FloatArray) -> pd.Series:
    return pd.Series(values, one.track.times[found.rows(one)])


def _last(values: FloatArray) -> float:
    return float(values[-1]) if len(values) else float("nan")


def _name(one: Subject) -> str:
    label = one.label if len(one.label) <= LONGEST_NAME else f"{one.label[: LONGEST_NAME - 1]}…"
    return f"{one.letter} {label}"
