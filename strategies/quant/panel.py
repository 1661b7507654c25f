"""Bars of several instruments on one time axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from alphastrat.quant.bars import (
    COLUMN_LABELS,
    COLUMNS,
    align_bars,
    check_bars,
    check_close_times,
)
from alphastrat.quant.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Bars of several instruments on the union of their close times.

    Attributes
    ----------
    index : DatetimeIndex of shape (n_bars,)
        UTC close times, strictly increasing.
    symbols : tuple of str
        The instruments, in column order.
    open, high, low, close, volume : ndarray of shape (n_bars, n_assets)
        Prices in quote currency and volume in units; all five are NaN where an instrument has
        no bar (not yet listed, or its market closed). Such bars are neither traded nor filled
        forward.
    """

    index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    @classmethod
    def from_frames(cls, frames: Mapping[str, pd.DataFrame]) -> Self:
        """Build a panel from one checked frame per instrument.

        Parameters
        ----------
        frames : mapping of symbol to DataFrame of shape (n_bars_i, 5)
            Frames that satisfy `check_bars`; their close times may differ.

        Returns
        -------
        Panel
            On the union of the close times.

        Raises
        ------
        ValueError
            If no frame is given or one is not well formed; the message names the symbol.
        """
        for symbol, frame in frames.items():
            try:
                check_bars(frame)
            except ValueError as error:
                raise ValueError(f"{symbol}: {error}") from error
        aligned = frames if len(frames) == 1 else align_bars(frames, how="outer")
        columns = {
            name: np.column_stack([frame[name].to_numpy(np.float64) for frame in aligned.values()])
            for name in COLUMNS
        }
        index = check_close_times(next(iter(aligned.values())).index)
        return cls(index, tuple(frames), **columns)

    @property
    def n_bars(self) -> int:
        """Number of rows."""
        return len(self.index)

    @property
    def n_assets(self) -> int:
        """Number of instruments."""
        return len(self.symbols)

    @property
    def has_bar(self) -> BoolArray:
        """Whether each instrument has a bar, shape (n_bars, n_assets)."""
        return np.isfinite(self.close)

    def bars(self, symbol: str) -> pd.DataFrame:
        """Return one instrument's own bars, without the rows where it has none.

        Parameters
        ----------
        symbol : str
            One of `symbols`.

        Returns
        -------
        DataFrame of shape (n_bars_i, 5)
            Satisfies `check_bars`.
        """
        column = self.symbols.index(symbol)
        values = np.column_stack([getattr(self, name)[:, column] for name in COLUMNS])
        present = np.isfinite(values[:, 3])
        if present.all():
            return pd.DataFrame(values, index=self.index, columns=COLUMN_LABELS)
        return pd.DataFrame(values[present], index=self.index[present], columns=COLUMN_LABELS)

    def window(self, start: int, stop: int) -> Panel:
        """Return the bars `start` (inclusive) to `stop` (exclusive), as positions."""
        span = slice(start, stop)
        arrays = (getattr(self, name)[span] for name in COLUMNS)
        return Panel(self.index[span], self.symbols, *arrays)


def as_panel(bars: pd.DataFrame | Mapping[str, pd.DataFrame] | Panel) -> Panel:
    """Return bars of any accepted form as a panel.

    Parameters
    ----------
    bars : DataFrame, mapping of symbol to DataFrame, or Panel
        A single frame becomes a panel of one instrument named by `bars.attrs["symbol"]`, or
        "asset" without it.

    Returns
    -------
    Panel
        The same object if it was one.
    """
    if isinstance(bars, Panel):
        return bars
    if isinstance(bars, pd.DataFrame):
        return Panel.from_frames({str(bars.attrs.get("symbol", "asset")): bars})
    return Panel.from_frames(bars)
