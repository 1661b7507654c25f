"""The one place that turns numbers and times into what people read.

Template filters, WebSocket payloads and chart captions all go through here, so that a metric
reads the same wherever it is shown. Fractions come in, percent goes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict

from django.utils import timezone

Number = int | float | Decimal | None
Direction = Literal["up", "down", "flat", ""]

MISSING = "—"
MINUS = "\u2212"
# Beyond this nobody counts back: a replay's bars are years old.
OLDEST_AGE = timedelta(days=60)
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CHF": "CHF\u00a0"}


class Payload(TypedDict):
    """A formatted number on the wire: value, text, direction."""

    v: float | None
    s: str
    dir: Direction


@dataclass(frozen=True, slots=True)
class Formatted:
    """A number with its text; `direction` is empty where sign carries no judgement."""

    value: float | None
    text: str
    direction: Direction = ""

    def payload(self) -> Payload:
        return {"v": self.value, "s": self.text, "dir": self.direction}

    def __str__(self) -> str:
        return self.text


def finite(value: Any) -> float | None:
    """Return `value` as a finite float, or None where it is missing or undefined."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def decimal_text(value: Any, *, places: int) -> str:
    """Return `value` with grouped thousands, fixed places and a true minus sign."""
    number = finite(value)
    if number is None:
        return MISSING
    exact = value if isinstance(value, Decimal) else number
    text = f"{abs(exact):,.{places}f}"
    return text if number >= 0 or _is_zero(text) else MINUS + text


def price(value: Any, places: int = 2) -> Formatted:
    return Formatted(finite(value), decimal_text(value, places=places))


def money(value: Any, currency: str = "USD", places: int = 2) -> Formatted:
    text = decimal_text(value, places=places)
    if text == MISSING:
        return Formatted(None, text)
    symbol = SYMBOLS.get(currency, currency + "\u00a0")
    sign = MINUS if text.startswith(MINUS) else ""
    return Formatted(finite(value), f"{sign}{symbol}{text.removeprefix(MINUS)}")


def percent(value: Any, places: int = 2) -> Formatted:
    """Format a fraction as percent: 0.1234 reads 12.34%."""
    text = decimal_text(_scaled(value, 100), places=places)
    return Formatted(finite(value), text if text == MISSING else text + "%")


def ratio(value: Any, places: int = 2) -> Formatted:
    return Formatted(finite(value), decimal_text(value, places=places))


def count(value: Any) -> Formatted:
    return Formatted(finite(value), decimal_text(value, places=0))


def points(value: Any, places: int = 1) -> Formatted:
    """Format a difference of fractions in percentage points."""
    text = decimal_text(_scaled(value, 100), places=places)
    return Formatted(finite(value), text if text == MISSING else text + " pp")


def basis_points(value: Any, places: int = 1) -> Formatted:
    """Format a number that already counts basis points."""
    text = decimal_text(value, places=places)
    return Formatted(finite(value), text if text == MISSING else text + " bp")


def compact(value: Any) -> Formatted:
    """Format a large count in three digits: 1 234 567 reads 1.23M."""
    number = finite(value)
    if number is None:
        return Formatted(None, MISSING)
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit * 0.9995:
            scaled = number / limit
            places = 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0
            return Formatted(number, decimal_text(scaled, places=places) + suffix)
    return Formatted(number, decimal_text(number, places=0))


def byte_size(value: Any) -> Formatted:
    number = finite(value)
    if number is None:
        return Formatted(None, MISSING)
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return Formatted(number, f"{decimal_text(number / limit, places=1)} {unit}")
    return Formatted(number, f"{decimal_text(number, places=0)} B")


def signed(plain: Formatted) -> Formatted:
    """Add the sign and the direction that profit-and-loss values carry.

    A value that rounds to zero has neither sign nor direction.
    """
    if plain.value is None:
        return plain
    if _is_zero(plain.text):
        return Formatted(plain.value, plain.text, "flat")
    if plain.text.startswith(MINUS):
        return Formatted(plain.value, plain.text, "down")
    return Formatted(plain.value, "+" + plain.text, "up")


