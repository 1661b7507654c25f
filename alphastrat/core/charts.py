"""Figures as plain dicts: traces by role, axes, points thinned and rounded.

Colours never appear here. A trace carries `meta.role`; the browser takes the colour of that role
from the design tokens of the reader's theme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from django.http import JsonResponse
from django.utils.safestring import SafeString

from alphastrat.core.previews import sparkline as sparkline
from alphastrat.core.previews import svg_preview as svg_preview
from alphastrat.core.thinning import MAX_POINTS, downsample, rounded, times_text

MAX_BARS = 750
TICK_FORMATS = {
    "percent": ".1~%",
    "price": ",.2~f",
    "money": "$,.0f",
    "ratio": ",.2~f",
    "count": "~s",
    "text": "",
}
LINE_WIDTHS = {"live": 2.5, "backtest": 1.25, "benchmark": 1.25}
ROLES = frozenset(
    {
        "live",
        "backtest",
        "benchmark",
        "band",
        "equity",
        "price",
        "drawdown",
        "profit",
        "loss",
        "pnl",
        "buy",
        "sell",
        "volume",
        "limit",
        "muted",
        "heat",
        "allocation",
        *(f"series-{number}" for number in range(1, 7)),
    }
)

Trace = dict[str, Any]
Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure: what the page shows at once, and what it fetches when it is looked at."""

    key: str
    title: str
    caption: str
    svg: SafeString
    draw: Callable[[], Figure]
    columns: tuple[str, ...]
    rows: Callable[[], Iterable[Sequence[Any]]]
    ranges: bool = True
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot area of a figure; panels share the time axis and stack from the top."""

    title: str = ""
    format: str = "price"
    weight: float = 1.0
    log: bool = False


def figure(
    traces: Sequence[Trace],
    *,
    panels: Sequence[Panel] = (Panel(),),
    summary: str = "",
    time_axis: bool = True,
    row_labels: bool = False,
    legend: bool | None = None,
    annotations: Sequence[dict[str, Any]] = (),
    shapes: Sequence[dict[str, Any]] = (),
) -> Figure:
    """Assemble a figure from traces that were drawn into `panels`, counted from 1.

    `time_axis` is for figures over time; `row_labels` says that the vertical axis names rows,
    as under a heat map or horizontal columns.
    """
    layout: dict[str, Any] = {
        "margin": {"l": 56, "r": 16, "t": 8, "b": 40},
        "hovermode": "x unified" if time_axis else "closest",
        "showlegend": len(traces) > 1 if legend is None else legend,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
        | {"traceorder": "normal"},
        "bargap": 0.15,
        "annotations": list(annotations),
        "shapes": list(shapes),
        "xaxis": {
            "type": "date" if time_axis else "-",
            "anchor": _axis(len(panels)),
            "automargin": True,
            "rangeslider": {"visible": False},
        },
    }
    if layout["showlegend"]:
        layout["margin"]["t"] = 32
    for number, (panel, domain) in enumerate(zip(panels, _domains(panels), strict=True), start=1):
        axis = _value_axis(panel, domain)
        if row_labels:
            axis |= {"type": "category", "tickformat": "", "autorange": "reversed"}
        layout[_axis(number).replace("y", "yaxis")] = axis
    return {"data": list(traces), "layout": layout, "meta": {"summary": summary}}


def line(
    x: Sequence[Any],
    y: Sequence[Any] | np.ndarray[Any, Any],
    *,
    name: str,
    role: str,
    panel: int = 1,
    fill: bool = False,
    limit: int = MAX_POINTS,
) -> Trace:
    """Draw a line through at most `limit` points that keep every bucket's extremes."""
    kept_x, kept_y = downsample(x, y, limit=limit)
    width = LINE_WIDTHS.get(role, 1.75)
    trace = _trace("scatter", name=name, role=role, panel=panel)
    trace |= {"mode": "lines", "x": kept_x, "y": kept_y, "line": {"width": width}}
    if fill:
        trace["fill"] = "tozeroy"
    return trace


def band(
    x: Sequence[Any], low: Sequence[Any], high: Sequence[Any], *, name: str, panel: int = 1
) -> list[Trace]:
    """Shade the range between two lines, thinned at the same times."""
    keep = _every(len(x), MAX_POINTS)
    times = times_text([x[i] for i in keep])
    edges = []
    for values, fill in ((low, None), (high, "tonexty")):
        trace = _trace("scatter", name=name, role="band", panel=panel)
        trace |= {
            "mode": "lines",
            "x": times,
            "y": rounded([values[i] for i in keep]),
            "line": {"width": 0},
            "showlegend": fill is not None,
            "hoverinfo": "skip",
        }
        if fill:
            trace["fill"] = fill
        edges.append(trace)
    return edges


def columns(x: Sequence[Any], y: Sequence[Any], *, name: str, role: str, panel: int = 1) -> Trace:
    """Draw vertical columns; role `pnl` colours each by its sign."""
    trace = _trace("bar", name=name, role=role, panel=panel)
    return trace | {"x": times_text(x), "y": rounded(y)}


def horizontal_columns(
    labels: Sequence[str], values: Sequence[Any], *, name: str, role: str
) -> Trace:
    trace = _trace("bar", name=name, role=role, panel=1)
    return trace | {"orientation": "h", "y": list(labels), "x": rounded(values)}


