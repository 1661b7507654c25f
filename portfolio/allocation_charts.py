"""The figures of an allocation and of correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from alphastrat.core import charts, previews
from alphastrat.core.charts import Chart, Figure, Panel
from alphastrat.core.formatting import percent, ratio, signed_percent
from portfolio.services.correlation import PairStudy

# Slices of a ring that can be told apart; the rest are one.
N_SLICES = 6


@dataclass(frozen=True, slots=True)
class Slice:
    """One part of the ring."""

    label: str
    weight: float
    role: str


def slices(rows: Sequence[tuple[str, float]], cash: float) -> list[Slice]:
    """Return the largest weights, what the others have together, and the cash."""
    held = sorted((row for row in rows if row[1] > 0), key=lambda row: -row[1])
    shown = held[:N_SLICES] if len(held) <= N_SLICES else held[: N_SLICES - 1]
    rest = held[len(shown) :]
    found = [Slice(name, weight, f"series-{i + 1}") for i, (name, weight) in enumerate(shown)]
    if rest:
        found.append(Slice(f"{len(rest)} others", sum(one[1] for one in rest), "series-6"))
    if cash > 5e-4:
        found.append(Slice("Cash", cash, "muted"))
    return found


def ring(parts: Sequence[Slice], *, label: str) -> SafeString:
    """Draw weights as a ring that needs no script; the numbers stand beside it."""
    total = sum(part.weight for part in parts) or 1.0
    start = 0.0
    arcs = []
    for part in parts:
        share = 100.0 * part.weight / total
        # A hair of space between neighbours, so that the ring reads without colour.
        arcs.append((part.role, f"{max(share - 0.6, 0.1):.3f}", f"{-start:.3f}"))
        start += share
    circles = format_html_join(
        "",
        '<circle class="slice" data-role="{}" cx="21" cy="21" r="15.9155" pathLength="100" '
        'stroke-dasharray="{} 100" stroke-dashoffset="{}"/>',
        arcs,
    )
    return format_html(
        '<svg class="ring" viewBox="0 0 42 42" role="img" aria-label="{}">{}</svg>', label, circles
    )


def frontier(result: Mapping[str, Any]) -> Chart:
    """Draw the efficient frontier with every strategy, the chosen and the current point."""
    found = result["frontier"]
    chosen, strategies = result["chosen"], result["strategies"]
    caption = (
        f"The weights found expect {percent(chosen['expected_return'], 1)} a year at a volatility "
        f"of {percent(chosen['volatility'], 1)}; the frontier is that of the "
        f"{chosen['n_strategies']} strategies included."
    )

    def draw() -> Figure:
        traces = [
            charts.line(
                found["volatilities"],
                found["expected_returns"],
                name="Efficient frontier",
                role="series-1",
            ),
            charts.markers(
                [row["volatility"] for row in strategies],
                [row["expected_return"] for row in strategies],
                name="Strategies",
                role="muted",
                text=[row["name"] for row in strategies],
            ),
            charts.markers(
                [chosen["volatility"]], [chosen["expected_return"]], name="Found", role="buy"
            ),
        ]
        if found["current"]:
            volatility, expected = found["current"]
            traces.append(charts.markers([volatility], [expected], name="Current", role="series-2"))
        drawn = charts.figure(
            traces,
            panels=[Panel("Expected return a year", "percent")],
            summary=caption,
            time_axis=False,
        )
        drawn["layout"]["xaxis"] |= {
            "title": {"text": "Volatility a year", "font": {"size": 12}},
            "tickformat": ".0~%",
        }
        return drawn

    return Chart(
        key="frontier",
        title="Efficient frontier",
        caption=caption,
        svg=previews.svg_plane(
            (found["volatilities"], found["expected_returns"]),
            {
                "muted": (
                    [row["volatility"] for row in strategies],
                    [row["expected_return"] for row in strategies],
                ),
                "buy": ([chosen["volatility"]], [chosen["expected_return"]]),
            },
        ),
        draw=draw,
        columns=("volatility", "expected_return"),
        rows=lambda: zip(found["volatilities"], found["expected_returns"], strict=True),
        ranges=False,
        is_empty=len(found["volatilities"]) < 2,
    )


def walk_forward(result: Mapping[str, Any]) -> Chart:
    """Draw what the allocation earned out of sample against equal weight, after costs."""
    found = result.get("walk_forward")
    if not found:
        words = "The history is too short for one training span and one holding."
        return Chart(
            "walk-forward", "Out of sample", words, SafeString(""), dict, (), list, is_empty=True
        )
    own, equal = found["chosen_measures"], found["equal_measures"]
    clear = found["low"] > 0 or found["high"] < 0
    caption = (
        f"Out of sample and after costs this allocation had a Sharpe ratio of "
        f"{ratio(own['sharpe_ratio'])} against {ratio(equal['sharpe_ratio'])} of equal weight; "
        f"the difference of {signed_percent(found['difference'])} a year is "
        f"{'more' if clear else 'no more'} than chance explains "
        f"(90 % interval {signed_percent(found['low'])} to {signed_percent(found['high'])})."
    )

    def draw() -> Figure:
        return charts.figure(
            [
                charts.line(found["days"], found["chosen"], name="This allocation", role="equity"),
                charts.line(found["days"], found["equal"], name="Equal weight", role="benchmark"),
            ],
            panels=[Panel("Growth of 1", "ratio")],
            summary=caption,
        )

    return Chart(
        key="walk-forward",
        title="Out of sample, after costs",
        caption=caption,
        svg=previews.svg_preview({"benchmark": found["equal"], "equity": found["chosen"]}),
        draw=draw,
        columns=("day", "chosen", "equal_weight"),
        rows=lambda: zip(found["days"], found["chosen"], found["equal"], strict=True),
    )


def rolling(pair: PairStudy) -> Chart:
    """Draw the rolling correlation of two strategies."""
    first, second = pair.names
    stressed = (
        f"on the worst tenth of days at {ratio(pair.stress)}"
        if pair.stress == pair.stress
        else "the worst tenth of these days are too few to say more"
    )
    caption = (
        f"Over {len(pair.dates)} common days {first} and {second} correlate at "
        f"{ratio(pair.correlation)}; {stressed}."
    )
    values = [None if value != value else float(value) for value in pair.rolling]

    def draw() -> Figure:
        return charts.figure(
            [charts.line(list(pair.dates), pair.rolling, name="Rolling", role="series-1")],
            panels=[Panel("Correlation", "ratio")],
            summary=caption,
            shapes=[charts.limit_line(0.6)],
        )

    return Chart(
        key="rolling",
        title="Rolling correlation, 60 days",
        caption=caption,
        svg=previews.svg_preview({"equity": [value for value in values if value is not None]}),
        draw=draw,
        columns=("day", "correlation"),
        rows=lambda: zip(pair.dates, values, strict=True),
        is_empty=not pair.is_sufficient,
    )


def scatter(pair: PairStudy) -> Chart:
    """Draw the days of two strategies against each other."""
    first, second = pair.names
    caption = f"Each point is a day: {first} across, {second} up."

    def draw() -> Figure:
        drawn = charts.figure(
            [charts.markers(list(pair.first), list(pair.second), name="Days", role="series-1")],
            panels=[Panel(f"{second} a day"[:60], "percent")],
            summary=caption,
            time_axis=False,
        )
        drawn["layout"]["xaxis"] |= {
            "title": {"text": f"{first} a day"[:60], "font": {"size": 12}},
            "tickformat": ".1~%",
        }
        return drawn

    return Chart(
        key="scatter",
        title="Day by day",
        caption=caption,
        svg=previews.svg_plane(((), ()), {"series-1": (pair.first.tolist(), pair.second.tolist())}),
        draw=draw,
        columns=("day", "first", "second"),
        rows=lambda: zip(pair.dates, pair.first.tolist(), pair.second.tolist(), strict=True),
        ranges=False,
        is_empty=not pair.is_sufficient,
    )
