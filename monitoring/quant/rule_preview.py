"""When a rule would have fired, and how often it would by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.bootstrap import bootstrap_paths
from alphastrat.quant.types import FloatArray, IntArray
from monitoring.quant.live_metrics import METRICS, Curves, curve_paths
from monitoring.quant.thresholds import Threshold, Verdict

N_PATHS = 400
LEAST_REFERENCE_BARS = 60
# A year of one-minute bars times the paths would not fit; what is simulated is scaled to a year.
MOST_SIMULATED = 2_000_000


@dataclass(frozen=True, slots=True)
class Firings:
    """When a rule would have fired on one series.

    Attributes
    ----------
    fired : ndarray of int
        Columns at which it fires, after its pending period.
    ended : ndarray of int
        Columns at which each of these episodes ends; the number of bars where one does not.
    worst : ndarray of int
        `Verdict` that each reaches.
    """

    fired: IntArray
    ended: IntArray
    worst: IntArray


@dataclass(frozen=True, slots=True)
class Chance:
    """How often a rule fires although nothing has changed.

    Attributes
    ----------
    per_year : float
        Mean number of episodes in a year of resampled reference returns.
    error : float
        Standard error of that mean.
    share_of_years : float
        Share of such years with at least one.
    """

    per_year: float
    error: float
    share_of_years: float


def in_breach(values: FloatArray, threshold: Threshold) -> IntArray:
    """Return the verdict at every bar of many series, hysteresis included.

    Parameters
    ----------
    values : ndarray of shape (n, T)
        A metric bar by bar; NaN where nothing is known, which neither begins nor ends a breach.
    threshold : Threshold
        The rule's bounds.

    Returns
    -------
    ndarray of int, shape (n, T)
        `Verdict.OK`, `WARNING` or `CRITICAL`.
    """
    sign = threshold.sign
    signed = sign * values
    warning, critical = _level(threshold.warning), _level(threshold.critical)
    milder = critical if math.isnan(warning) else warning
    clear = milder if threshold.clear is None else threshold.clear
    with np.errstate(invalid="ignore"):
        begins = (signed > sign * milder) | (signed > sign * critical)
        ends = signed <= sign * clear
        is_critical = signed > sign * critical
    # The newest bar that began or ended something decides: a flip-flop without a loop.
    columns = np.arange(values.shape[1]) + 1
    last_begin = np.maximum.accumulate(np.where(begins, columns, 0), axis=1)
    last_end = np.maximum.accumulate(np.where(ends & ~begins, columns, 0), axis=1)
    held = last_begin > last_end
    mild = int(Verdict.CRITICAL) if math.isnan(warning) else int(Verdict.WARNING)
    verdicts = np.where(held, mild, int(Verdict.OK))
    return np.asarray(np.where(held & is_critical, int(Verdict.CRITICAL), verdicts), np.int64)


def firing_bars(verdicts: IntArray, *, pending_bars: int = 0) -> IntArray:
    """Return 1 at every bar where an episode has lasted its pending period, else 0.

    Parameters
    ----------
    verdicts : ndarray of int, shape (n, T)
        As `in_breach` returns them.
    pending_bars : int
        Bars after the first one that a breach must last.

    Returns
    -------
    ndarray of int, shape (n, T)
        One 1 per episode that fires.
    """
    breached = verdicts > int(Verdict.OK)
    columns = np.arange(verdicts.shape[1]) + 1
    last_clear = np.maximum.accumulate(np.where(breached, 0, columns), axis=1)
    return np.asarray(breached & (columns - last_clear == pending_bars + 1), np.int64)


def firings(values: FloatArray, threshold: Threshold, *, pending_bars: int = 0) -> Firings:
    """Return when a rule would have fired on one series.

    Parameters
    ----------
    values : ndarray of shape (T,)
        A metric bar by bar.
    threshold : Threshold
        The rule's bounds.
    pending_bars : int
        As in `firing_bars`.

    Returns
    -------
    Firings
        Oldest first.
    """
    verdicts = in_breach(values[None], threshold)
    fired = np.flatnonzero(firing_bars(verdicts, pending_bars=pending_bars)[0])
    clear = np.flatnonzero(verdicts[0] == int(Verdict.OK))
    after = np.searchsorted(clear, fired)
    ends = np.append(clear, len(values))[after]
    worst = [int(verdicts[0, i:j].max()) for i, j in zip(fired, ends, strict=True)]
    return Firings(fired, ends, np.array(worst, np.int64))


def chance(
    reference: FloatArray,
    *,
    key: str,
    threshold: Threshold,
    window: int | None,
    periods_per_year: float,
    seed: int,
    pending_bars: int = 0,
    block: int | None = None,
    n_paths: int = N_PATHS,
) -> Chance | None:
    """Return how often a rule fires on a strategy that keeps its promise.

    Parameters
    ----------
    reference : ndarray of shape (n_bars,)
        Returns of the validated backtest as fractions, finite.
    key : str
        Metric.
    threshold : Threshold
        The rule's bounds.
    window : int or None
        Bars of the metric.
    periods_per_year : float
        Bars per year.
    seed : int
        The same seed gives the same answer.
    pending_bars : int
        As in `firing_bars`.
    block : int, optional
        Mean block length; chosen by the data by default.
    n_paths : int
        Years to draw.

    Returns
    -------
    Chance or None
        None where the metric does not follow from returns or the reference is too short. A window
        is filled before the year begins, so that a young average does not count as a breach.

    References
    ----------
    .. [1] Politis & Romano (1994), "The Stationary Bootstrap", Journal of the American Statistical
       Association 89(428).
    """
    metric = METRICS[key]
    values = reference[np.isfinite(reference)]
    if not metric.is_of_returns or len(values) < LEAST_REFERENCE_BARS:
        return None
    lead = window or 0
    year = max(round(periods_per_year), 1)
    n_bars = min(year, max(MOST_SIMULATED // n_paths - lead, 1))
    rng = np.random.default_rng(seed)
    paths = bootstrap_paths(values, n_paths=n_paths, rng=rng, n_bars=lead + n_bars, block=block)
    curves = Curves.of_returns(paths.T, periods_per_year=periods_per_year)
    verdicts = in_breach(curve_paths(curves, key, window), threshold)
    fired = firing_bars(verdicts, pending_bars=pending_bars)[:, lead:].sum(axis=1)
    scale = year / n_bars
    return Chance(
        per_year=float(fired.mean() * scale),
        error=float(fired.std(ddof=1) / math.sqrt(n_paths) * scale),
        share_of_years=float((fired > 0).mean()),
    )


def _level(bound: float | None) -> float:
    return math.nan if bound is None else bound
