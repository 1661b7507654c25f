"""The components of the design system; unknown arguments and states are errors.

Examples of every tag stand in docs/interface.md and on the style guide page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django import template
from django.forms import BoundField
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from alphastrat.core import exports as export_files
from alphastrat.core import form_controls, statuses, tables
from alphastrat.core.formatting import FORMATS, Formatted, count, format_value
from alphastrat.core.hub import wire_name
from alphastrat.core.icons import ICONS
from alphastrat.core.job_view import job_view
from alphastrat.core.table_cells import cell_markup
from alphastrat.core.templatetags.format import directed

register = template.Library()

CARD_STATES = ("", "loading", "stale", "error")
CHART_STATES = ("", "loading", "stale", "empty", "error")
BUTTON_KINDS = ("primary", "secondary", "ghost", "danger")
BUTTON_STATES = ("", "busy", "pressed", "disabled")
BANNER_LEVELS = {"info": "Note", "warning": "Warning", "error": "Error", "success": "Done"}
RANGES = ("1M", "3M", "YTD", "1Y", "All")
EXPORT_FORMATS = tuple(name for name, _ in export_files.FORMS)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Draw a line icon; without a label it is hidden from assistive technology."""
    _one_of("icon", name, ICONS)
    access = format_html('role="img" aria-label="{}"', label) if label else 'aria-hidden="true"'
    return format_html(
        '<svg class="icon" viewBox="0 0 20 20" {}><path d="{}"/></svg>',
        mark_safe(access),
        ICONS[name],
    )


@register.inclusion_tag("components/data_card.html")
def data_card(
    label: str,
    value: Any = None,
    *,
    format: str = "text",  # noqa: A002
    places: int | None = None,
    delta: Any = None,
    delta_format: str = "signed_percent",
    delta_label: str = "",
    expected: Any = None,
    expected_label: str = "Expected",
    note: str = "",
    href: str = "",
    metric: str = "",
    reason: str = "",
    live: str = "",
    state: str = "",
    spark: str = "",
) -> dict[str, Any]:
    """Show one number with what it is compared against."""
    _one_of("format", format, {"text", *FORMATS})
    _one_of("delta_format", delta_format, FORMATS)
    _one_of("state", state, CARD_STATES)
    options = {} if places is None else {"places": places}
    shown = format_value(format, value, **options)
    plain = format.removeprefix("signed_")
    return {
        "label": label,
        "shown": shown,
        "number": directed(shown),
        "delta": None if delta is None else directed(format_value(delta_format, delta)),
        "delta_label": delta_label,
        "expected": None if expected is None else format_value(plain, expected, **options).text,
        "expected_label": expected_label,
        "note": note,
        "href": href,
        "metric_url": tables.metric_url(metric) if metric else "",
        "reason": reason if value is None or value == "" else "",
        "live": live,
        "state": state,
        "spark": spark,
    }


@register.inclusion_tag("components/status_badge.html")
def status_badge(status: str, *, label: str = "", live: str = "") -> dict[str, Any]:
    """Show a status as a shape and a word."""
    key = statuses.key_of(status)
    _one_of("status", key, statuses.STATUSES)
    return {"status": statuses.STATUSES[key], "key": key, "label": label, "live": live}


@register.inclusion_tag("components/alert_banner.html")
def alert_banner(
    title: str,
    *,
    level: str = "info",
    detail: str = "",
    href: str = "",
    at: datetime | None = None,
    unread: int = 0,
    acknowledged: bool = False,
    dismiss: bool = False,
    id: str = "",  # noqa: A002
) -> dict[str, Any]:
    """Say something that matters; it stays until it is dismissed."""
    _one_of("level", level, BANNER_LEVELS)
    return {
        "title": title,
        "level": level,
        "word": "Acknowledged" if acknowledged else BANNER_LEVELS[level],
        "detail": detail,
        "href": href,
        "at": at,
        "unread": unread,
        "acknowledged": acknowledged,
        "dismiss": dismiss,
        "id": id,
    }


