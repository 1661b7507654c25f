"""Figures of alerts and rules: a metric against its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from django.http.response import HttpResponseBase

from alphastrat.core import charts, exports, previews
from alphastrat.core.charts import Chart, Panel
from alphastrat.core.formatting import format_value
from alphastrat.core.tables import Column
from alphastrat.quant.types import FloatArray, IntArray
from monitoring.models import Alert
from monitoring.quant.metric_catalogue import METRICS
from monitoring.services.metric_series import series_of_alert

BARS_BEFORE, BARS_AFTER = 90, 30
AXES = {"percent": "percent", "ratio": "ratio", "basis_points": "ratio", "count": "count"}


def around_breach(alert: Alert, *, at: datetime) -> Chart | None:
    """Draw the metric around the breach with the lines it was held against; None without series."""
    series = series_of_alert(alert, at=at)
    if series is None or len(series.times) < 2:
        return None
    breach_us = int(alert.breached_at.timestamp() * 1e6)
    place = int(np.searchsorted(series.times, breach_us))
    cut = slice(max(place - BARS_BEFORE, 0), place + BARS_AFTER)
    times, values = series.times[cut], series.values[cut]
    mark = min(place - cut.start, len(times) - 1)
    bounds = alert.evidence.get("bounds") or [alert.bound, None, None]
    metric = METRICS[alert.metric]
    passed = bounds[0] if bounds[0] is not None else bounds[1]
    value, bound = (format_value(metric.format, one).text for one in (values[mark], passed))
    caption = f"{metric.label} was {value} when the first limit, {bound}, was passed."
    return metric_chart(
        alert.metric, times, values, bounds=bounds, marks=[mark], caption=caption, key="metric"
    )


def metric_chart(
    metric_key: str,
    times: IntArray,
    values: FloatArray,
    *,
    bounds: Sequence[float | None],
    marks: Sequence[int],
    caption: str,
    key: str,
) -> Chart:
    """Draw a metric bar by bar with its warning and critical bounds and marked bars."""
    metric = METRICS[metric_key]
    moments = [datetime.fromtimestamp(time / 1e6, UTC) for time in times.tolist()]
    names = ("Warning", "Critical", "Clear")
    lines = [(name, bound) for name, bound in zip(names, bounds, strict=True) if bound is not None]

    def draw() -> charts.Figure:
        traces = [charts.line(moments, values, name=metric.label, role="live")]
        if len(marks):
            traces.append(
                charts.markers(
                    [moments[i] for i in marks],
                    [values[i] for i in marks],
                    name="Fires",
                    role="loss",
                )
            )
        shapes = [charts.limit_line(bound, text=name) for name, bound in lines]
        axis = AXES.get(metric.format.removeprefix("signed_"), "ratio")
        return charts.figure(
            traces, panels=(Panel(metric.label, axis),), summary=caption, shapes=shapes
        )

    level = {"limit": np.full(len(values), lines[0][1])} if lines else {}
    pictures = {"live": values.tolist(), **{role: part.tolist() for role, part in level.items()}}
    return Chart(
        key=key,
        title=metric.label,
        caption=caption,
        svg=previews.svg_preview(pictures),
        draw=draw,
        columns=("time", metric_key),
        rows=lambda: zip(moments, values.tolist(), strict=True),
        ranges=False,
        is_empty=len(values) < 2,
    )


def numbers_response(chart: Chart, *, form: str) -> HttpResponseBase:
    """Answer the numbers behind a figure as a file."""
    rows: list[dict[str, Any]] = [
        dict(zip(chart.columns, row, strict=True)) for row in chart.rows()
    ]
    columns = [Column(name, name) for name in chart.columns]
    return exports.table_response(rows, columns, name=chart.key, form=form)
