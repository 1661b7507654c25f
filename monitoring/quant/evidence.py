"""Evidence that builds up observation by observation: e-processes and e-detectors.

A factor is a non-negative number whose expectation is at most 1 as long as the hypothesis holds,
given everything before it. Their running product E is evidence against the hypothesis that may be
looked at whenever one likes (Ville: the probability that it ever reaches A is at most 1/A). The
Shiryaev-Roberts sum R = (1 + R) f starts anew at every observation, so that it also finds a change
that comes late; under the hypothesis it needs at least A observations on average to reach A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.compiled import compiled


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Values of many strategies in the order they became known.

    Attributes
    ----------
    row, column : ndarray of int, shape (n_observations,)
        Strategy and bar of each, sorted by row, then column; several may share a bar.
    value : ndarray of shape (n_observations,)
        Finite, in the unit of whatever is observed.
    """

    row: IntArray
    column: IntArray
    value: FloatArray

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of_matrix(cls, matrix: FloatArray) -> Observations:
        """Return the cells of a matrix of shape (n_strategies, n_bars) that are not NaN."""
        # As views of one array they would make every kernel be compiled for another layout.
        row, column = map(np.ascontiguousarray, np.nonzero(~np.isnan(matrix)))
        return cls(row, column, matrix[row, column])

    @classmethod
    def sorted(cls, row: IntArray, column: IntArray, value: FloatArray) -> Observations:
        """Return the observations in order; those of one bar stay in the order given."""
        order = np.lexsort((column, row))
        return cls(
            np.asarray(row, np.int64)[order],
            np.asarray(column, np.int64)[order],
            np.asarray(value, np.float64)[order],
        )

    @classmethod
    def none(cls) -> Observations:
        """Return no observations."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, np.empty(0))


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What one kind of observation says at the close of every bar.

    Attributes
    ----------
    log_e : ndarray of shape (n_strategies, n_bars)
        Natural logarithm of the e-process, 0 before the first observation.
    log_r : ndarray of shape (n_strategies, n_bars)
        Natural logarithm of the e-detector, minus infinity before the first observation.
    n_observations : ndarray of int, shape (n_strategies, n_bars)
        Observations so far, since the restart.
    """

    log_e: FloatArray
    log_r: FloatArray
    n_observations: IntArray


def accumulate(
    log_factors: FloatArray,
    observations: Observations,
    *,
    shape: tuple[int, int],
    first: IntArray | None = None,
) -> Evidence:
    r"""Return evidence per bar, each the average over a grid of alternatives.

    .. math:: E_t = \frac{1}{K} \sum_k \prod_{s \le t} f_{s,k}, \qquad
              R_t = \frac{1}{K} \sum_k R_{t,k}, \quad R_{t,k} = (1 + R_{t-1,k}) f_{t,k}

    Parameters
    ----------
    log_factors : ndarray of shape (n_observations, n_grid)
        Logarithms of the factors, finite or minus infinity; a row with NaN is left out.
    observations : Observations
        Where they belong.
    shape : tuple of int
        Strategies and bars of the answer.
    first : ndarray of int, shape (n_strategies,), optional
        Bar from which each strategy's evidence counts; from the first bar by default.

    Returns
    -------
    Evidence
        Carried forward over bars without an observation.

    References
    ----------
    .. [1] Shin, Ramdas & Rinaldo (2024), "E-detectors: a nonparametric framework for sequential
       change detection", New England Journal of Statistics in Data Science 2(2), section 2.
    .. [2] Ramdas, Grünwald, Vovk & Shafer (2023), "Game-theoretic statistics and safe anytime-valid
       inference", Statistical Science 38(4), section 3.
    """
    start = np.zeros(shape[0], np.int64) if first is None else np.asarray(first, np.int64)
    log_e, log_r = np.zeros(shape), np.full(shape, -np.inf)
    counts = np.zeros(shape, np.int64)
    _accumulate(log_factors, observations.row, observations.column, start, log_e, log_r, counts)
    return Evidence(log_e, log_r, counts)


