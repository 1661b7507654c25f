"""Signals of strategies at a bar close: given once, looked at again when bars are restated."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from django.db import transaction
from django.db.models import Max

from alphastrat.core import events, live
from alphastrat.core.errors import InvalidInput
from alphastrat.core.jsonable import jsonable
from alphastrat.marketdata.models import BarSeries, Instrument
from strategies.models import SignalRepaint, Strategy, StrategySignal
from strategies.models.strategy import StrategyQuerySet
from strategies.quant import registry
from strategies.quant.memo import memo
from strategies.quant.panel import Panel
from strategies.quant.signals import PanelSignals, next_position, panel_signals, signal_type
from strategies.services.live_bars import load_live_panel

logger = logging.getLogger(__name__)

# Missed bars that are caught up with at most; more than that is history, not live operation.
MAX_CATCH_UP = 50
# Rows beyond the warm-up, for instruments that miss a bar now and then.
SPARE_ROWS = 10
# Windows are rounded up to this, so that strategies share them.
ROW_STEP = 256
TOLERANCE = 1e-6


@dataclass(slots=True)
class _Windows:
    """Bars of one timeframe and plug-in answers, shared by the strategies that use them."""

    timeframe: str
    known_at: datetime
    panels: dict[tuple[str, ...], Panel] = field(default_factory=dict)
    answers: dict[tuple[Any, ...], PanelSignals] = field(default_factory=dict)
    frames: dict[tuple[tuple[str, ...], int], pd.DataFrame] = field(default_factory=dict)
    whole: Panel | None = None

    def load(self, strategies: Iterable[Strategy]) -> None:
        """Read the bars of every instrument that one of the strategies looks at, in one go."""
        wanted = {symbol for one in strategies for symbol in _version(one).symbols}
        if wanted:
            self.whole = load_live_panel(sorted(wanted), self.timeframe, known_at=self.known_at)

    def covers(self, strategy: Strategy) -> bool:
        """Say whether there are bars of every instrument that a strategy looks at."""
        held = () if self.whole is None else self.whole.symbols
        missing = set(_version(strategy).symbols) - set(held)
        if missing:
            logger.warning(
                "no signals without bars",
                extra={"strategy": str(strategy.pk), "symbols": sorted(missing)},
            )
        return not missing

    def answer(self, strategy: Strategy, n_rows: int) -> PanelSignals:
        """Return the plug-in's wishes on the newest bars, at least `n_rows` settled ones."""
        version = _version(strategy)
        plugin = registry.build(version.plugin, version.parameters)
        rows = -(-(plugin.warmup_bars + n_rows + SPARE_ROWS) // ROW_STEP) * ROW_STEP
        symbols = tuple(version.symbols)
        settings = tuple(sorted(jsonable(version.parameters).items()))
        key = (version.plugin, settings, symbols, rows)
        if key not in self.answers:
            self.answers[key] = self._computed(plugin, symbols, rows)
        return self.answers[key]

    def _computed(self, plugin: Any, symbols: tuple[str, ...], rows: int) -> PanelSignals:
        if len(symbols) > 1 or registry.is_panel_plugin(plugin):
            return panel_signals(plugin, self._panel(symbols, rows))
        # One checked frame serves every strategy that looks at this instrument alone.
        if (symbols, rows) not in self.frames:
            self.frames[symbols, rows] = self._panel(symbols, rows).bars(symbols[0])
        column = plugin.signals(self.frames[symbols, rows])
        values = {name: series[:, None] for name, series in column.indicators.items()}
        wishes, strength = column.wishes[:, None], column.strength[:, None]
        return PanelSignals(column.index, symbols, wishes, strength, values)

    def rows_since(self, strategy: Strategy, since: datetime) -> int:
        """Return how many of a strategy's bars closed at or after `since`."""
        panel = self._panel(tuple(_version(strategy).symbols), 0)
        return int((panel.index >= pd.Timestamp(since)).sum())

    def closes(self, symbols: Sequence[str], rows: int) -> Panel:
        return self._panel(tuple(symbols), rows)

    def _panel(self, symbols: tuple[str, ...], rows: int) -> Panel:
        """Return the newest `rows` bars, all of them for 0."""
        if self.whole is None:
            raise InvalidInput("There are no bars to give signals on.")
        if symbols not in self.panels:
            self.panels[symbols] = _columns(self.whole, symbols)
        panel = self.panels[symbols]
        return panel.window(max(0, panel.n_bars - rows) if rows else 0, panel.n_bars)


@dataclass(frozen=True, slots=True)
class Generated:
    """What one round gave."""

    n_strategies: int
    n_signals: int
    n_repaints: int = 0


def generate_signals(
    strategies: StrategyQuerySet, *, at: datetime, known_at: datetime | None = None
) -> Generated:
    """Give the signals of every bar that closed since each strategy's last one.

    A strategy without signals starts with the newest bar. Doing it twice adds nothing.
    """
    chosen = list(strategies.with_version())
    made: list[StrategySignal] = []
    for windows, group in _grouped(chosen, known_at or at):
        last = _last_closes(group)
        sides = _last_sides(group)
        instruments = _instruments(group)
        with memo():
            for strategy in group:
                made += _signals_of(strategy, windows, last, sides, instruments, at)
    stored = _store(made)
    return Generated(len(chosen), stored)


def recheck_signals(
    strategies: StrategyQuerySet, *, since: datetime, at: datetime, reason: str
) -> Generated:
    """Compute stored signals again and record those that come out differently.

    Each is computed with the bars up to its own close, as they are stored now, and from the side
    that the signal before it wanted.
    """
    chosen = list(strategies.with_version())
    found: list[SignalRepaint] = []
    for windows, group in _grouped(chosen, at):
        for strategy in group:
            found += list(_repaints(strategy, windows, since=since, at=at, reason=reason))
    created = SignalRepaint.objects.bulk_create(found, ignore_conflicts=True)
    for strategy in chosen:
        if any(one.signal.strategy_id == strategy.pk for one in found):
            live.publish(f"strategy:{strategy.pk}", "invalidate", {"fragment": "signals"})
    return Generated(len(chosen), 0, len(created))


def affected_strategies(series_ids: Iterable[UUID | str]) -> StrategyQuerySet:
    """Return the active strategies that look at one of these series."""
    rows = BarSeries.objects.filter(pk__in=list(series_ids)).values_list(
        "instrument_id", "timeframe"
    )
    by_timeframe: dict[str, set[UUID]] = {}
    for instrument, timeframe in rows:
        by_timeframe.setdefault(timeframe, set()).add(instrument)
    found = Strategy.objects.none()
    for timeframe, instruments in by_timeframe.items():
        found = found | Strategy.objects.active().filter(
            timeframe=timeframe, universe__in=instruments
        )
    return found.distinct()


def _grouped(
    strategies: Sequence[Strategy], known_at: datetime
) -> Iterator[tuple[_Windows, list[Strategy]]]:
    for timeframe in sorted({strategy.timeframe for strategy in strategies}):
        group = [one for one in strategies if one.timeframe == timeframe]
        windows = _Windows(timeframe, known_at)
        windows.load(group)
        yield windows, [strategy for strategy in group if windows.covers(strategy)]


def _signals_of(
    strategy: Strategy,
    windows: _Windows,
    last: dict[UUID, datetime],
    sides: dict[tuple[UUID, UUID], int],
    instruments: dict[str, Instrument],
    at: datetime,
) -> list[StrategySignal]:
    answer = windows.answer(strategy, MAX_CATCH_UP)
    n_bars = len(answer.index)
    if strategy.pk in last:
        first = int(answer.index.searchsorted(pd.Timestamp(last[strategy.pk]), side="right"))
        first = max(first, n_bars - MAX_CATCH_UP)
    else:
        first = n_bars - 1
    if first >= n_bars:
        return []
    panel = windows.closes(_version(strategy).symbols, n_bars)
    made = []
    for j, symbol in enumerate(answer.symbols):
        instrument = instruments[symbol]
        side = sides.get((strategy.pk, instrument.pk), 0)
        for t in range(first, n_bars):
            if not np.isfinite(panel.close[t, j]):
                continue
            signal = _signal(strategy, instrument, answer, (t, j), side, float(panel.close[t, j]))
            signal.generated_at = at
            side = signal.target
            made.append(signal)
    return made


def _signal(
    strategy: Strategy,
    instrument: Instrument,
    answer: PanelSignals,
    cell: tuple[int, int],
    side: int,
    price: float,
) -> StrategySignal:
    t, j = cell
    target = int(next_position(side, int(answer.wishes[t, j])))
    values = {name: matrix[t, j] for name, matrix in answer.indicators.items()}
    return StrategySignal(
        strategy=strategy,
        version=strategy.current_version,
        instrument=instrument,
        signal_type=signal_type(side, target).value,
        target=target,
        strength=float(answer.strength[t, j]),
        price=price,
        closed_at=answer.index[t].to_pydatetime(),
        metadata=jsonable({"from": side, "wish": int(answer.wishes[t, j]), "indicators": values}),
    )


@transaction.atomic
def _store(made: list[StrategySignal]) -> int:
    if not made:
        return 0
    before = StrategySignal.objects.aggregate(last=Max("pk"))["last"] or 0
    StrategySignal.objects.bulk_create(made, ignore_conflicts=True, batch_size=5_000)
    ids = sorted({str(signal.strategy_id) for signal in made})
    for signal in made:
        if signal.signal_type != StrategySignal.Kind.HOLD:
            _announce(signal)
    events.send_on_commit(events.signals_stored, strategy_ids=ids)
    return StrategySignal.objects.filter(pk__gt=before, strategy_id__in=ids).count()


def _announce(signal: StrategySignal) -> None:
    payload = {
        "strategy": str(signal.strategy_id),
        "name": signal.strategy.name,
        "symbol": signal.instrument.symbol,
        "type": signal.signal_type,
        "strength": signal.strength,
        "price": signal.price,
        "closed_at": signal.closed_at,
    }
    live.publish(f"strategy:{signal.strategy_id}", "signal", payload)
    live.publish(f"signals:u{signal.strategy.owner_id}", "signal", payload)


def _repaints(
    strategy: Strategy, windows: _Windows, *, since: datetime, at: datetime, reason: str
) -> Iterator[SignalRepaint]:
    signals = list(
        StrategySignal.objects.filter(
            strategy=strategy, version=strategy.current_version, closed_at__gte=since
        ).select_related("instrument", "strategy")
    )
    if not signals:
        return
    answer = windows.answer(strategy, windows.rows_since(strategy, since))
    panel = windows.closes(_version(strategy).symbols, len(answer.index))
    for signal in signals:
        j = answer.symbols.index(signal.instrument.symbol)
        t = int(answer.index.get_indexer(pd.DatetimeIndex([signal.closed_at]))[0])
        if t < 0:
            continue
        side = int(signal.metadata.get("from", 0))
        again = _signal(strategy, signal.instrument, answer, (t, j), side, float(panel.close[t, j]))
        if _differs(signal, again):
            yield SignalRepaint(
                signal=signal,
                found_at=at,
                reason=reason,
                signal_type=again.signal_type,
                target=again.target,
                strength=again.strength,
                price=again.price,
                metadata=again.metadata,
            )


def _differs(signal: StrategySignal, again: StrategySignal) -> bool:
    return (
        signal.signal_type != again.signal_type
        or abs(signal.strength - again.strength) > TOLERANCE
        or abs(signal.price - again.price) > TOLERANCE * signal.price
    )


def _version(strategy: Strategy) -> Any:
    if strategy.current_version is None:
        raise InvalidInput(f"{strategy.name} has no version yet.")
    return strategy.current_version


def _last_closes(strategies: Sequence[Strategy]) -> dict[UUID, datetime]:
    rows = (
        StrategySignal.objects.filter(strategy__in=strategies)
        .values("strategy_id")
        .annotate(last=Max("closed_at"))
    )
    return {row["strategy_id"]: row["last"] for row in rows}


def _last_sides(strategies: Sequence[Strategy]) -> dict[tuple[UUID, UUID], int]:
    """Return the side that each strategy's newest signal of each instrument wants."""
    rows = (
        StrategySignal.objects.filter(strategy__in=strategies)
        .order_by("strategy_id", "instrument_id", "-closed_at")
        .distinct("strategy_id", "instrument_id")
        .values_list("strategy_id", "instrument_id", "target")
    )
    return {(strategy, instrument): target for strategy, instrument, target in rows}


def _instruments(strategies: Sequence[Strategy]) -> dict[str, Instrument]:
    symbols = {symbol for one in strategies for symbol in _version(one).symbols}
    return {found.symbol: found for found in Instrument.objects.filter(symbol__in=symbols)}


def _columns(whole: Panel, symbols: tuple[str, ...]) -> Panel:
    """Return some instruments of a panel, on the bars that at least one of them has."""
    columns = [whole.symbols.index(symbol) for symbol in symbols]
    rows = np.flatnonzero(np.isfinite(whole.close[:, columns]).any(axis=1))
    names = ("open", "high", "low", "close", "volume")
    arrays = (np.ascontiguousarray(getattr(whole, name)[rows][:, columns]) for name in names)
    return Panel(whole.index[rows], symbols, *arrays)
