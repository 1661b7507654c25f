"""Series made small for the wire: fewer points, six digits, times as text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

MAX_POINTS = 2_000
SIGNIFICANT_DIGITS = 6


def downsample(
    x: Sequence[Any], y: Sequence[Any] | np.ndarray[Any, Any], *, limit: int = MAX_POINTS
) -> tuple[list[Any], list[float | None]]:
    """Thin a series to at most `limit` points, keeping each bucket's lowest and highest."""
    values = np.asarray(y, float)
    if len(x) != len(values):
        raise ValueError(f"x and y differ in length: {len(x)} and {len(values)}")
    keep = np.arange(len(values)) if len(values) <= limit else extremes(values, limit)
    return times_text([x[i] for i in keep.tolist()]), rounded(values[keep])


def rounded(values: Any) -> list[float | None]:
    """Return floats of six significant digits, and None for what is not finite."""
    return [round_significant(value) for value in np.asarray(values, float).tolist()]


def round_significant(value: float, digits: int = SIGNIFICANT_DIGITS) -> float | None:
    if not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def times_text(values: Sequence[Any]) -> list[Any]:
    """Write dates as 2026-03-09 and instants as UTC; anything else passes unchanged."""
    texts = [_time_text(value) for value in values]
    if all(isinstance(text, str) and text.endswith("T00:00:00") for text in texts):
        return [text.removesuffix("T00:00:00") for text in texts]
    return texts


def extremes(values: np.ndarray[Any, Any], limit: int) -> np.ndarray[Any, Any]:
    """Return the positions of the first, the last and each bucket's extremes."""
    n_buckets = (limit - 2) // 2
    edges = np.linspace(1, len(values) - 1, n_buckets + 1).astype(int)
    keep = {0, len(values) - 1}
    for start, end in itertools.pairwise(edges):
        bucket = values[start:end]
        if np.isnan(bucket).all():
            keep.add(int(start))
            continue
        keep.update((int(start + np.nanargmin(bucket)), int(start + np.nanargmax(bucket))))
    return np.array(sorted(keep))


def _time_text(value: Any) -> Any:
    if isinstance(value, datetime):
        instant = value.astimezone(UTC) if value.tzinfo else value
        return f"{instant:%Y-%m-%dT%H:%M:%S}"
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[s]"))
    return value.isoformat() if isinstance(value, date) else value
