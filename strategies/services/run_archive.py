"""A run's arrays as two compressed blocks: one for the curves, one for the round trips.

Arrow IPC with zstd: five million points take a second to store where rows take forty, and the
format says itself what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from alphastrat.quant.types import FloatArray
from strategies.quant.simulator import SimulationResult, reason_words

# Waking threads takes longer than compressing a small table; the bytes are the same.
_WORTH_THREADS = 1 << 20
_AMOUNTS = (
    "quantity",
    "entry_price",
    "exit_price",
    "commission",
    "slippage",
    "borrow",
    "pnl",
    "mae",
    "mfe",
)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What a run did at every bar close.

    Attributes
    ----------
    times : DatetimeIndex of shape (n_bars,)
        UTC close times.
    symbols : tuple of str
        Columns of `positions`.
    capital : float
        Account value before the first bar.
    equity, benchmark : ndarray of shape (n_bars,)
        Account value; NaN throughout where there is no benchmark.
    gross, net : ndarray of shape (n_bars,)
        Position value as a multiple of equity.
    positions : ndarray of float32, shape (n_bars, n_assets)
        Units held.
    """

    times: pd.DatetimeIndex
    symbols: tuple[str, ...]
    capital: float
    equity: FloatArray
    benchmark: FloatArray
    gross: FloatArray
    net: FloatArray
    positions: np.ndarray[Any, np.dtype[np.float32]]

    @property
    def returns(self) -> FloatArray:
        """Return the fractional change of equity per bar; the first is from the capital."""
        return _returns(self.equity, self.capital)

    @property
    def benchmark_returns(self) -> FloatArray | None:
        if not np.isfinite(self.benchmark).any():
            return None
        return _returns(self.benchmark, self.capital)


def pack_curves(curves: Curves) -> bytes:
    """Return the curves as one block of bytes."""
    n_assets = len(curves.symbols)
    columns: dict[str, Any] = {
        "time": pa.array(curves.times.as_unit("us"), pa.timestamp("us", tz="UTC")),
        "equity": curves.equity,
        "benchmark": curves.benchmark,
        "gross": curves.gross,
        "net": curves.net,
        "positions": pa.FixedSizeListArray.from_arrays(
            np.ascontiguousarray(curves.positions, np.float32).ravel(), n_assets
        ),
    }
    meta = {"symbols": ",".join(curves.symbols), "capital": repr(curves.capital)}
    return _write(columns, meta)


def unpack_curves(block: bytes | memoryview) -> Curves:
    """Return the curves that `pack_curves` packed."""
    table = _read(block)
    meta = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    symbols = tuple(meta["symbols"].split(","))
    flat = table["positions"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Curves(
        times=pd.DatetimeIndex(table["time"].to_pandas()),
        symbols=symbols,
        capital=float(meta["capital"]),
        equity=_floats(table, "equity"),
        benchmark=_floats(table, "benchmark"),
        gross=_floats(table, "gross"),
        net=_floats(table, "net"),
        positions=flat.reshape(-1, len(symbols)),
    )


def pack_round_trips(result: SimulationResult) -> bytes:
    """Return the round trips of a simulation as one block, those still open last."""
    closed, still_open = result.round_trips, result.open_trips

    def both(name: str) -> np.ndarray[Any, Any]:
        return np.concatenate([getattr(closed, name), getattr(still_open, name)])

    times = result.index.as_unit("us").asi8
    entry, leave = both("entry_bar"), both("exit_bar")
    text, moment = pa.large_string(), pa.timestamp("us", tz="UTC")
    columns = {
        "symbol": pa.array([result.symbols[j] for j in both("asset")], text),
        "entry_time": pa.array(times[entry], moment),
        "exit_time": pa.array(times[leave], moment, mask=leave < 0),
        "side": pa.array(np.where(both("side") > 0, "long", "short").tolist(), text),
        "entry_bar": entry,
        "exit_bar": leave,
        **{name: pa.array(both(name), from_pandas=True) for name in _AMOUNTS},
        "exit_reason": pa.array(reason_words(both("exit_reason")), text),
        "return": pa.array(both("returns"), from_pandas=True),
    }
    return _write(columns, {})


def pack_trips(trips: pd.DataFrame) -> bytes:
    """Return a frame of round trips as one block of bytes."""
    return _write({str(name): pa.array(trips[name], from_pandas=True) for name in trips}, {})


def unpack_trips(block: bytes | memoryview) -> pd.DataFrame:
    """Return the frame that `pack_trips` packed."""
    frame: pd.DataFrame = _read(block).to_pandas()
    return frame


def _write(columns: Mapping[str, Any], meta: Mapping[str, str]) -> bytes:
    table = pa.table(dict(columns)).replace_schema_metadata(dict(meta))
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=table.nbytes > _WORTH_THREADS)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    block: bytes = sink.getvalue().to_pybytes()
    return block


def _read(block: bytes | memoryview) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(bytes(block))).read_all()


def _floats(table: pa.Table, name: str) -> FloatArray:
    values: FloatArray = table[name].to_numpy().astype(np.float64)
    return values


def _returns(values: FloatArray, start: float) -> FloatArray:
    before = np.concatenate(([start], values[:-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = values / before - 1.0
    # After ruin there is no return to speak of.
    return np.where(before > 0, returns, np.nan)
