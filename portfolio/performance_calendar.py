"""Results by month and by session as calendars: tables whose cells carry their numbers."""

from __future__ import annotations

from calendar import MONDAY, Calendar, month_abbr, month_name
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from alphastrat.core.formatting import Formatted, signed_money, signed_percent
from alphastrat.quant.returns import compound_by
from alphastrat.quant.types import FloatArray

MONTHS = tuple(month_abbr[1:])
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Shares of the largest absolute value of the calendar from which a tint gets stronger.
STEPS = (0.0, 0.25, 0.6)


@dataclass(frozen=True, slots=True)
class CalendarCell:
    """A month or a session: its number, and how strongly it is tinted, from 0 to 3."""

    shown: Formatted
    level: int = 0
    day: date | None = None
    href: str = ""
    is_chosen: bool = False


EMPTY = CalendarCell(Formatted(None, ""))


def month_table(
    days: Sequence[date], returns: FloatArray, *, chosen: tuple[int, int], base: str
) -> list[dict[str, Any]]:
    """Return a row per year with its months and the whole year, newest first.

    Each month links to its sessions.
    """
    if not days:
        return []
    labels = np.array([day.year * 12 + day.month - 1 for day in days], dtype=np.int64)
    months, gained = compound_by(np.asarray(returns, dtype=np.float64), labels)
    largest = float(np.abs(gained).max(initial=0.0))
    found = dict(zip(months.tolist(), gained.tolist(), strict=True))
    rows = []
    for year in range(days[-1].year, days[0].year - 1, -1):
        cells = [
            _month_cell(found.get(year * 12 + i), largest, (year, i + 1), chosen=chosen, base=base)
            for i in range(12)
        ]
        whole = [found[key] for i in range(12) if (key := year * 12 + i) in found]
        total = float(np.prod(1.0 + np.array(whole)) - 1.0)
        rows.append({"year": year, "cells": cells, "total": signed_percent(total)})
    return rows


def session_grid(
    pnl: Mapping[date, Decimal], *, month: tuple[int, int], currency: str
) -> list[list[CalendarCell]]:
    """Return the weeks of a month, Monday first, with the result of each session."""
    largest = max((abs(one) for one in pnl.values()), default=Decimal(0))
    return [
        [
            _session_cell(day, pnl, largest, currency=currency) if day.month == month[1] else EMPTY
            for day in week
        ]
        for week in Calendar(MONDAY).monthdatescalendar(*month)
    ]


def chosen_month(asked: str, days: Sequence[date]) -> tuple[int, int]:
    """Return the month that `?month=2017-05` asks for, or that of the newest session."""
    known = {f"{one:%Y-%m}": (one.year, one.month) for one in days}
    newest = (days[-1].year, days[-1].month) if days else (1970, 1)
    return known.get(asked, newest)


def month_label(month: tuple[int, int]) -> str:
    return f"{month_name[month[1]]} {month[0]}"


def _month_cell(
    gained: float | None,
    largest: float,
    month: tuple[int, int],
    *,
    chosen: tuple[int, int],
    base: str,
) -> CalendarCell:
    if gained is None:
        return EMPTY
    return CalendarCell(
        signed_percent(gained, 1),
        level(gained, largest),
        href=f"{base}&month={month[0]}-{month[1]:02}#calendar",
        is_chosen=month == chosen,
    )


def _session_cell(
    day: date, pnl: Mapping[date, Decimal], largest: Decimal, *, currency: str
) -> CalendarCell:
    result = pnl.get(day)
    if result is None:
        return CalendarCell(Formatted(None, ""), day=day)
    shown = signed_money(result, currency, places=0)
    return CalendarCell(shown, level(float(result), float(largest)), day=day)


def level(value: float, largest: float) -> int:
    """Return how strongly a value is tinted: 0 for none, 3 for the largest."""
    if not value or not largest:
        return 0
    return sum(abs(value) / largest > step for step in STEPS)
