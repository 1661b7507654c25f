"""Several account curves on one time axis: common period, growth, correlation of returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray, IntArray

# Below this a correlation is mostly chance: its standard error is about 1/sqrt(30) = 0.18.
MIN_COMMON_BARS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One account over time.

    Attributes
    ----------
    times : DatetimeIndex of shape (n_bars,)
        UTC close times, strictly increasing.
    equity : ndarray of shape (n_bars,)
        Account value at each close, account currency.
    capital : float
        Account value before the first bar.
    """

    times: pd.DatetimeIndex
    equity: FloatArray
    capital: float

    def rows(self, start: pd.Timestamp, end: pd.Timestamp) -> slice:
        """Return which bars close from the day of `start` to the day of `end`, both included."""
        first = self.times.searchsorted(start.normalize())
        last = self.times.searchsorted(end.normalize() + pd.Timedelta(days=1))
        return slice(int(first), int(last))

    def base(self, rows: slice) -> float:
        """Return the account value just before the first of `rows`."""
        return self.capital if rows.start == 0 else float(self.equity[rows.start - 1])


def common_period(tracks: Sequence[Track]) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Return the first and last day that every track covers.

    Parameters
    ----------
    tracks : sequence of Track
        At least one, each with at least one bar.

    Returns
    -------
    tuple of Timestamp or None
        Midnights, UTC; None where there is no day that all cover.
    """
    start = max(track.times[0] for track in tracks).normalize()
    end = min(track.times[-1] for track in tracks).normalize()
    return (start, end) if start <= end else None


def growth(track: Track, rows: slice, *, start: float = 100.0) -> FloatArray:
    """Return the account of a track as if it had begun the period with `start`.

    Parameters
    ----------
    track : Track
        The account.
    rows : slice
        Its bars inside the period.
    start : float
        Value just before the first bar.

    Returns
    -------
    ndarray of shape (n_rows,)
        NaN where the account was not positive before the period.
    """
    base = track.base(rows)
    if not base > 0:
        return np.full(rows.stop - rows.start, np.nan)
    values: FloatArray = start * track.equity[rows] / base
    return values


def drawdown_from(values: FloatArray, start: float = 100.0) -> FloatArray:
    """Return how far each value is below the highest so far, the start included.

    Parameters
    ----------
    values : ndarray of shape (n_bars,)
        Output of `growth`.
    start : float
        Value just before the first bar.

    Returns
    -------
    ndarray of shape (n_bars,)
        Fractions <= 0; -1 after ruin.
    """
    peaks = np.maximum.accumulate(np.concatenate(([start], values)))[1:]
    return np.maximum(values / peaks - 1.0, -1.0)


def return_correlations(
    tracks: Sequence[Track],
    start: pd.Timestamp,
    end: pd.Timestamp,
    *,
    by_day: bool,
) -> tuple[FloatArray, IntArray]:
    """Return the correlation of returns of every pair of tracks over their common bars.

    Parameters
    ----------
    tracks : sequence of Track
        Of length n.
    start, end : Timestamp
        First and last day, both included, UTC.
    by_day : bool
        Take the last value of each UTC day, so that bars of different lengths or close times
        meet; otherwise only bars that close at the same instant are common.

    Returns
    -------
    correlations : ndarray of shape (n, n)
        In [-1, 1]; NaN where a pair has fewer than `MIN_COMMON_BARS` common returns or one of the
        two never moved.
    n_common : ndarray of int64, shape (n, n)
        Common returns of each pair.

    Notes
    -----
    Returns run from one common time to the next, so that both sides of a pair span the same time.
    """
    curves = [_sampled(track, track.rows(start, end), by_day=by_day) for track in tracks]
    n = len(curves)
    correlations = np.full((n, n), np.nan)
    n_common = np.zeros((n, n), dtype=np.int64)
    for i in range(n):
        for j in range(i, n):
            value, count = _correlation(curves[i], curves[j])
            correlations[i, j] = correlations[j, i] = value
            n_common[i, j] = n_common[j, i] = count
    return correlations, n_common


def _sampled(track: Track, rows: slice, *, by_day: bool) -> pd.Series:
    times = track.times[rows]
    if not by_day:
        return pd.Series(track.equity[rows], times)
    days = times.normalize()
    return pd.Series(track.equity[rows], days)[~days.duplicated(keep="last")]


def _correlation(one: pd.Series, other: pd.Series) -> tuple[float, int]:
    common = one.index.intersection(other.index)
    pair = np.column_stack([one.loc[common].to_numpy(), other.loc[common].to_numpy()])
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = pair[1:] / pair[:-1] - 1.0
    returns = returns[np.isfinite(returns).all(axis=1) & (pair[:-1] > 0).all(axis=1)]
    if len(returns) < MIN_COMMON_BARS or (returns.std(axis=0) < 1e-12).any():
        return float("nan"), len(returns)
    return float(np.corrcoef(returns, rowvar=False)[0, 1]), len(returns)
