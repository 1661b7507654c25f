"""Pictures that need no script: previews of figures and sparklines, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from alphastrat.core.thinning import extremes, rounded

PREVIEW_POINTS = 200


def svg_preview(
    series: Mapping[str, Sequence[Any]],
    *,
    area: str = "",
    band: tuple[Sequence[Any], Sequence[Any]] | None = None,
    height: int = 240,
) -> SafeString:
    """Draw series by role as an inline picture that needs no script.

    `area` names the role whose line is filled down to zero, such as `drawdown`; `band` is shaded
    behind them, from its lower to its upper edge.
    """
    width = 720
    edges = [_thin(edge) for edge in band] if band and len(band[0]) > 1 else []
    thinned = {role: _thin(values) for role, values in series.items() if len(values) > 1}
    if not thinned:
        return SafeString("")
    scale = _Scale.fit([*thinned.values(), *edges], width, height, zero=bool(area))
    shapes = format_html_join(
        "", "{}", ((_shape(role, values, scale, role == area),) for role, values in thinned.items())
    )
    return format_html(
        '<svg class="preview" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="axis" d="M0 {}H{}M0 {}H{}M0 {}H{}"/>{}{}</svg>',
        width,
        height,
        *_gridlines(width, height),
        _band(edges, scale),
        shapes,
    )


def svg_plane(
    curve: tuple[Sequence[Any], Sequence[Any]],
    dots: Mapping[str, tuple[Sequence[Any], Sequence[Any]]],
    *,
    height: int = 240,
) -> SafeString:
    """Draw a curve and dots by role, both as x and y, as an inline picture without script."""
    width = 720
    groups = [curve, *dots.values()]
    x, y = (np.concatenate([np.asarray(one[k], float) for one in groups]) for k in (0, 1))
    if not x.size:
        return SafeString("")
    across = _Scale.fit([x.tolist()], width, width, zero=False)
    up = _Scale.fit([y.tolist()], width, height, zero=False)

    def places(one: tuple[Sequence[Any], Sequence[Any]]) -> list[str]:
        # A scale counts from the top; to the right it must count from the left.
        step = -(-len(one[0]) // PREVIEW_POINTS) or 1
        pairs = zip(one[0][::step], one[1][::step], strict=True)
        return [f"{width - across.y(a):.1f},{up.y(b):.1f}" for a, b in pairs]

    marks = format_html_join(
        "",
        '<path class="dots" data-role="{}" d="{}"/>',
        ((role, "".join(f"M{place}h0" for place in places(one))) for role, one in dots.items()),
    )
    return format_html(
        '<svg class="preview" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="axis" d="M0 {}H{}M0 {}H{}M0 {}H{}"/>'
        '<polyline data-role="series-1" points="{}"/>{}</svg>',
        width,
        height,
        *_gridlines(width, height),
        " ".join(places(curve)),
        marks,
    )


def sparkline(values: Sequence[Any], *, role: str = "live", label: str = "") -> SafeString:
    """Draw a small curve for a table cell or a card."""
    thinned = _thin(values)
    if len(thinned) < 2:
        return SafeString("")
    scale = _Scale.fit([thinned], 96, 20, zero=False)
    access = (
        format_html('role="img" aria-label="{}"', label)
        if label
        else SafeString('aria-hidden="true"')
    )
    return format_html(
        '<svg class="spark" viewBox="0 0 96 20" preserveAspectRatio="none" {}>{}</svg>',
        access,
        _shape(role, thinned, scale, False),  # noqa: FBT003
    )


def gauge(share: float) -> SafeString:
    """Draw a share of one as a small bar, to stand beside its number."""
    return format_html(
        '<svg class="gauge" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="gauge-track" width="1" height="1"/><rect width="{}" height="1"/></svg>',
        f"{min(max(share, 0.0), 1.0):.3f}",
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps values to the pixels of a preview."""

    low: float
    high: float
    width: float
    height: float

    @classmethod
    def fit(
        cls, series: list[list[float | None]], width: float, height: float, *, zero: bool
    ) -> _Scale:
        known = [value for values in series for value in values if value is not None] or [0.0]
        low, high = min(known), max(known)
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            low, high = low - 1, high + 1
        return cls(low, high, width, height)

    def points(self, values: list[float | None]) -> str:
        step = self.width / max(1, len(values) - 1)
        return " ".join(
            f"{i * step:.1f},{self.y(value):.1f}"
            for i, value in enumerate(values)
            if value is not None
        )

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return 2 + (1 - share) * (self.height - 4)


def _shape(role: str, values: list[float | None], scale: _Scale, filled: bool) -> SafeString:  # noqa: FBT001
    points = scale.points(values)
    if not filled:
        return format_html('<polyline data-role="{}" points="{}"/>', role, points)
    base = f"{scale.y(0):.1f}"
    return format_html(
        '<polygon data-role="{}" points="0,{} {} {},{}"/>', role, base, points, scale.width, base
    )


def _band(edges: list[list[float | None]], scale: _Scale) -> SafeString:
    if not edges:
        return SafeString("")
    low, high = (scale.points(edge).split() for edge in edges)
    return format_html('<polygon data-role="band" points="{}"/>', " ".join([*low, *high[::-1]]))


def _gridlines(width: int, height: int) -> tuple[int, ...]:
    return height // 4, width, height // 2, width, 3 * height // 4, width


def _thin(values: Sequence[Any]) -> list[float | None]:
    series = np.asarray(values, float)
    if len(series) > PREVIEW_POINTS:
        series = series[extremes(series, PREVIEW_POINTS)]
    return rounded(series)
