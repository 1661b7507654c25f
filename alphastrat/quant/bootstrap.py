"""Block bootstrap of return series, by `arch`."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray

LEAST_BLOCK = 5
MOST_BLOCK = 60


class BlockScheme(StrEnum):
    """How blocks are drawn."""

    STATIONARY = "stationary"
    CIRCULAR = "circular"
    MOVING = "moving"


def block_length(returns: FloatArray, *, least: int = LEAST_BLOCK, most: int = MOST_BLOCK) -> int:
    """Return the mean block length that suits the dependence of a series.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns as fractions, finite.
    least, most : int
        Bounds of the answer, in bars.

    Returns
    -------
    int
        Bars, for the stationary bootstrap; `least` for a series too short or constant.

    References
    ----------
    .. [1] Politis & White (2004), "Automatic Block-Length Selection for the Dependent
       Bootstrap", Econometric Reviews 23(1); correction Patton, Politis & White (2009).
    """
    # Importing arch costs a second, which only those who bootstrap should pay.
    from arch.bootstrap import optimal_block_length

    values = _finite(returns)
    if values.size < 2 * least or np.ptp(values) == 0:
        return least
    best = float(optimal_block_length(pd.Series(values))["stationary"].iloc[0])
    return least if math.isnan(best) else int(min(max(math.ceil(best), least), most))


def bootstrap_paths(
    returns: FloatArray,
    *,
    n_paths: int,
    rng: np.random.Generator,
    n_bars: int | None = None,
    block: int | None = None,
    scheme: BlockScheme = BlockScheme.STATIONARY,
) -> FloatArray:
    """Return resampled return paths that keep the dependence within blocks.

    Parameters
    ----------
    returns : ndarray of shape (n_observed,)
        Simple returns as fractions, finite.
    n_paths : int
        Paths wanted.
    rng : numpy.random.Generator
        Source of randomness; the same state gives the same paths.
    n_bars : int, optional
        Length of a path; that of the series by default, and it may be longer.
    block : int, optional
        Block length in bars, a mean for the stationary scheme; `block_length` by default.
    scheme : BlockScheme
        STATIONARY (Politis & Romano), CIRCULAR or MOVING blocks.

    Returns
    -------
    ndarray of shape (n_bars, n_paths)
        One path per column, ready for `measures`.

    Raises
    ------
    ValueError
        If the series is empty or not finite, or a count is not positive.

    References
    ----------
    .. [1] Politis & Romano (1994), "The Stationary Bootstrap", JASA 89(428).
    """
    from arch import bootstrap as schemes

    values = _finite(returns)
    length = values.size if n_bars is None else n_bars
    if min(values.size, n_paths, length) < 1:
        raise ValueError(f"cannot draw {n_paths} paths of {length} bars from {values.size} returns")
    maker = {
        BlockScheme.STATIONARY: schemes.StationaryBootstrap,
        BlockScheme.CIRCULAR: schemes.CircularBlockBootstrap,
        BlockScheme.MOVING: schemes.MovingBlockBootstrap,
    }[scheme]
    size = min(block or block_length(values), values.size)
    draws_per_path = -(-length // values.size)
    sampler = maker(size, np.arange(values.size), seed=rng)
    drawn = sampler.bootstrap(n_paths * draws_per_path)
    positions = np.stack([positional[0] for positional, _ in drawn])
    return values[positions.reshape(n_paths, -1)[:, :length]].T


def bootstrap_interval(
    returns: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    n_paths: int = 2000,
    block: int | None = None,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic under the stationary bootstrap.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns as fractions, finite.
    statistic : callable
        From paths of shape (n_bars, n_paths) to values of shape (n_paths,): any function of
        `measures` with its keywords bound.
    rng : numpy.random.Generator
        Source of randomness.
    confidence : float
        Coverage, in (0, 1).
    n_paths : int
        Resamples.
    block : int, optional
        Mean block length in bars; `block_length` by default.

    Returns
    -------
    tuple of float
        Lower and upper bound in the statistic's unit; NaN if it is undefined on every path.

    References
    ----------
    .. [1] Efron & Tibshirani (1993), "An Introduction to the Bootstrap", ch. 13.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), was {confidence}")
    paths = bootstrap_paths(returns, n_paths=n_paths, rng=rng, block=block)
    values = np.asarray(statistic(paths))
    values = values[np.isfinite(values)]
    if values.size == 0:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _finite(returns: FloatArray) -> FloatArray:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("the bootstrap needs a one-dimensional series of finite returns")
    return values
