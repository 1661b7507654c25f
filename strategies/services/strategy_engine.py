"""Signals of strategies at a bar close: given once, looked at again when bars are restated.

A bar close costs two statements, however many strategies look at it: how the strategies and the
series that they follow stand (`standing`), and the signals stored (`signal_store`). What a process
keeps from one close to the next, and how it sees that it has changed, is said where it is kept:
bars in `alphastrat.marketdata.live_bars`, built plug-ins in `standing`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from alphastrat.core import live
from alphastrat.core.moments import microseconds, moment
from alphastrat.marketdata.live_bars import LiveSeries, arrivals, load_live_bars
from strategies.models import SignalRepaint, StrategySignal
from strategies.models.strategy import StrategyQuerySet
from strategies.quant.memo import memo
from strategies.quant.signals import next_position, signal_type
from strategies.services import standing
from strategies.services.live_bars import load_live_panel
from strategies.services.signal_store import Given, store_signals
from strategies.services.signal_windows import Answer, SignalWindows, rows_for, windows_of
from strategies.services.standing import Look, Standing

logger = logging.getLogger(__name__)

# Missed bars that are caught up with at most; more than that is history, not live operation.
MAX_CATCH_UP = 50
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Generated:
    """What one round gave."""

    n_strategies: int
    n_signals: int
    n_repaints: int = 0


def generate_at_close(series_ids: Iterable[UUID | str], *, at: datetime) -> Generated:
    """Give the signals of the active strategies that look at series with new bars."""
    return _generate(standing.at_close(series_ids, known_at=at), at=at, known_at=at)


def generate_signals(
    strategies: StrategyQuerySet, *, at: datetime, known_at: datetime | None = None
) -> Generated:
    """Give the signals of every bar that closed since each strategy's last one.

    A strategy without signals starts with the first bar that came since it is in its state, or
    with the newest one where none has come. Doing it twice adds nothing.
    """
    present = known_at or at
    ids = strategies.order_by().values_list("pk", flat=True)
    return _generate(standing.of(ids, known_at=present), at=at, known_at=present)


def recheck_signals(
    strategies: StrategyQuerySet, *, since: datetime, at: datetime, reason: str
) -> Generated:
    """Compute stored signals again and record those that come out differently.

    Each is computed with the bars up to its own close, as they are stored now, and from the side
    that the signal before it wanted.
    """
    ids = strategies.order_by().values_list("pk", flat=True)
    chosen = standing.of(ids, known_at=at).strategies
    found: list[SignalRepaint] = []
    for timeframe, group in _by_timeframe(chosen):
        stored = load_live_panel(_symbols(group), timeframe, known_at=at)
        windows = SignalWindows(windows_of(stored))
        for one in filter(windows.covers, group):
            found += list(_repaints(one, windows, since=since, at=at, reason=reason))
    created = SignalRepaint.objects.bulk_create(found, ignore_conflicts=True)
    repainted = {str(one.signal.strategy_id) for one in found}
    for one in chosen:
        if one.strategy in repainted:
            for topic in (f"strategy:{one.strategy}", f"signals:u{one.owner}"):
                live.publish(topic, "invalidate", {"fragment": "results"})
    return Generated(len(chosen), 0, len(created))


def _generate(look: Look, *, at: datetime, known_at: datetime) -> Generated:
    given: list[Given] = []
    for timeframe, group in _by_timeframe([one for one in look.strategies if one.is_installed]):
        newest = look.newest.get(timeframe, {})
        n_bars = max(rows_for(one.plugin, MAX_CATCH_UP) for one in group)
        windows = SignalWindows(load_live_bars(timeframe, newest, n_bars=n_bars, known_at=known_at))
        starts = _starts(group, newest, known_at=known_at)
        with memo():
            for one in filter(windows.covers, group):
                given += _tried(one, windows, first=starts.get(one.strategy))
    return Generated(len(look.strategies), store_signals(given, at=at))


def _starts(
    group: Iterable[Standing], newest: Mapping[str, LiveSeries], *, known_at: datetime
) -> dict[str, int]:
    """Return by strategy without signals when the first bar closed that came in its present state.

    A process that is killed between its first bars and their signals must not cost these signals.
    """
    beginners = [
        (one.strategy, [newest[symbol].series for symbol in one.symbols if symbol in newest], since)
        for one in group
        if one.last_close is None and (since := one.in_state_since) is not None
    ]
    if not beginners:
        return {}
    followed = {series for _, own, _ in beginners for series in own}
    came = arrivals(followed, n_bars=MAX_CATCH_UP + 1, known_at=known_at)
    starts: dict[str, int] = {}
    for strategy, own, since in beginners:
        closes = [close for series in own for close in _closes_of_news(came[series], since=since)]
        if closes:
            starts[strategy] = min(closes)
    return starts


def _closes_of_news(bars: Sequence[tuple[int, int]], *, since: int) -> list[int]:
    """Return when the bars closed that came since; none where no older one is known.

    Then they are a history that was imported, not what live operation has missed.
    """
    news = [close for close, _ in takewhile(lambda bar: bar[1] > since, bars)]
    return news if len(news) < len(bars) else []


def _by_timeframe(chosen: Sequence[Standing]) -> Iterator[tuple[str, list[Standing]]]:
    for timeframe in sorted({one.timeframe for one in chosen}):
        yield timeframe, [one for one in chosen if one.timeframe == timeframe]


def _symbols(group: Iterable[Standing]) -> list[str]:
    return sorted({symbol for one in group for symbol in one.symbols})


def _tried(strategy: Standing, windows: SignalWindows, *, first: int | None) -> list[Given]:
    """Return the signals of a strategy: one that fails keeps back its own and nobody else's."""
    try:
        return list(_signals_of(strategy, windows, first))
    except Exception:
        logger.exception("a strategy failed", extra={"strategy": strategy.strategy})
        return []


