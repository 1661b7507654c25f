"""Confidence sequences: intervals that hold at every moment, however often one looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from monitoring.quant.evidence import Observations
from strategies.quant.compiled import compiled

TUNED_FOR = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceSequence:
    """An interval for a mean at the close of every bar.

    Attributes
    ----------
    mean, lower, upper : ndarray of shape (n_strategies, n_bars)
        In the unit of the observations; NaN before the first.
    n_observations : ndarray of int, shape (n_strategies, n_bars)
        Observations so far.
    """

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    n_observations: IntArray


def mixture_parameter(tuned_for: float, *, level: float) -> float:
    r"""Return the mixture parameter that makes the boundary tightest at one intrinsic time.

    .. math:: \rho = v / (2 \ln(1/\alpha) + \ln(1 + 2 \ln(1/\alpha)))

    Parameters
    ----------
    tuned_for : float
        Intrinsic time v, > 0.
    level : float
        Error probability, in (0, 1).

    Returns
    -------
    float
        Positive.

    References
    ----------
    .. [1] Howard, Ramdas, McAuliffe & Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic
       confidence sequences", Annals of Statistics 49(2), section 3.5.
    """
    twice = 2.0 * math.log(1.0 / level)
    return tuned_for / (twice + math.log1p(twice))


def normal_mixture_bound(
    intrinsic: FloatArray, *, level: float, tuned_for: float = TUNED_FOR
) -> FloatArray:
    r"""Return the bound that a centred sum never leaves, but with a small probability.

    .. math:: u(v) = \sqrt{(v + \rho) \ln \frac{v + \rho}{\rho \alpha^2}}

    Parameters
    ----------
    intrinsic : ndarray
        Intrinsic time v: the sum of variances, >= 0.
    level : float
        Probability of ever leaving plus or minus the bound, in (0, 1).
    tuned_for : float
        Intrinsic time at which the bound is tightest.

    Returns
    -------
    ndarray of the same shape
        Positive.

    References
    ----------
    .. [1] Howard, Ramdas, McAuliffe & Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic
       confidence sequences", Annals of Statistics 49(2), eq. 14.
    """
    rho = mixture_parameter(tuned_for, level=level)
    total = np.asarray(intrinsic, np.float64) + rho
    return np.asarray(np.sqrt(total * np.log(total / (rho * level**2))))


def confidence_sequence(
    observations: Observations,
    *,
    shape: tuple[int, int],
    scale: FloatArray,
    level: float = 0.05,
    tuned_for: float = TUNED_FOR,
) -> ConfidenceSequence:
    r"""Return a two-sided confidence sequence of the mean of each strategy's observations.

    .. math:: \bar d_t \pm \hat\sigma_t\, u(t) / t

    Parameters
    ----------
    observations : Observations
        In any unit.
    shape : tuple of int
        Strategies and bars of the answer.
    scale : ndarray of shape (n_strategies,)
        Deviation of one observation imagined beforehand, in the same unit: a few equal values
        do not prove that there is no dispersion. NaN counts as 0.
    level : float
        Probability that the mean is ever outside, in (0, 1).
    tuned_for : float
        Number of observations at which the interval is tightest.

    Returns
    -------
    ConfidenceSequence
        Carried forward over bars without an observation.

    References
    ----------
    .. [1] Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), "Time-uniform central limit theory
       and asymptotic confidence sequences", Annals of Statistics 52(6), eq. 2.
    """
    moments = np.full((2, *shape), np.nan)
    counts = np.zeros(shape, np.int64)
    prior = np.nan_to_num(np.asarray(scale, np.float64))
    _running(observations.row, observations.column, observations.value, prior, moments, counts)
    mean, deviation = moments
    with np.errstate(divide="ignore", invalid="ignore"):
        half = deviation * normal_mixture_bound(
            counts.astype(np.float64), level=level, tuned_for=tuned_for
        )
        half = half / counts
    return ConfidenceSequence(mean, mean - half, mean + half, counts)


@compiled
def _running(
    rows: IntArray,
    columns: IntArray,
    values: FloatArray,
    prior: FloatArray,
    moments: FloatArray,
    counts: IntArray,
) -> None:
    n_strategies, n_bars = counts.shape
    position, n_observations = 0, len(rows)
    for i in range(n_strategies):
        n, mean, squares = 0, 0.0, prior[i] ** 2
        for t in range(n_bars):
            while position < n_observations and rows[position] == i and columns[position] == t:
                n += 1
                step = values[position] - mean
                mean += step / n
                squares += step * (values[position] - mean)
                position += 1
            counts[i, t] = n
            if n > 0:
                moments[0, i, t] = mean
                moments[1, i, t] = np.sqrt(squares / n)