def signed_percent(value: Any, places: int = 2) -> Formatted:
    return signed(percent(value, places))


def signed_money(value: Any, currency: str = "USD", places: int = 2) -> Formatted:
    return signed(money(value, currency, places))


def signed_ratio(value: Any, places: int = 2) -> Formatted:
    return signed(ratio(value, places))


def signed_price(value: Any, places: int = 2) -> Formatted:
    return signed(price(value, places))


def signed_points(value: Any, places: int = 1) -> Formatted:
    return signed(points(value, places))


def duration(value: timedelta | float | None) -> Formatted:
    """Format a length of time in its two largest units: 3 h 04 min."""
    seconds = _seconds(value)
    if seconds is None:
        return Formatted(None, MISSING)
    sign = MINUS if seconds < 0 else ""
    return Formatted(seconds, sign + _duration_text(abs(seconds)))


def clock(value: timedelta | float | None) -> Formatted:
    """Format a running time as 00:31, or 1:02:03 from an hour on."""
    seconds = _seconds(value)
    if seconds is None:
        return Formatted(None, MISSING)
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
    return Formatted(seconds, text)


def day(value: date | datetime | None) -> str:
    """Format a date as 9 Mar 2026; an instant takes the date of the reader's zone."""
    if value is None:
        return MISSING
    if isinstance(value, datetime):
        value = timezone.localtime(value) if timezone.is_aware(value) else value
    return f"{value.day} {value:%b %Y}"


def instant(value: datetime | None, *, seconds: bool = False) -> str:
    """Format an aware instant in the reader's zone, with the zone's abbreviation."""
    if value is None:
        return MISSING
    local = timezone.localtime(value)
    return f"{day(local)}, {local:%H:%M:%S} {local:%Z}" if seconds else _minute(local)


def instant_utc(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(value: datetime | None, *, at: datetime) -> str:
    """Say how long before `at` an instant was: just now, 3 min ago, 2 d 4 h ago; or its day."""
    if value is None:
        return MISSING
    if abs(at - value) > OLDEST_AGE:
        return day(value)
    seconds = (at - value).total_seconds()
    if abs(seconds) < 10:
        return "just now"
    text = _duration_text(abs(seconds))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def bars(value: Any) -> Formatted:
    number = finite(value)
    if number is None:
        return Formatted(None, MISSING)
    unit = "bar" if number == 1 else "bars"
    return Formatted(number, f"{decimal_text(number, places=0)} {unit}")


FORMATS: dict[str, Callable[..., Formatted]] = {
    "price": price,
    "money": money,
    "percent": percent,
    "ratio": ratio,
    "count": count,
    "compact": compact,
    "points": points,
    "basis_points": basis_points,
    "bytes": byte_size,
    "duration": duration,
    "clock": clock,
    "bars": bars,
    "signed_percent": signed_percent,
    "signed_money": signed_money,
    "signed_ratio": signed_ratio,
    "signed_price": signed_price,
    "signed_points": signed_points,
}


def format_value(name: str, value: Any, **options: Any) -> Formatted:
    """Format `value` by the name of a format; text passes through as it is.

    Raises
    ------
    KeyError
        If no format has that name.
    """
    if name == "text" or isinstance(value, str):
        return Formatted(None, str(value) if value not in (None, "") else MISSING)
    return FORMATS[name](value, **options)


def payload(name: str, value: Any, **options: Any) -> Payload:
    """Return what a live `metrics` field carries."""
    return format_value(name, value, **options).payload()


def _minute(local: datetime) -> str:
    return f"{day(local)}, {local:%H:%M} {local:%Z}"


def _scaled(value: Any, factor: int) -> float | Decimal | None:
    if isinstance(value, Decimal):
        return value * factor
    number = finite(value)
    return None if number is None else number * factor


def _is_zero(text: str) -> bool:
    return not any(digit in text for digit in "123456789")


def _seconds(value: timedelta | float | None) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else finite(value)


def _duration_text(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest:02} s"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes:02} min"