def _signals_of(strategy: Standing, windows: SignalWindows, first: int | None) -> Iterator[Given]:
    n_new = windows.n_without_signals(strategy, first=first, most=MAX_CATCH_UP)
    if n_new == 0:
        return
    answer = windows.answer(strategy, MAX_CATCH_UP)
    n_bars = len(answer.closed_at)
    for j, last_target in enumerate(strategy.targets):
        side = last_target or 0
        for t in range(n_bars - n_new, n_bars):
            if math.isfinite(answer.close[t, j]):
                given = _given(strategy, answer, (t, j), side)
                side = given.target
                yield given


def _given(strategy: Standing, answer: Answer, cell: tuple[int, int], side: int) -> Given:
    t, j = cell
    wish = int(answer.wishes[cell])
    target = int(next_position(side, wish))
    values = {name: float(matrix[cell]) for name, matrix in answer.indicators.items()}
    return Given(
        strategy,
        strategy.instruments[j],
        strategy.symbols[j],
        signal_type(side, target).value,
        target,
        float(answer.strength[cell]),
        float(answer.close[cell]),
        moment(answer.closed_at[t]),
        {
            "from": side,
            "wish": wish,
            "indicators": {n: v if math.isfinite(v) else None for n, v in values.items()},
        },
    )


def _repaints(
    strategy: Standing, windows: SignalWindows, *, since: datetime, at: datetime, reason: str
) -> Iterator[SignalRepaint]:
    signals = list(
        StrategySignal.objects.filter(
            strategy=UUID(strategy.strategy),
            version=UUID(strategy.version),
            closed_at__gte=since,
        ).select_related("instrument")
    )
    if not signals:
        return
    answer = windows.answer(strategy, windows.n_closed_since(strategy, microseconds(since)))
    rows = {closed_at: t for t, closed_at in enumerate(answer.closed_at.tolist())}
    for signal in signals:
        t = rows.get(microseconds(signal.closed_at))
        if t is None:
            continue
        j = strategy.symbols.index(signal.instrument.symbol)
        again = _given(strategy, answer, (t, j), int(signal.metadata.get("from", 0)))
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


def _differs(signal: StrategySignal, again: Given) -> bool:
    return (
        signal.signal_type != again.signal_type
        or abs(signal.strength - again.strength) > TOLERANCE
        or abs(signal.price - again.price) > TOLERANCE * signal.price
    )
