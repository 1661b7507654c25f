"""Expectations and shadows as bytes that a thousand strategies are read from at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import FloatArray, IntArray
from monitoring.quant.budget import DETECTORS, RATES, AlarmLevels
from monitoring.quant.cone import BANDS, LEVELS, Cone
from monitoring.quant.expectations import PROMISES, Expected
from monitoring.quant.observations import Envelopes
from monitoring.quant.signal_tally import TALLY

# Grows when the layout below changes; what was packed before is then frozen anew.
FORMAT = 1.0
_HEAD = 2
_N_LEVELS = len(DETECTORS) * len(RATES)
_SIZES = (_HEAD, len(PROMISES), _N_LEVELS, len(RATES), len(BANDS), 4)
_EDGES = np.cumsum(_SIZES)
_N_NUMBERS = int(_EDGES[-1])
_WIDTH = 2 + len(LEVELS)

MATCHED = np.dtype([("time", "<i8"), ("is_matched", "<f8"), ("gap_bps", "<f8")])


@dataclass(frozen=True, slots=True, eq=False)
class Unpacked:
    """Expectations of n strategies as arrays; NaN where there is none."""

    promise: dict[str, FloatArray]
    levels: FloatArray
    volatility_limits: FloatArray
    envelopes: Envelopes


def pack_expected(expected: Expected) -> bytes:
    """Return an expectation as bytes: numbers first, then one row per bar of the horizon."""
    cone = expected.cone
    numbers = np.concatenate(
        [
            [FORMAT, float(cone.n_bars)],
            np.array(astuple(expected.promise), np.float64),
            expected.levels.log_levels.ravel(),
            expected.levels.volatility,
            cone.simultaneous,
            [*cone.drawdowns, float(cone.is_analytic)],
        ]
    )
    rows = np.concatenate([cone.centre[:, None], cone.spread[:, None], cone.quantiles], axis=1)
    return numbers.astype("<f8").tobytes() + rows.astype("<f4").tobytes()


def unpack_many(blocks: Sequence[bytes | memoryview | None]) -> Unpacked:
    """Return the expectations of many strategies; None stands for one that has none."""
    n_strategies = len(blocks)
    numbers = np.full((n_strategies, _N_NUMBERS), np.nan)
    horizon = np.zeros(n_strategies, np.int64)
    known = [(i, block) for i, block in enumerate(blocks) if block]
    for i, block in known:
        head = np.frombuffer(block, "<f8", count=_N_NUMBERS)
        if head[0] == FORMAT:
            numbers[i] = head
            horizon[i] = int(head[1])
    longest = int(horizon.max()) if n_strategies else 0
    rows = np.full((n_strategies, longest, _WIDTH), np.nan)
    for i, block in known:
        if horizon[i]:
            part = np.frombuffer(block, "<f4", offset=8 * _N_NUMBERS)
            rows[i, : horizon[i]] = part.reshape(-1, _WIDTH)
    parts = np.split(numbers, _EDGES[:-1], axis=1)
    promise = {name: np.ascontiguousarray(parts[1][:, k]) for k, name in enumerate(PROMISES)}
    envelopes = Envelopes(rows[:, :, 0], rows[:, :, 1], rows[:, :, 2:], parts[4], horizon)
    levels = parts[2].reshape(n_strategies, len(DETECTORS), len(RATES))
    return Unpacked(promise, levels, parts[3], envelopes)


def unpack_cone(block: bytes | memoryview) -> Cone:
    """Return the cone of one expectation."""
    numbers = np.frombuffer(block, "<f8", count=_N_NUMBERS)
    rows = np.frombuffer(block, "<f4", offset=8 * _N_NUMBERS).astype(np.float64)
    rows = rows.reshape(-1, _WIDTH)
    tail = numbers[_EDGES[-2] :]
    return Cone(
        centre=rows[:, 0],
        spread=rows[:, 1],
        quantiles=rows[:, 2:],
        simultaneous=numbers[_EDGES[-3] : _EDGES[-2]],
        drawdowns=tail[:3],
        is_analytic=bool(tail[3]),
    )


def unpack_levels(block: bytes | memoryview) -> AlarmLevels:
    """Return the alarm levels of one expectation."""
    found = unpack_many([block])
    return AlarmLevels(found.levels[0], found.volatility_limits[0])


def pack_curve(times: IntArray, returns: FloatArray) -> bytes:
    """Return close times in microseconds and returns as bytes."""
    return np.asarray(times, "<i8").tobytes() + np.asarray(returns, "<f8").tobytes()


def pack_signals(compared: IntArray, tally: npt.NDArray[np.void]) -> bytes:
    """Return how many signals were compared at each bar, and counts of those that differ."""
    most = np.iinfo(np.uint16).max
    return np.minimum(compared, most).astype("<u2").tobytes() + tally.tobytes()


def unpack_signals(
    block: bytes | memoryview, *, n_bars: int
) -> tuple[IntArray, npt.NDArray[np.void]]:
    """Return what `pack_signals` packed of `n_bars` bars; nothing where nothing was packed."""
    if not block:
        return np.zeros(n_bars, np.int64), np.empty(0, TALLY)
    compared = np.frombuffer(block, "<u2", count=n_bars)
    return compared.astype(np.int64), np.frombuffer(block, TALLY, offset=2 * n_bars)


def unpack_curve(block: bytes | memoryview) -> tuple[IntArray, FloatArray]:
    """Return close times and returns that `pack_curve` packed."""
    n_bars = len(block) // 16
    times = np.frombuffer(block, "<i8", count=n_bars)
    return times.astype(np.int64), np.frombuffer(block, "<f8", offset=8 * n_bars)
