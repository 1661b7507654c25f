"""How many bars are held of an instrument, without reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from alphastrat.marketdata.models import BarSeries


@dataclass(frozen=True, slots=True)
class Coverage:
    """The bars held of one instrument and timeframe."""

    n_bars: int
    first_at: datetime | None
    last_at: datetime | None


def of(series: Iterable[BarSeries]) -> dict[str, Coverage]:
    """Return what each series holds by the symbol of its instrument, in the order given."""
    return {
        one.instrument.symbol: Coverage(one.bar_count, one.first_opened_at, one.last_closed_at)
        for one in series
    }


def bars_between(held: Coverage, start: datetime | None, end: datetime) -> int:
    """Return about how many bars fall into a span, taking them as evenly spread.

    Exact where the span holds the whole series or misses it.
    """
    if not held.n_bars or held.first_at is None or held.last_at is None:
        return 0
    first = held.first_at if start is None else max(held.first_at, start)
    last = min(held.last_at, end)
    if last <= first:
        return 0
    share = (last - first) / (held.last_at - held.first_at)
    return min(held.n_bars, round(held.n_bars * share))


def span(covered: Mapping[str, Coverage]) -> tuple[datetime | None, datetime | None]:
    """Return the first and last time at which any of the instruments has bars."""
    firsts = [row.first_at for row in covered.values() if row.first_at]
    lasts = [row.last_at for row in covered.values() if row.last_at]
    return min(firsts, default=None), max(lasts, default=None)
