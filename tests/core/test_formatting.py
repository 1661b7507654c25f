"""Numbers and times read the same wherever they are shown."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from alphastrat.core import formatting
from alphastrat.core.formatting import FORMATS, MISSING
from alphastrat.core.templatetags import format as filters

CASES = [
    ("price", 1234.5, "1,234.50", ""),
    ("price", Decimal("0.1") + Decimal("0.2"), "0.30", ""),
    ("money", -1234.5, "−$1,234.50", ""),
    ("money", Decimal("123456789012345.67"), "$123,456,789,012,345.67", ""),
    ("percent", 0.1234, "12.34%", ""),
    ("percent", -0.0004, "−0.04%", ""),
    ("ratio", -0.004, "0.00", ""),
    ("count", 619040, "619,040", ""),
    ("compact", 619040, "619k", ""),
    ("compact", 999_950, "1.00M", ""),
    ("compact", 1_234_567, "1.23M", ""),
    ("compact", 12, "12", ""),
    ("bytes", 12_345_678, "12.3 MB", ""),
    ("bytes", 512, "512 B", ""),
    ("points", 0.012, "1.2 pp", ""),
    ("basis_points", 3.26, "3.3 bp", ""),
    ("bars", 1, "1 bar", ""),
    ("signed_percent", 0.0042, "+0.42%", "up"),
    ("signed_percent", -0.0061, "−0.61%", "down"),
    ("signed_percent", 0.0, "0.00%", "flat"),
    ("signed_percent", -0.00004, "0.00%", "flat"),
    ("signed_money", 2104.5, "+$2,104.50", "up"),
    ("signed_money", -2104.5, "−$2,104.50", "down"),
    ("signed_ratio", -0.44, "−0.44", "down"),
    ("signed_points", 0.012, "+1.2 pp", "up"),
    ("duration", 0.0042, "4 ms", ""),
    ("duration", 3.24, "3.2 s", ""),
    ("duration", 59.7, "1 min 00 s", ""),
    ("duration", 8042, "2 h 14 min", ""),
    ("duration", timedelta(days=2, hours=4), "2 d 4 h", ""),
    ("clock", 31, "00:31", ""),
    ("clock", 3723, "1:02:03", ""),
]


@pytest.mark.parametrize(("name", "value", "text", "direction"), CASES)
def test_format_reads_as_written(name: str, value: object, text: str, direction: str) -> None:
    formatted = formatting.format_value(name, value)
    assert (formatted.text, formatted.direction) == (text, direction)


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("value", [None, math.nan, math.inf, np.float64("nan")])
def test_format_shows_a_dash_for_what_is_undefined(name: str, value: object) -> None:
    assert formatting.payload(name, value) == {"v": None, "s": MISSING, "dir": ""}


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
def test_signed_percent_has_a_sign_exactly_when_a_digit_is_not_zero(value: float) -> None:
    shown = formatting.signed_percent(value)
    is_zero = not any(digit in shown.text for digit in "123456789")
    assert (shown.direction == "flat") is is_zero
    assert (shown.text[0] in "+−") is not is_zero
    assert "-" not in shown.text


def test_format_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(KeyError):
        formatting.format_value("percentage", 0.1)


def test_signed_filter_leaves_the_arrow_to_the_style_sheet() -> None:
    assert filters.signed_percent(-0.0061) == '<span class="pl" data-dir="down">−0.61%</span>'
    assert filters.signed_percent(None) == MISSING


def test_local_time_shows_the_zone_of_the_reader_and_utc_as_title() -> None:
    at = datetime(2026, 7, 1, 18, 30, tzinfo=UTC)
    with timezone.override(ZoneInfo("America/New_York")):
        shown = filters.local_time(at)
    assert "1 Jul 2026, 14:30 EDT" in shown
    assert 'title="2026-07-01 18:30:00 UTC"' in shown
    assert filters.local_time(None) == MISSING


def test_day_takes_the_date_of_the_readers_zone() -> None:
    at = datetime(2026, 7, 1, 1, 0, tzinfo=UTC)
    with timezone.override(ZoneInfo("America/New_York")):
        assert formatting.day(at) == "30 Jun 2026"
    assert formatting.day(date(2026, 3, 9)) == "9 Mar 2026"


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(minutes=3), "3 min 00 s ago"),
        (timedelta(hours=-2), "in 2 h 00 min"),
        (timedelta(days=59), "59 d 0 h ago"),
        (timedelta(days=61), "1 May 2026"),
    ],
)
def test_age_says_how_long_ago(ago: timedelta, text: str) -> None:
    at = datetime(2026, 7, 1, tzinfo=UTC)
    assert formatting.age(at - ago, at=at) == text
