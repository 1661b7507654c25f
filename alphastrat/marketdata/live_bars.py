"""The newest bars of the series that live operation follows, kept between bar closes.

A bar close adds one bar to windows of hundreds, so a process keeps the windows that it has read.
Nothing is kept on trust: every look begins by asking which series each symbol follows now, the
revision and the number of bars of that series, and its newest bar. Every change of stored bars is
one step of the revision, in the transaction that changes them, so a kept window is then

- used as it is where the series is at the same revision;
- extended by the newest bar where the series is one step further, has one bar more, and that bar
  closes behind the kept ones: a restatement adds no bar, what fills a gap adds none at the end;
- read anew in every other case: restated bars, several steps or bars at once, another series to
  follow, more bars wanted than are kept, a present that lies before the newest bar.

It does not matter who stored the bars: this process, another one, or somebody by hand. What is
read inside a transaction may be rolled back, and what is read for a present in the past is not
the end of its series: neither is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

import numpy as np
from django.db import connection

from alphastrat.core.prepared import PreparedStatement
from alphastrat.marketdata.live_market import REPLAY, is_replaying
from alphastrat.marketdata.models import Adjustment
from alphastrat.quant.types import FloatArray, IntArray, Timeframe

# 512 bars take 25 KB.
MAX_KEPT = 5_000

# For a query that asks for rows of (symbol, timeframe, n_bars), in a statement with
# {"is_replaying": …, "known_at": …} as $1. The series is chosen as `live_series` does. LIMIT 1
# keeps the planner to one look into an index, however little it knows of the tables.
NEWEST_BARS = f"""
    SELECT json_agg(json_build_array(
        asked.timeframe, asked.symbol, series.id, series.revision, series.bar_count,
        coalesce(series.last_closed_at <= ($1->>'known_at')::timestamptz, true),
        newest.closed_at, newest.prices
    ))
    FROM ({{asked}}) asked
    CROSS JOIN LATERAL (
        SELECT id FROM marketdata_instrument WHERE symbol = asked.symbol LIMIT 1
    ) instrument
    CROSS JOIN LATERAL (
        SELECT id, revision, bar_count, last_closed_at FROM marketdata_barseries
        WHERE instrument_id = instrument.id AND timeframe = asked.timeframe
            AND adjustment = '{Adjustment.SPLIT}'
            AND (source = '{REPLAY}') = (($1->>'is_replaying')::boolean AND EXISTS (
                SELECT FROM marketdata_feedposition WHERE name = '{REPLAY}:' || asked.timeframe
            ))
        ORDER BY bar_count DESC, created_at DESC LIMIT 1
    ) series
    CROSS JOIN LATERAL (
        SELECT json_agg((extract(epoch FROM closed_at) * 1000000)::bigint ORDER BY opened_at)
                AS closed_at,
            json_build_array(
                json_agg(open ORDER BY opened_at), json_agg(high ORDER BY opened_at),
                json_agg(low ORDER BY opened_at), json_agg(close ORDER BY opened_at),
                json_agg(volume ORDER BY opened_at)
            ) AS prices
        FROM (
            SELECT * FROM marketdata_bar
            WHERE series_id = series.id AND closed_at <= ($1->>'known_at')::timestamptz
            ORDER BY opened_at DESC LIMIT asked.n_bars
        ) bars
    ) newest
