"""Strategies as they stand at a bar close: version, universe and the last signals.

One statement reads them anew at every close, together with the newest bar of every symbol that
they look at, so that a strategy that was paused, changed or given another universe a moment ago,
by whichever process, is seen. The only thing kept of it between closes is a built plug-in, under
its version, which never changes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from alphastrat.core.prepared import PreparedStatement
from alphastrat.marketdata.live_bars import NEWEST_BARS, LiveSeries, present
from strategies.models.strategy import ACTIVE_STATES
from strategies.quant import registry

logger = logging.getLogger(__name__)

# LIMIT 1 keeps the planner to one look into an index for each row, however little it knows of the
# tables: the newest signal is found at once however long ago it was.
_LOOK = """
    WITH standing AS MATERIALIZED (
        SELECT s.name, s.timeframe, v.symbols, json_build_array(
            s.id, s.name, s.owner_id, s.timeframe, v.id, v.plugin, v.parameters::text,
            to_json(v.symbols), universe.instruments, universe.targets, universe.closes,
            (extract(epoch FROM s.state_changed_at) * 1000000)::bigint
        ) AS facts
        FROM ({chosen}) s
        JOIN strategies_strategyversion v ON v.id = s.current_version_id
        CROSS JOIN LATERAL (
            SELECT json_agg(instrument.id ORDER BY place) AS instruments,
                json_agg(said.target ORDER BY place) AS targets,
                json_agg((extract(epoch FROM said.closed_at) * 1000000)::bigint ORDER BY place)
                    AS closes
            FROM unnest(v.symbols) WITH ORDINALITY AS of_version (symbol, place)
            LEFT JOIN LATERAL (
                SELECT id FROM marketdata_instrument WHERE symbol = of_version.symbol LIMIT 1
            ) instrument ON true
            LEFT JOIN LATERAL (
                SELECT target, closed_at FROM strategy_signals
                WHERE strategy_id = s.id AND instrument_id = instrument.id
                ORDER BY closed_at DESC LIMIT 1
            ) said ON true
        ) universe
    )
    SELECT json_build_array(
        (SELECT json_agg(facts ORDER BY name) FROM standing),
        ({newest})
    )
"""
_NEWEST = NEWEST_BARS.format(
    asked="SELECT DISTINCT unnest(symbols) AS symbol, timeframe, 1 AS n_bars FROM standing"
)
_STATES = ", ".join(f"'{state}'" for state in ACTIVE_STATES)
_ASKED = "ANY(ARRAY(SELECT id::uuid FROM jsonb_array_elements_text($1->'ids') AS asked (id)))"
_AT_CLOSE = PreparedStatement(
    "strategies_at_close",
    _LOOK.format(
        newest=_NEWEST,
        chosen=f"""
            WITH delivered AS MATERIALIZED (
                SELECT instrument_id, timeframe FROM marketdata_barseries WHERE id = {_ASKED}
            )
            SELECT active.* FROM strategies active
            CROSS JOIN LATERAL (
                SELECT FROM strategies_universe looks_at
                WHERE looks_at.strategy_id = active.id
                    AND (looks_at.instrument_id, active.timeframe) IN (TABLE delivered)
                LIMIT 1
            ) affected
            WHERE active.state IN ({_STATES})
        """,
    ),
)
_CHOSEN = PreparedStatement(
    "chosen_strategies",
    _LOOK.format(newest=_NEWEST, chosen=f"SELECT * FROM strategies WHERE id = {_ASKED}"),
)


class Standing(NamedTuple):
    """A strategy as it is now, and what it said last of each of its symbols."""

    strategy: str
    name: str
    owner: int
    timeframe: str
    version: str
    plugin_key: str
    parameters: str
    symbols: list[str]
    instruments: list[str]
    targets: list[int | None]
    # Microseconds since 1970 in UTC.
    closes: list[int | None]
    in_state_since: int | None

    @property
    def plugin(self) -> Any:
        """Return the built plug-in; raises ValueError where it is not installed any more."""
        return _built(self.version, self.plugin_key, self.parameters)

    @property
    def is_installed(self) -> bool:
        """Say whether its plug-in can be built."""
        try:
            return self.plugin is not None
        except ValueError as error:
            logger.warning("no plug-in: %s", error, extra={"strategy": self.strategy})
            return False

    @property
    def last_close(self) -> int | None:
        """Return the close of its newest signal."""
        return max((close for close in self.closes if close is not None), default=None)


class Look(NamedTuple):
    """Strategies, and by timeframe and symbol what the series is that they follow."""

    strategies: list[Standing]
    newest: dict[str, dict[str, LiveSeries]]


def at_close(series_ids: Iterable[UUID | str], *, known_at: datetime) -> Look:
    """Return the active strategies that look at one of these series."""
    return _look(_AT_CLOSE, series_ids, known_at)


def of(strategy_ids: Iterable[UUID | str], *, known_at: datetime) -> Look:
    """Return these strategies, whatever state they are in."""
    return _look(_CHOSEN, strategy_ids, known_at)


def _look(statement: PreparedStatement, ids: Iterable[UUID | str], known_at: datetime) -> Look:
    standing, newest = statement({"ids": [str(one) for one in ids], **present(known_at)})
    series: dict[str, dict[str, LiveSeries]] = {}
    for timeframe, symbol, *row in newest or ():
        series.setdefault(timeframe, {})[symbol] = LiveSeries.of(row)
    return Look([Standing(*facts) for facts in standing or ()], series)


@lru_cache(maxsize=10_000)
def _built(version: str, key: str, parameters: str) -> Any:
    return registry.build(key, json.loads(parameters))
