"""The figures that say how much of a backtest may be luck."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphastrat.core import charts
from alphastrat.core.charts import Chart, Figure, Panel
from alphastrat.core.formatting import money, percent, signed_percent
from strategies.services.results import Results


def bands(results: Results) -> Chart:
    """Draw where the account could have gone had its bars come in another order."""
    luck = results.run.luck or {}
    drawn = luck.get("bars")
    if not drawn:
        return _empty("bands", "Other paths", "There is nothing to resample.")
    currency, capital = results.run.currency, results.curves.capital
    rows = np.asarray(drawn["bands"], float)
    steps = np.asarray(drawn["steps"], int)
    final = {int(key): value for key, value in drawn["final_equity"].items()}
    caption = (
        f"In {drawn['n_runs']:,} redrawn histories nine in ten ended between "
        f"{money(final[5], currency, 0)} and {money(final[95], currency, 0)}; "
        f"{percent(drawn['loss_probability'], 1)} lost money, and one in twenty fell by more than "
        f"{percent(-drawn['drawdown_95'], 1)}. Kept: {drawn['keeps']}."
    )
    actual = np.concatenate(([capital], results.curves.equity))

    def draw() -> Figure:
        x = steps.tolist()
        traces = [
            *charts.band(x, rows[:, 0].tolist(), rows[:, 4].tolist(), name="5 to 95 %"),
            *charts.band(x, rows[:, 1].tolist(), rows[:, 3].tolist(), name="25 to 75 %"),
            charts.line(x, rows[:, 2], name="Median", role="benchmark"),
            charts.line(x, actual[np.minimum(steps, len(actual) - 1)], name="Run", role="equity"),
        ]
        figure = charts.figure(
            traces,
            panels=(Panel("Account value", "money"),),
            summary=caption,
            time_axis=False,
        )
        figure["layout"]["xaxis"]["title"] = {"text": "Bars"}
        return figure

    return Chart(
        key="bands",
        title="Other orders of the same bars",
        caption=caption,
        svg=charts.preview({"benchmark": rows[:, 2], "drawdown": rows[:, 0], "equity": rows[:, 4]}),
        draw=draw,
        columns=("bar", "p5", "p25", "p50", "p75", "p95"),
        rows=lambda: ((int(step), *row) for step, row in zip(steps, rows, strict=True)),
        ranges=False,
    )


def costs(results: Results) -> Chart:
    """Draw the return at rising costs."""
    stress = (results.run.luck or {}).get("costs")
    if not stress:
        return _empty("costs", "Rising costs", "The costs have not been raised yet.")
    added, totals = stress["added_bps"], stress["total_returns"]
    break_even = stress["break_even_bps"]
    caption = _cost_words(break_even, totals[0])

    def draw() -> Figure:
        trace = charts.line(added, totals, name="Total return", role="equity")
        trace["mode"] = "lines+markers"
        figure = charts.figure(
            [trace],
            panels=(Panel("Total return", "percent"),),
            summary=caption,
            time_axis=False,
            shapes=[charts.limit_line(0.0, text="Nothing earned")],
        )
        figure["layout"]["xaxis"]["title"] = {"text": "Extra cost per fill, bp"}
        return figure

    return Chart(
        key="costs",
        title="If trading cost more",
        caption=caption,
        svg=charts.preview({"equity": totals}),
        draw=draw,
        columns=("added_bps", "total_return"),
        rows=lambda: zip(added, totals, strict=True),
        ranges=False,
    )


def looks_words(evidence: Mapping[str, Any] | None) -> str:
    """Say after how many looks a deflated Sharpe ratio stands; nothing where nobody knows."""
    n_trials = evidence["n_trials"] if evidence else 0
    if n_trials is None:
        return ""
    looks = "look" if n_trials == 1 else "looks"
    return f"after {n_trials:,} {looks} at this hypothesis; 95% or more passes"


def bars_words(evidence: Mapping[str, Any] | None) -> str:
    """Say what the bars needed are needed for; nothing where no number suffices."""
    if not evidence or evidence["minimum_bars"] is None:
        return ""
    return f"to be 95% sure; the run has {evidence['n_bars']:,}"


def _cost_words(break_even: float | None, total: float) -> str:
    if break_even is None or not math.isfinite(break_even):
        return "No cost that was tried takes all of the profit, or nothing was traded."
    if break_even == 0.0:
        return f"There is nothing to take: the run ended at {signed_percent(total)}."
    return f"{break_even:.1f} bp more on every fill would take all of the profit."


def _empty(key: str, title: str, caption: str) -> Chart:
    return Chart(
        key=key,
        title=title,
        caption=caption,
        svg=charts.preview({}),
        draw=lambda: charts.figure([], summary=caption),
        columns=(),
        rows=lambda: (),
        is_empty=True,
    )


LUCK_CHARTS = {"bands": bands, "costs": costs}
