"""The figures of walk-forwards and sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Figure, Panel
from alphastrat.core.formatting import money, ratio, signed_percent
from strategies.charts import Chart, preview
from strategies.models import WalkForward
from strategies.services.search_space import axis_label
from strategies.services.walk_forwards import equity_frame

MAX_DRIFT_PANELS = 4


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
        svg=preview(series),
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
        svg=preview({"benchmark": _known(inside), "equity": _known(outside)}),
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
        f"{_list([labels[name] for name in moved])} moved from fold to fold."
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
        svg=preview(series),
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
