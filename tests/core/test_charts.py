"""Figures are thinned without losing extremes, rounded, free of NaN, and valid for Plotly."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from alphastrat.core import charts, previews, thinning
from alphastrat.core.styleguide import sample_figure

START = datetime(2024, 1, 1, 21, tzinfo=UTC)
FLOATS = st.floats(-1e6, 1e6, allow_nan=False)


def times(n: int) -> list[datetime]:
    return [START + timedelta(hours=i) for i in range(n)]


@given(npst.arrays(float, st.integers(300, 900), elements=FLOATS))
def test_downsample_keeps_the_extremes_and_the_ends(values: np.ndarray) -> None:
    x, y = thinning.downsample(list(range(len(values))), values, limit=100)
    assert len(x) == len(y) <= 100
    assert (x[0], x[-1]) == (0, len(values) - 1)
    assert x == sorted(set(x))
    assert min(y) == thinning.round_significant(float(values.min()))
    assert max(y) == thinning.round_significant(float(values.max()))


def test_downsample_keeps_a_one_bar_spike_among_20_000() -> None:
    values = np.zeros(20_000)
    values[12_345] = -0.5
    x, y = thinning.downsample(list(range(20_000)), values)
    assert len(x) <= thinning.MAX_POINTS
    assert y[x.index(12_345)] == -0.5


def test_downsample_survives_a_bucket_without_values() -> None:
    values = np.arange(1000.0)
    values[100:400] = math.nan
    x, y = thinning.downsample(list(range(1000)), values, limit=50)
    assert len(x) <= 50
    assert None in y


def test_downsample_leaves_a_short_series_alone() -> None:
    assert thinning.downsample([1, 2, 3], [1.0, 2.0, 3.0]) == ([1, 2, 3], [1.0, 2.0, 3.0])


def test_downsample_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="differ in length: 2 and 3"):
        thinning.downsample([1, 2], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (123456.789, 123457.0),
        (0.000123456789, 0.000123457),
        (-1.0, -1.0),
        (math.nan, None),
        (math.inf, None),
    ],
)
def test_round_significant_keeps_six_digits(value: float, rounded: float | None) -> None:
    assert thinning.round_significant(value) == rounded


def test_times_are_dates_at_midnight_and_instants_otherwise() -> None:
    midnight = datetime(2024, 1, 1, tzinfo=UTC)
    assert thinning.times_text([midnight]) == ["2024-01-01"]
    assert thinning.times_text([START]) == ["2024-01-01T21:00:00"]
    assert thinning.times_text([midnight, START])[0] == "2024-01-01T00:00:00"


def test_candlesticks_are_limited() -> None:
    index = pd.date_range("2020-01-01", periods=1000, tz="UTC")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.0), index=index)
    trace = charts.candlesticks(bars, name="MSFT")
    assert len(trace["x"]) == len(trace["close"]) == charts.MAX_BARS
    assert trace["x"][-1] == "2022-09-26"


def test_trace_of_an_unknown_role_is_refused() -> None:
    with pytest.raises(ValueError, match="'blue'"):
        charts.line(times(2), [1.0, 2.0], name="Equity", role="blue")


@pytest.mark.parametrize("name", ["lines", "bars", "heat"])
def test_figure_is_valid_for_plotly_and_free_of_nan(name: str) -> None:
    drawn = sample_figure(name)
    for trace in drawn["data"]:
        assert trace["meta"]["role"] in charts.ROLES
    go.Figure(data=drawn["data"], layout=drawn["layout"])
    json.dumps(drawn, allow_nan=False)


def test_every_kind_of_trace_is_valid_for_plotly() -> None:
    x, y = times(3), [0.1, math.nan, -0.2]
    line = charts.line(x, [1.0, 2.0, 3.0], name="Live", role="live")
    traces = [
        line,
        charts.markers(x, y, name="Buy", role="buy", text=["a", "b", "c"]),
        charts.columns(x, y, name="Return", role="pnl"),
        charts.horizontal_columns(["A", "B"], [1, 2], name="Weight", role="allocation"),
        charts.histogram([0.1, 0.2, math.nan], name="Returns", role="muted"),
        charts.waterfall(["Price", "Sum"], [1, 1], name="Attribution", totals=["Sum"]),
    ]
    figure = charts.figure(
        traces,
        annotations=[charts.end_label(line, "live")],
        shapes=[charts.limit_line(-0.15, text="limit")],
    )
    go.Figure(data=figure["data"], layout=figure["layout"])
    json.dumps(figure, allow_nan=False)


def test_panels_share_the_height_by_weight() -> None:
    figure = charts.figure([], panels=[charts.Panel(weight=3), charts.Panel(weight=1)])
    (low, high), (floor, top) = (
        figure["layout"]["yaxis"]["domain"],
        figure["layout"]["yaxis2"]["domain"],
    )
    assert (high, floor) == (1.0, 0.0)
    assert high - low == pytest.approx(3 * (top - floor), abs=1e-3)
    assert low > top


def test_preview_draws_at_most_200_points_per_series() -> None:
    drawn = previews.svg_preview({"live": np.sin(np.arange(5000)), "backtest": [1, 2]})
    longest = max(points.count(",") for points in re.findall(r'points="([^"]*)"', drawn))
    assert 100 < longest <= previews.PREVIEW_POINTS
    assert "style=" not in drawn


def test_a_plane_puts_larger_values_to_the_right_and_to_the_top() -> None:
    drawn = previews.svg_plane(([0.0, 1.0], [0.0, 2.0]), {"buy": ([0.5], [1.0])})
    assert '<polyline data-role="series-1" points="2.0,238.0 718.0,2.0"/>' in drawn
    assert '<path class="dots" data-role="buy" d="M360.0,120.0h0"/>' in drawn
    many = previews.svg_plane(((), ()), {"muted": (np.arange(900.0), np.arange(900.0))})
    assert many.count("h0") == 180
    assert previews.svg_plane(((), ()), {}) == ""


def test_preview_of_nothing_is_empty() -> None:
    assert previews.svg_preview({"live": []}) == ""
    assert previews.sparkline([1.0]) == ""


def test_preview_skips_what_is_undefined() -> None:
    assert "nan" not in previews.sparkline([1.0, math.nan, 2.0])


def test_figure_response_refuses_a_nan() -> None:
    with pytest.raises(ValueError):
        charts.figure_response({"data": [{"y": [math.nan]}]})
