"""The small chart under a rule's form: the past year with the firings marked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.models import ThresholdRule
from monitoring.services.rule_previews import RulePreview

WIDTH, HEIGHT = 1100, 160
MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class PreviewChart:
    """A picture, and what it shows in words."""

    svg: SafeString
    caption: str


def preview_chart(rule: ThresholdRule, tried: RulePreview) -> PreviewChart | None:
    """Draw the subject that fires most: its metric, the bounds, and a mark at each firing."""
    shown = tried.shown
    if shown is None or len(shown.series.values) < 2:
        return None
    values = shown.series.values
    bounds = [level for level in (rule.warning_bound, rule.critical_bound) if level is not None]
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = min(known.min(), *bounds), max(known.max(), *bounds)
    span = (high - low) or 1.0

    def x(place: float) -> float:
        return float(place / (len(values) - 1) * WIDTH)

    def y(value: float) -> float:
        return float(6 + (1 - (value - low) / span) * (HEIGHT - 12))

    step = max(1, len(values) // MOST_POINTS)
    kept = sorted({*range(0, len(values), step), len(values) - 1, *shown.fired.tolist()})
    line = " ".join(f"{x(i):.1f},{y(values[i]):.1f}" for i in kept if np.isfinite(values[i]))
    levels = format_html_join(
        "", '<path data-role="limit" d="M0 {}H{}"/>', ((f"{y(b):.1f}", WIDTH) for b in bounds)
    )
    marks = format_html_join(
        "",
        '<circle data-role="mark" cx="{}" cy="{}" r="5"/>',
        ((f"{x(i):.1f}", f"{y(values[i]):.1f}") for i in shown.fired),
    )
    svg = format_html(
        '<svg class="rule-preview" viewBox="0 0 {} {}" aria-hidden="true">'
        '{}<polyline data-role="live" points="{}"/>{}</svg>',
        WIDTH,
        HEIGHT,
        levels,
        line,
        marks,
    )
    n = len(shown.fired)
    caption = f"{shown.series.name}: {n} firing{'' if n == 1 else 's'} marked."
    return PreviewChart(svg, caption)