@register.inclusion_tag("components/data_table.html", takes_context=True)
def data_table(
    context: template.Context,
    *,
    id: str,  # noqa: A002
    caption: str,
    columns: Sequence[tables.Column] = (),
    rows: Iterable[Any] = (),
    order: tables.Order | None = None,
    page: Any = None,
    row_template: str = "",
    row_id: str = "",
    empty: str = "Nothing here yet.",
    empty_action: str = "",
    empty_href: str = "",
    error: str = "",
    exports: str = "",
    selectable: str = "",
    cards: bool = False,
    show_caption: bool = False,
) -> dict[str, Any]:
    """Show rows of numbers that sort, page and export."""
    request: HttpRequest = context["request"]
    kept = list(rows)
    wanted = exports.split()
    for name in wanted:
        _one_of("exports", name, EXPORT_FORMATS)
    return {
        "request": request,
        "id": id,
        "caption": caption,
        "columns": columns,
        "headings": tables.headings(request, columns, order),
        "rows": kept if row_template else [_row(row, columns, row_id, selectable) for row in kept],
        "row_template": row_template,
        "page": page,
        "empty": empty,
        "empty_action": empty_action,
        "empty_href": empty_href,
        "error": error,
        "exports": [(name, tables.query_url(request, format=name, page=None)) for name in wanted],
        "selectable": selectable,
        "cards": cards,
        "show_caption": show_caption,
        "n_columns": len(columns) + bool(selectable),
        "csrf_token": context.get("csrf_token"),
        "user": context.get("user"),
    }


@register.inclusion_tag("components/pagination.html", takes_context=True)
def pagination(context: template.Context, page: Any) -> dict[str, Any]:
    """Link to the pages around a Django `Page`, keeping the query string."""
    request: HttpRequest = context["request"]
    numbers = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    ellipsis = page.paginator.ELLIPSIS
    links = [
        {
            "number": number,
            "href": "" if number == ellipsis else tables.query_url(request, page=number),
        }
        for number in numbers
    ]
    previous = page.previous_page_number() if page.has_previous() else None
    following = page.next_page_number() if page.has_next() else None
    return {
        "page": page,
        "links": links,
        "previous": tables.query_url(request, page=previous) if previous else "",
        "following": tables.query_url(request, page=following) if following else "",
        "first": count(page.start_index()).text,
        "last": count(page.end_index()).text,
        "total": count(page.paginator.count).text,
    }


@register.inclusion_tag("components/performance_chart.html")
def performance_chart(
    *,
    id: str,  # noqa: A002
    title: str,
    src: str = "",
    caption: str = "",
    svg: str = "",
    topic: str = "",
    csv: str = "",
    ranges: bool = True,
    size: str = "md",
    state: str = "",
    empty: str = "There are no points to draw yet.",
    error: str = "",
    level: int = 2,
    follow: bool = False,
) -> dict[str, Any]:
    """Show a figure: a picture in the first response, the full chart when it is near.

    One that follows is fetched again when equity is marked, at most once a second; its `src`
    answers the picture alone with `?format=svg`.
    """
    _one_of("size", size, ("sm", "md", "lg", "xl"))
    _one_of("state", state, CHART_STATES)
    return {
        "id": id,
        "title": title,
        "src": src,
        "caption": caption,
        "svg": svg,
        "topic": topic,
        "csv": csv,
        "ranges": RANGES if ranges else (),
        "size": size,
        "state": state,
        "empty": empty,
        "error": error or "The chart could not be loaded.",
        "heading": f"h{level}",
        "follow": follow,
    }


@register.inclusion_tag("components/form_field.html")
def form_field(
    field: BoundField, *, unit: str = "", validate: str = "", hide_label: bool = False
) -> dict[str, Any]:
    """Show a bound field: label with unit, control, help, errors, tied by `aria-describedby`."""
    if not isinstance(field, BoundField):
        raise template.TemplateSyntaxError(f"form_field wants a bound form field, was {field!r}")
    return form_controls.describe(field, unit=unit, validate=validate, hide_label=hide_label)


@register.inclusion_tag("components/button.html")
def button(
    label: str,
    *,
    kind: str = "secondary",
    type: str = "button",  # noqa: A002
    href: str = "",
    name: str = "",
    value: str = "",
    icon: str = "",
    state: str = "",
    small: bool = False,
    dialog: str = "",
    action: str = "",
    form: str = "",
    id: str = "",  # noqa: A002
) -> dict[str, Any]:
    """Show a button, or a link that looks like one when it has an address."""
    _one_of("kind", kind, BUTTON_KINDS)
    _one_of("state", state, BUTTON_STATES)
    _one_of("type", type, ("button", "submit", "reset"))
    if icon:
        _one_of("icon", icon, ICONS)
    return {
        "label": label,
        "kind": kind,
        "type": type,
        "href": href,
        "name": name,
        "value": value,
        "icon": icon,
        "state": state,
        "small": small,
        "dialog": dialog,
        "action": action,
        "form": form,
        "id": id,
    }


@register.inclusion_tag("components/empty_state.html")
def empty_state(
    title: str,
    *,
    text: str = "",
    action: str = "",
    href: str = "",
    icon: str = "empty",
    level: int = 2,
) -> dict[str, Any]:
    """Say what will be here and offer the one thing to do."""
    _one_of("icon", icon, ICONS)
    return {
        "title": title,
        "text": text,
        "action": action,
        "href": href,
        "icon": icon,
        "heading": f"h{level}" if level else "p",
    }


