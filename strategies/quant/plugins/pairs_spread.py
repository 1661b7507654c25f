"""Spread of two instruments: sell the dear one against the cheap one until they meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphastrat.quant.types import FloatArray
from strategies.quant.memo import remembered
from strategies.quant.panel import Panel
from strategies.quant.parameters import parameter
from strategies.quant.registry import Plugin, register
from strategies.quant.signals import PanelSignals, strength


@register
@dataclass(frozen=True, slots=True)
class PairsSpread(Plugin):
    """Trade the z-score of the log price ratio of the first two instruments of the universe.

    References
    ----------
    .. [1] Gatev, Goetzmann & Rouwenhorst (2006), "Pairs Trading: Performance of a Relative-Value
       Arbitrage Rule", Review of Financial Studies 19(3).
    """

    key: ClassVar[str] = "pairs_spread"
    label: ClassVar[str] = "Spread of two instruments"
    description: ClassVar[str] = (
        "Buys the first instrument and sells short the second when their log price ratio is far "
        "below its average, the reverse when far above, and leaves when it is back."
    )

    period: int = parameter(60, label="Average over", unit="bars", low=5, high=500, step=5)
    entry: float = parameter(2.0, label="Enter beyond", unit="σ", low=0.1, high=6, step=0.1)
    leave: float = parameter(0.5, label="Leave within", unit="σ", low=0, high=6, step=0.1)

    def check_consistency(self) -> None:
        if self.leave >= self.entry:
            raise ValueError(f"leave must be below entry, were {self.leave} and {self.entry}")

    def check_universe(self, n_instruments: int) -> None:
        if n_instruments != 2:
            raise ValueError(f"a spread needs exactly 2 instruments, was given {n_instruments}")

    @property
    def warmup_bars(self) -> int:
        return self.period

    def panel_signals(self, panel: Panel) -> PanelSignals:
        self.check_universe(panel.n_assets)
        key = ("spread", id(panel), self.period)
        score = remembered(key, panel, lambda: _score(panel, self.period))
        dear, cheap = score > self.entry, score < -self.entry
        back = np.abs(score) < self.leave
        return PanelSignals.of(
            panel,
            long_entry=np.column_stack([cheap, dear]),
            long_exit=np.column_stack([back, back]),
            short_entry=np.column_stack([dear, cheap]),
            short_exit=np.column_stack([back, back]),
            strength=np.column_stack([strength(score, 2.0 * self.entry)] * 2),
            indicators={"score": np.column_stack([score, score])},
        )


def _score(panel: Panel, period: int) -> FloatArray:
    return _z_score(np.log(panel.close[:, 0] / panel.close[:, 1]), period)


def _z_score(series: FloatArray, period: int) -> FloatArray:
    """Standardise by the last `period` values that both instruments have."""
    present = np.isfinite(series)
    own = series[present]
    scores = np.full(series.shape, np.nan)
    if len(own) < period:
        return scores
    windows = np.lib.stride_tricks.sliding_window_view(own, period)
    spread = windows.std(axis=1)
    own_scores = np.full(own.shape, np.nan)
    is_defined = spread > 1e-12
    centred = own[period - 1 :] - windows.mean(axis=1)
    own_scores[period - 1 :][is_defined] = centred[is_defined] / spread[is_defined]
    scores[present] = own_scores
    return scores
