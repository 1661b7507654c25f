"""How large a position is: rules decided at the signal's close, filled at the next open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol

import numpy as np

from alphastrat.quant.types import FloatArray
from strategies.quant.compiled import compiled
from strategies.quant.panel import Panel

EWMA_DECAY = 0.94


class SizeMode(IntEnum):
    """What the simulator takes a weight for."""

    EQUITY = 0
    CASH = 1
    QUANTITY = 2
    RISK = 3


class Sizing(Protocol):
    """A sizing rule: a weight for every bar and instrument, and what it is a weight of."""

    mode: ClassVar[SizeMode]

    def weights(self, panel: Panel, *, periods_per_year: float) -> FloatArray:
        """Return weights of shape (n_bars, n_assets), known at each close; NaN: no entry."""


@dataclass(frozen=True, slots=True)
class FixedFraction:
    """Spend a fixed fraction of equity, commission included, on each position.

    Attributes
    ----------
    fraction : float
        Of equity at the open of the fill, > 0; above 1 needs leverage.
    """

    mode: ClassVar[SizeMode] = SizeMode.EQUITY

    fraction: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("fraction", self.fraction)

    def weights(self, panel: Panel, *, periods_per_year: float) -> FloatArray:
        """Return the fraction for every bar."""
        return _constant(panel, self.fraction)


@dataclass(frozen=True, slots=True)
class FixedCash:
    """Spend a fixed amount of account currency, commission included, on each position."""

    mode: ClassVar[SizeMode] = SizeMode.CASH

    amount: float

    def __post_init__(self) -> None:
        _require_positive("amount", self.amount)

    def weights(self, panel: Panel, *, periods_per_year: float) -> FloatArray:
        """Return the amount for every bar."""
        return _constant(panel, self.amount)


@dataclass(frozen=True, slots=True)
class FixedQuantity:
    """Buy or sell a fixed number of units."""

    mode: ClassVar[SizeMode] = SizeMode.QUANTITY

    quantity: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("quantity", self.quantity)

    def weights(self, panel: Panel, *, periods_per_year: float) -> FloatArray:
        """Return the quantity for every bar."""
        return _constant(panel, self.quantity)


@dataclass(frozen=True, slots=True)
class FixedRisk:
    """Lose a fixed fraction of equity if the stop-loss is hit (fixed fractional sizing).

    Attributes
    ----------
    fraction : float
        Of equity at the open of the fill, in (0, 1). Needs `ExitRules.stop_loss`.

    References
    ----------
    .. [1] Vince (1990), "Portfolio Management Formulas", ch. 1.
    """

    mode: ClassVar[SizeMode] = SizeMode.RISK

    fraction: float = 0.01

    def __post_init__(self) -> None:
        _require_positive("fraction", self.fraction)

    def weights(self, panel: Panel, *, periods_per_year: float) -> FloatArray:
        """Return the risked fraction for every bar."""
        return _constant(panel, self.fraction)


@dataclass(frozen=True, slots=True)
class VolatilityTarget:
    """Size a position so that its forecast volatility is the target.

    Attributes
    ----------
    target : float
        Annual volatility of the position as a fraction of equity, > 0.
    cap : float
        Largest weight, > 0.
    """

    mode: ClassVar[SizeMode] = SizeMode.EQUITY

    target: float = 0.10
    cap: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("target", self.target)
        _require_positive("cap", self.cap)

    def weights(self, panel: Panel, *, periods_per_year: float) -> FloatArray:
        """Return the capped ratio of target to EWMA volatility at each close."""
        forecast = ewma_volatility(panel.close) * math.sqrt(periods_per_year)
        return volatility_weight(self.target, forecast, cap=self.cap)


@dataclass(frozen=True, slots=True)
class KellyFraction:
    """Size a position by a fraction of the growth-optimal one.

    Attributes
    ----------
    excess_return : float
        Annual return over cash that is believed: the deflated floor, never a backtest's mean.
    multiple : float
        Share of the Kelly fraction, in (0, 0.5].
    cap : float
        Largest weight, > 0.

    References
    ----------
    .. [1] Thorp (2006), "The Kelly Criterion in Blackjack, Sports Betting and the Stock
       Market", sec. 7.
    """

    mode: ClassVar[SizeMode] = SizeMode.EQUITY

    excess_return: float = 0.05
    multiple: float = 0.25
    cap: float = 1.0

    def __post_init__(self) -> None:
        _require_positive("cap", self.cap)
        if not 0.0 < self.multiple <= 0.5:
            raise ValueError(f"multiple must lie in (0, 0.5], was {self.multiple}")

    def weights(self, panel: Panel, *, periods_per_year: float) -> FloatArray:
        """Return the capped share of the Kelly fraction at each close, 0 without an edge."""
        variance = ewma_volatility(panel.close) ** 2 * periods_per_year
        return np.clip(self.multiple * self.excess_return / variance, 0.0, self.cap)


def fixed_fractional_quantity(equity: float, fraction: float, entry: float, stop: float) -> float:
    r"""Return the whole units whose loss at the stop is a fraction of equity.

    .. math:: \lfloor E f / |p_{entry} - p_{stop}| \rfloor

    Parameters
    ----------
    equity : float
        Account value, in account currency.
    fraction : float
        Fraction of equity to lose, in (0, 1).
    entry, stop : float
        Prices; must differ.

    Returns
    -------
    float
        Whole units, >= 0.

    Raises
    ------
    ValueError
        If entry and stop are equal.
    """
    if entry == stop:
        raise ValueError(f"entry and stop must differ, both were {entry}")
    # 25,000 x 0.02 / 0.6 is a hair under 833.33; only exact multiples need the tolerance.
    return math.floor(equity * fraction / abs(entry - stop) + 1e-9)


def volatility_weight(target: float, forecast: FloatArray, *, cap: float) -> FloatArray:
    """Return min(cap, target / forecast).

    Parameters
    ----------
    target : float
        Annual volatility, a fraction.
    forecast : ndarray
        Annual volatility forecasts, fractions >= 0.
    cap : float
        Largest weight.

    Returns
    -------
    ndarray
        Of the same shape; NaN where the forecast is NaN.
    """
    with np.errstate(divide="ignore"):
        return np.minimum(cap, target / forecast)


def kelly_fraction(mean: float, volatility: float, *, rate: float = 0.0) -> float:
    r"""Return the growth-optimal fraction of equity, :math:`(m - r) / s^2`.

    Parameters
    ----------
    mean, volatility, rate : float
        Annual drift, annual volatility (> 0) and annual rate of cash, fractions.

    Returns
    -------
    float
        Negative where the edge is.

    References
    ----------
    .. [1] Thorp (2006), sec. 7.1.
    """
    _require_positive("volatility", volatility)
    return (mean - rate) / volatility**2


def kelly_growth(fraction: float, mean: float, volatility: float, *, rate: float = 0.0) -> float:
    r"""Return the expected log growth per year, :math:`r + f(m - r) - f^2 s^2 / 2`.

    Parameters
    ----------
    fraction : float
        Fraction of equity held in the asset.
    mean, volatility, rate : float
        As in `kelly_fraction`.

    Returns
    -------
    float
        Per year.
    """
    return rate + fraction * (mean - rate) - fraction**2 * volatility**2 / 2.0


def kelly_bet(win_probability: float, *, odds: float = 1.0) -> float:
    """Return the growth-optimal stake of a bet, (b p - q) / b.

    Parameters
    ----------
    win_probability : float
        p in [0, 1].
    odds : float
        Amount b won per unit staked, > 0.

    Returns
    -------
    float
        Fraction of equity; negative means do not bet.
    """
    _require_positive("odds", odds)
    return (odds * win_probability - (1.0 - win_probability)) / odds


def ewma_volatility(close: FloatArray, *, decay: float = EWMA_DECAY) -> FloatArray:
    r"""Return the exponentially weighted standard deviation of returns per bar.

    .. math:: \sigma_t^2 = \lambda \sigma_{t-1}^2 + (1 - \lambda) r_t^2

    Parameters
    ----------
    close : ndarray of shape (n_bars, n_assets)
        Closes, NaN where an instrument has no bar.
    decay : float
        Weight of the past, in (0, 1).

    Returns
    -------
    ndarray of shape (n_bars, n_assets)
        Known at each close, a fraction per bar; seeded with the first squared return, NaN
        before it.

    References
    ----------
    .. [1] J.P. Morgan/Reuters (1996), "RiskMetrics Technical Document", sec. 5.2.
    """
    if not 0.0 < decay < 1.0:
        raise ValueError(f"decay must lie in (0, 1), was {decay}")
    return _ewma(np.ascontiguousarray(close), decay)


@compiled
def _ewma(close: FloatArray, decay: float) -> FloatArray:
    deviations = np.full(close.shape, np.nan)
    for j in range(close.shape[1]):
        before, variance = np.nan, np.nan
        for t in range(close.shape[0]):
            if np.isnan(close[t, j]):
                deviations[t, j] = np.sqrt(variance)
                continue
            squared = (close[t, j] / before - 1.0) ** 2
            variance = squared if np.isnan(variance) else decay * variance + (1 - decay) * squared
            before = close[t, j]
            deviations[t, j] = np.sqrt(variance)
    return deviations


def _constant(panel: Panel, value: float) -> FloatArray:
    return np.full((panel.n_bars, panel.n_assets), float(value))


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{name} must be positive, was {value}")
