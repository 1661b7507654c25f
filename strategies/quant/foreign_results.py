"""Results of other tools as accounts over days: what a file says, and what it leaves undefined.

Field names are those that the tools write:

- freqtrade: `BT_DATA_COLUMNS` in `freqtrade/data/btanalysis/bt_fileutils.py` and the strategy
  block of `freqtrade/optimize/optimize_reports/optimize_reports.py` (freqtrade/freqtrade).
- backtesting.py: `_trades` as built in `backtesting/_stats.py` (kernc/backtesting.py).
- vectorbt: `Portfolio.trades.records_readable`, titles in `vectorbt/portfolio/trades.py` (1.2.0).
- LEAN: `Common/Statistics/Trade.cs` and the chart "Strategy Equity" of a backtest's result
  (QuantConnect/Lean); equity points are [seconds, value] or [seconds, open, high, low, close].
- pyfolio: `returns` as `create_full_tear_sheet` takes it, a dated series of daily
  non-cumulative returns, written with `Series.to_csv`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from strategies.quant.foreign_account import (
    ForeignResult,
    Source,
    account_of_trips,
    checked,
    periods_of,
    stamped,
)
from strategies.quant.foreign_lean import read_lean
from strategies.quant.foreign_values import (
    MAX_ROWS,
    flags,
    named,
    need,
    no_trips,
    numbers_of,
    optional,
    ordered,
    positive,
    time_of,
    times_of,
)

REALISED = (
    "The file has no account values: the curve moves only when a round trip closes, so that "
    "volatility, Sharpe ratio and drawdown leave out what open positions went through."
)
RETURNS_ONLY = (
    "The file has returns only: round trips, win rate, exposure, turnover and costs are undefined."
)


def read_result(content: bytes, *, capital: float | None = None) -> list[ForeignResult]:
    """Recognise and read a result of another tool.

    Parameters
    ----------
    content : bytes
        A JSON document or a CSV table, UTF-8.
    capital : float, optional
        Account value at the start, for files that do not say it. Without it 10,000 for
        backtesting.py (its own default), 100 for vectorbt (its own default), 100,000 otherwise.

    Returns
    -------
    list of ForeignResult
        One per strategy in the file.

    Raises
    ------
    ValueError
        If the file is none of the formats, or its values cannot be an account; the message says
        what is wrong and what to do.
    """
    text = _text(content)
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(text)
    table = _read_table(text)
    columns = set(table.columns)
    if {"PnL", "EntryTime", "ExitTime", "Size"} <= columns:
        return [_backtesting_py(table, capital or 10_000.0)]
    if {"PnL", "Entry Timestamp", "Exit Timestamp", "Direction"} <= columns:
        return [_vectorbt(table, capital or 100.0)]
    if len(columns) in (2, 3):
        return [_pyfolio(table, capital or 100_000.0)]
    raise ValueError(
        f"this table has the columns {', '.join(map(str, table.columns[:8]))}: it is none of the "
        "known ones. Save `returns.to_csv()`, `stats._trades.to_csv()` of backtesting.py or "
        "`portfolio.trades.records_readable.to_csv()` of vectorbt"
    )


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            "this is not a text file. Save the result as CSV or JSON; pickles are never opened"
        ) from None


def _read_json(text: str) -> list[ForeignResult]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is not valid JSON: {str(error)[:120]}") from None
    if not isinstance(document, dict):
        raise ValueError(
            "the JSON holds a list; old freqtrade exports without a header have no "
            "starting balance: run the backtest again with a current freqtrade"
        )
    if isinstance(document.get("strategy"), dict):
        return _freqtrade(document["strategy"])
    if named(document, "charts") is not None:
        return [read_lean(document)]
    raise ValueError(
        "the JSON has neither `strategy` (freqtrade) nor `charts` (LEAN). Take "
        "backtest-result-….json of freqtrade, or LEAN's result file rather than its summary"
    )


def _read_table(text: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(io.StringIO(text), nrows=MAX_ROWS + 1)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise ValueError(f"this is not a table: {str(error)[:120]}") from None
    if table.empty:
        raise ValueError("the table has no row below its header")
    if len(table) > MAX_ROWS:
        raise ValueError(f"the table has more than {MAX_ROWS:,} rows; import a part of it")
    return table


def _pyfolio(table: pd.DataFrame, capital: float) -> ForeignResult:
    times = times_of(table.iloc[:, 0], "the first column")
    returns = numbers_of(table.iloc[:, 1], f"column {table.columns[1]!r}").fillna(0.0)
    values = returns.to_numpy(np.float64)
    if (values <= -1).any():
        raise ValueError(
            "a return is -1 or less, which no fraction can be: are these percent? Divide by 100"
        )
    if np.abs(values).max() > 0 and np.median(np.abs(values)) > 0.5:
        raise ValueError(
            "these are account values or cumulative returns rather than returns per day; save "
            "`equity.pct_change()`"
        )
    stamps = pd.DatetimeIndex(times)
    if stamps.has_duplicates:
        raise ValueError(f"{stamps[stamps.duplicated()][0]:%Y-%m-%d} has two returns")
    days = stamps.normalize()
    growth = pd.Series(np.log1p(values), days)
    daily = growth.groupby(days).sum()
    benchmark = None
    if table.shape[1] == 3:
        other = numbers_of(table.iloc[:, 2], f"column {table.columns[2]!r}").fillna(0.0)
        series = pd.Series(np.log1p(other.clip(lower=-0.999999).to_numpy()), days)
        benchmark = capital * np.exp(series.groupby(days).sum().cumsum().to_numpy())
    name = str(table.columns[1])
    return checked(
        ForeignResult(
            source=Source.PYFOLIO,
            name="" if name.lower() in {"0", "returns", "return", "unnamed: 1"} else name,
            days=stamped(daily.index),
            equity=capital * np.exp(daily.cumsum().to_numpy()),
            capital=capital,
            trips=no_trips(),
            periods_per_year=periods_of(daily.index),
            benchmark=benchmark,
            missing=(RETURNS_ONLY,),
        )
    )


def _freqtrade(strategies: Mapping[str, Any]) -> list[ForeignResult]:
    if not strategies:
        raise ValueError("the file holds no strategy")
    return [_freqtrade_strategy(name, block) for name, block in strategies.items()]


def _freqtrade_strategy(name: str, block: Any) -> ForeignResult:
    if not isinstance(block, dict) or not isinstance(block.get("trades"), list):
        raise ValueError(f"strategy {name!r} has no `trades`: is this a result of `backtesting`?")
    capital = positive(block.get("starting_balance"), f"`starting_balance` of {name!r}")
    table = pd.DataFrame(block["trades"][: MAX_ROWS + 1])
    trips = no_trips()
    if len(table):
        need(table, ("pair", "open_date", "close_date", "open_rate", "close_rate", "profit_abs"))
        trips = _freqtrade_trips(table)
    start = time_of(block.get("backtest_start")) if block.get("backtest_start") else None
    end = time_of(block.get("backtest_end")) if block.get("backtest_end") else None
    return account_of_trips(
        ForeignResult(
            source=Source.FREQTRADE,
            name=name,
            days=pd.DatetimeIndex([]),
            equity=np.zeros(0),
            capital=capital,
            trips=trips,
            periods_per_year=365.0,
            currency=str(block.get("stake_currency") or ""),
            missing=(REALISED, "Slippage is not part of freqtrade's result."),
        ),
        start=start,
        end=end,
    )


def _freqtrade_trips(table: pd.DataFrame) -> pd.DataFrame:
    n = len(table)
    short = flags(table, "is_short")
    entry, leave = (
        numbers_of(table["open_rate"], "`open_rate`"),
        numbers_of(table["close_rate"], "`close_rate`"),
    )
    amount = optional(table, "amount")
    fees = amount * (entry * optional(table, "fee_open") + leave * optional(table, "fee_close"))
    low, high = optional(table, "min_rate") / entry - 1, optional(table, "max_rate") / entry - 1
    reasons = table.get("exit_reason", table.get("sell_reason", pd.Series("", range(n))))
    is_open = flags(table, "is_open")
    return ordered(
        pd.DataFrame(
            {
                "symbol": table["pair"].astype(str),
                "side": np.where(short, "short", "long"),
                "entry_time": times_of(table["open_date"], "`open_date`"),
                "exit_time": times_of(table["close_date"], "`close_date`"),
                "quantity": amount,
                "entry_price": entry,
                "exit_price": leave,
                "pnl": numbers_of(table["profit_abs"], "`profit_abs`"),
                "return": optional(table, "profit_ratio"),
                "mae": np.where(short, -high, low),
                "mfe": np.where(short, -low, high),
                "commission": fees,
                "exit_reason": np.where(is_open, "open", reasons.fillna("").astype(str)),
            }
        )
    )


def _backtesting_py(table: pd.DataFrame, capital: float) -> ForeignResult:
    need(table, ("Size", "EntryPrice", "ExitPrice", "PnL", "EntryTime", "ExitTime"))
    size = numbers_of(table["Size"], "`Size`")
    trips = pd.DataFrame(
        {
            "symbol": "",
            "side": np.where(size < 0, "short", "long"),
            "entry_time": times_of(table["EntryTime"], "`EntryTime`"),
            "exit_time": times_of(table["ExitTime"], "`ExitTime`"),
            "quantity": size.abs(),
            "entry_price": numbers_of(table["EntryPrice"], "`EntryPrice`"),
            "exit_price": numbers_of(table["ExitPrice"], "`ExitPrice`"),
            "pnl": numbers_of(table["PnL"], "`PnL`"),
            "return": optional(table, "ReturnPct"),
            "commission": optional(table, "Commission"),
            "exit_reason": "closed",
        }
    )
    found = ForeignResult(
        source=Source.BACKTESTING_PY,
        name="",
        days=pd.DatetimeIndex([]),
        equity=np.zeros(0),
        capital=capital,
        trips=ordered(trips),
        periods_per_year=252.0,
        missing=(
            REALISED,
            "The table does not name the instrument, nor why a position was left.",
            "Excursions (MAE, MFE) are undefined.",
        ),
    )
    return account_of_trips(found)


def _vectorbt(table: pd.DataFrame, capital: float) -> ForeignResult:
    entry_name = "Avg Entry Price" if "Avg Entry Price" in table else "Entry Price"
    exit_name = "Avg Exit Price" if "Avg Exit Price" in table else "Exit Price"
    need(table, ("Size", entry_name, exit_name, "PnL", "Entry Timestamp", "Exit Timestamp"))
    status = table.get("Status", pd.Series("Closed", range(len(table)))).astype(str).str.lower()
    column = table.get("Column", pd.Series("", range(len(table)))).astype(str)
    trips = pd.DataFrame(
        {
            "symbol": np.where(column.isin(["0", "nan"]), "", column),
            "side": np.where(
                table["Direction"].astype(str).str.lower() == "short", "short", "long"
            ),
            "entry_time": times_of(table["Entry Timestamp"], "`Entry Timestamp`"),
            "exit_time": times_of(table["Exit Timestamp"], "`Exit Timestamp`"),
            "quantity": numbers_of(table["Size"], "`Size`").abs(),
            "entry_price": numbers_of(table[entry_name], f"`{entry_name}`"),
            "exit_price": numbers_of(table[exit_name], f"`{exit_name}`"),
            "pnl": numbers_of(table["PnL"], "`PnL`"),
            "return": optional(table, "Return"),
            "commission": optional(table, "Entry Fees") + optional(table, "Exit Fees"),
            "exit_reason": np.where(status == "open", "open", "closed"),
        }
    )
    found = ForeignResult(
        source=Source.VECTORBT,
        name="",
        days=pd.DatetimeIndex([]),
        equity=np.zeros(0),
        capital=capital,
        trips=ordered(trips),
        periods_per_year=252.0,
        missing=(
            REALISED,
            "Why a position was left, and excursions (MAE, MFE), are undefined.",
        ),
    )
    return account_of_trips(found)