@register.inclusion_tag("components/error_box.html")
def error_box(
    what: str,
    *,
    detail: str = "",
    retry: str = "",
    request_id: str = "",
    at: datetime | None = None,
) -> dict[str, Any]:
    """Say what failed, when, and offer to try again."""
    return {"what": what, "detail": detail, "retry": retry, "request_id": request_id, "at": at}


@register.inclusion_tag("components/job_progress.html", takes_context=True)
def job_progress(
    context: template.Context,
    job: Any,
    *,
    poll: str = "",
    unit: str = "",
    compact: bool = False,
    live: bool = True,
) -> dict[str, Any]:
    """Show how far a job is; it polls while the job runs and stops when it has finished."""
    return {
        "job": job,
        "view": job_view(job, poll=poll, unit=unit),
        "compact": compact,
        "live": live,
        "csrf_token": context.get("csrf_token"),
    }


@register.inclusion_tag("components/confirm_dialog.html", takes_context=True)
def confirm_dialog(
    context: template.Context,
    *,
    id: str,  # noqa: A002
    title: str,
    action: str,
    text: str = "",
    effect: str = "",
    confirm: str = "Confirm",
    cancel: str = "Cancel",
    danger: bool = False,
    fields: Mapping[str, Any] | None = None,
    reason: bool = False,
) -> dict[str, Any]:
    """Restate object, effect and size before something is done; Cancel has the focus."""
    return {
        "id": id,
        "title": title,
        "action": action,
        "text": text,
        "effect": effect,
        "confirm": confirm,
        "cancel": cancel,
        "kind": "danger" if danger else "primary",
        "fields": fields or {},
        "reason": reason,
        "csrf_token": context.get("csrf_token"),
    }


@register.inclusion_tag("components/filter_bar.html", takes_context=True)
def filter_bar(
    context: template.Context,
    form: Any,
    *,
    target: str,
    label: str = "Filter",
    summary: str = "",
    keep: str = "sort",
) -> dict[str, Any]:
    """Show a GET form whose changes swap the results and stay in the address."""
    request: HttpRequest = context["request"]
    kept = [(name, request.GET[name]) for name in keep.split() if name in request.GET]
    return {
        "form": form,
        "target": target,
        "label": label,
        "summary": summary,
        "kept": kept,
        "path": request.path,
        "active": any(value for name, value in request.GET.items() if name in form.fields),
    }


@register.inclusion_tag("components/tabs.html")
def tabs(entries: Iterable[Any], *, label: str) -> dict[str, Any]:
    """Show sibling pages as links; entries are (label, address, is_current[, count])."""
    shown = [
        {"label": entry[0], "href": entry[1], "current": entry[2], "count": (*entry, None)[3]}
        for entry in entries
    ]
    return {"entries": shown, "label": label}


@register.inclusion_tag("components/conn_status.html")
def conn_status(state: str = "connecting", *, text: str = "") -> dict[str, Any]:
    """Show the state of the live connection."""
    words = statuses.CONNECTIONS
    _one_of("state", state, words)
    return {"state": state, "text": text or words[state]}


@register.inclusion_tag("components/metric_definition.html")
def metric_definition(
    metric: str, *, label: str, text: str, formula: str = "", window: str = ""
) -> dict[str, Any]:
    """Explain a metric in a popover that links to its full definition."""
    return {
        "id": f"metric-{metric}",
        "label": label,
        "text": text,
        "formula": formula,
        "window": window,
        "href": tables.metric_url(metric),
    }


@register.simple_tag
def table_cell(cell: tables.Cell, *, heads_row: bool) -> SafeString:
    """Print one cell of a table."""
    return cell_markup(cell, heads_row=heads_row)


@register.filter
def heads_attr(heads: Mapping[str, int] | None) -> str:
    """Write topic heads under their wire names, for a `data-heads` attribute."""
    named = {wire_name(topic): head for topic, head in (heads or {}).items()}
    return json.dumps(named, separators=(",", ":"))


@register.filter
def shown(value: Formatted) -> SafeString:
    return directed(value)


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """Return the query string of this page with changes; None removes a name."""
    return tables.query_url(context["request"], **changes)


def _row(
    row: Any, columns: Sequence[tables.Column], row_id: str, selectable: str
) -> dict[str, Any]:
    key = tables.lookup(row, "id") if row_id or selectable else None
    return {
        "id": f"{row_id}-{key}" if row_id else "",
        "cells": tables.cells(row, columns),
        "key": key,
    }


def _one_of(argument: str, value: Any, allowed: Iterable[Any]) -> None:
    known = list(allowed)
    if value not in known:
        raise template.TemplateSyntaxError(
            f"{argument} is {value!r}; it must be one of {', '.join(map(repr, known))}"
        )