def average_evidence(log_e: FloatArray, included: FloatArray) -> FloatArray:
    r"""Return the logarithm of the average of several e-processes.

    .. math:: \ln \frac{1}{K} \sum_k e^{\ln E_k}

    Parameters
    ----------
    log_e : ndarray of shape (n_components, n_strategies, n_bars)
        Natural logarithms.
    included : ndarray of shape (n_components, n_strategies)
        1 for the components that can speak about a strategy, else 0; fixed in advance, not by
        what was observed.

    Returns
    -------
    ndarray of shape (n_strategies, n_bars)
        Evidence of any dependence between the components; 0 where none is included.

    References
    ----------
    .. [1] Vovk & Wang (2021), "E-values: calibration, combination and applications", Annals of
       Statistics 49(3), proposition 3.1.
    """
    weight = included[:, :, None]
    count = np.maximum(included.sum(axis=0), 1.0)[:, None]
    largest = np.where(weight > 0, log_e, -np.inf).max(axis=0)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    total = (np.exp(np.minimum(log_e - largest, 0.0)) * weight).sum(axis=0) / count
    with np.errstate(divide="ignore"):
        return np.where(total > 0, largest + np.log(total), 0.0)


def alarm_counts(factors: FloatArray, thresholds: FloatArray) -> IntArray:
    """Return how often a detector reaches each threshold, starting anew after each time.

    Parameters
    ----------
    factors : ndarray of shape (n_paths, n_observations, n_grid)
        Factors, not their logarithms.
    thresholds : ndarray of shape (n_thresholds,)
        Levels of R, positive.

    Returns
    -------
    ndarray of int, shape (n_thresholds,)
        Summed over the paths.
    """
    counts = np.zeros(len(thresholds), np.int64)
    _count(factors, np.asarray(thresholds, np.float64), counts)
    return counts


def first_alarm(factors: FloatArray, threshold: float) -> FloatArray:
    """Return the observation at which a detector first reaches a threshold.

    Parameters
    ----------
    factors : ndarray of shape (n_paths, n_observations, n_grid)
        Factors, not their logarithms.
    threshold : float
        Level of R, positive.

    Returns
    -------
    ndarray of shape (n_paths,)
        Counted from 1; infinite where it never does.
    """
    delays = np.full(len(factors), np.inf)
    _first(factors, threshold, delays)
    return delays


@compiled
def _accumulate(
    log_factors: FloatArray,
    rows: IntArray,
    columns: IntArray,
    first: IntArray,
    log_e: FloatArray,
    log_r: FloatArray,
    counts: IntArray,
) -> None:
    n_strategies, n_bars = log_e.shape
    n_observations, n_grid = log_factors.shape
    product, total = np.zeros(n_grid), np.zeros(n_grid)
    position = 0
    for i in range(n_strategies):
        product[:] = 0.0
        total[:] = -np.inf
        seen, current_e, current_r = 0, 0.0, -np.inf
        for t in range(n_bars):
            changed = False
            while position < n_observations and rows[position] == i and columns[position] == t:
                if t >= first[i] and not np.isnan(log_factors[position, 0]):
                    for k in range(n_grid):
                        factor = log_factors[position, k]
                        before = total[k]
                        # ln(1 + R) without overflow, whatever the size of R.
                        grown = max(before, 0.0) + np.log1p(np.exp(-abs(before)))
                        product[k] += factor
                        total[k] = grown + factor
                    seen += 1
                    changed = True
                position += 1
            if changed:
                current_e, current_r = _log_mean(product), _log_mean(total)
            log_e[i, t], log_r[i, t], counts[i, t] = current_e, current_r, seen


@compiled
def _log_mean(logarithms: FloatArray) -> float:
    largest = logarithms.max()
    if largest == -np.inf:
        return -np.inf
    return largest + np.log(np.exp(logarithms - largest).sum() / len(logarithms))


@compiled
def _count(factors: FloatArray, thresholds: FloatArray, counts: IntArray) -> None:
    n_paths, n_observations, n_grid = factors.shape
    total = np.empty(n_grid)
    for a in range(len(thresholds)):
        for i in range(n_paths):
            total[:] = 0.0
            for t in range(n_observations):
                mean = 0.0
                for k in range(n_grid):
                    total[k] = (1.0 + total[k]) * factors[i, t, k]
                    mean += total[k]
                if mean >= thresholds[a] * n_grid:
                    counts[a] += 1
                    total[:] = 0.0


@compiled
def _first(factors: FloatArray, threshold: float, delays: FloatArray) -> None:
    n_paths, n_observations, n_grid = factors.shape
    total = np.empty(n_grid)
    for i in range(n_paths):
        total[:] = 0.0
        for t in range(n_observations):
            mean = 0.0
            for k in range(n_grid):
                total[k] = (1.0 + total[k]) * factors[i, t, k]
                mean += total[k]
            if mean >= threshold * n_grid:
                delays[i] = t + 1.0
                break
