"""Tables of the P&L page, which its exports, the API and the report share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from alphastrat.core.formatting import day
from alphastrat.core.tables import Column
from portfolio.quant.attribution import Attribution
from portfolio.services.instrument_results import InstrumentResult
from portfolio.services.portfolio_performance import Performance, Stay

LARGEST = 12
LARGEST_INSTRUMENTS = 25
ZERO = Decimal(0)
NO_INSTRUMENT = "No instrument's"
ATTRIBUTION_EXPORTS = (
    Column("name", "Strategy", link="href"),
    Column("pnl", "Result", "signed_money"),
    Column("share", "Of all movement", "signed_percent"),
    Column("realised", "Realised", "signed_money"),
    Column("unrealised", "Unrealised", "signed_money"),
    Column("commission", "Commission", "money"),
    Column("other", "Other income", "signed_money"),
    Column("opening", "Opening equity", "money"),
    Column("net_flow", "Capital in", "signed_money"),
    Column("closing", "Closing equity", "money"),
    Column("left_at", "Left", "time"),
)
# Where capital started and what came is in the file: the page has what adds up.
FILE_ONLY = ("opening", "net_flow", "share", "left_at")
ATTRIBUTION_COLUMNS = tuple(column for column in ATTRIBUTION_EXPORTS if column.key not in FILE_ONLY)
SESSION_NAMES = (
    "day",
    "pnl",
    "net_flow",
    "equity",
    "session_return",
    "drawdown",
    "benchmark_return",
)
SESSION_COLUMNS = tuple(Column(key, key) for key in SESSION_NAMES)
MONTH_NAMES = ("month", "sessions", "pnl", "month_return", "benchmark_return")
MONTH_COLUMNS = tuple(Column(key, key) for key in MONTH_NAMES)
INSTRUMENT_COLUMNS = (
    Column("symbol", "Instrument"),
    Column("pnl", "Result", "signed_money"),
    Column("commission", "Commission", "money"),
    Column("value", "Held now", "money"),
)


def sessions(performance: Performance) -> list[dict[str, Any]]:
    """Return one row per session, oldest first."""
    against = performance.benchmark
    compared = [None] * len(performance.days)
    if against is not None:
        compared = [one if np.isfinite(one) else None for one in against.returns.tolist()]
    days = performance.history.days
    columns = (performance.equity, performance.returns, performance.drawdowns, compared)
    return [
        {
            "day": one.day,
            "pnl": one.pnl,
            "net_flow": one.capital,
            "equity": equity,
            "session_return": float(gained),
            "drawdown": float(depth),
            "benchmark_return": other,
        }
        for one, equity, gained, depth, other in zip(days, *columns, strict=True)
    ]


def months(performance: Performance) -> list[dict[str, Any]]:
    """Return one row per month, oldest first; returns compound those of its sessions."""
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sessions(performance):
        grouped[f"{row['day']:%Y-%m}"].append(row)
    return [
        {
            "month": month,
            "sessions": len(rows),
            "pnl": sum(row["pnl"] for row in rows),
            "month_return": _compounded([row["session_return"] for row in rows]),
            "benchmark_return": _compounded([row["benchmark_return"] for row in rows]),
        }
        for month, rows in grouped.items()
    ]


def strategy_rows(found: Attribution[Stay]) -> list[dict[str, Any]]:
    """Return one row per strategy, best first."""
    return [
        _amounts(line.result)
        | {
            "share": line.share,
            "name": stay_name(line.result.key),
            "href": line.result.key.url,
            "left_at": line.result.key.left_at,
        }
        for line in found.lines
    ]


def total_row(found: Attribution[Stay]) -> dict[str, Any]:
    """Return the line that the strategies' rows add up to."""
    return _amounts(found.total) | {"name": "Portfolio", "href": "", "share": None, "left_at": None}


def instrument_rows(lines: Sequence[InstrumentResult]) -> list[dict[str, Any]]:
    """Return the instruments that moved most, best first, the others together, and their total."""
    if not lines:
        return []
    named = [one for one in lines if one.symbol]
    kept = set(sorted(named, key=lambda one: -abs(one.pnl))[:LARGEST_INSTRUMENTS])
    others = [one for one in named if one not in kept]
    rows = [_instrument(one.symbol, [one]) for one in named if one in kept]
    if others:
        rows.append(_instrument(f"{len(others)} others", others))
    rest = [one for one in lines if not one.symbol]
    if rest:
        rows.append(_instrument(NO_INSTRUMENT, rest))
    return [*rows, _instrument("Portfolio", lines)]


def strategy_bars(found: Attribution[Stay]) -> tuple[list[str], list[float]]:
    """Return the strategies that moved most, and the others together."""
    return _bars([(stay_name(line.result.key), line.result.pnl) for line in found.lines])


def instrument_bars(lines: Sequence[InstrumentResult]) -> tuple[list[str], list[float]]:
    """Return the instruments that moved most, and the others together."""
    return _bars([(one.symbol or NO_INSTRUMENT, one.pnl) for one in lines])


def stay_name(stay: Stay) -> str:
    return stay.name if stay.left_at is None else f"{stay.name} (former, left {day(stay.left_at)})"


def _compounded(returns: Sequence[float | None]) -> float | None:
    known = [one for one in returns if one is not None]
    return float(np.prod(1.0 + np.array(known)) - 1.0) if known else None


def _bars(lines: Sequence[tuple[str, Decimal]]) -> tuple[list[str], list[float]]:
    order = sorted(range(len(lines)), key=lambda i: -abs(lines[i][1]))
    shown, others = sorted(order[:LARGEST]), order[LARGEST:]
    names = [lines[i][0] for i in shown]
    values = [float(lines[i][1]) for i in shown]
    if not others:
        return names, values
    return [*names, "All others"], [*values, float(sum(lines[i][1] for i in others))]


def _amounts(result: Any) -> dict[str, Any]:
    names = ("pnl", "realised", "unrealised", "commission", "other", "opening", "net_flow")
    return {name: getattr(result, name) for name in (*names, "closing")}


def _instrument(name: str, parts: Sequence[InstrumentResult]) -> dict[str, Any]:
    sums = {key: sum((getattr(one, key) for one in parts), ZERO) for key in ("pnl", "commission")}
    return {"symbol": name, **sums, "value": sum((one.value for one in parts), ZERO)}