def histogram(values: Sequence[Any], *, name: str, role: str, n_bins: int = 40) -> Trace:
    """Count values into bins on the server, so that no sample crosses the wire."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    counts, edges = np.histogram(finite, bins=n_bins)
    trace = _trace("bar", name=name, role=role, panel=1)
    middles = (edges[:-1] + edges[1:]) / 2
    return trace | {"x": rounded(middles), "y": counts.tolist()}


def candlesticks(bars: Any, *, name: str, panel: int = 1) -> Trace:
    """Draw the last bars of a frame: rising ones hollow, falling ones filled."""
    shown = bars.iloc[-MAX_BARS:]
    trace = _trace("candlestick", name=name, role="price", panel=panel)
    prices = {key: rounded(shown[key]) for key in ("open", "high", "low", "close")}
    return trace | {"x": times_text(list(shown.index)), **prices}


def markers(
    x: Sequence[Any],
    y: Sequence[Any],
    *,
    name: str,
    role: str,
    panel: int = 1,
    text: Sequence[str] = (),
) -> Trace:
    """Mark points; `buy` points up, `sell` points down."""
    symbol = {"buy": "triangle-up", "sell": "triangle-down"}.get(role, "circle")
    trace = _trace("scatter", name=name, role=role, panel=panel)
    trace |= {"mode": "markers", "x": times_text(x), "y": rounded(y)}
    trace["marker"] = {"symbol": symbol, "size": 9}
    if text:
        trace["text"] = list(text)
    return trace


def heatmap(
    columns_: Sequence[str],
    rows: Sequence[str],
    values: Sequence[Sequence[Any]],
    *,
    name: str,
    texts: Sequence[Sequence[str]] | None = None,
) -> Trace:
    """Draw a diverging map around zero whose cells carry their numbers."""
    trace = _trace("heatmap", name=name, role="heat", panel=1)
    trace |= {"x": list(columns_), "y": list(rows), "z": [rounded(row) for row in values]}
    trace |= {"zmid": 0, "xgap": 2, "ygap": 2, "showscale": False}
    if texts is not None:
        trace |= {"text": [list(row) for row in texts], "texttemplate": "%{text}"}
    return trace


def waterfall(
    labels: Sequence[str], values: Sequence[Any], *, name: str, totals: Sequence[str] = ()
) -> Trace:
    """Draw contributions that add up to the labels named in `totals`."""
    trace = _trace("waterfall", name=name, role="pnl", panel=1)
    measure = ["total" if label in totals else "relative" for label in labels]
    return trace | {"x": list(labels), "y": rounded(values), "measure": measure}


def end_label(trace: Trace, text: str) -> dict[str, Any]:
    """Name a line at its last point, in the line's own colour."""
    return {
        "x": trace["x"][-1],
        "y": trace["y"][-1],
        "text": text,
        "showarrow": False,
        "xanchor": "right",
        "yanchor": "bottom",
        "yref": trace["yaxis"],
        "name": trace["meta"]["role"],
    }


def limit_line(value: float, *, panel: int = 1, text: str = "") -> dict[str, Any]:
    """Draw a horizontal limit across a panel."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": _axis(panel),
        "y0": value,
        "y1": value,
        "name": "limit",
        "line": {"width": 1, "dash": "dash"},
        "label": {"text": text, "textposition": "end"},
    }


def time_mark(at: datetime | date, text: str) -> dict[str, Any]:
    """Draw a vertical line where something began, such as live operation."""
    (moment,) = times_text([at])
    return {
        "type": "line",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "x0": moment,
        "x1": moment,
        "name": "mark",
        "line": {"width": 1, "dash": "dot"},
        "label": {"text": text, "textposition": "end", "textangle": 0, "yanchor": "top"},
    }


def preview(
    series: Mapping[str, Any], *, area: str = "", band: tuple[Any, Any] | None = None
) -> SafeString:
    """Return the picture that stands for a figure until it is looked at."""
    plain = {role: np.asarray(values, float).tolist() for role, values in series.items()}
    return svg_preview(plain, area=area, band=band)


def figure_response(drawn: Figure) -> JsonResponse:
    """Answer a chart's `data-src`; a NaN left in a figure is an error here, not in the page."""
    return JsonResponse(drawn, json_dumps_params={"allow_nan": False, "separators": (",", ":")})


def _every(length: int, limit: int) -> list[int]:
    if length <= limit:
        return list(range(length))
    return np.unique(np.linspace(0, length - 1, limit).astype(int)).tolist()


def _trace(kind: str, *, name: str, role: str, panel: int) -> Trace:
    if role not in ROLES:
        raise ValueError(f"a trace's role is one of {sorted(ROLES)}, was {role!r}")
    return {"type": kind, "name": name, "meta": {"role": role}, "yaxis": _axis(panel)}


def _axis(panel: int) -> str:
    return "y" if panel == 1 else f"y{panel}"


def _value_axis(panel: Panel, domain: list[float]) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": panel.title, "font": {"size": 12}},
        "tickformat": TICK_FORMATS[panel.format],
        "domain": domain,
        "automargin": True,
        "nticks": 4 if domain[1] - domain[0] < 0.35 else 6,
    }
    return axis | {"type": "log"} if panel.log else axis


def _domains(panels: Sequence[Panel], gap: float = 0.06) -> list[list[float]]:
    total = sum(panel.weight for panel in panels)
    space = 1 - gap * (len(panels) - 1)
    top, domains = 1.0, []
    for panel in panels:
        height = space * panel.weight / total
        domains.append([round(max(0.0, top - height), 4), round(top, 4)])
        top -= height + gap
    return domains
