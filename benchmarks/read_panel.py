"""Closes of 505 symbols over five years in one frame, against raw reads of the same rows.

python -m benchmarks.read_panel
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from benchmarks.scratch import median_seconds, scratch_database

N_SYMBOLS, N_BARS = 505, 1_259
_ROW = np.dtype(
    [
        ("n_fields", ">i2"),
        ("series_size", ">i4"),
        ("series", "V16"),
        ("time_size", ">i4"),
        ("time", ">i8"),
        ("close_size", ">i4"),
        ("close", ">f8"),
    ]
)
_HEADER_SIZE, _TRAILER_SIZE = 19, 2


def fill() -> None:
    """Store 505 random walks of daily bars."""
    import pandas as pd
    from django.utils.timezone import now

    from alphastrat.marketdata.models import ImportRun
    from alphastrat.marketdata.services.imports import look_over
    from alphastrat.marketdata.services.ingestion import Target, ingest
    from alphastrat.quant.calendars import session_times
    from alphastrat.quant.types import Timeframe

    sessions = session_times(
        "XNYS", datetime(2013, 2, 8, tzinfo=UTC), datetime(2018, 2, 8, tzinfo=UTC)
    )
    days = sessions.index[-N_BARS:]
    walks = 50 * np.exp(np.random.default_rng(1).normal(0, 0.01, (N_SYMBOLS, N_BARS)).cumsum(1))
    closes = walks.ravel()
    rows = pd.DataFrame(
        {
            "row_number": np.arange(1, closes.size + 1),
            "symbol": np.repeat([f"S{number:03}" for number in range(N_SYMBOLS)], N_BARS),
            "time": np.tile(days.to_numpy().astype("datetime64[us]"), N_SYMBOLS),
            "open": closes,
            "high": closes * 1.01,
            "low": closes * 0.99,
            "close": closes,
            "volume": 1e6,
        }
    )
    run = ImportRun.objects.create(source="bench", requested_at=now())
    look_over(ingest([rows], run=run, target=Target(Timeframe.DAY_1, "bench"), at=now()), at=now())


def copy_binary() -> npt.NDArray[np.void]:
    """Read series, time and close of every bar by binary COPY into one array; nothing more."""
    from django.db import connection

    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY (SELECT series_id, closed_at, close FROM marketdata_bar)"
            " TO STDOUT (FORMAT binary)"
        ) as copy,
    ):
        content = b"".join(bytes(part) for part in copy)
    return np.frombuffer(content[_HEADER_SIZE:-_TRAILER_SIZE], dtype=_ROW)


def raw_blocks() -> npt.NDArray[np.float64]:
    """Read the stored arrays of closes as they are, without times, symbols or checks."""
    from django.db import connection
    from psycopg import Cursor

    with Cursor(connection.connection) as cursor:
        cursor.execute("SELECT close FROM marketdata_barblock", binary=True)
        return np.stack([np.frombuffer(row[0], dtype=">f8") for row in cursor]).astype(np.float64)


def main() -> None:
    """Print the times and their ratios."""
    from alphastrat.marketdata.frames import find_series, load_arrays, load_closes

    fill()
    symbols = [f"S{number:03}" for number in range(N_SYMBOLS)]
    series = find_series(symbols, "1d")
    copied = median_seconds(copy_binary, 7)
    blocks = median_seconds(raw_blocks, 15)
    frame = median_seconds(lambda: load_closes(series), 15)
    found = median_seconds(lambda: load_closes(find_series(symbols, "1d")), 15)
    columns = median_seconds(lambda: load_arrays(series), 7)
    print(f"binary COPY of {copy_binary().size:,} closes into numpy: {copied * 1e3:.1f} ms")
    print(f"one array block per series, closes only: {blocks * 1e3:.1f} ms")
    print(
        f"load_closes, {load_closes(series).shape}: {frame * 1e3:.1f} ms, "
        f"{copied / frame:.1f} times faster than COPY, {frame / blocks:.2f} x the block read"
    )
    print(f"the same with looking up 505 series: {found * 1e3:.1f} ms")
    print(f"all five columns: {columns * 1e3:.1f} ms")


if __name__ == "__main__":
    with scratch_database():
        main()
