"""Checks of a verification as cells of a table: how each stands, and what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from alphastrat.core.formatting import format_value
from alphastrat.core.statuses import key_of
from alphastrat.core.table_cells import badge

# How to write a check whose unit says too little, else how to write the unit.
BY_KEY: dict[str, tuple[str, dict[str, int]]] = {
    "return": ("signed_percent", {"places": 3}),
    "drawdown": ("signed_percent", {"places": 1}),
    "envelope": ("percent", {"places": 0}),
}
BY_UNIT: dict[str, tuple[str, dict[str, int]]] = {
    "percent": ("percent", {"places": 1}),
    "bps": ("basis_points", {}),
    "count": ("ratio", {"places": 1}),
    "ratio": ("ratio", {"places": 1}),
    "days": ("ratio", {"places": 1}),
}


def written(key: str, unit: str, value: float | None) -> str:
    """Return a value of a check as it is written; empty where it is unknown."""
    if value is None:
        return ""
    name, options = BY_KEY.get(key) or BY_UNIT[unit]
    suffix = " d" if unit == "days" else ""
    return format_value(name, value, **options).text + suffix


def check_cell(check: Mapping[str, Any]) -> SafeString:
    """Return the state of a check over its value; the sentence shows under the pointer."""
    return format_html(
        '<span class="check-cell" title="{}">{}<span class="caption">{}</span></span>',
        check["text"],
        badge(key_of(check["state"])),
        written(check["key"], check["unit"], check["value"]),
    )
