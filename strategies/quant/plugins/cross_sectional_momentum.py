"""Cross-sectional momentum: hold the strongest of a universe against the weakest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray
from strategies.quant.memo import remembered
from strategies.quant.panel import Panel
from strategies.quant.parameters import Direction, parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.signals import PanelSignals, strength


@register
@dataclass(frozen=True, slots=True)
class CrossSectionalMomentum(Plugin):
    """Rank instruments by past return; hold the top share long and the bottom share short.

    The ranking is renewed every `days` days, counted from the epoch, so that a live window
    renews on the same bars as a backtest.

    References
    ----------
    .. [1] Jegadeesh & Titman (1993), "Returns to Buying Winners and Selling Losers", Journal of
       Finance 48(1).
    """

    key: ClassVar[str] = "cross_sectional_momentum"
    label: ClassVar[str] = "Cross-sectional momentum"
    description: ClassVar[str] = (
        "Ranks the universe by its return over the look-back at the end of each period, buys the "
        "strongest share and sells short the weakest."
    )

    lookback: int = parameter(126, label="Look-back", unit="bars", low=2, high=1000, step=21)
    skip: int = parameter(
        21, label="Skip", unit="bars", low=0, high=60, step=1, help="Most recent bars left out."
    )
    share: float = parameter(
        0.2, label="Share of the universe", unit="fraction", low=0.01, high=0.5, step=0.05
    )
    days: int = parameter(30, label="Days between rankings", unit="days", low=1, high=365, step=1)
    direction: Direction = parameter(
        Direction.LONG, label="Direction", help="Sides of the market to take.", is_free=False
    )

    def check_consistency(self) -> None:
        if self.skip >= self.lookback:
            raise ValueError(f"skip must be below lookback, were {self.skip} and {self.lookback}")

    @property
    def warmup_bars(self) -> int:
        return self.lookback + 2

    def check_universe(self, n_instruments: int) -> None:
        if n_instruments < 2:
            raise ValueError("a ranking needs at least 2 instruments, was given 1")

    def panel_signals(self, panel: Panel) -> PanelSignals:
        key = ("momentum", id(panel), self.lookback, self.skip)
        momentum, rank = remembered(
            key, panel, lambda: _ranked(panel.close, self.lookback, self.skip)
        )
        n_ranked = np.isfinite(momentum).sum(axis=1, keepdims=True)
        n_held = np.maximum(np.floor(self.share * n_ranked + 1e-9), 1.0)
        renewed = _period_starts(panel, self.days)[:, None]
        is_top, is_bottom = rank >= n_ranked - n_held, rank < n_held
        # A universe of one has no other side to rank against.
        is_top, is_bottom = is_top & (n_ranked > 1), is_bottom & (n_ranked > 1) & ~is_top
        return PanelSignals.of(
            panel,
            long_entry=is_top & renewed if self.direction.allows_long else None,
            long_exit=~is_top & renewed,
            short_entry=is_bottom & renewed if self.direction.allows_short else None,
            short_exit=~is_bottom & renewed,
            strength=strength(momentum, 0.5),
            indicators={"momentum": momentum, "rank": rank},
        )


def _ranked(close: FloatArray, lookback: int, skip: int) -> tuple[FloatArray, FloatArray]:
    momentum = _past_return(close, lookback, skip)
    return momentum, _rank(momentum)


def _past_return(close: FloatArray, lookback: int, skip: int) -> FloatArray:
    momentum = np.full(close.shape, np.nan)
    recent = close[lookback - skip : len(close) - skip]
    momentum[lookback:] = recent / close[:-lookback] - 1.0
    return momentum


def _rank(values: FloatArray) -> FloatArray:
    """Rank from 0 (weakest) along each row; ties in column order, NaN stays NaN."""
    order = np.argsort(values, axis=1, kind="stable")
    rank = np.empty(values.shape)
    np.put_along_axis(rank, order, np.arange(values.shape[1], dtype=np.float64)[None, :], axis=1)
    return np.where(np.isfinite(values), rank, np.nan)


def _period_starts(panel: Panel, days: int) -> BoolArray:
    """Mark the bars that begin a new period of `days` since 1970, known at their own close."""
    period = panel.index.as_unit("s").asi8 // (86_400 * days)
    starts = np.zeros(panel.n_bars, np.bool_)
    starts[1:] = period[1:] != period[:-1]
    return starts
