"""Where equity may go in the coming year if the strategy is what its backtest says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from alphastrat.quant.bootstrap import block_length, bootstrap_paths
from alphastrat.quant.types import FloatArray, IntArray

N_PATHS = 2_000
LEAST_BARS = 250
LEVELS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
BANDS = (0.5, 0.8, 0.95, 0.99)
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, eq=False)
class Cone:
    """Distribution of cumulative log returns after 1, 2, ... bars.

    Attributes
    ----------
    centre, spread : ndarray of shape (n_bars,)
        Mean and deviation over the paths, log returns as fractions.
    quantiles : ndarray of shape (n_bars, n_levels)
        Quantiles at `LEVELS`, log returns.
    simultaneous : ndarray of shape (4,)
        Multiples of `spread` that 50, 80, 95 and 99 % of whole paths stay within.
    drawdowns : ndarray of shape (3,)
        Maximum drawdown over the horizon that 50, 5 and 1 % of paths exceed, fractions <= 0.
    is_analytic : bool
        Whether it rests on the normal formula for want of bars to resample.
    """

    centre: FloatArray
    spread: FloatArray
    quantiles: FloatArray
    simultaneous: FloatArray
    drawdowns: FloatArray
    is_analytic: bool

    @property
    def n_bars(self) -> int:
        """Bars of the horizon."""
        return len(self.centre)

    def pointwise(self, coverage: float) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper growth factors that contain a share of paths at each bar.

        Parameters
        ----------
        coverage : float
            One of `BANDS`, or any other in (0, 0.98]; others are interpolated between `LEVELS`.

        Returns
        -------
        tuple of ndarray of shape (n_bars,)
            Growth of the account from 1.
        """
        tail = (1.0 - coverage) / 2.0
        low, high = (
            np.array([np.interp(level, LEVELS, row) for row in self.quantiles])
            for level in (tail, 1.0 - tail)
        )
        return np.exp(low), np.exp(high)

    def band(self, coverage: float) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper growth factors that a share of whole paths stays within.

        Parameters
        ----------
        coverage : float
            One of `BANDS`.

        Returns
        -------
        tuple of ndarray of shape (n_bars,)
            Growth of the account from 1.

        Raises
        ------
        ValueError
            For another coverage.
        """
        width = self.simultaneous[BANDS.index(coverage)] * self.spread
        return np.exp(self.centre - width), np.exp(self.centre + width)


def performance_cone(
    returns: FloatArray,
    *,
    n_bars: int,
    rng: np.random.Generator,
    n_paths: int = N_PATHS,
    has_parameter_uncertainty: bool = True,
) -> Cone:
    r"""Return the cone of a reference series, by the stationary bootstrap.

    .. math:: p_b(k) = \sum_{j \le k} \ln(1 + r^*_{b,j}) + k (\mu^*_b - \hat\mu)

    Parameters
    ----------
    returns : ndarray of shape (n_observed,)
        Simple returns of the reference as fractions above -1, finite.
    n_bars : int
        Horizon, usually a year of bars.
    rng : numpy.random.Generator
        Source of randomness.
    n_paths : int
        Paths drawn.
    has_parameter_uncertainty : bool
        Whether to add, per path, the error of the mean of a resampled reference.

    Returns
    -------
    Cone
        From the normal formula where the reference has fewer than 250 bars.

    Raises
    ------
    ValueError
        If there are fewer than two returns, or one is -1 or less or not finite.

    References
    ----------
    .. [1] Politis & Romano (1994), "The Stationary Bootstrap", JASA 89(428).
    .. [2] Montiel Olea & Plagborg-Møller (2019), "Simultaneous confidence bands", Journal of
       Applied Econometrics 34(1), section 2, for the sup-t band.
    """
    values = np.asarray(returns, np.float64)
    if len(values) < 2 or not (np.isfinite(values) & (values > -1)).all():
        raise ValueError("a cone needs at least two finite returns above -1")
    growth = np.log1p(values)
    if len(values) < LEAST_BARS:
        return _analytic(growth, n_bars=n_bars, rng=rng, n_paths=n_paths)
    block = block_length(growth)
    steps = bootstrap_paths(growth, n_paths=n_paths, rng=rng, n_bars=n_bars, block=block)
    if has_parameter_uncertainty:
        means = bootstrap_paths(growth, n_paths=n_paths, rng=rng, block=block).mean(axis=0)
        steps = steps + (means - growth.mean())
    return _of_steps(steps, is_analytic=False)


def percentile(growth: FloatArray, bar: IntArray, quantiles: FloatArray) -> FloatArray:
    """Return where live paths lie among the paths that the reference allows for.

    Parameters
    ----------
    growth : ndarray of shape (n_strategies,)
        Cumulative log return since the start of the horizon; NaN gives NaN.
    bar : ndarray of int, shape (n_strategies,)
        Position in the horizon, from 0.
    quantiles : ndarray of shape (n_strategies, n_bars, n_levels)
        Of the cones.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Fractions between the outermost `LEVELS`; linear between two levels.
    """
    rows = quantiles[np.arange(len(growth)), np.clip(bar, 0, quantiles.shape[1] - 1)]
    levels = np.asarray(LEVELS)
    above = np.clip((rows < growth[:, None]).sum(axis=1), 1, len(levels) - 1)
    at = np.arange(len(rows))
    low, high = rows[at, above - 1], rows[at, above]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(high > low, (growth - low) / (high - low), 0.5)
    share = np.where(np.isnan(growth), np.nan, np.clip(share, 0.0, 1.0))
    return np.asarray(levels[above - 1] + share * (levels[above] - levels[above - 1]))


def max_drawdowns(steps: FloatArray) -> FloatArray:
    """Return the maximum drawdown of paths of log returns, the start counted as a peak.

    Parameters
    ----------
    steps : ndarray of shape (n_bars, n_paths)
        Log returns per bar.

    Returns
    -------
    ndarray of shape (n_paths,)
        Fractions <= 0.

    References
    ----------
    .. [1] Magdon-Ismail, Atiya, Pratap & Abu-Mostafa (2004), "On the maximum drawdown of a
       Brownian motion", Journal of Applied Probability 41(1).
    """
    paths = np.cumsum(steps, axis=0)
    peaks = np.maximum(np.maximum.accumulate(paths, axis=0), 0.0)
    return np.asarray(np.expm1((paths - peaks).min(axis=0)))


def _of_steps(steps: FloatArray, *, is_analytic: bool) -> Cone:
    paths = np.cumsum(steps, axis=0)
    centre, spread = paths.mean(axis=1), paths.std(axis=1)
    # A flat reference has no spread: its band is its centre.
    scaled = np.abs(paths - centre[:, None]) / np.where(spread > 0, spread, 1.0)[:, None]
    return Cone(
        centre=centre,
        spread=spread,
        quantiles=np.quantile(paths, LEVELS, axis=1).T,
        simultaneous=np.quantile(scaled.max(axis=0), BANDS),
        drawdowns=np.quantile(max_drawdowns(steps), [0.5, 0.05, 0.01]),
        is_analytic=is_analytic,
    )


def _analytic(growth: FloatArray, *, n_bars: int, rng: np.random.Generator, n_paths: int) -> Cone:
    """Return the cone of m k with deviation s sqrt(k + k squared over T), for few bars."""
    mean, deviation = float(growth.mean()), float(growth.std(ddof=1))
    steps = rng.normal(mean, deviation, (n_bars, n_paths))
    steps += rng.normal(0.0, deviation / math.sqrt(len(growth)), n_paths)
    drawn = _of_steps(steps, is_analytic=True)
    k = np.arange(1, n_bars + 1)
    spread = deviation * np.sqrt(k + k**2 / len(growth))
    z = np.array([_NORMAL.inv_cdf(level) for level in LEVELS])
    return Cone(
        centre=np.asarray(mean * k, np.float64),
        spread=spread,
        quantiles=(mean * k)[:, None] + spread[:, None] * z,
        simultaneous=drawn.simultaneous,
        drawdowns=drawn.drawdowns,
        is_analytic=True,
    )
