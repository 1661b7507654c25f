"""Signals of strategies at a bar close: given once, looked at again when bars are restated."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
from django.db import connection, transaction

from alphastrat.core import events, live
from alphastrat.core.errors import InvalidInput
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
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# What giving signals reads of a strategy and its version.
_READ = (
    *("name", "owner", "timeframe", "current_version"),
    *("current_version__plugin", "current_version__parameters", "current_version__symbols"),
)

_NEWEST = """
    SELECT asked.strategy, asked.instrument, newest.target,
           (extract(epoch FROM newest.closed_at) * 1000000)::bigint
    FROM unnest(%s::uuid[], %s::uuid[]) AS asked (strategy, instrument)
    CROSS JOIN LATERAL (
        SELECT target, closed_at FROM strategy_signals
        WHERE strategy_id = asked.strategy AND instrument_id = asked.instrument
        ORDER BY closed_at DESC LIMIT 1
    ) AS newest
"""

# Says which of the rows were not there yet: their place, counted from 1.
_STORE = """
    WITH given AS (
        SELECT * FROM unnest(
            %(strategy)s::uuid[], %(version)s::uuid[], %(instrument)s::uuid[], %(kind)s::text[],
            %(target)s::int[], %(strength)s::float8[], %(price)s::float8[],
            %(closed_at)s::timestamptz[], %(metadata)s::jsonb[]
        ) WITH ORDINALITY AS g (strategy_id, version_id, instrument_id, signal_type, target,
                                strength, price, closed_at, metadata, place)
    ), stored AS (
        INSERT INTO strategy_signals (strategy_id, version_id, instrument_id, signal_type, target,
                                      strength, price, closed_at, metadata, generated_at)
        SELECT strategy_id, version_id, instrument_id, signal_type, target, strength, price,
               closed_at, metadata, %(at)s FROM given ORDER BY place
        ON CONFLICT DO NOTHING
        RETURNING strategy_id, instrument_id, closed_at
    )
    SELECT place FROM given JOIN stored USING (strategy_id, instrument_id, closed_at)
    ORDER BY place
