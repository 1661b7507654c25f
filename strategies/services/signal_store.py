"""Signals on their way into the database: stored once, told once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction

from alphastrat.core import events, live
from alphastrat.core.prepared import PreparedStatement
from strategies.models import StrategySignal
from strategies.services.standing import Standing

# Says which of the rows were not there yet: their place, counted from 1.
_STORE = PreparedStatement(
    "store_signals",
    """
    WITH given AS (
        SELECT * FROM ROWS FROM (jsonb_to_recordset($1->'signals') AS (
            strategy_id uuid, version_id uuid, instrument_id uuid, signal_type text, target int,
            strength float8, price float8, closed_at timestamptz, metadata jsonb
        )) WITH ORDINALITY AS given (
            strategy_id, version_id, instrument_id, signal_type, target, strength, price,
            closed_at, metadata, place
        )
    ), stored AS (
        INSERT INTO strategy_signals (strategy_id, version_id, instrument_id, signal_type, target,
                                      strength, price, closed_at, metadata, generated_at)
        SELECT strategy_id, version_id, instrument_id, signal_type, target, strength, price,
               closed_at, metadata, ($1->>'at')::timestamptz
        FROM given ORDER BY place
        ON CONFLICT DO NOTHING
        RETURNING strategy_id, instrument_id, closed_at
    )
    SELECT json_build_array(
        (
            SELECT json_agg(place ORDER BY place)
            FROM given JOIN stored USING (strategy_id, instrument_id, closed_at)
        ),
        CASE WHEN ($1->>'can_be_lost')::boolean
            THEN set_config('synchronous_commit', 'off', true) END
    )
    """,
)


class Given(NamedTuple):
    """A signal before it is stored."""

    strategy: Standing
    instrument: str
    symbol: str
    signal_type: str
    target: int
    strength: float
    price: float
    closed_at: datetime
    metadata: dict[str, Any]

    @property
    def is_news(self) -> bool:
        return self.signal_type != StrategySignal.Kind.HOLD


def store_signals(given: Sequence[Given], *, at: datetime) -> int:
    """Write signals with one statement, tell of those that were not there yet, and count them.

    What a page is told of is recorded in the transaction that stores the signals. Where nobody
    asks for a trade there is nothing to tell, and the statement is a transaction by itself. That
    does not wait for the disk: should the server break down before it is written, the next close
    finds these bars without signals and gives the same ones.
    """
    if not given:
        return 0
    has_news = any(one.is_news for one in given)
    with transaction.atomic() if has_news else nullcontext():
        can_be_lost = not connection.in_atomic_block
        fresh = [given[place - 1] for place in _insert(given, at=at, can_be_lost=can_be_lost)]
        _announce([one for one in fresh if one.is_news])
        if fresh:
            ids = sorted({one.strategy.strategy for one in fresh})
            events.send_on_commit(events.signals_stored, strategy_ids=ids)
    return len(fresh)


def _insert(given: Sequence[Given], *, at: datetime, can_be_lost: bool) -> list[int]:
    rows = [
        {
            "strategy_id": one.strategy.strategy,
            "version_id": one.strategy.version,
            "instrument_id": one.instrument,
            "signal_type": one.signal_type,
            "target": one.target,
            "strength": one.strength,
            "price": one.price,
            "closed_at": one.closed_at.isoformat(),
            "metadata": one.metadata,
        }
        for one in given
    ]
    document = {"signals": rows, "at": at.isoformat(), "can_be_lost": can_be_lost}
    places: list[int] | None = _STORE(document)[0]
    return places or []


def _announce(signals: Iterable[Given]) -> None:
    news: list[tuple[str, str, dict[str, Any]]] = []
    for one in signals:
        payload = {
            "strategy": one.strategy.strategy,
            "name": one.strategy.name,
            "symbol": one.symbol,
            "type": one.signal_type,
            "strength": one.strength,
            "price": one.price,
            "closed_at": one.closed_at,
        }
        topics = (f"strategy:{one.strategy.strategy}", f"signals:u{one.strategy.owner}")
        news += [(topic, "signal", payload) for topic in topics]
    live.publish_many(news)