"""
_NEWEST = PreparedStatement(
    "newest_live_bars",
    NEWEST_BARS.format(
        asked="""
            SELECT symbol, $1->>'timeframe' AS timeframe, ($1->>'n_bars')::bigint AS n_bars
            FROM jsonb_array_elements_text($1->'symbols') AS asked (symbol)
        """
    ),
)


_ARRIVALS = PreparedStatement(
    "bar_arrivals",
    """
    SELECT json_object_agg(asked.id, newest.bars)
    FROM jsonb_array_elements_text($1->'series') AS asked (id)
    CROSS JOIN LATERAL (
        SELECT json_agg(json_build_array(
            (extract(epoch FROM closed_at) * 1000000)::bigint,
            (extract(epoch FROM ingested_at) * 1000000)::bigint
        ) ORDER BY opened_at DESC) AS bars
        FROM (
            SELECT * FROM marketdata_bar
            WHERE series_id = asked.id::uuid AND closed_at <= ($1->>'known_at')::timestamptz
            ORDER BY opened_at DESC LIMIT ($1->>'n_bars')::bigint
        ) bars
    ) newest
    """,
)


class LiveWindow(NamedTuple):
    """The newest bars of a symbol, oldest first."""

    closed_at: IntArray  # microseconds since 1970 in UTC
    values: FloatArray  # shape (5, n_bars), in the order of COLUMNS

    def newest(self, n_bars: int) -> LiveWindow:
        """Return the last `n_bars` of them."""
        return LiveWindow(self.closed_at[-n_bars:], self.values[:, -n_bars:])


class LiveSeries(NamedTuple):
    """Bars of a series, and what the series was when they were read."""

    series: str
    revision: int
    bar_count: int
    reaches_end: bool
    window: LiveWindow

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """Make it of what `NEWEST_BARS` says after timeframe and symbol."""
        series, revision, bar_count, reaches_end, closed_at, prices = row
        values = np.array([column or [] for column in prices], np.float64)
        window = LiveWindow(np.array(closed_at or [], np.int64), values)
        return cls(series, revision, bar_count, reaches_end, window)

    def brought_up_to(self, newest: LiveSeries, n_bars: int) -> LiveSeries | None:
        """Return the last `n_bars` as they are now, or more; None where that cannot be told."""
        old, new = self.window, newest.window
        is_enough = len(old.closed_at) >= min(n_bars, self.bar_count)
        if newest.series != self.series or not newest.reaches_end or not is_enough:
            return None
        if newest.revision == self.revision:
            return self
        is_append = (
            newest.revision == self.revision + 1
            and newest.bar_count == self.bar_count + 1
            and (len(old.closed_at) == 0 or new.closed_at[-1] > old.closed_at[-1])
        )
        if not is_append:
            return None
        both = LiveWindow(
            np.concatenate([old.closed_at, new.closed_at[-1:]]),
            np.concatenate([old.values, new.values[:, -1:]], axis=1),
        )
        return newest._replace(window=both.newest(max(n_bars, len(old.closed_at))))


# By timeframe and symbol.
_kept: dict[tuple[str, str], LiveSeries] = {}


def present(known_at: datetime) -> dict[str, Any]:
    """Return what a statement with `NEWEST_BARS` must be told in $1."""
    return {"is_replaying": is_replaying(), "known_at": known_at.isoformat()}


def load_live_bars(
    timeframe: Timeframe | str,
    newest: Mapping[str, LiveSeries],
    *,
    n_bars: int,
    known_at: datetime,
) -> dict[str, LiveWindow]:
    """Return by symbol the newest `n_bars` that are known at `known_at`, or all there are.

    `newest` says of each symbol what its series is now, with the newest bar at least. The arrays
    may be those that are kept: they are to be read only.
    """
    found: dict[str, LiveSeries] = {}
    for symbol, now in newest.items():
        kept = _kept.get((str(timeframe), symbol))
        window = None if kept is None else kept.brought_up_to(now, n_bars)
        if window is not None:
            found[symbol] = window
    missing = newest.keys() - found.keys()
    if missing:
        found |= read_newest(missing, timeframe, n_bars=n_bars, known_at=known_at)
    _keep(found, timeframe)
    return {symbol: one.window.newest(n_bars) for symbol, one in found.items()}


def read_newest(
    symbols: Iterable[str], timeframe: Timeframe | str, *, n_bars: int, known_at: datetime
) -> dict[str, LiveSeries]:
    """Return by symbol what its series is now; symbols without one are left out."""
    asked = {"symbols": list(symbols), "timeframe": str(timeframe), "n_bars": n_bars}
    rows = _NEWEST(asked | present(known_at)) or ()
    return {symbol: LiveSeries.of(row) for _, symbol, *row in rows}


def arrivals(
    series: Iterable[str], *, n_bars: int, known_at: datetime
) -> dict[str, list[tuple[int, int]]]:
    """Return when the newest bars of each series closed and came, newest first.

    Both are microseconds since 1970 in UTC.
    """
    asked = {"series": sorted(series), "n_bars": n_bars, "known_at": known_at.isoformat()}
    found: dict[str, list[tuple[int, int]]] = _ARRIVALS(asked) or {}
    return {one: bars or [] for one, bars in found.items()}


def _keep(found: Mapping[str, LiveSeries], timeframe: Timeframe | str) -> None:
    if connection.in_atomic_block:
        return
    if len(_kept) + len(found) > MAX_KEPT:
        _kept.clear()
    _kept.update({(str(timeframe), s): one for s, one in found.items() if one.reaches_end})
