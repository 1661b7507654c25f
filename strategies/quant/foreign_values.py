"""Fields of foreign files as times, numbers and round trips; what is wrong is said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant.types import BoolArray

MAX_ROWS = 200_000
TRIP_COLUMNS = (
    "symbol",
    "side",
    "entry_time",
    "exit_time",
    "quantity",
    "entry_price",
    "exit_price",
    "pnl",
    "return",
    "mae",
    "mfe",
    "commission",
    "slippage",
    "borrow",
    "exit_reason",
)


def no_trips() -> pd.DataFrame:
    """Return a table of round trips without a row."""
    empty = pd.DataFrame({name: pd.Series(dtype=np.float64) for name in TRIP_COLUMNS})
    for name in ("symbol", "side", "exit_reason"):
        empty[name] = empty[name].astype(str)
    for name in ("entry_time", "exit_time"):
        empty[name] = pd.to_datetime(empty[name], utc=True)
    return empty


def ordered(trips: pd.DataFrame) -> pd.DataFrame:
    """Return round trips with every column, closed ones by exit and open ones last."""
    if len(trips) > MAX_ROWS:
        raise ValueError(f"there are more than {MAX_ROWS:,} round trips; import a part of them")
    if (trips["exit_time"] < trips["entry_time"]).any():
        raise ValueError("a round trip ends before it starts")
    if not np.isfinite(trips["pnl"].to_numpy(np.float64)).all():
        raise ValueError("a round trip has no P&L")
    value = trips["entry_price"] * trips["quantity"]
    with np.errstate(divide="ignore", invalid="ignore"):
        computed = (trips["pnl"] / value).replace([np.inf, -np.inf], np.nan)
    trips["return"] = trips["return"].fillna(computed).fillna(0.0)
    whole = trips.reindex(columns=list(TRIP_COLUMNS)).assign(is_open=trips["exit_reason"] == "open")
    for name in ("quantity", "mae", "mfe", "commission", "slippage", "borrow"):
        whole[name] = whole[name].astype(np.float64)
    ordered = whole.sort_values(["is_open", "exit_time"], kind="stable")
    return ordered.drop(columns="is_open").reset_index(drop=True)


def need(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise ValueError naming the columns that are absent."""
    absent = [name for name in names if name not in table]
    if absent:
        raise ValueError(f"the round trips lack {', '.join(absent)}")


def times_of(values: pd.Series, where: str) -> Any:
    """Return a column as UTC times; ValueError where one is empty or none."""
    try:
        times = pd.to_datetime(values, utc=True, format="mixed")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{where} has a value that is no time: {str(error)[:80]}") from None
    if times.isna().any():
        raise ValueError(f"{where} has {int(times.isna().sum())} empty times")
    if not ((times.dt.year >= 1900) & (times.dt.year <= 2200)).all():
        raise ValueError(f"{where} has times outside 1900 to 2200")
    return (
        times if values.index.equals(pd.RangeIndex(len(values))) else times.reset_index(drop=True)
    )


def time_of(value: Any) -> pd.Timestamp:
    """Return one value as a UTC time."""
    stamp: pd.Timestamp = times_of(pd.Series([value]), "the period").iloc[0]
    return stamp


def numbers_of(values: pd.Series, where: str) -> pd.Series:
    """Return a column as numbers, empty cells NaN; ValueError for words."""
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() & values.notna()
    if wrong.any():
        raise ValueError(f"{where} has {str(values[wrong].iloc[0])[:40]!r} where a number belongs")
    if np.isinf(numbers.to_numpy(np.float64)).any():
        raise ValueError(f"{where} has an infinite value")
    return numbers.astype(np.float64)


def optional(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a column as numbers; NaN throughout where there is none."""
    if name not in table:
        return pd.Series(np.nan, table.index)
    return numbers_of(table[name], f"`{name}`")


def flags(table: pd.DataFrame, name: str) -> BoolArray:
    """Return a column of yes and no; no where it is absent or empty."""
    if name not in table:
        return np.zeros(len(table), dtype=bool)
    column = table[name]
    return (column.notna() & column.astype(str).str.lower().isin(["true", "1"])).to_numpy()


def positive(value: Any, where: str) -> float:
    """Return a number above 0; ValueError for anything else."""
    found = number(value)
    if not found > 0:
        raise ValueError(f"{where} must be above 0, was {value!r}")
    return found


def number(value: Any) -> float:
    """Return a number, NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def named(block: Any, name: str) -> Any:
    """Return a field by its name in camelCase, as newer LEAN writes, or PascalCase, as older."""
    if not isinstance(block, Mapping):
        return None
    if name in block:
        return block[name]
    return block.get(name[:1].upper() + name[1:])
