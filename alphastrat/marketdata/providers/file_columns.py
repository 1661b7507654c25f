"""Which column of a file is which, by the spellings people use."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alphastrat.core.errors import InvalidInput

SPELLINGS: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "sym", "instrument", "asset", "secid", "name", "act_symbol"),
    "time": (
        "date",
        "datetime",
        "timestamp",
        "time",
        "opened_at",
        "open_time",
        "date_time",
        "t",
        "ts",
        "window_start",
        "session_date",
        "day",
    ),
    "open": ("open", "o", "open_price", "px_open"),
    "high": ("high", "h", "high_price", "px_high", "max"),
    "low": ("low", "l", "low_price", "px_low", "min"),
    "close": ("close", "c", "close_price", "last", "px_last", "close_last", "price"),
    "volume": ("volume", "v", "vol", "vol.", "px_volume", "turnover_shares", "tick_volume"),
}
NUMBERS = ("open", "high", "low", "close", "volume")
REQUIRED = ("time", *NUMBERS)
_VALUE = re.compile(r"[\d.,:/ +-]*\d[\d.,:/ TZ+-]*")


def find_columns(names: Sequence[str], *, symbol_known: bool) -> dict[str, str]:
    """Return the file's own name of each column we need, and of `clock` beside a date.

    Raises
    ------
    InvalidInput
        If one is missing or there twice.
    """
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(_plain(name), []).append(name)
    found = {
        ours: next((spelled[theirs] for theirs in options if theirs in spelled), [])
        for ours, options in SPELLINGS.items()
    }
    _refuse_values(names, found)
    _refuse_missing(names, found)
    for ours, theirs in found.items():
        if len(theirs) > 1:
            raise InvalidInput(
                f"The file has two columns for {ours}: {', '.join(theirs)}.",
                fields={"file": "Keep one of them."},
            )
    if not found["symbol"] and not symbol_known:
        raise InvalidInput(
            "The file names no instrument: it has no symbol column.",
            fields={"symbol": "Give the symbol the file is about, or add a symbol column."},
        )
    columns = {ours: theirs[0] for ours, theirs in found.items() if theirs}
    if _plain(columns["time"]) == "date" and "time" in spelled:
        columns["clock"] = spelled["time"][0]
    return columns


def _plain(name: str) -> str:
    return name.strip().strip("<>").lower().replace(" ", "_").replace("/", "_")


def _refuse_values(names: Sequence[str], found: dict[str, list[str]]) -> None:
    n_values = sum(bool(_VALUE.fullmatch(name)) for name in names)
    if n_values >= len(REQUIRED) - 1 and not any(found.values()):
        raise InvalidInput(
            "The file has no line of column names: its first line holds values.",
            fields={
                "file": "Put the names on the first line: date, open, high, low, close, volume."
            },
        )


def _refuse_missing(names: Sequence[str], found: dict[str, list[str]]) -> None:
    missing = [name for name in REQUIRED if not found[name]]
    if missing:
        wanted = ", ".join(missing)
        example = ", ".join(SPELLINGS[missing[0]][:4])
        raise InvalidInput(
            f"The file has no column for {wanted}. It has: {', '.join(names)}.",
            fields={"file": f"Name the {missing[0]} column one of: {example}."},
        )
