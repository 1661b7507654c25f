"""The wishes of many parameter sets: as rows where a plug-in gives them, else set by set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from alphastrat.quant.types import FloatArray
from strategies.quant.exits import ExitRules
from strategies.quant.memo import memo
from strategies.quant.panel import Panel
from strategies.quant.registry import build, plugin
from strategies.quant.signals import WishArray, panel_signals
from strategies.quant.wish_rows import WishRows, consistent_sets, parameter_columns

EXIT_NAMES = frozenset(("stop_loss", "take_profit", "trailing_stop", "max_bars", "cooldown_bars"))

# Sets whose wishes are computed one by one and held at a time, the bytes that those may take,
# and sets that come as rows.
CHUNK, MAX_BYTES = 256, 64 * 2**20
ROW_CHUNK = 2**14

ParameterSets = Sequence[Mapping[str, Any]]


class WantedSets(NamedTuple):
    """Wishes of many parameter sets on the same bars, asked for a span of sets at a time.

    Attributes
    ----------
    wishes : callable
        From a span to bit fields of shape (n_span, n_bars, n_assets); called from several
        threads.
    priority : ndarray of shape (n_sets, n_bars, n_assets)
        Strengths; first dimension 1 for a single instrument, where it decides nothing.
    exits : ndarray of shape (n_sets, 5)
        As `ExitRules.as_array`.
    """

    wishes: WishRows
    priority: FloatArray
    exits: FloatArray

    def priority_of(self, span: slice) -> FloatArray:
        """Return the priority of a span of sets."""
        return self.priority if len(self.priority) == 1 else self.priority[span]

    def window(self, start: int, stop: int) -> WantedSets:
        """Return the bars `start` (inclusive) to `stop` (exclusive)."""
        if (start, stop) == (0, self.priority.shape[1]):
            return self
        return WantedSets(
            lambda span: np.ascontiguousarray(self.wishes(span)[:, start:stop]),
            np.ascontiguousarray(self.priority[:, start:stop]),
            self.exits,
        )


def ready(wishes: WishArray, priority: FloatArray, exits: FloatArray) -> WantedSets:
    """Return wishes that are computed already, shape (n_sets, n_bars, n_assets)."""
    return WantedSets(lambda span: wishes[span], priority, exits)


def wanted_sets(
    key: str, parameter_sets: ParameterSets, panel: Panel, *, exits: ExitRules
) -> WantedSets:
    """Return the wishes of a plug-in for many parameter sets.

    Parameters
    ----------
    key : str
        A registered plug-in.
    parameter_sets : sequence of mapping
        As in `sweep.sweep`.
    panel : Panel
        Bars.
    exits : ExitRules
        Used where a set does not replace them.

    Returns
    -------
    WantedSets
        In the order given.

    Raises
    ------
    ValueError
        If a parameter set is not accepted by the plug-in.
    """
    with memo():
        found = _rows(key, parameter_sets, panel) if parameter_sets else None
        if found is None:
            return _one_by_one(key, parameter_sets, panel, exits)
    rows = found
    levels = _exit_levels(parameter_sets, exits)
    return WantedSets(lambda span: rows(span)[:, :, None], np.ones((1, panel.n_bars, 1)), levels)


def chunk_size(key: str, panel: Panel) -> int:
    """Return how many sets are best asked for at a time."""
    if panel.n_assets == 1 and hasattr(plugin(key), "wish_rows"):
        return ROW_CHUNK
    return max(1, min(CHUNK, MAX_BYTES // bytes_per_set(panel)))


def bytes_per_set(panel: Panel) -> int:
    """Return what the wishes of one set take that are computed one by one."""
    return panel.n_bars * panel.n_assets * (1 + 8 * (panel.n_assets > 1))


def _rows(key: str, sets: ParameterSets, panel: Panel) -> WishRows | None:
    """Return the wishes as rows, where the plug-in and the sets allow it."""
    cls = plugin(key)
    if panel.n_assets != 1 or not hasattr(cls, "wish_rows") or not panel.has_bar.all():
        return None
    own = [_own(params) for params in sets] if not EXIT_NAMES.isdisjoint(sets[0]) else sets
    columns = parameter_columns(cls, own)
    consistent = None if columns is None else consistent_sets(cls, columns)
    if consistent is None or not consistent.all():
        return None
    answer: WishRows = cls.wish_rows(panel.bars(panel.symbols[0]), columns)
    return answer


def _one_by_one(key: str, sets: ParameterSets, panel: Panel, exits: ExitRules) -> WantedSets:
    # Built once, so that the memo knows the frame again.
    single = panel.bars(panel.symbols[0]) if panel.n_assets == 1 else None
    wishes = np.empty((len(sets), panel.n_bars, panel.n_assets), np.uint8)
    # Priority decides only between instruments.
    n_priorities = len(sets) if panel.n_assets > 1 else 1
    priority = np.ones((n_priorities, panel.n_bars, panel.n_assets))
    for i, params in enumerate(sets):
        strategy = build(key, _own(params))
        if single is not None and not hasattr(strategy, "panel_signals"):
            wishes[i, :, 0] = strategy.signals(single).wishes
        else:
            signals = panel_signals(strategy, panel)
            wishes[i], priority[i % n_priorities] = signals.wishes, signals.strength
    return ready(wishes, priority, _exit_levels(sets, exits))


def _own(params: Mapping[str, Any]) -> Mapping[str, Any]:
    if EXIT_NAMES.isdisjoint(params):
        return params
    return {name: value for name, value in params.items() if name not in EXIT_NAMES}


def _exit_levels(sets: ParameterSets, exits: ExitRules) -> FloatArray:
    levels = np.tile(exits.as_array(), (len(sets), 1))
    if not EXIT_NAMES.isdisjoint(set().union(*sets)):
        kept = {name: getattr(exits, name) for name in EXIT_NAMES}
        for level, params in zip(levels, sets, strict=True):
            changed = {name: params[name] for name in EXIT_NAMES & params.keys()}
            if changed:
                level[:] = ExitRules(**{**kept, **changed}).as_array()
    return levels
