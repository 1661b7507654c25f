"""What the portfolio of today would have lost in the bad times of the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class StressWindow:
    """A bad time, both days included."""

    name: str
    starts_on: date
    ends_on: date

    def __post_init__(self) -> None:
        if self.ends_on < self.starts_on:
            raise ValueError(f"{self.name} ends on {self.ends_on}, before {self.starts_on}")


# Peak and trough of the S&P 500 around each episode, or the days it is named after.
STRESS_WINDOWS = (
    StressWindow("Dot-com bust", date(2000, 3, 24), date(2002, 10, 9)),
    StressWindow("Financial crisis", date(2007, 10, 9), date(2009, 3, 9)),
    StressWindow("Lehman month", date(2008, 9, 12), date(2008, 10, 10)),
    StressWindow("Flash crash and euro crisis", date(2010, 4, 23), date(2010, 7, 2)),
    StressWindow("US downgrade", date(2011, 7, 22), date(2011, 8, 8)),
    StressWindow("Taper tantrum", date(2013, 5, 21), date(2013, 6, 24)),
    StressWindow("Oil and Ebola dip", date(2014, 9, 18), date(2014, 10, 15)),
    StressWindow("China devaluation", date(2015, 8, 17), date(2015, 8, 25)),
    StressWindow("Growth scare", date(2015, 12, 29), date(2016, 2, 11)),
    StressWindow("Brexit vote", date(2016, 6, 23), date(2016, 6, 27)),
    StressWindow("Volatility spike", date(2018, 1, 26), date(2018, 2, 8)),
    StressWindow("Fourth quarter", date(2018, 9, 20), date(2018, 12, 24)),
    StressWindow("Pandemic", date(2020, 2, 19), date(2020, 3, 23)),
    StressWindow("Inflation and rates", date(2022, 1, 3), date(2022, 10, 12)),
    StressWindow("Regional banks", date(2023, 3, 6), date(2023, 3, 13)),
    StressWindow("Tariff shock", date(2025, 2, 19), date(2025, 4, 8)),
)


@dataclass(frozen=True, slots=True)
class StressResult:
    """The portfolio of today in one window.

    Attributes
    ----------
    window : StressWindow
        Which.
    n_bars : int
        Bars of the history that lie in it.
    covered : float
        Share of the gross weight whose history covers the window; the rest counts as 0.
    portfolio_return : float
        Return over the window with the weights held from its start, negative for a loss; NaN
        where no history covers it.
    max_drawdown : float
        Deepest point below the running peak within it.
    by_strategy : ndarray of shape (n_strategies,)
        Contributions that sum to `portfolio_return`; NaN where the strategy has no history.
    """

    window: StressWindow
    n_bars: int
    covered: float
    portfolio_return: float
    max_drawdown: float
    by_strategy: FloatArray


def stress(
    weights: FloatArray,
    returns: FloatArray,
    days: Sequence[date],
    *,
    windows: Sequence[StressWindow] = STRESS_WINDOWS,
) -> list[StressResult]:
    """Return what today's weights would have made of past windows.

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Fractions of equity now; the rest is cash.
    returns : ndarray of shape (n_bars, n_strategies)
        Simple returns per bar; NaN where a strategy has no history.
    days : sequence of date of length n_bars
        Session of each bar, rising.
    windows : sequence of StressWindow
        Times to look at.

    Returns
    -------
    list of StressResult
        One per window, in their order; bought at the start and held.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    if returns.shape != (len(days), len(weights)):
        raise ValueError(f"returns of shape {returns.shape} need {len(days)} days and weights")
    ordinals = np.array([day.toordinal() for day in days], dtype=np.int64)
    return [_in_window(weights, returns, ordinals, window) for window in windows]


def worst_window(
    portfolio_returns: FloatArray, days: Sequence[date], *, n_bars: int
) -> StressWindow | None:
    """Return the worst run of bars in a history.

    Parameters
    ----------
    portfolio_returns : ndarray of shape (n_history,)
        Simple returns per bar, finite.
    days : sequence of date of length n_history
        Session of each bar.
    n_bars : int
        Length of the run, >= 1.

    Returns
    -------
    StressWindow or None
        Named after its length; None if the history is shorter.
    """
    if n_bars < 1 or portfolio_returns.size < n_bars:
        return None
    growth = np.concatenate([[0.0], np.cumsum(np.log1p(portfolio_returns))])
    first = int(np.argmin(growth[n_bars:] - growth[:-n_bars]))
    return StressWindow(f"Worst {n_bars} bars", days[first], days[first + n_bars - 1])


def _in_window(
    weights: FloatArray, returns: FloatArray, ordinals: IntArray, window: StressWindow
) -> StressResult:
    first, last = window.starts_on.toordinal(), window.ends_on.toordinal()
    inside: BoolArray = (ordinals >= first) & (ordinals <= last)
    chosen = returns[inside]
    # A history that begins in the middle of a window says nothing about the whole of it.
    is_reached = bool(len(ordinals)) and int(ordinals[0]) <= first and int(ordinals[-1]) >= last
    known = np.isfinite(chosen).all(axis=0) & (len(chosen) > 0) & is_reached
    gross = float(np.abs(weights).sum())
    covered = float(np.abs(weights[known]).sum()) / gross if gross > 0 else 0.0
    by_strategy = np.full(len(weights), np.nan)
    if not known.any():
        return StressResult(window, len(chosen), covered, float("nan"), float("nan"), by_strategy)
    growth = np.cumprod(1.0 + chosen[:, known], axis=0) - 1.0
    by_strategy[known] = weights[known] * growth[-1]
    curve = 1.0 + np.concatenate([[0.0], growth @ weights[known]])
    drawdown = curve / np.maximum.accumulate(curve) - 1.0
    return StressResult(
        window=window,
        n_bars=len(chosen),
        covered=covered,
        portfolio_return=float(curve[-1] - 1.0),
        max_drawdown=float(drawdown.min()),
        by_strategy=by_strategy,
    )
