"""The bars of a backtest: its period, and the warm-up before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from alphastrat.marketdata.frames import BarArrays, find_series, load_arrays
from alphastrat.marketdata.models import BarSeries
from strategies.quant.panel import Panel
from strategies.services.specification import Specification

_COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Bars ready to be simulated on.

    Attributes
    ----------
    history : Panel
        Warm-up bars and the period.
    offset : int
        Row of `history` at which the period starts.
    panel : Panel
        The period alone.
    benchmark : Panel or None
        Bars of a named benchmark in the period.
    fingerprint : str
        Changes when any time or value of `history` or the benchmark does.
    """

    history: Panel
    offset: int
    panel: Panel
    benchmark: Panel | None
    fingerprint: str


def load(
    asked: Specification,
    *,
    warmup_bars: int,
    benchmark: str = "",
    series: Sequence[BarSeries] = (),
) -> Market:
    """Read the bars of a checked specification that close after its start and by its end.

    `series` are those of its symbols where they are known already.
    """
    found = series or find_series(asked.symbols, asked.timeframe)
    whole = _panel(load_arrays(found, known_at=asked.end_at))
    start = int(whole.index.searchsorted(pd.Timestamp(asked.start_at), side="right"))
    first = max(0, start - warmup_bars - 1)
    history = whole.window(first, whole.n_bars)
    against = None
    if benchmark:
        named = load_panel((benchmark,), asked.timeframe, known_at=asked.end_at)
        panel_index = whole.index[start:]
        against = _on_index(named, panel_index)
    return Market(
        history=history,
        offset=start - first,
        panel=history.window(start - first, history.n_bars),
        benchmark=against,
        fingerprint=_fingerprint(history, against),
    )


def load_panel(
    symbols: Sequence[str],
    timeframe: str,
    *,
    known_at: datetime | None = None,
    start: datetime | None = None,
) -> Panel:
    """Read the bars of several instruments on one time axis."""
    return _panel(load_arrays(find_series(symbols, timeframe), start=start, known_at=known_at))


def _panel(arrays: BarArrays) -> Panel:
    columns = (getattr(arrays, name) for name in _COLUMNS)
    return Panel(arrays.index, arrays.symbols, *columns)


def _on_index(panel: Panel, index: pd.DatetimeIndex) -> Panel:
    """Return a panel on another time axis; NaN where it has no bar."""
    rows = panel.index.get_indexer(index)
    columns = []
    for name in _COLUMNS:
        values = np.asarray(getattr(panel, name))[rows]
        values[rows < 0] = np.nan
        columns.append(values)
    return Panel(index, panel.symbols, *columns)


def _fingerprint(history: Panel, benchmark: Panel | None) -> str:
    digest = hashlib.sha256()
    for panel in (history, benchmark):
        if panel is None:
            continue
        digest.update("\0".join(panel.symbols).encode() + b"\0")
        digest.update(panel.index.as_unit("us").asi8.astype("<i8").tobytes())
        for name in _COLUMNS:
            digest.update(np.ascontiguousarray(getattr(panel, name), "<f8").data)
    return digest.hexdigest()
