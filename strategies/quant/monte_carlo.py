"""What else could have happened: resampled trips and returns, cost stress, crisis windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant.bootstrap import bootstrap_paths
from alphastrat.quant.execution import CostModel
from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.signals import PanelSignals, Signals
from strategies.quant.simulator import Bars, SimulationConfig, SimulationResult, simulate

N_RUNS, MIN_RUNS = 5_000, 500
# Numbers drawn at once, and equities looked at together: 160 MB and 8 MB.
MAX_DRAWN, MAX_TOGETHER = 20_000_000, 1_000_000


class Resampling(StrEnum):
    """How round trips are redrawn, and which dependence that keeps."""

    PERMUTE = "permute"
    WITH_REPLACEMENT = "with_replacement"
    SKIP = "skip"
    JITTER = "jitter"

    @property
    def keeps(self) -> str:
        """Say in words what the scheme keeps."""
        return {
            "permute": "the same round trips in another order: only the path varies",
            "with_replacement": "the distribution of round trips; their dependence is lost",
            "skip": "the order of round trips; some of them were missed",
            "jitter": "the order of round trips; fills were better or worse",
        }[self.value]


@dataclass(frozen=True, slots=True, eq=False)
class MonteCarloResult:
    """Distribution over runs.

    Attributes
    ----------
    final_equity : dict of int to float
        Percentiles 5, 50 and 95 of the final equity, account currency.
    drawdown_95 : float
        Maximum drawdown that only 5 % of the runs exceed, a fraction <= 0.
    drawdown_median : float
        Median maximum drawdown, a fraction <= 0.
    loss_probability : float
        Share of runs that end below the initial cash.
    limit_probability : float
        Share of runs whose drawdown goes beyond the limit.
    bands : ndarray of shape (n_steps + 1, 5)
        Percentiles 5, 25, 50, 75 and 95 of equity, from the initial cash on.
    n_runs : int
        Runs drawn.
    keeps : str
        Which dependence the scheme keeps, in words.
    """

    final_equity: dict[int, float]
    drawdown_95: float
    drawdown_median: float
    loss_probability: float
    limit_probability: float
    bands: FloatArray
    n_runs: int
    keeps: str


@dataclass(frozen=True, slots=True)
class CostStress:
    """Result of a backtest at rising cost.

    Attributes
    ----------
    added_bps : tuple of float
        Extra slippage per fill in basis points.
    total_returns : tuple of float
        Total return at each, fractions.
    break_even_bps : float
        Extra cost per fill that takes all profit; 0 if there is none to take, NaN if the
        largest cost tried does not suffice or nothing was traded.
    """

    added_bps: tuple[float, ...]
    total_returns: tuple[float, ...]
    break_even_bps: float


@dataclass(frozen=True, slots=True)
class CrisisWindow:
    """A named stretch of bad markets, both days included."""

    name: str
    starts_on: date
    ends_on: date


@dataclass(frozen=True, slots=True)
class CrisisResult:
    """How an account fared in one window; drawdown is within the window, a fraction <= 0."""

    window: CrisisWindow
    n_bars: int
    total_return: float
    max_drawdown: float


CRISES = (
    CrisisWindow("Asian and Russian crises", date(1997, 10, 1), date(1998, 10, 8)),
    CrisisWindow("Dot-com decline", date(2000, 3, 24), date(2002, 10, 9)),
    CrisisWindow("Global financial crisis", date(2007, 10, 9), date(2009, 3, 9)),
    CrisisWindow("Lehman autumn", date(2008, 9, 12), date(2008, 11, 20)),
    CrisisWindow("Flash crash and euro debt", date(2010, 4, 23), date(2010, 7, 2)),
    CrisisWindow("US downgrade", date(2011, 7, 22), date(2011, 10, 3)),
    CrisisWindow("China devaluation", date(2015, 8, 10), date(2016, 2, 11)),
    CrisisWindow("Volatility shock", date(2018, 1, 26), date(2018, 2, 8)),
    CrisisWindow("Late 2018 decline", date(2018, 9, 20), date(2018, 12, 24)),
    CrisisWindow("COVID crash", date(2020, 2, 19), date(2020, 3, 23)),
    CrisisWindow("2022 rate rises", date(2022, 1, 3), date(2022, 10, 12)),
    CrisisWindow("Regional bank failures", date(2023, 3, 6), date(2023, 3, 24)),
)


def affordable_runs(n_steps: int) -> int:
    """Return how many runs of that many steps are worth their time.

    Parameters
    ----------
    n_steps : int
        Round trips or bars of a run.

    Returns
    -------
    int
        N_RUNS up to 4,000 steps, fewer beyond, never below MIN_RUNS.
    """
    return min(N_RUNS, max(MIN_RUNS, MAX_DRAWN // max(n_steps, 1)))


def resample_trips(
    trip_returns: FloatArray,
    *,
    initial_cash: float,
    rng: np.random.Generator,
    scheme: Resampling = Resampling.WITH_REPLACEMENT,
    n_runs: int = N_RUNS,
    drawdown_limit: float = -0.2,
    skip_share: float = 0.1,
    jitter: float = 0.001,
) -> MonteCarloResult:
    """Redraw round trips and compound them.

    Parameters
    ----------
    trip_returns : ndarray of shape (n_trips,)
        Return of each round trip on the account's equity, after costs, fractions.
    initial_cash : float
        Account currency.
    rng : numpy.random.Generator
        Source of randomness.
    scheme : Resampling
        What is varied.
    n_runs : int
        Runs.
    drawdown_limit : float
        Fraction <= 0.
    skip_share : float
        Probability that a trip is missed, for SKIP.
    jitter : float
        Standard deviation added to each return, for JITTER.

    Returns
    -------
    MonteCarloResult
        One step per trip.

    Raises
    ------
    ValueError
        If there are no trips.
    """
    n_trips = len(trip_returns)
    if n_trips == 0:
        raise ValueError("there are no round trips to resample")
    if scheme is Resampling.WITH_REPLACEMENT:
        picked = _picked(n_trips, n_runs, rng)
        parts = (trip_returns[part] for whole in picked for part in _parts(whole))
        return _summary(parts, n_runs, initial_cash, drawdown_limit, keeps=scheme.keeps)
    if scheme is Resampling.PERMUTE:
        drawn = rng.permuted(np.tile(trip_returns, (n_runs, 1)), axis=1)
    elif scheme is Resampling.SKIP:
        drawn = np.where(rng.random((n_runs, n_trips)) < skip_share, 0.0, trip_returns)
    else:
        drawn = trip_returns + rng.normal(0.0, jitter, (n_runs, n_trips))
    return _summary(_parts(drawn), n_runs, initial_cash, drawdown_limit, keeps=scheme.keeps)


def resample_returns(
    returns: FloatArray,
    *,
    initial_cash: float,
    rng: np.random.Generator,
    n_runs: int = N_RUNS,
    drawdown_limit: float = -0.2,
    block: int | None = None,
) -> MonteCarloResult:
    """Redraw blocks of bars, which keeps the dependence within them.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Returns of the account per bar, fractions.
    initial_cash, rng, n_runs, drawdown_limit
        As in `resample_trips`.
    block : int, optional
        Mean block length in bars; chosen from the series by default.

    Returns
    -------
    MonteCarloResult
        One step per bar.

    References
    ----------
    .. [1] Politis & Romano (1994), "The Stationary Bootstrap", JASA 89(428).
    """
    drawn = bootstrap_paths(returns, n_paths=n_runs, rng=rng, block=block).T
    keeps = "dependence between neighbouring bars, within blocks"
    return _summary(_parts(drawn), n_runs, initial_cash, drawdown_limit, keeps=keeps)


def trip_returns_on_equity(result: SimulationResult) -> FloatArray:
    """Return each closed round trip's P&L over the account's equity before its entry.

    Parameters
    ----------
    result : SimulationResult
        A backtest.

    Returns
    -------
    ndarray of shape (n_trips,)
        Fractions; compounding them gives the final equity if trips do not overlap.
    """
    trips = result.round_trips
    before = np.concatenate([[result.config.initial_cash], result.equity])
    return trips.pnl / before[trips.entry_bar]


def cost_stress(
    bars: Bars,
    signals: Signals | PanelSignals,
    *,
    config: SimulationConfig,
    added_bps: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0),
) -> CostStress:
    """Repeat a backtest at rising slippage and find the cost at which it stops earning.

    Parameters
    ----------
    bars, signals, config
        As in `simulator.simulate`.
    added_bps : tuple of float
        Extra slippage per fill in basis points, ascending.

    Returns
    -------
    CostStress
        With the break-even cost, found by bisection to 0.01 basis points.
    """

    def total(extra: float) -> float:
        costs: CostModel = replace(config.costs, slippage_bps=config.costs.slippage_bps + extra)
        result = simulate(bars, signals, config=replace(config, costs=costs))
        return float(result.equity[-1] / config.initial_cash - 1.0)

    totals = tuple(total(extra) for extra in added_bps)
    return CostStress(added_bps, totals, _break_even(total, totals[0]))


def crisis_results(
    index: pd.DatetimeIndex,
    returns: FloatArray,
    *,
    windows: tuple[CrisisWindow, ...] = CRISES,
) -> tuple[CrisisResult, ...]:
    """Return how an account fared in each window that its record covers.

    Parameters
    ----------
    index : DatetimeIndex of shape (n_bars,)
        UTC close times.
    returns : ndarray of shape (n_bars,)
        Returns per bar, fractions.
    windows : tuple of CrisisWindow
        Windows to look at.

    Returns
    -------
    tuple of CrisisResult
        Windows in which the record has at least two bars and that it spans whole.
    """
    days = index.normalize().tz_localize(None)
    results = []
    for window in windows:
        starts, ends = pd.Timestamp(window.starts_on), pd.Timestamp(window.ends_on)
        inside = np.asarray((days >= starts) & (days <= ends))
        covered = len(days) > 0 and days[0] <= starts and days[-1] >= ends
        if not covered or inside.sum() < 2:
            continue
        equity = np.concatenate([[1.0], np.cumprod(1.0 + returns[inside])])
        worst = float((equity / np.maximum.accumulate(equity) - 1.0).min())
        results.append(CrisisResult(window, int(inside.sum()), float(equity[-1] - 1.0), worst))
    return tuple(results)


def _break_even(total: Callable[[float], float], at_no_cost: float) -> float:
    if at_no_cost <= 0.0:
        return 0.0 if at_no_cost < 0.0 else math.nan
    low, high = 0.0, 1.0
    while total(high) > 0.0:
        low, high = high, 2.0 * high
        if high > 10_000.0:
            return math.nan
    while high - low > 0.01:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if total(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def _picked(n_trips: int, n_runs: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Draw the trips of every run, as many steps at a time as fit into memory."""
    width = max(1, MAX_DRAWN // n_runs)
    for first in range(0, n_trips, width):
        yield rng.integers(0, n_trips, (n_runs, min(width, n_trips - first)))


def _parts(drawn: Any) -> Iterator[Any]:
    """Cut what was drawn for all runs into spans of steps."""
    width = max(1, MAX_TOGETHER // len(drawn))
    for first in range(0, drawn.shape[1], width):
        yield drawn[:, first : first + width]


def _summary(
    parts: Iterable[FloatArray],
    n_runs: int,
    initial_cash: float,
    drawdown_limit: float,
    *,
    keeps: str,
) -> MonteCarloResult:
    """Summarise runs from their returns, given for some steps at a time."""
    level: FloatArray = np.ones(n_runs)
    worst: FloatArray = np.zeros(n_runs)
    peak: FloatArray = np.full(n_runs, initial_cash)
    bands = [np.full((1, 5), initial_cash)]
    for drawn in parts:
        growth: FloatArray = np.maximum(1.0 + drawn, 0.0)
        growth[:, 0] *= level
        np.multiply.accumulate(growth, axis=1, out=growth)
        equity: FloatArray = initial_cash * growth
        peaks: FloatArray = np.maximum(np.maximum.accumulate(equity, axis=1), peak[:, None])
        worst = np.minimum(worst, (equity / peaks - 1.0).min(axis=1))
        level, peak = growth[:, -1], peaks[:, -1]
        bands.append(np.percentile(equity, (5, 25, 50, 75, 95), axis=0).T)
    final = initial_cash * level
    return MonteCarloResult(
        final_equity={share: float(np.percentile(final, share)) for share in (5, 50, 95)},
        drawdown_95=float(np.percentile(worst, 5)),
        drawdown_median=float(np.median(worst)),
        loss_probability=float((final < initial_cash).mean()),
        limit_probability=float((worst < drawdown_limit).mean()),
        bands=np.concatenate(bands),
        n_runs=n_runs,
        keeps=keeps,
    )
