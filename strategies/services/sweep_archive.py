"""A sweep's results as compressed blocks: one per chunk on the way, one in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray, IntArray
from strategies.models import Sweep
from strategies.quant.chunks import N_BLOCKS, ChunkResult
from strategies.quant.sweep_kernel import METRICS
from strategies.services.run_archive import pack_trips as pack_frame
from strategies.services.run_archive import unpack_trips as unpack_frame

SUMS = [f"sum_{block}" for block in range(N_BLOCKS)]
SQUARES = [f"square_{block}" for block in range(N_BLOCKS)]


def pack_chunk(numbers: IntArray, found: ChunkResult) -> bytes:
    """Return the results of one chunk as a block."""
    values = np.hstack([found.metrics, found.sums, found.squares])
    frame = pd.DataFrame(values, columns=[*METRICS, *SUMS, *SQUARES])
    frame.insert(0, "number", numbers)
    frame.insert(1, "is_valid", found.is_valid)
    return pack_frame(frame)


def unpack_chunk(block: bytes | memoryview) -> pd.DataFrame:
    """Return the frame of a chunk, one row per set."""
    return _with_floats(unpack_frame(block))


def join_chunks(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the sets that the plug-in accepts, each once, in the order of the grid."""
    whole = pd.concat(frames, ignore_index=True)
    whole = whole[whole["is_valid"].astype(bool)].drop_duplicates("number")
    return whole.sort_values("number", ignore_index=True)


def pack_results(frame: pd.DataFrame, smoothed: FloatArray) -> bytes:
    """Return the numbers of the sets and their metrics as the block that is kept."""
    return pack_frame(frame[["number", *METRICS]].assign(smoothed=smoothed))


def results_frame(sweep: Sweep) -> pd.DataFrame:
    """Return number, metrics and smoothed objective of every set of a finished sweep."""
    return _with_floats(unpack_frame(sweep.results or b""))


def block_moments(frame: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return the block sums and sums of squares of joined chunks."""
    sums: Any = frame[SUMS].to_numpy(np.float64)
    squares: Any = frame[SQUARES].to_numpy(np.float64)
    return np.ascontiguousarray(sums), np.ascontiguousarray(squares)


def _with_floats(frame: pd.DataFrame) -> pd.DataFrame:
    """Undo that a column of nothing but missing values comes back without a type."""
    wrong = [
        name
        for name, kind in frame.dtypes.items()
        if kind != np.float64 and name not in ("number", "is_valid")
    ]
    return frame.astype(dict.fromkeys(wrong, np.float64))
