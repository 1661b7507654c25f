"""RSI, MACD and Bollinger Bands over 505 symbols × 1,259 bars: computed, persisted, read.

DJANGO_SETTINGS_MODULE=alphastrat.settings python -m benchmarks.indicators [FILE]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks.scratch import median_seconds, scratch_database, seconds

FILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "sp500_daily.parquet"
N_SYMBOLS, N_BARS = 505, 1_259
TEXTS = ("rsi", "macd", "bbands")


def in_memory() -> None:
    """Print the rate of the named functions as a share of TA-Lib's own."""
    import talib

    from strategies.quant import indicators

    rng = np.random.default_rng(7)
    walk = 100 * np.exp(rng.normal(0, 0.02, (N_SYMBOLS, N_BARS)).cumsum(axis=1))
    closes = list(np.ascontiguousarray(walk))

    def raw() -> None:
        for close in closes:
            talib.RSI(close, 14)
            talib.MACD(close, 12, 26, 9)
            talib.BBANDS(close, 20, 2.0, 2.0)

    def named() -> None:
        for close in closes:
            indicators.rsi(close, 14)
            indicators.macd(close)
            indicators.bollinger(close)

    named()
    # Turn and turn about, because another process on the machine slows either; time on a core
    # does not count the time that others have it.
    pairs = [(_times(raw), _times(named)) for _ in range(40)]
    n_points = 3 * N_SYMBOLS * N_BARS
    for label, clock in (("wall", 0), ("core", 1)):
        raw_time, named_time = (
            min(taken[clock] for taken in one) for one in zip(*pairs, strict=True)
        )
        shares = [own_raw[clock] / own[clock] for own_raw, own in pairs]
        print(
            f"{label}: TA-Lib itself {raw_time * 1e3:.1f} ms, {n_points / raw_time / 1e6:.0f} M "
            f"bars/s; named functions {named_time * 1e3:.1f} ms, at {raw_time / named_time:.0%} of "
            f"the rate (best of 40; median of pairs {median(shares):.0%})"
        )


def _times(call: Callable[[], object]) -> tuple[float, float]:
    began = time.thread_time()
    wall = seconds(call)
    return wall, time.thread_time() - began


def persisted(path: Path) -> None:
    """Print the filling of the cache against COPY, and what the cache answers."""
    from django.db import connection
    from django.utils.timezone import now

    from alphastrat.marketdata.frames import load_frames
    from alphastrat.marketdata.models import BarSeries, ImportRun
    from alphastrat.marketdata.providers.files import FileFormat, read_file
    from alphastrat.marketdata.services.ingestion import Target, ingest
    from alphastrat.quant.types import Timeframe
    from strategies.services import indicator_cache, indicator_rows
    from strategies.services.indicator_requests import parse_request

    run = ImportRun.objects.create(source="file", requested_at=now())
    form = FileFormat(Timeframe.DAY_1, ZoneInfo("America/New_York"))
    ingest(read_file(path, form), run=run, target=Target(Timeframe.DAY_1, "file"), at=now())
    series = list(BarSeries.objects.select_related("instrument"))
    keys = [one.pk for one in series]
    requests = [parse_request(text) for text in TEXTS]
    frames = load_frames(series)
    values = [request.compute(frame) for frame in frames.values() for request in requests]
    n_bars = sum(len(frame) for frame in frames.values())

    times: dict[str, list[float]] = {}
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bare_rows (series int, kind int, bar int, v float8[])")
        cursor.execute("CREATE TABLE bare_arrays (v float8[])")
        for _ in range(3):
            cursor.execute("TRUNCATE bare_rows, bare_arrays")
            indicator_cache.forget()
            rows = list(_bare_rows(values))
            times.setdefault("COPY, a row per bar", []).append(
                seconds(lambda r=rows: indicator_rows.copy(cursor, _COPY_ROWS, r))
            )
            arrays = [
                indicator_rows.row(indicator_rows.floats(np.column_stack(list(one.values()))))
                for one in values
            ]
            times.setdefault("COPY, an array per symbol", []).append(
                seconds(lambda r=arrays: indicator_rows.copy(cursor, _COPY_ARRAYS, r))
            )
            times.setdefault("fill the cache, from stored bars", []).append(
                seconds(lambda: indicator_cache.fill(series, requests))
            )
    filled = float(np.median(times["fill the cache, from stored bars"]))
    for label, taken in times.items():
        middle = float(np.median(taken))
        print(
            f"{label}: {middle:.2f} s, {3 * n_bars / middle / 1e6:.2f} M values/s; "
            f"the cache at {middle / filled:.0%} of the rate"
        )
    rsi = requests[0]

    def recompute_market() -> None:
        for frame in load_frames(series).values():
            rsi.compute(frame)

    for label, cached, computed in (
        ("newest of the market", lambda: indicator_cache.newest(keys, rsi), recompute_market),
        ("history of the market", lambda: indicator_cache.read(keys, rsi), recompute_market),
        (
            "history of one symbol",
            lambda: indicator_cache.read(keys[:1], rsi),
            lambda: rsi.compute(next(iter(load_frames(series[:1]).values()))),
        ),
    ):
        quick, slow = median_seconds(cached, 9), median_seconds(computed, 9)
        print(
            f"{label}: cache {quick * 1e3:.1f} ms, computed {slow * 1e3:.1f} ms, "
            f"{slow / quick:.1f} times"
        )


_COPY_ROWS = "COPY bare_rows FROM STDIN (FORMAT binary)"
_COPY_ARRAYS = "COPY bare_arrays FROM STDIN (FORMAT binary)"


def _bare_rows(values: list[dict[str, np.ndarray]]) -> list[bytes]:
    rows = []
    for number, one in enumerate(values):
        by_bar = np.column_stack(list(one.values()))
        head = [number.to_bytes(4), (number % 3).to_bytes(4)]
        rows += [_bare_row(*head, bar.to_bytes(4), by_bar[bar]) for bar in range(len(by_bar))]
    return rows


def _bare_row(series: bytes, kind: bytes, bar: bytes, numbers: np.ndarray) -> bytes:
    from strategies.services import indicator_rows

    return indicator_rows.row(series, kind, bar, indicator_rows.floats(numbers))


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    with scratch_database():
        in_memory()
        if not file.is_file():
            sys.exit(f"There is no {file}; name the file to import.")
        persisted(file)
