"""Factors against the promises of a backtest: mean return, fills, win rate, frequency.

Each function gives the logarithms of factors for a grid of alternatives; `evidence.accumulate`
makes an e-process and an e-detector of them. A factor never uses what came after its observation.
"""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from monitoring.quant.evidence import Observations
from strategies.quant.compiled import compiled

CATONI_GRID = (0.02, 0.04, 0.08, 0.15, 0.25)
CATONI_VARIANCE = 1.15
WIN_RATE_DROPS = (0.05, 0.10, 0.15, 0.20)
FEWER = (0.25, 0.5, 0.75)
MORE = (1.5, 2.0, 3.0)
SMOOTHING = 0.94
VOLATILITY_SLACK = 1.46


def catoni_log_factors(
    standardised: FloatArray,
    *,
    grid: tuple[float, ...] = CATONI_GRID,
    variance: float = CATONI_VARIANCE,
) -> FloatArray:
    r"""Return log factors against "the mean is not negative" that heavy tails cannot inflate.

    .. math:: f_\lambda = \frac{e^{\phi(-\lambda z)}}{1 + \lambda^2 v / 2}, \qquad
              \phi(x) = \operatorname{sign}(x) \ln(1 + |x| + x^2 / 2)

    Parameters
    ----------
    standardised : ndarray of any shape
        Observations over their predictable deviation; negative is bad. NaN gives NaN.
    grid : tuple of float
        Alternatives :math:`\lambda`, positive; small ones for small changes.
    variance : float
        Bound v of the mean square of an observation, > 0.

    Returns
    -------
    ndarray of the shape given and a last axis of n_grid
        Natural logarithms.

    References
    ----------
    .. [1] Catoni (2012), "Challenging the empirical mean and empirical variance", Annales de
       l'Institut Henri Poincaré B 48(4), section 2.
    .. [2] Wang & Ramdas (2023), "Catoni-style confidence sequences for heavy-tailed mean
       estimation", Stochastic Processes and their Applications 163, lemma 9.
    """
    lambdas = np.asarray(grid)
    scaled = -lambdas * np.asarray(standardised, np.float64)[..., None]
    size = np.abs(scaled)
    influence = np.copysign(np.log1p(size + 0.5 * size**2), scaled)
    return np.asarray(influence - np.log1p(0.5 * lambdas**2 * variance))


def bernoulli_log_factors(
    success: FloatArray, limit: FloatArray, *, drops: tuple[float, ...] = WIN_RATE_DROPS
) -> FloatArray:
    r"""Return log likelihood ratios against "the success rate is at least p0".

    .. math:: f = \frac{p_1}{p_0} \text{ for a success, else } \frac{1 - p_1}{1 - p_0},
              \qquad p_1 = p_0 - \text{drop}

    Parameters
    ----------
    success : ndarray of shape (n_observations,)
        1 for a success, 0 for a failure.
    limit : ndarray of shape (n_observations,)
        Rate p0 of the hypothesis in (0, 1); NaN gives NaN.
    drops : tuple of float
        How much lower the alternatives are; never below a tenth of p0.

    Returns
    -------
    ndarray of shape (n_observations, n_drops)
        Natural logarithms.

    References
    ----------
    .. [1] Wald (1947), "Sequential Analysis", section 5.2.
    """
    base = np.asarray(limit, np.float64)[:, None]
    alternative = np.maximum(base - np.asarray(drops), 0.1 * base)
    won = np.asarray(success, np.float64)[:, None] > 0.5
    return np.asarray(
        np.where(won, np.log(alternative / base), np.log((1 - alternative) / (1 - base)))
    )


