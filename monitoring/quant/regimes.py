"""The reference split by how volatile the bars before were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alphastrat.quant.types import FloatArray, IntArray

WINDOW = 21
NAMES = ("calm", "normal", "turbulent")


@dataclass(frozen=True, slots=True)
class Regime:
    """What the reference did in one third of its bars, by trailing volatility.

    Attributes
    ----------
    name : str
        One of calm, normal and turbulent.
    above : float
        Trailing deviation per bar from which the regime counts; 0 for the lowest.
    n_bars : int
        Bars in it.
    mean, deviation : float
        Of the returns per bar, fractions.
    share_positive : float
        Share of bars with a positive return.
    """

    name: str
    above: float
    n_bars: int
    mean: float
    deviation: float
    share_positive: float


def trailing_deviation(returns: FloatArray, *, window: int = WINDOW) -> FloatArray:
    """Return the deviation of the bars before each bar, known when it opens.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Returns per bar, NaN where absent.
    window : int
        Bars looked back on.

    Returns
    -------
    ndarray of shape (n_bars,)
        NaN until a full window has passed.
    """
    deviation = pd.Series(returns).rolling(window).std(ddof=1).shift(1)
    return deviation.to_numpy(np.float64)


def volatility_regimes(returns: FloatArray, *, window: int = WINDOW) -> tuple[Regime, ...]:
    """Return the terciles of a series by trailing volatility.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Returns of the reference per bar, fractions.
    window : int
        Bars the volatility is taken over.

    Returns
    -------
    tuple of Regime
        Three, or none for a series with fewer than three windows.

    References
    ----------
    .. [1] Ang & Timmermann (2012), "Regime changes and financial markets", Annual Review of
       Financial Economics 4: volatility is what tells regimes apart.
    """
    if len(returns) < 3 * window:
        return ()
    deviation = trailing_deviation(returns, window=window)
    known = ~np.isnan(deviation)
    bounds = np.quantile(deviation[known], [1 / 3, 2 / 3])
    member = regime_of(deviation, bounds)
    return tuple(
        _regime(name, 0.0 if k == 0 else float(bounds[k - 1]), returns[member == k])
        for k, name in enumerate(NAMES)
    )


def regime_of(deviation: FloatArray, bounds: FloatArray) -> IntArray:
    """Return the regime of each trailing deviation: 0, 1, 2, or -1 where it is unknown.

    Parameters
    ----------
    deviation : ndarray of shape (n_bars,)
        As `trailing_deviation` gives it.
    bounds : ndarray of shape (2,)
        Least deviation of the second and third regime.

    Returns
    -------
    ndarray of int, shape (n_bars,)
        Positions in `NAMES`.
    """
    member = np.searchsorted(bounds, deviation, side="right")
    return np.where(np.isnan(deviation), -1, member).astype(np.int64)


def _regime(name: str, above: float, returns: FloatArray) -> Regime:
    if returns.size < 2:
        return Regime(name, above, returns.size, float("nan"), float("nan"), float("nan"))
    return Regime(
        name=name,
        above=above,
        n_bars=returns.size,
        mean=float(returns.mean()),
        deviation=float(returns.std(ddof=1)),
        share_positive=float((returns > 0).mean()),
    )
