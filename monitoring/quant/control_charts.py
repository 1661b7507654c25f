"""Classical control charts, for people to look at: CUSUM and EWMA with their run lengths.

They find changes fast and raise false flags often, so that no status but "watch" rests on them.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from alphastrat.quant.types import FloatArray

SLACK = 0.25
LIMIT = 8.01
_NODES = 80


def cusum(standardised: FloatArray, *, slack: float = SLACK) -> tuple[FloatArray, FloatArray]:
    r"""Return the upper and lower tabular CUSUM.

    .. math:: C^+_t = \max(0, C^+_{t-1} + z_t - k), \quad
              C^-_t = \max(0, C^-_{t-1} - z_t - k)

    Parameters
    ----------
    standardised : ndarray of shape (n_series, n_bars)
        Observations less the mean, over the deviation; NaN counts as no observation.
    slack : float
        Allowance k in deviations, half the shift to find.

    Returns
    -------
    tuple of ndarray of the same shape
        In deviations, >= 0.

    References
    ----------
    .. [1] Page (1954), "Continuous inspection schemes", Biometrika 41; Montgomery, "Introduction
       to Statistical Quality Control", section 9.1.
    """
    return _one_sided(standardised - slack), _one_sided(-standardised - slack)


def ewma(standardised: FloatArray, *, weight: float) -> FloatArray:
    r"""Return the exponentially weighted moving average from 0.

    .. math:: Z_t = (1 - \lambda) Z_{t-1} + \lambda z_t

    Parameters
    ----------
    standardised : ndarray of shape (n_series, n_bars)
        Observations in deviations; NaN counts as no observation.
    weight : float
        Weight :math:`\lambda` of the newest, in (0, 1].

    Returns
    -------
    ndarray of the same shape
        In deviations; the limits are plus and minus L sqrt(weight / (2 - weight)).

    References
    ----------
    .. [1] Lucas & Saccucci (1990), "Exponentially weighted moving average control schemes",
       Technometrics 32(1).
    """
    result = np.zeros(standardised.shape)
    level = np.zeros(standardised.shape[0])
    for t in range(standardised.shape[1]):
        value = standardised[:, t]
        level = np.where(np.isnan(value), level, (1 - weight) * level + weight * value)
        result[:, t] = level
    return result


def cusum_run_length(slack: float, limit: float, *, shift: float = 0.0) -> float:
    r"""Return the average run length of a two-sided CUSUM of normal observations.

    .. math:: 1 / L = 1 / L^+ + 1 / L^-, \qquad
              L(u) = 1 + L(0) \Phi(k - u) + \int_0^h L(x) \varphi(x + k - u)\, dx

    Parameters
    ----------
    slack : float
        Allowance k in deviations.
    limit : float
        Limit h in deviations, exceeded to signal.
    shift : float
        True mean in deviations.

    Returns
    -------
    float
        Observations, from a start at zero.

    References
    ----------
    .. [1] Page (1954), "Continuous inspection schemes", Biometrika 41; Lucas & Crosier (1982),
       "Fast initial response for CUSUM", Technometrics 24, table 1.
    """
    upper = _one_sided_run_length(slack - shift, limit)
    lower = _one_sided_run_length(slack + shift, limit)
    return 1.0 / (1.0 / upper + 1.0 / lower)


def cusum_limit(slack: float, run_length: float) -> float:
    """Return the limit of a two-sided CUSUM for an average run length in control.

    Parameters
    ----------
    slack : float
        Allowance k in deviations.
    run_length : float
        Observations between false signals, > 5.

    Returns
    -------
    float
        Limit h in deviations.

    References
    ----------
    .. [1] Hawkins (1993), "Cumulative sum control charting: an underutilized SPC tool", Quality
       Engineering 5(3).
    """
    high = 1.0
    while cusum_run_length(slack, high) < run_length:
        high *= 1.5
    limit: float = scipy.optimize.brentq(
        lambda h: cusum_run_length(slack, h) - run_length, 0.01, high, xtol=1e-8
    )
    return limit


def siegmund_run_length(slack: float, limit: float, *, shift: float = 0.0) -> float:
    r"""Return Siegmund's approximation of the run length of a one-sided CUSUM.

    .. math:: \frac{e^{-2 \Delta b} + 2 \Delta b - 1}{2 \Delta^2}, \qquad
              \Delta = \delta - k, \quad b = h + 1.166

    Parameters
    ----------
    slack, limit, shift : float
        In deviations.

    Returns
    -------
    float
        Observations.

    References
    ----------
    .. [1] Siegmund (1985), "Sequential Analysis", section 10.2; Montgomery, eq. 9.6.
    """
    drift, reach = shift - slack, limit + 1.166
    if drift == 0.0:
        return reach**2
    return (math.exp(-2 * drift * reach) + 2 * drift * reach - 1) / (2 * drift**2)


def ewma_run_length(weight: float, limit: float, *, shift: float = 0.0) -> float:
    """Return the average run length of a two-sided EWMA chart of normal observations.

    Parameters
    ----------
    weight : float
        Weight of the newest observation, in (0, 1].
    limit : float
        Width L of the limits, in deviations of the average.
    shift : float
        True mean in deviations of an observation.

    Returns
    -------
    float
        Observations, from a start at zero.

    References
    ----------
    .. [1] Crowder (1987), "A simple method for studying run-length distributions of EWMA charts",
       Technometrics 29(4); Lucas & Saccucci (1990), Technometrics 32(1), table 3.
    """
    reach = limit * math.sqrt(weight / (2 - weight))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    x, w = nodes * reach, weights * reach
    steps = (x[None, :] - (1 - weight) * x[:, None]) / weight
    density = scipy.stats.norm.pdf(steps - shift) / weight
    lengths = np.linalg.solve(np.eye(_NODES) - density * w, np.ones(_NODES))
    start = scipy.stats.norm.pdf(x / weight - shift) / weight * w
    return float(1.0 + start @ lengths)


def _one_sided(steps: FloatArray) -> FloatArray:
    result = np.zeros(steps.shape)
    level = np.zeros(steps.shape[0])
    for t in range(steps.shape[1]):
        level = np.where(np.isnan(steps[:, t]), level, np.maximum(level + steps[:, t], 0.0))
        result[:, t] = level
    return result


def _one_sided_run_length(slack: float, limit: float) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    x, w = (nodes + 1) * limit / 2, weights * limit / 2
    # The state 0 holds probability of its own; it is the last unknown.
    matrix = np.zeros((_NODES + 1, _NODES + 1))
    states = np.append(x, 0.0)
    matrix[:, :_NODES] = scipy.stats.norm.pdf(x[None, :] + slack - states[:, None]) * w
    matrix[:, _NODES] = scipy.stats.norm.cdf(slack - states)
    lengths = np.linalg.solve(np.eye(_NODES + 1) - matrix, np.ones(_NODES + 1))
    return float(lengths[-1])