def poisson_log_factors(
    counts: FloatArray, rate_low: FloatArray, rate_high: FloatArray
) -> FloatArray:
    r"""Return log likelihood ratios against "as many round trips per bar as promised".

    .. math:: f = \left(\frac{\mu_1}{\mu_0}\right)^{n} e^{-(\mu_1 - \mu_0)}

    Parameters
    ----------
    counts : ndarray of shape (n_observations,)
        Round trips begun in a bar.
    rate_low, rate_high : ndarray of shape (n_observations,)
        Lowest and highest rate per bar that the backtest allows for, positive. Fewer are tested
        against the lowest, more against the highest. NaN gives NaN.

    Returns
    -------
    ndarray of shape (n_observations, 6)
        Natural logarithms, for rates times 0.25, 0.5, 0.75 and 1.5, 2, 3.

    References
    ----------
    .. [1] Wald (1947), "Sequential Analysis", ch. 3; Lucas (1985), "Counted data CUSUMs",
       Technometrics 27(2).
    """
    base = np.stack([rate_low] * len(FEWER) + [rate_high] * len(MORE), axis=1)
    multiple = np.asarray(FEWER + MORE)
    return np.asarray(
        np.asarray(counts, np.float64)[:, None] * np.log(multiple) - (multiple - 1.0) * base
    )


def standardise(
    observations: Observations,
    *,
    centre: FloatArray,
    scale: FloatArray,
    smoothing: float = SMOOTHING,
) -> FloatArray:
    r"""Return observations less their promised mean, over a deviation known beforehand.

    .. math:: z_t = (x_t - c) / \sigma_t, \qquad \sigma_{t+1}^2 = \lambda \sigma_t^2 +
              (1 - \lambda)(x_t - c)^2, \quad \sigma_t \ge s / 2

    Parameters
    ----------
    observations : Observations
        In order.
    centre, scale : ndarray of shape (n_strategies,)
        Promised mean c and reference deviation s, in the unit of the observations. NaN, or a
        scale that is not positive, gives NaN.
    smoothing : float
        Weight :math:`\lambda` of the past, in (0, 1).

    Returns
    -------
    ndarray of shape (n_observations,)
        Each uses only what was observed before it; the first uses the reference deviation.

    References
    ----------
    .. [1] J.P. Morgan/Reuters (1996), "RiskMetrics Technical Document", section 5.2.
    """
    result = np.full(len(observations), np.nan)
    _standardise(
        observations.row,
        observations.value,
        np.asarray(centre, np.float64),
        np.asarray(scale, np.float64),
        smoothing,
        result,
    )
    return result


def variance_cusum(standardised: FloatArray, *, slack: float = VOLATILITY_SLACK) -> FloatArray:
    r"""Return the one-sided CUSUM of squared returns in units of the reference variance.

    .. math:: W_t = \max(0, W_{t-1} + z_t^2 - k)

    Parameters
    ----------
    standardised : ndarray of shape (n_strategies, n_bars)
        Returns less the reference mean, over the reference deviation; NaN where absent.
    slack : float
        Allowance k; 1.46 is the best one against deviations half as large again.

    Returns
    -------
    ndarray of shape (n_strategies, n_bars)
        Carried forward over absent bars.

    References
    ----------
    .. [1] Hawkins & Olwell (1998), "Cumulative Sum Charts and Charting for Quality Improvement",
       section 4.1: k = ln(v) v / (v - 1) for variances v times the reference, here 1.5 squared.
    """
    values = np.ascontiguousarray(standardised, np.float64)
    result = np.zeros(values.shape)
    _variance_cusum(values, slack, result)
    return result


@compiled
def _standardise(
    rows: IntArray,
    values: FloatArray,
    centre: FloatArray,
    scale: FloatArray,
    smoothing: float,
    result: FloatArray,
) -> None:
    previous, variance, floor = -1, 0.0, 0.0
    for o in range(len(rows)):
        i = rows[o]
        if i != previous:
            previous, variance, floor = i, scale[i] ** 2, 0.25 * scale[i] ** 2
        if not scale[i] > 0.0 or np.isnan(centre[i]):
            continue
        deviation = values[o] - centre[i]
        result[o] = deviation / np.sqrt(max(variance, floor))
        variance = smoothing * variance + (1.0 - smoothing) * deviation * deviation


@compiled
def _variance_cusum(values: FloatArray, slack: float, result: FloatArray) -> None:
    for i in range(values.shape[0]):
        level = 0.0
        for t in range(values.shape[1]):
            if not np.isnan(values[i, t]):
                level = max(0.0, level + values[i, t] ** 2 - slack)
            result[i, t] = level
