"""Stateless wishes of a plug-in, and the one rule that folds them into positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphastrat.quant.bars import check_close_times
from alphastrat.quant.types import BoolArray, FloatArray
from strategies.quant.compiled import compiled
from strategies.quant.panel import Panel

LONG_ENTRY = 1
LONG_EXIT = 2
SHORT_ENTRY = 4
SHORT_EXIT = 8

WishArray = npt.NDArray[np.uint8]
PositionArray = npt.NDArray[np.int8]
_WISH_NAMES = ("long_entry", "long_exit", "short_entry", "short_exit")


class SignalType(StrEnum):
    """What a signal asks for, seen from the position held."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"


class SignalAt(NamedTuple):
    """One bar's signal, ready to be stored.

    Attributes
    ----------
    type : SignalType
        BUY if the position is to grow, SELL if it is to shrink, else HOLD.
    target : int
        Side wanted after the next open: +1 long, 0 flat, -1 short.
    strength : float
        In [0, 1].
    indicators : dict of str to float
        The values that caused it; NaN while warming up.
    """

    type: SignalType
    target: int
    strength: float
    indicators: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Wishes of a plug-in for one instrument, each known at the close of its bar.

    Attributes
    ----------
    index : DatetimeIndex of shape (n_bars,)
        UTC close times of the bars.
    wishes : ndarray of uint8, shape (n_bars,)
        Bit field of LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT.
    strength : ndarray of shape (n_bars,)
        In [0, 1]; ranks entries where cash does not suffice for all.
    indicators : mapping of str to ndarray of shape (n_bars,)
        The values that caused the wishes, NaN while warming up.
    """

    index: pd.DatetimeIndex
    wishes: WishArray
    strength: FloatArray
    indicators: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        bars: pd.DataFrame,
        *,
        long_entry: BoolArray | None = None,
        long_exit: BoolArray | None = None,
        short_entry: BoolArray | None = None,
        short_exit: BoolArray | None = None,
        strength: FloatArray | None = None,
        indicators: Mapping[str, FloatArray] | None = None,
    ) -> Self:
        """Build signals from one boolean array per wish.

        Parameters
        ----------
        bars : DataFrame of shape (n_bars, 5)
            The bars they belong to.
        long_entry, long_exit, short_entry, short_exit : ndarray of bool, shape (n_bars,)
            Absent wishes are never made.
        strength : ndarray of shape (n_bars,), optional
            Clipped to [0, 1], NaN becomes 0; 1 everywhere when absent.
        indicators : mapping of str to ndarray, optional
            The values that caused the wishes.

        Returns
        -------
        Signals
            With the bars' index.
        """
        wishes = pack_wishes(len(bars), long_entry, long_exit, short_entry, short_exit)
        return cls(
            check_close_times(bars.index),
            wishes,
            _unit(strength, wishes.shape),
            dict(indicators or {}),
        )

    def __len__(self) -> int:
        return len(self.wishes)

    def at(self, bar: int, *, position: int = 0) -> SignalAt:
        """Return the signal of one bar, seen from the side held at its close.

        Parameters
        ----------
        bar : int
            Position of the bar; -1 is the last.
        position : int
            Side held: +1, 0 or -1.

        Returns
        -------
        SignalAt
            With the indicator values of that bar.
        """
        target = int(next_position(position, int(self.wishes[bar])))
        values = {name: float(series[bar]) for name, series in self.indicators.items()}
        return SignalAt(signal_type(position, target), target, float(self.strength[bar]), values)

    def frame(self) -> pd.DataFrame:
        """Return wishes, strength and indicators as columns, for tables and exports."""
        return pd.DataFrame(
            {
                **{n: (self.wishes & bit) > 0 for n, bit in zip(_WISH_NAMES, _BITS, strict=True)},
                "strength": self.strength,
                **self.indicators,
            },
            index=self.index,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PanelSignals:
    """Wishes for several instruments on one time axis.

    Attributes
    ----------
    index : DatetimeIndex of shape (n_bars,)
        UTC close times.
    symbols : tuple of str
        Instruments in column order.
    wishes : ndarray of uint8, shape (n_bars, n_assets)
        As in `Signals`; 0 where an instrument has no bar.
    strength : ndarray of shape (n_bars, n_assets)
        In [0, 1].
    indicators : mapping of str to ndarray of shape (n_bars, n_assets)
        NaN where an instrument has no bar.
    """

    index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    wishes: WishArray
    strength: FloatArray
    indicators: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        panel: Panel,
        *,
        long_entry: BoolArray | None = None,
        long_exit: BoolArray | None = None,
        short_entry: BoolArray | None = None,
        short_exit: BoolArray | None = None,
        strength: FloatArray | None = None,
        indicators: Mapping[str, FloatArray] | None = None,
    ) -> Self:
        """Build panel signals from one boolean matrix per wish, see `Signals.of`."""
        shape = (panel.n_bars, panel.n_assets)
        wishes = pack_wishes(shape, long_entry, long_exit, short_entry, short_exit)
        wishes[~panel.has_bar] = 0
        return cls(
            panel.index, panel.symbols, wishes, _unit(strength, shape), dict(indicators or {})
        )

    def column(self, symbol: str) -> Signals:
        """Return one instrument's signals on the panel's time axis."""
        j = self.symbols.index(symbol)
        values = {name: matrix[:, j] for name, matrix in self.indicators.items()}
        return Signals(self.index, self.wishes[:, j], self.strength[:, j], values)


_BITS = (LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT)


def pack_wishes(shape: int | tuple[int, ...], *wishes: BoolArray | None) -> WishArray:
    """Return a bit field from up to four boolean arrays.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of every array.
    *wishes : ndarray of bool or None
        Long entry, long exit, short entry, short exit, in this order; None means never.

    Returns
    -------
    ndarray of uint8
        Of the given shape.

    Raises
    ------
    ValueError
        If an array has another shape, or holds anything but true and false.
    """
    packed = np.zeros(shape, np.uint8)
    for bit, wish in zip(_BITS, wishes, strict=False):
        if wish is not None:
            held = np.asarray(wish)
            if held.shape != packed.shape:
                raise ValueError(f"a wish has shape {held.shape}, the bars have {packed.shape}")
            if held.dtype != np.bool_:
                raise ValueError(f"a wish must be true or false at every bar, not {held.dtype}")
            packed |= held.view(np.uint8) * np.uint8(bit)
    return packed


@compiled
def next_position(position: int, wish: int) -> int:
    """Return the side wanted after the next open.

    An entry and an exit of the same side cancel, so do a long and a short entry; otherwise an
    entry takes its side (reversing if the other is held) and an exit leaves its own.

    Parameters
    ----------
    position : int
        Side held: +1 long, 0 flat, -1 short.
    wish : int
        Bit field of one bar.

    Returns
    -------
    int
        +1, 0 or -1.
    """
    to_long = wish & 3 == LONG_ENTRY
    to_short = wish & 12 == SHORT_ENTRY
    if to_long and to_short:
        return position
    if to_long:
        return 1
    if to_short:
        return -1
    if position == 1 and wish & 3 == LONG_EXIT:
        return 0
    if position == -1 and wish & 12 == SHORT_EXIT:
        return 0
    return position


@compiled
def _fold(wishes: WishArray, position: int, positions: PositionArray) -> None:
    for t in range(wishes.shape[0]):
        position = next_position(position, wishes[t])
        positions[t] = position


def fold_positions(signals: Signals, *, position: int = 0) -> PositionArray:
    """Return the side wanted after each bar close, if every order fills and no stop is hit.

    Parameters
    ----------
    signals : Signals
        Wishes at each bar close.
    position : int
        Side held before the first bar.

    Returns
    -------
    ndarray of int8, shape (n_bars,)
        +1, 0 or -1; acted on at the open of the following bar.
    """
    return fold_wishes(signals.wishes, position=position)


def fold_wishes(wishes: WishArray, *, position: int = 0) -> PositionArray:
    """Return the side wanted after each bar of shape (n_bars,), see `fold_positions`."""
    positions = np.zeros(len(wishes), np.int8)
    _fold(np.ascontiguousarray(wishes), position, positions)
    return positions


def signal_type(position: int, target: int) -> SignalType:
    """Return BUY, SELL or HOLD for a change of side.

    Parameters
    ----------
    position, target : int
        Side held and side wanted: +1, 0 or -1.

    Returns
    -------
    SignalType
        BUY if the target is above the position.
    """
    if target > position:
        return SignalType.BUY
    return SignalType.SELL if target < position else SignalType.HOLD


def crosses_above(first: FloatArray, second: FloatArray | float) -> BoolArray:
    """Return the bars at which `first` rises above `second`.

    Parameters
    ----------
    first : ndarray of shape (n_bars,)
        A series; NaN while warming up.
    second : ndarray of shape (n_bars,) or float
        A series or a level.

    Returns
    -------
    ndarray of bool, shape (n_bars,)
        True where it was at or below on the previous bar and is above now; never on the first
        bar that has both values.
    """
    above = first > second
    crossed = np.zeros(len(first), np.bool_)
    not_above = first <= second
    crossed[1:] = above[1:] & not_above[:-1]
    return crossed


def crosses_below(first: FloatArray, second: FloatArray | float) -> BoolArray:
    """Return the bars at which `first` falls below `second`, see `crosses_above`."""
    return crosses_above(-first, -second)


def strength(distance: FloatArray, scale: FloatArray | float) -> FloatArray:
    """Return how far beyond its trigger an indicator is, in [0, 1].

    Parameters
    ----------
    distance : ndarray of shape (n_bars,)
        Distance from the trigger, any sign.
    scale : ndarray of shape (n_bars,) or float
        Distance that counts as full strength, in the same unit; positive.

    Returns
    -------
    ndarray of shape (n_bars,)
        |distance| / scale clipped to [0, 1]; 0 where undefined.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _unit(np.abs(distance) / scale, distance.shape)


