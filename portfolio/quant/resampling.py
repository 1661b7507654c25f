"""How much weights depend on the history that happened to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.bootstrap import block_length, bootstrap_paths
from alphastrat.quant.types import FloatArray, IntArray
from portfolio.quant.allocation_direct import direct_weights
from portfolio.quant.allocation_problem import AllocationProblem

N_DRAWS = 100
BAND = 0.90

Build = Callable[[FloatArray], AllocationProblem]


@dataclass(frozen=True, slots=True, eq=False)
class ResampledWeights:
    """Weights over resampled histories.

    Attributes
    ----------
    mean, low, high : ndarray of shape (n_strategies,)
        Mean, and the bounds of the middle 90 %.
    inclusion : ndarray of shape (n_strategies,)
        Share of histories in which a strategy is included.
    n_draws, n_failed : int
        Histories drawn, and those without any allowed weights.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    inclusion: FloatArray
    n_draws: int
    n_failed: int


def resampled_rows(n_bars: int, *, n_draws: int, rng: np.random.Generator, block: int) -> IntArray:
    """Return positions of bars drawn in blocks, the same for every strategy.

    Parameters
    ----------
    n_bars : int
        Bars there are.
    n_draws : int
        Histories wanted.
    rng : numpy.random.Generator
        Source of randomness.
    block : int
        Mean block length in bars.

    Returns
    -------
    ndarray of shape (n_bars, n_draws)
        One history per column.

    References
    ----------
    .. [1] Politis & Romano (1994), "The Stationary Bootstrap", JASA 89(428).
    """
    positions = np.arange(n_bars, dtype=np.float64)
    return bootstrap_paths(positions, n_paths=n_draws, rng=rng, block=block).astype(np.int64)


def resample_weights(
    returns: FloatArray,
    build: Build,
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    band: float = BAND,
) -> ResampledWeights:
    """Return how weights vary over resampled histories.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_strategies)
        Fractions per bar; NaN where a strategy has none.
    build : callable
        From returns to the problem they make: estimates, limits, method.
    rng : numpy.random.Generator
        Source of randomness; the same state gives the same bands.
    n_draws : int
        Histories.
    band : float
        Share of histories inside the bounds, in (0, 1).

    Returns
    -------
    ResampledWeights
        NaN throughout where no history has allowed weights.

    References
    ----------
    .. [1] Michaud & Michaud (2008), "Efficient Asset Management", 2nd ed., ch. 6.
    """
    average = np.nan_to_num(np.nanmean(np.where(np.isfinite(returns), returns, 0.0), axis=1))
    rows = resampled_rows(len(returns), n_draws=n_draws, rng=rng, block=block_length(average))
    drawn = []
    for column in rows.T:
        weights = _weights(returns[column], build)
        if weights is not None:
            drawn.append(weights)
    n_strategies = returns.shape[1]
    if not drawn:
        unknown = np.full(n_strategies, np.nan)
        return ResampledWeights(unknown, unknown, unknown, unknown, n_draws, n_draws)
    matrix = np.array(drawn)
    low, high = np.quantile(matrix, [(1 - band) / 2, (1 + band) / 2], axis=0)
    return ResampledWeights(
        matrix.mean(axis=0),
        low,
        high,
        (matrix > 1e-5).mean(axis=0),
        n_draws,
        n_draws - len(drawn),
    )


def _weights(returns: FloatArray, build: Build) -> FloatArray | None:
    try:
        found = direct_weights(build(returns), n_nodes=0)
    except ValueError:
        # Strategies that share too few bars in this history.
        return None
    return None if found is None else found.weights
