"""Bars of one timeframe and plug-in answers, shared by the strategies that use them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from alphastrat.marketdata.frames import closing_index
from alphastrat.marketdata.live_bars import LiveWindow
from alphastrat.quant.bars import COLUMN_LABELS, COLUMNS
from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant import registry
from strategies.quant.memo import BarArrays, know_bars
from strategies.quant.panel import Panel
from strategies.quant.signals import WishArray, panel_signals
from strategies.services.standing import Standing

logger = logging.getLogger(__name__)

# Rows beyond the warm-up, for instruments that miss a bar now and then.
SPARE_ROWS = 10
# Windows are rounded up to this, so that strategies share them.
ROW_STEP = 256
_CLOSE = COLUMNS.index("close")


def rows_for(plugin: Any, n_settled: int) -> int:
    """Return how many bars a plug-in is shown for its newest `n_settled` answers to be settled."""
    return -(-(plugin.warmup_bars + n_settled + SPARE_ROWS) // ROW_STEP) * ROW_STEP


class Answer(NamedTuple):
    """What a plug-in wishes for on a window, and the closes that it saw.

    Arrays have shape (n_bars, n_symbols) but for the times, microseconds since 1970 in UTC.
    """

    closed_at: IntArray
    close: FloatArray
    wishes: WishArray
    strength: FloatArray
    indicators: dict[str, FloatArray]


@dataclass(slots=True)
class SignalWindows:
    """What is computed once at a bar close, however many strategies ask for it.

    `bars` holds by symbol at least the bars that any of the strategies will ask for.
    """

    bars: Mapping[str, LiveWindow]
    _answers: dict[tuple[Any, ...], Answer] = field(default_factory=dict)
    _frames: dict[tuple[str, int], pd.DataFrame] = field(default_factory=dict)
    _aligned: dict[tuple[str, ...], tuple[IntArray, FloatArray]] = field(default_factory=dict)

    def covers(self, strategy: Standing) -> bool:
        """Say whether there are bars of every instrument that a strategy looks at."""
        missing = [symbol for symbol in strategy.symbols if symbol not in self.bars]
        if missing:
            logger.warning(
                "no signals without bars",
                extra={"strategy": strategy.strategy, "symbols": sorted(missing)},
            )
        return not missing

    def n_without_signals(self, strategy: Standing, *, first: int | None, most: int) -> int:
        """Return how many bars closed after the last signal.

        Where there is none yet, those from the `first` close on, or the newest bar alone.
        """
        times = self._times(tuple(strategy.symbols))[-most:]
        if (last := strategy.last_close) is not None:
            return len(times) - int(times.searchsorted(last, "right"))
        if first is None:
            return min(len(times), 1)
        return len(times) - int(times.searchsorted(first, "left"))

    def n_closed_since(self, strategy: Standing, since: int) -> int:
        """Return how many bars closed at or after an instant."""
        times = self._times(tuple(strategy.symbols))
        return len(times) - int(times.searchsorted(since, "left"))

    def answer(self, strategy: Standing, n_settled: int) -> Answer:
        """Return the plug-in's wishes on the newest bars, at least `n_settled` settled ones."""
        plugin, symbols = strategy.plugin, tuple(strategy.symbols)
        key = (plugin, symbols, rows_for(plugin, n_settled))
        if key not in self._answers:
            is_alone = len(symbols) == 1 and not registry.is_panel_plugin(plugin)
            self._answers[key] = self._of_one(*key) if is_alone else self._of_panel(*key)
        return self._answers[key]

    def _of_one(self, plugin: Any, symbols: tuple[str, ...], n_rows: int) -> Answer:
        (symbol,) = symbols
        window = self.bars[symbol].newest(n_rows)
        # One frame serves every strategy that looks at this instrument alone.
        if (symbol, n_rows) not in self._frames:
            self._frames[symbol, n_rows] = _frame(window)
        column = plugin.signals(self._frames[symbol, n_rows])
        return Answer(
            window.closed_at,
            window.values[_CLOSE][:, None],
            column.wishes[:, None],
            column.strength[:, None],
            {name: series[:, None] for name, series in column.indicators.items()},
        )

    def _of_panel(self, plugin: Any, symbols: tuple[str, ...], n_rows: int) -> Answer:
        times, values = self._together(symbols)
        times = times[-n_rows:]
        panel = Panel(closing_index(times), symbols, *(one[:, -n_rows:].T for one in values))
        found = panel_signals(plugin, panel)
        return Answer(times, panel.close, found.wishes, found.strength, dict(found.indicators))

    def _times(self, symbols: tuple[str, ...]) -> IntArray:
        if len(symbols) == 1:
            return self.bars[symbols[0]].closed_at
        return self._together(symbols)[0]

    def _together(self, symbols: tuple[str, ...]) -> tuple[IntArray, FloatArray]:
        """Return the union of close times, and values of shape (5, n_symbols, n_bars)."""
        if symbols not in self._aligned:
            self._aligned[symbols] = _align([self.bars[symbol] for symbol in symbols])
        return self._aligned[symbols]


def windows_of(panel: Panel | None) -> dict[str, LiveWindow]:
    """Return the bars of a panel by symbol, each with its own close times."""
    if panel is None:
        return {}
    times = panel.index.as_unit("us").asi8
    values = np.stack([getattr(panel, name) for name in COLUMNS])
    return {
        symbol: LiveWindow(times[has_bar], values[:, has_bar, j])
        for j, (symbol, has_bar) in enumerate(zip(panel.symbols, panel.has_bar.T, strict=True))
    }


def _frame(window: LiveWindow) -> pd.DataFrame:
    # A copy: what is kept from one bar close to the next is out of reach of plug-ins.
    values = window.values.copy()
    index = closing_index(window.closed_at)
    frame = pd.DataFrame(values.T, index=index, columns=COLUMN_LABELS, copy=False)
    know_bars(frame, BarArrays(*values))
    return frame


def _align(windows: Iterable[LiveWindow]) -> tuple[IntArray, FloatArray]:
    chosen = list(windows)
    first = chosen[0].closed_at
    if all(np.array_equal(first, one.closed_at) for one in chosen[1:]):
        return first, np.stack([one.values for one in chosen], axis=1)
    axis = np.unique(np.concatenate([one.closed_at for one in chosen]))
    filled = np.full((len(COLUMNS), len(chosen), len(axis)), np.nan)
    for j, one in enumerate(chosen):
        filled[:, j, np.searchsorted(axis, one.closed_at)] = one.values
    return axis, filled
