"""Template filters for numbers and times; the text comes from `alphastrat.core.formatting`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from alphastrat.core import formatting
from alphastrat.core.formatting import MISSING, Formatted

register = template.Library()


def directed(value: Formatted) -> SafeString:
    """Return the markup of a signed value: CSS draws the arrow from its direction."""
    if not value.direction:
        return format_html("{}", value.text)
    return format_html('<span class="pl" data-dir="{}">{}</span>', value.direction, value.text)


@register.filter
def price(value: Any, places: int = 2) -> str:
    return formatting.price(value, places).text


@register.filter
def money(value: Any, currency: str = "USD") -> str:
    return formatting.money(value, currency).text


@register.filter
def percent(value: Any, places: int = 2) -> str:
    return formatting.percent(value, places).text


@register.filter
def ratio(value: Any, places: int = 2) -> str:
    return formatting.ratio(value, places).text


@register.filter
def count(value: Any) -> str:
    return formatting.count(value).text


@register.filter
def compact(value: Any) -> str:
    return formatting.compact(value).text


@register.filter
def points(value: Any, places: int = 1) -> str:
    return formatting.points(value, places).text


@register.filter
def basis_points(value: Any, places: int = 1) -> str:
    return formatting.basis_points(value, places).text


@register.filter(name="bytes")
def byte_size(value: Any) -> str:
    return formatting.byte_size(value).text


@register.filter
def signed_percent(value: Any, places: int = 2) -> SafeString:
    return directed(formatting.signed_percent(value, places))


@register.filter
def signed_money(value: Any, currency: str = "USD") -> SafeString:
    return directed(formatting.signed_money(value, currency))


@register.filter
def signed_ratio(value: Any, places: int = 2) -> SafeString:
    return directed(formatting.signed_ratio(value, places))


@register.filter
def signed_price(value: Any, places: int = 2) -> SafeString:
    return directed(formatting.signed_price(value, places))


@register.filter
def signed_points(value: Any, places: int = 1) -> SafeString:
    return directed(formatting.signed_points(value, places))


@register.filter
def duration(value: timedelta | float | None) -> str:
    return formatting.duration(value).text


@register.filter
def clock(value: timedelta | float | None) -> str:
    return formatting.clock(value).text


@register.filter(expects_localtime=False)
def local_time(value: datetime | None, precision: str = "minute") -> SafeString:
    """Show an instant in the reader's zone with the UTC time as its title."""
    if value is None:
        return format_html("{}", MISSING)
    return _time_element(value, formatting.instant(value, seconds=precision == "second"))


@register.filter
def age(value: datetime | None) -> SafeString:
    """Show how long ago an instant was, with the UTC time as its title."""
    if value is None:
        return format_html("{}", MISSING)
    return _time_element(value, formatting.age(value, at=timezone.now()))


@register.filter
def day(value: date | datetime | None) -> SafeString:
    if value is None:
        return format_html("{}", MISSING)
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), formatting.day(value))


@register.filter
def or_missing(value: Any) -> Any:
    """Show a dash where there is nothing to show."""
    return MISSING if value is None or value == "" else value


def _time_element(value: datetime, text: str) -> SafeString:
    stamp = f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    title = formatting.instant_utc(value)
    return format_html('<time datetime="{}" title="{}">{}</time>', stamp, title, text)
