"""The figures of walk-forwards and sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Chart, Figure, Panel
from alphastrat.core.formatting import format_value, money, percent, ratio, signed_percent
from strategies.models import Sweep, WalkForward
from strategies.models.sweep import Method
from strategies.services.search_space import axis_label
from strategies.services.sweep_surface import METRIC_LABELS, Surface
from strategies.services.walk_forwards import equity_frame

MAX_DRIFT_PANELS = 4
MAX_LABELLED_CELLS = 400
MARK = "◆"
N_BINS = 40


def stitched_equity(analysis: WalkForward) -> Chart:
    """Draw the account over the out-of-sample spans, one after the other."""
    frame = equity_frame(analysis)
    equity, held = frame["equity"].to_numpy(), frame["benchmark"].to_numpy()
    has_benchmark = bool(np.isfinite(held).any())
    caption = _equity_words(analysis, equity, held if has_benchmark else None)
    series = {"equity": equity}
    if has_benchmark:
        series = {"benchmark": held, **series}

    def draw() -> Figure:
        times = list(frame["time"])
        traces = [charts.line(times, equity, name="Out of sample", role="equity")]
        if has_benchmark:
            traces.append(charts.line(times, held, name="Buy and hold", role="benchmark"))
        firsts = frame.groupby("fold")["time"].first()
        shapes = [charts.time_mark(at, str(fold)) for fold, at in firsts.items()]
        return charts.figure(
            traces, panels=(Panel("Account value", "money"),), summary=caption, shapes=shapes
        )

    return Chart(
        key="stitched",
        title="Out-of-sample equity",
        caption=caption,
        svg=charts.preview(series),
        draw=draw,
        columns=("time", "fold", "equity", "benchmark", "return"),
        rows=lambda: frame.itertuples(index=False),
    )


def sharpe_by_fold(analysis: WalkForward) -> Chart:
    """Draw what each fold promised in sample beside what it gave out of sample."""
    folds = analysis.folds
    inside = [fold["in_sample_sharpe"] for fold in folds]
    outside = [fold["out_of_sample_sharpe"] for fold in folds]
    caption = (
        f"In sample the chosen sets had a Sharpe ratio of {ratio(_mean(inside))} on average, out "
        f"of sample {ratio(_mean(outside))}."
    )

    def draw() -> Figure:
        names = [f"Fold {fold['number']}" for fold in folds]
        traces = [
            charts.columns(names, inside, name="In sample", role="benchmark"),
            charts.columns(names, outside, name="Out of sample", role="equity"),
        ]
        return charts.figure(
            traces, panels=(Panel("Sharpe ratio", "ratio"),), summary=caption, time_axis=False
        )

    return Chart(
        key="sharpe-by-fold",
        title="In sample against out of sample",
        caption=caption,
        svg=charts.preview({"benchmark": _known(inside), "equity": _known(outside)}),
        draw=draw,
        columns=("fold", "in_sample_sharpe", "out_of_sample_sharpe"),
        rows=lambda: zip([fold["number"] for fold in folds], inside, outside, strict=True),
        ranges=False,
    )


def parameter_drift(analysis: WalkForward) -> Chart:
    """Draw which values each fold chose."""
    chosen = {
        name: [fold["parameters"].get(name) for fold in analysis.folds] for name in _names(analysis)
    }
    moved = [name for name, values in chosen.items() if len({str(v) for v in values}) > 1]
    labels = {name: axis_label(analysis.plugin, name) for name in chosen}
    caption = (
        f"{_list([labels[name].partition(',')[0] for name in moved])} moved from fold to fold."
        if moved
        else "Every fold chose the same values."
    )
    shown = list(chosen)[:MAX_DRIFT_PANELS]

    def draw() -> Figure:
        folds = [f"Fold {fold['number']}" for fold in analysis.folds]
        traces, panels = [], []
        for k, name in enumerate(shown, start=1):
            trace = charts.line(
                folds, np.arange(len(folds)), name=labels[name], role=f"series-{k}", panel=k
            )
            values = chosen[name]
            trace |= {"mode": "lines+markers", "x": folds, "y": [_number(v) for v in values]}
            trace["line"] = {"shape": "hv", "width": 1.75}
            traces.append(trace)
            panels.append(Panel(labels[name], "ratio"))
        return charts.figure(traces, panels=panels, summary=caption, time_axis=False, legend=False)

    series = {f"series-{k}": _scaled(chosen[name]) for k, name in enumerate(shown, start=1)}
    return Chart(
        key="drift",
        title="Parameter drift",
        caption=caption,
        svg=charts.preview(series),
        draw=draw,
        columns=("fold", *chosen),
        rows=lambda: (
            (fold["number"], *(fold["parameters"].get(name) for name in chosen))
            for fold in analysis.folds
        ),
        ranges=False,
    )


WALK_FORWARD_CHARTS = {
    "stitched": stitched_equity,
    "sharpe-by-fold": sharpe_by_fold,
    "drift": parameter_drift,
}


def _equity_words(analysis: WalkForward, equity: Any, held: Any) -> str:
    currency, capital = analysis.currency, float(analysis.capital)
    words = (
        f"Trading only bars that no choice had seen, the account went from "
        f"{money(capital, currency, 0)} to {money(equity[-1], currency, 0)} "
        f"({signed_percent(equity[-1] / capital - 1)})"
    )
    if held is None:
        return f"{words}."
    return (
        f"{words}; buy and hold over the same bars gave {signed_percent(held[-1] / capital - 1)}."
    )


def _names(analysis: WalkForward) -> list[str]:
    return list(analysis.folds[0]["parameters"]) if analysis.folds else []


def _known(values: list[Any]) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]


def _mean(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _number(value: Any) -> Any:
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value)
    )


def _scaled(values: list[Any]) -> Any:
    """Return values on 0 to 1, choices by their order of appearance."""
    order = {str(value): place for place, value in enumerate(dict.fromkeys(map(str, values)))}
    numbers = np.array([v if isinstance(v, int | float) else order[str(v)] for v in values], float)
    span = np.ptp(numbers)
    return (numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


@dataclass(frozen=True, slots=True)
class View:
    """Which slice of a sweep is looked at."""

    x: str
    y: str
    metric: str
    at: int


def heat(surface: Surface, view: View) -> Chart:
    """Draw a metric over two axes, the others as in a chosen set; over one axis as a line."""
    plugin = surface.sweep.plugin
    label, unit = METRIC_LABELS[view.metric]
    values = surface.slice(view.x, view.y, view.metric, at=view.at)
    x_label, y_label = axis_label(plugin, view.x), axis_label(plugin, view.y)
    columns = [_level(level) for level in surface.levels(view.x)]
    is_line = view.x == view.y
    caption = _heat_words(surface, view, values, label, unit)

    def draw() -> Figure:
        if is_line:
            line = np.diagonal(values)
            trace = charts.line(columns, line, name=label, role="equity")
            trace |= {"mode": "lines+markers", "x": columns}
            return charts.figure(
                [trace], panels=(Panel(label, unit),), summary=caption, time_axis=False
            )
        texts = None
        if values.size <= MAX_LABELLED_CELLS:
            texts = _texts(values, unit)
            if place := _steadiest_cell(surface, view):
                texts[place[0]][place[1]] += f" {MARK}"
        rows = [_level(level) for level in surface.levels(view.y)]
        trace = charts.heatmap(columns, rows, values.tolist(), name=label, texts=texts)
        figure = charts.figure(
            [trace],
            panels=(Panel(y_label, "text"),),
            summary=caption,
            time_axis=False,
            row_labels=True,
        )
        figure["layout"]["xaxis"] |= {"type": "category", "title": {"text": x_label}}
        return figure

    def numbers() -> Iterator[tuple[Any, ...]]:
        for y, row in zip(surface.levels(view.y), values, strict=True):
            for x, value in zip(surface.levels(view.x), row, strict=True):
                if not is_line or x == y:
                    yield x, y, value

    known = np.nan_to_num(values, nan=-np.inf).max(axis=0)
    return Chart(
        key="heat",
        title=f"{label} by {x_label}" if is_line else f"{label} over {x_label} and {y_label}",
        caption=caption,
        svg=charts.preview({"equity": known[np.isfinite(known)]}),
        draw=draw,
        columns=(view.x, f"{view.y}_" if is_line else view.y, view.metric),
        rows=numbers,
        ranges=False,
    )


def sharpe_histogram(surface: Surface, luck: Mapping[str, Any] | None) -> Chart:
    """Draw how many sets had which Sharpe ratio, and what luck alone would reach."""
    values = surface.frame["sharpe"].to_numpy()
    known = values[np.isfinite(values)]
    positive = float((known > 0).mean()) if known.size else 0.0
    caption = (
        f"{percent(positive, 0)} of {known.size:,} sets that traded have a positive Sharpe ratio; "
        f"half lie above {ratio(np.median(known))}."
        if known.size
        else "No set ever traded."
    )
    if luck and known.size:
        caption += (
            f" The best of {luck['n_trials']:,} lucky trials would reach {ratio(luck['luck'])}; "
            f"the best here has {ratio(known.max())}."
        )

    def draw() -> Figure:
        trace = charts.histogram(known, name="Sets", role="equity", n_bins=N_BINS)
        return charts.figure(
            [trace], panels=(Panel("Sets", "count"),), summary=caption, time_axis=False
        )

    counts = np.histogram(known, bins=N_BINS)[0] if known.size else np.zeros(2)
    return Chart(
        key="sharpes",
        title="Sharpe ratios of all sets",
        caption=caption,
        svg=charts.preview({"equity": counts}),
        draw=draw,
        columns=("sharpe",),
        rows=lambda: ((value,) for value in known),
        ranges=False,
        is_empty=not known.size,
    )


def overfitting(sweep: Sweep) -> Chart:
    """Draw where the best set in one half of the bars ranks in the other half."""
    found = sweep.summary.get("overfitting")
    if not found:
        caption = "From 10 sets and 320 bars on the probability of overfitting can be estimated."
        counts, edges = [], [0.0]
    else:
        counts, edges = found["counts"], found["edges"]
        caption = (
            f"In {percent(found['probability'], 0)} of {found['n_splits']:,} ways to split the "
            "bars in halves, the best set of one half was below the median in the other; in "
            f"{percent(found['loss_probability'], 0)} it lost money there."
        )
    middles = [(a + b) / 2 for a, b in pairwise(edges)]

    def draw() -> Figure:
        trace = charts.columns(middles, counts, name="Splits", role="pnl")
        trace["x"] = [round(middle, 4) for middle in middles]
        drawn = charts.figure(
            [trace], panels=(Panel("Splits", "count"),), summary=caption, time_axis=False
        )
        drawn["layout"]["xaxis"]["title"] = {"text": "Logit of the rank out of sample"}
        return drawn

    return Chart(
        key="overfitting",
        title="Rank out of sample of the best in sample",
        caption=caption,
        svg=charts.preview({"equity": counts}),
        draw=draw,
        columns=("logit", "n_splits"),
        rows=lambda: zip(middles, counts, strict=True),
        ranges=False,
        is_empty=not found,
    )


def _heat_words(surface: Surface, view: View, values: Any, label: str, unit: str) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "No set in this slice has a value."
    low, high = format_value(unit, known.min()), format_value(unit, known.max())
    words = f"{label} from {low} to {high} over {known.size:,} sets"
    marked = ""
    if view.x != view.y and values.size <= MAX_LABELLED_CELLS and _steadiest_cell(surface, view):
        marked = f" {MARK} marks the steadiest set."
    if surface.sweep.method != Method.GRID:
        return f"{words}; each cell averages the sets that were tried.{marked}"
    (own,) = surface.grid.sets(np.array([view.at]))
    others = [
        f"{axis_label(surface.sweep.plugin, name)} {_level(value)}"
        for name, value in own.items()
        if name not in (view.x, view.y)
    ]
    return (f"{words}, with {_list(others)}." if others else f"{words}.") + marked


def _steadiest_cell(surface: Surface, view: View) -> tuple[int, int] | None:
    """Return row and column of the steadiest set; None where this slice does not hold it."""
    chosen = surface.sweep.summary.get("plateau", {}).get("parameters", {})
    if not chosen:
        return None
    if surface.sweep.method == Method.GRID:
        (own,) = surface.grid.sets(np.array([view.at]))
        if any(own[name] != chosen[name] for name in own if name not in (view.x, view.y)):
            return None
    rows, columns = list(surface.levels(view.y)), list(surface.levels(view.x))
    return rows.index(chosen[view.y]), columns.index(chosen[view.x])


def _texts(values: Any, unit: str) -> list[list[str]]:
    places = {"percent": 1, "ratio": 2}.get(unit)
    options = {} if places is None else {"places": places}
    return [
        ["" if not np.isfinite(v) else format_value(unit, v, **options).text for v in row]
        for row in values
    ]


def _level(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
