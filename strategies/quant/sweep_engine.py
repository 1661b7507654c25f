"""Runs sets of wishes on one market, on every core, and collects their metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from alphastrat.quant.types import FloatArray
from strategies.quant.cores import on_every_core
from strategies.quant.panel import Panel
from strategies.quant.simulator import (
    SimulationConfig,
    market_arrays,
    outcome_arrays,
    sizing_weights,
    terms,
)
from strategies.quant.sweep_kernel import METRICS, Float32Array, run_all
from strategies.quant.wanted_sets import WantedSets

# Sets that a thread takes at a time: their wishes stay in its cache.
SPAN = 64


class Part(NamedTuple):
    """Metrics, block sums of returns and of their squares, and returns, one row per set."""

    metrics: FloatArray
    sums: FloatArray
    squares: FloatArray
    returns: Float32Array

    @classmethod
    def empty(cls, n_sets: int, n_blocks: int, n_kept: int) -> Part:
        """Return room for sets of which `n_kept` returns are kept."""
        return cls(
            np.empty((n_sets, len(METRICS))),
            np.empty((n_sets, n_blocks)),
            np.empty((n_sets, n_blocks)),
            np.empty((n_sets, n_kept), np.float32),
        )

    def of(self, span: slice) -> Part:
        """Return the rows of a span of sets."""
        return Part(self.metrics[span], self.sums[span], self.squares[span], self.returns[span])


class SweepEngine:
    """One market and account, on which sets are run chunk by chunk.

    Parameters
    ----------
    panel : Panel
        Bars.
    config : SimulationConfig
        Account, costs and rules.
    n_blocks : int
        Blocks of returns that are summed for CSCV.
    keep_returns : bool
        Whether to keep the returns, 4 bytes per set and bar.
    """

    def __init__(
        self, panel: Panel, config: SimulationConfig, n_blocks: int, *, keep_returns: bool
    ) -> None:
        self.market = market_arrays(panel)
        self.weights = sizing_weights(panel, config)
        self.terms = terms(config)
        self.periods_per_year = float(config.periods_per_year)
        self.edges = np.linspace(0, panel.n_bars, n_blocks + 1).astype(np.int64)
        self.keeps_returns = keep_returns
        self._n_kept = panel.n_bars if keep_returns else 0
        self._parts: list[Part] = [Part.empty(0, n_blocks, self._n_kept)]

    def run(self, wanted: WantedSets) -> None:
        """Simulate sets and keep what they did."""
        part = Part.empty(len(wanted.exits), len(self.edges) - 1, self._n_kept)
        on_every_core(lambda: self._worker(wanted, part), len(wanted.exits), span=SPAN)
        self._parts.append(part)

    def result(self) -> Part:
        """Return all sets in the order in which they were run."""
        metrics, sums, squares, returns = zip(*self._parts, strict=True)
        return Part(*map(np.concatenate, (metrics, sums, squares, returns)))

    def _worker(self, wanted: WantedSets, part: Part) -> Callable[[slice], None]:
        n_bars, n_assets = self.market.close.shape
        out = outcome_arrays(n_bars, n_assets, 3 * n_bars * n_assets)

        def work(span: slice) -> None:
            run_all(
                self.market,
                wanted.wishes(span),
                self.weights,
                wanted.priority_of(span),
                self.terms,
                wanted.exits[span],
                out,
                self.edges,
                self.periods_per_year,
                *part.of(span),
            )

        return work
