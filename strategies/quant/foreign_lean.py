"""LEAN: the account from the chart of a result file, round trips from its closed trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray
from strategies.quant.foreign_account import ForeignResult, Source, checked, periods_of, stamped
from strategies.quant.foreign_values import MAX_ROWS, named, no_trips, number, ordered, times_of

# LEAN stamps the account after a day's close at midnight in the algorithm's zone.
LEAN_MIDNIGHT = pd.Timedelta(hours=5, seconds=1)


def read_lean(document: Mapping[str, Any]) -> ForeignResult:
    """Return the account of a LEAN backtest's result file."""
    equity = _lean_series(document, "Strategy Equity", "Equity")
    if equity is None or len(equity) < 2:
        raise ValueError(
            "the chart `Strategy Equity` has no values. Take LEAN's full result file "
            "(<id>.json), not <id>-summary.json, of a backtest that has finished"
        )
    capital = float(equity.iloc[0])
    days = equity.index
    benchmark = _lean_series(document, "Benchmark", "Benchmark")
    held: FloatArray | None = None
    if benchmark is not None and len(benchmark):
        aligned = benchmark.reindex(days, method="ffill").bfill().to_numpy(np.float64)
        held = capital * aligned / aligned[0] if aligned[0] > 0 else None
    performance = named(document, "totalPerformance") or {}
    closed = named(performance, "closedTrades") or []
    if not isinstance(closed, list):
        raise ValueError("`totalPerformance.closedTrades` is not a list")
    missing = ["Why a position was left is not part of LEAN's result."]
    if not closed:
        missing.append("The file has no closed trades: win rate and profit factor are undefined.")
    return checked(
        ForeignResult(
            source=Source.LEAN,
            name=str(named(named(document, "algorithmConfiguration") or {}, "name") or ""),
            days=stamped(days),
            equity=equity.to_numpy(np.float64),
            capital=capital,
            trips=ordered(_lean_trips(closed)) if closed else no_trips(),
            periods_per_year=periods_of(days),
            benchmark=held,
            currency=str(
                named(named(document, "algorithmConfiguration") or {}, "accountCurrency") or ""
            ),
            missing=tuple(missing),
        )
    )


def _lean_series(document: Mapping[str, Any], chart: str, series: str) -> pd.Series | None:
    block = named(named(named(document, "charts") or {}, chart) or {}, "series") or {}
    points = named(named(block, series) or {}, "values")
    if not isinstance(points, list) or not points:
        return None
    pairs = [_lean_point(point) for point in points[: MAX_ROWS + 1]]
    pairs.sort(key=lambda pair: pair[0])
    times = pd.to_datetime([pair[0] for pair in pairs], unit="s", utc=True) - LEAN_MIDNIGHT
    days = pd.DatetimeIndex(times).normalize()
    values = pd.Series([pair[1] for pair in pairs], days, dtype=np.float64)
    return values.groupby(days).last().dropna()


def _lean_point(point: Any) -> tuple[float, float]:
    """Return time and value of `[t, v]`, `[t, open, high, low, close]` or `{"x": t, "y": v}`."""
    try:
        if isinstance(point, dict):
            return float(named(point, "x")), float(named(point, "y"))
        return float(point[0]), float(point[-1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise ValueError(f"{str(point)[:60]} is not a point of a LEAN chart") from None


def _lean_trips(closed: Sequence[Any]) -> pd.DataFrame:
    rows = []
    for trade in closed[: MAX_ROWS + 1]:
        if not isinstance(trade, dict):
            raise ValueError("a closed trade of the LEAN file is not an object")
        price, quantity = number(named(trade, "entryPrice")), abs(number(named(trade, "quantity")))
        fees = number(named(trade, "totalFees"))
        pnl = number(named(trade, "profitLoss")) - fees
        value = price * quantity
        per_value = 1.0 / value if value > 0 else float("nan")
        rows.append(
            {
                "symbol": _lean_symbol(trade),
                "side": "short"
                if str(named(trade, "direction")).lower() in ("1", "short")
                else "long",
                "entry_time": named(trade, "entryTime"),
                "exit_time": named(trade, "exitTime"),
                "quantity": quantity,
                "entry_price": price,
                "exit_price": number(named(trade, "exitPrice")),
                "pnl": pnl,
                "return": pnl * per_value,
                "mae": -abs(number(named(trade, "mae"))) * per_value,
                "mfe": abs(number(named(trade, "mfe"))) * per_value,
                "commission": fees,
                "exit_reason": "closed",
            }
        )
    table = pd.DataFrame(rows)
    for name in ("entry_time", "exit_time"):
        table[name] = times_of(table[name], f"`{name}`")
    return table


def _lean_symbol(trade: Mapping[str, Any]) -> str:
    symbol = named(trade, "symbol")
    if symbol is None and isinstance(listed := named(trade, "symbols"), list) and listed:
        symbol = listed[0]
    if isinstance(symbol, dict):
        symbol = named(symbol, "value") or named(symbol, "id")
    return str(symbol or "").split(" ")[0]
