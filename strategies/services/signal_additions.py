"""What apps above know of signals: they register here, so that imports point down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alphastrat.core.tables import Column
from strategies.models.signal import StrategySignalQuerySet


class SignalAddition(Protocol):
    """Columns of the table of signals, and what they read."""

    columns: tuple[Column, ...]

    def annotate(self, signals: StrategySignalQuerySet) -> StrategySignalQuerySet: ...


_additions: list[SignalAddition] = []


def register(addition: SignalAddition) -> None:
    _additions.append(addition)


def columns() -> Sequence[Column]:
    """Return the columns of all additions."""
    return tuple(column for addition in _additions for column in addition.columns)


def annotated(signals: StrategySignalQuerySet) -> StrategySignalQuerySet:
    """Return the signals with everything that the columns read."""
    for addition in _additions:
        signals = addition.annotate(signals)
    return signals
