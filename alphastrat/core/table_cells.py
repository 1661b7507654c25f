"""The markup of one table cell, written without a template: tables have hundreds of them."""

from __future__ import annotations

from functools import lru_cache

from django.template import TemplateSyntaxError
from django.template.loader import render_to_string
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString

from alphastrat.core import statuses
from alphastrat.core.tables import Cell
from alphastrat.core.templatetags import format as filters

NUMBER = SafeString(' class="num"')


def cell_markup(cell: Cell, *, heads_row: bool = False) -> SafeString:
    """Return a cell; the one that heads its row is a heading."""
    content = _content(cell)
    if cell.href:
        content = format_html('<a href="{}">{}</a>', cell.href, content)
    kind = NUMBER if cell.column.is_number else ""
    if heads_row:
        return format_html('<th scope="row"{}>{}</th>', kind, content)
    return format_html('<td{} data-label="{}">{}</td>', kind, cell.column.label, content)


@lru_cache(maxsize=256)
def badge(status: str) -> SafeString:
    """Return the shape and word of a status; there are few, and each is the same every time."""
    known = statuses.STATUSES.get(status)
    if known is None:
        raise TemplateSyntaxError(f"there is no status {status!r}")
    return SafeString(render_to_string("components/status_badge.html", {"status": known}))


def _content(cell: Cell) -> SafeString:
    kind, value = cell.column.format, cell.value
    if kind == "status" and value:
        return badge(statuses.key_of(value))
    if kind == "time":
        return filters.local_time(value)
    if kind == "day":
        return filters.day(value)
    if kind == "age":
        return filters.age(value)
    if kind == "code":
        return format_html("<code>{}</code>", cell.formatted.text)
    if kind == "html":
        return conditional_escape(filters.or_missing(value))
    shown = filters.directed(cell.formatted)
    return format_html('<data data-live="{}">{}</data>', cell.live, shown) if cell.live else shown