"""
_COLUMNS = (
    *("strategy", "version", "instrument", "kind", "target"),
    *("strength", "price", "closed_at", "metadata"),
)


@dataclass(slots=True)
class _Windows:
    """Bars of one timeframe and plug-in answers, shared by the strategies that use them."""

    timeframe: str
    known_at: datetime
    panels: dict[tuple[str, ...], Panel] = field(default_factory=dict)
    answers: dict[tuple[Any, ...], PanelSignals] = field(default_factory=dict)
    frames: dict[tuple[tuple[str, ...], int], pd.DataFrame] = field(default_factory=dict)
    counts: dict[tuple[tuple[str, ...], datetime | None], int] = field(default_factory=dict)
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
        plugin = _plugin_of(version.pk, version.plugin, json.dumps(version.parameters))
        rows = -(-(plugin.warmup_bars + n_rows + SPARE_ROWS) // ROW_STEP) * ROW_STEP
        symbols = tuple(version.symbols)
        key = (plugin, symbols, rows)
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

    def n_closed_after(self, symbols: Sequence[str], last: datetime | None) -> int:
        """Return how many bars closed after the last signal: 1 where there is none."""
        key = (tuple(symbols), last)
        if key not in self.counts:
            times = self.closes(symbols, MAX_CATCH_UP).index
            seen = max(len(times) - 1, 0) if last is None else times.searchsorted(last, "right")
            self.counts[key] = len(times) - int(seen)
        return self.counts[key]

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
    chosen = list(strategies.select_related(None).select_related("current_version").only(*_READ))
    made: list[_Given] = []
    for windows, group in _grouped(chosen, known_at or at):
        instruments = _instruments(group)
        newest = _newest_signals(group, instruments)
        with memo():
            for strategy in group:
                made += _signals_of(strategy, windows, newest, instruments)
    return Generated(len(chosen), _store(made, at=at))


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


@lru_cache(maxsize=10_000)
def _plugin_of(version: UUID, key: str, parameters: str) -> Any:
    """Return the plug-in of a version, which never changes."""
    return registry.build(key, json.loads(parameters))


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
    newest: dict[tuple[UUID, UUID], _Newest],
    instruments: dict[str, Instrument],
) -> list[_Given]:
    symbols = _version(strategy).symbols
    keys = [(strategy.pk, instruments[symbol].pk) for symbol in symbols]
    known = [newest[key] for key in keys if key in newest]
    n_new = windows.n_closed_after(symbols, max((one.closed_at for one in known), default=None))
    if n_new == 0:
        return []
    answer = windows.answer(strategy, MAX_CATCH_UP)
    n_bars = len(answer.index)
    close = windows.closes(symbols, n_bars).close
    made = []
    for j, symbol in enumerate(answer.symbols):
        side = newest[keys[j]].target if keys[j] in newest else 0
        for t in range(n_bars - n_new, n_bars):
            price = float(close[t, j])
            if not math.isfinite(price):
                continue
            given = _given(strategy, instruments[symbol], answer, (t, j), side, price)
            side = given.target
            made.append(given)
    return made


class _Given(NamedTuple):
    """A signal before it is stored."""

    strategy: Strategy
    instrument: Instrument
    signal_type: str
    target: int
    strength: float
    price: float
    closed_at: datetime
    metadata: dict[str, Any]


def _given(
    strategy: Strategy,
    instrument: Instrument,
    answer: PanelSignals,
    cell: tuple[int, int],
    side: int,
    price: float,
) -> _Given:
    t, j = cell
    wish = int(answer.wishes[t, j])
    target = int(next_position(side, wish))
    values = {name: float(matrix[t, j]) for name, matrix in answer.indicators.items()}
    return _Given(
        strategy,
        instrument,
        signal_type(side, target).value,
        target,
        float(answer.strength[t, j]),
        price,
        answer.index[t].to_pydatetime(),
        {
            "from": side,
            "wish": wish,
            "indicators": {n: v if math.isfinite(v) else None for n, v in values.items()},
        },
    )


@transaction.atomic
def _store(made: list[_Given], *, at: datetime) -> int:
    """Write signals with one statement and announce those that were not there yet."""
    if not made:
        return 0
    rows = [
        (
            *(one.strategy.pk, one.strategy.current_version_id, one.instrument.pk),
            *(one.signal_type, one.target, one.strength, one.price, one.closed_at),
            json.dumps(one.metadata),
        )
        for one in made
    ]
    with connection.cursor() as cursor:
        columns = dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
        cursor.execute(_STORE, {**columns, "at": at})
        places = [place for (place,) in cursor.fetchall()]
    fresh = [made[place - 1] for place in places]
    if fresh:
        _announce([one for one in fresh if one.signal_type != StrategySignal.Kind.HOLD])
        ids = sorted({str(one.strategy.pk) for one in fresh})
        events.send_on_commit(events.signals_stored, strategy_ids=ids)
    return len(fresh)


def _announce(signals: Iterable[_Given]) -> None:
    news: list[tuple[str, str, dict[str, Any]]] = []
    for one in signals:
        payload = {
            "strategy": str(one.strategy.pk),
            "name": one.strategy.name,
            "symbol": one.instrument.symbol,
            "type": one.signal_type,
            "strength": one.strength,
            "price": one.price,
            "closed_at": one.closed_at,
        }
        topics = (f"strategy:{one.strategy.pk}", f"signals:u{one.strategy.owner_id}")
        news += [(topic, "signal", payload) for topic in topics]
    live.publish_many(news)


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
        again = _given(strategy, signal.instrument, answer, (t, j), side, float(panel.close[t, j]))
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


def _differs(signal: StrategySignal, again: _Given) -> bool:
    return (
        signal.signal_type != again.signal_type
        or abs(signal.strength - again.strength) > TOLERANCE
        or abs(signal.price - again.price) > TOLERANCE * signal.price
    )


def _version(strategy: Strategy) -> Any:
    if strategy.current_version is None:
        raise InvalidInput(f"{strategy.name} has no version yet.")
    return strategy.current_version


class _Newest(NamedTuple):
    """What a strategy said last about an instrument."""

    target: int
    closed_at: datetime


def _newest_signals(
    strategies: Sequence[Strategy], instruments: dict[str, Instrument]
) -> dict[tuple[UUID, UUID], _Newest]:
    """Return the newest signal by strategy and instrument, found by index however long ago."""
    asked = [
        (one.pk, instruments[symbol].pk) for one in strategies for symbol in _version(one).symbols
    ]
    if not asked:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [list(column) for column in zip(*asked, strict=True)])
        return {
            (strategy, instrument): _Newest(target, EPOCH + timedelta(microseconds=microseconds))
            for strategy, instrument, target, microseconds in cursor.fetchall()
        }


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