def panel_signals(plugin: Any, panel: Panel) -> PanelSignals:
    """Return a plug-in's wishes for every instrument of a panel.

    Parameters
    ----------
    plugin : StrategyPlugin or PanelPlugin
        One that has `panel_signals` is asked for the whole panel; any other is asked for each
        instrument on that instrument's own bars.
    panel : Panel
        Bars.

    Returns
    -------
    PanelSignals
        On the panel's time axis; no wish where an instrument has no bar.
    """
    if hasattr(plugin, "panel_signals"):
        answer: PanelSignals = plugin.panel_signals(panel)
        return answer
    # Written column by column, so that columns lie together.
    shape = (panel.n_bars, panel.n_assets)
    wishes = np.zeros(shape, np.uint8, order="F")
    strengths = np.zeros(shape, order="F")
    indicators: dict[str, FloatArray] = {}
    has_bar = panel.has_bar
    for j, symbol in enumerate(panel.symbols):
        present = has_bar[:, j]
        if not present.any():
            continue
        column = plugin.signals(panel.bars(symbol))
        rows = slice(None) if present.all() else present
        wishes[rows, j] = column.wishes
        strengths[rows, j] = column.strength
        for name, series in column.indicators.items():
            if name not in indicators:
                indicators[name] = np.full(shape, np.nan, order="F")
            indicators[name][rows, j] = series
    return PanelSignals(panel.index, panel.symbols, wishes, strengths, indicators)


def _unit(strength: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    if strength is None:
        return np.ones(shape)
    # Infinities are for clip; nan_to_num looks for them three times.
    return np.clip(np.where(np.isnan(strength), 0.0, strength), 0.0, 1.0)
