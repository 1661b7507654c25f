"""How much a portfolio moves with a market."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.statistics import hac_standard_error
from alphastrat.quant.types import FloatArray

WINDOW = 252
LEAST = 30
# 95 % of a normal distribution.
_WIDTH = 1.959963984540054


@dataclass(frozen=True, slots=True)
class MarketBeta:
    """The slope of a portfolio's returns on those of a market.

    Attributes
    ----------
    value : float
        Without unit; 1 moves as the market does.
    low, high : float
        Bounds of the slope, 95 %.
    correlation : float
        In [-1, 1].
    n_bars : int
        Bars that both have, all of them counted.

    `value`, the bounds and the correlation are NaN with fewer than 30 bars in common, or where
    the market does not move.
    """

    value: float
    low: float
    high: float
    correlation: float
    n_bars: int

    @property
    def is_known(self) -> bool:
        """Whether there is enough to say anything."""
        return math.isfinite(self.value)


def market_beta(returns: FloatArray, market: FloatArray, *, window: int = WINDOW) -> MarketBeta:
    r"""Return the least-squares slope of returns on a market over the newest common bars.

    .. math:: \beta = \frac{\sum_t (m_t - \bar m)(r_t - \bar r)}{\sum_t (m_t - \bar m)^2}

    with the bounds of the Newey-West standard error of its terms
    :math:`(m_t - \bar m) e_t / \overline{(m - \bar m)^2}`.

    Parameters
    ----------
    returns, market : ndarray of shape (n_bars,)
        Fractions per bar, oldest first; NaN where there is none.
    window : int
        Newest common bars that count, at least 30.

    Returns
    -------
    MarketBeta
        With the number of bars even where they are too few.

    Raises
    ------
    ValueError
        If the window is too short.

    References
    ----------
    .. [1] Sharpe (1964), "Capital Asset Prices", Journal of Finance 19(3).
    .. [2] Newey & West (1987), "A Simple, Positive Semi-definite, Heteroskedasticity and
       Autocorrelation Consistent Covariance Matrix", Econometrica 55(3).
    """
    if window < LEAST:
        raise ValueError(f"a beta needs a window of at least {LEAST} bars, was {window}")
    known = np.isfinite(returns) & np.isfinite(market)
    own, base = returns[known][-window:], market[known][-window:]
    unknown = MarketBeta(math.nan, math.nan, math.nan, math.nan, len(own))
    if len(own) < LEAST:
        return unknown
    moves, swings = base - base.mean(), own - own.mean()
    variance = float(moves @ moves) / len(moves)
    if variance <= 1e-14 * max(float(base @ base) / len(base), 1e-300):
        return unknown
    value = float(moves @ swings) / len(moves) / variance
    error = hac_standard_error(moves * (swings - value * moves) / variance)
    size = math.sqrt(variance * float(swings @ swings) / len(swings))
    correlation = value * variance / size if size > 0.0 else math.nan
    width = _WIDTH * error
    return MarketBeta(value, value - width, value + width, correlation, len(own))
