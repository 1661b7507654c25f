"""How sensitive the verdict is: from false alarms per year to detector levels, and to delays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphastrat.quant.bootstrap import block_length, bootstrap_paths
from alphastrat.quant.types import FloatArray
from monitoring.quant import detectors
from monitoring.quant.evidence import Observations, alarm_counts, first_alarm

RETURN, WIN_RATE, FREQUENCY, SLIPPAGE, MATCHING = range(5)
DETECTORS = ("return", "win_rate", "frequency", "slippage", "matching")
# A promised share of fills that have their counterpart, and how much lower it may really be.
MATCH_RATE = 0.95
# False alarms per year for which levels are kept.
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# Of the budget, what each group of checks may use up: at half a false alarm per year this gives
# the 80 % band and a volatility limit reached by 5 % of healthy years.
DETECTOR_SHARE, BAND_SHARE, VOLATILITY_SHARE = 0.5, 0.4, 0.1
DEGRADED_OVER_WATCH = 2.0
_LEVELS = np.geomspace(2.0, 2e5, 60)
_LEAST_ALARMS = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class AlarmLevels:
    """Levels of the detectors that a healthy strategy reaches so many times per year.

    Attributes
    ----------
    log_levels : ndarray of shape (n_detectors, n_rates)
        Natural logarithm of the level A of R for each of `RATES`; NaN for a detector that has
        nothing to observe.
    volatility : ndarray of shape (n_rates,)
        Limit of the variance CUSUM for each of `RATES`, in reference variances.
    """

    log_levels: FloatArray
    volatility: FloatArray

    def as_lists(self) -> dict[str, Any]:
        """Return a document."""
        return {
            "log_levels": self.log_levels.tolist(),
            "volatility": self.volatility.tolist(),
        }


def alarm_levels(
    returns: FloatArray,
    *,
    win_rate: float,
    trips_per_bar: float,
    rates: tuple[float, float],
    periods_per_year: float,
    rng: np.random.Generator,
    n_paths: int = 300,
    n_years: float = 4.0,
) -> AlarmLevels:
    """Calibrate every detector on what the reference would do if nothing had changed.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Returns of the reference, resampled in blocks.
    win_rate : float
        Promised least win rate; NaN without round trips.
    trips_per_bar : float
        Round trips per bar.
    rates : tuple of float
        Lowest and highest rate that the reference allows for.
    periods_per_year : float
        Bars per year.
    rng : numpy.random.Generator
        Source of randomness.
    n_paths : int
        Paths drawn.
    n_years : float
        Length of a path.

    Returns
    -------
    AlarmLevels
        Rates too low to be simulated are extrapolated: the run length is in proportion to the
        level. No level is higher than the guarantee that R needs at least A observations on
        average to reach A calls for.

    References
    ----------
    .. [1] Shin, Ramdas & Rinaldo (2024), "E-detectors", New England Journal of Statistics in Data
       Science 2(2), theorem 2.4: the average run length is at least A.
    """
    n_bars = min(max(round(n_years * periods_per_year), 50), 6_000)
    years = n_bars / periods_per_year
    values = np.asarray(returns, np.float64) - np.mean(returns)
    deviation = float(values.std(ddof=1))
    log_levels = np.full((len(DETECTORS), len(RATES)), np.nan)
    volatility = np.full(len(RATES), np.nan)
    if deviation > 0:
        block = block_length(values)
        paths = bootstrap_paths(values, n_paths=n_paths, rng=rng, n_bars=n_bars, block=block).T
        log_levels[RETURN] = _levels(_standard(paths, deviation), years, periods_per_year)
        volatility = _volatility_limits(paths / deviation, years)
    n_trips = round(trips_per_bar * n_bars)
    if n_trips >= 1 and 0 < win_rate < 1:
        per_year = trips_per_bar * periods_per_year
        won = (rng.random((n_paths, n_trips)) < win_rate).astype(np.float64)
        log_levels[WIN_RATE] = _levels(_bernoulli(won, win_rate), years, per_year)
        counts = rng.poisson(trips_per_bar, (n_paths, n_bars)).astype(np.float64)
        log_levels[FREQUENCY] = _levels(_poisson(counts, rates), years, periods_per_year)
        n_fills = 2 * n_trips
        heavy = rng.standard_t(4, (n_paths, n_fills))
        log_levels[SLIPPAGE] = _levels(_standard(heavy, math.sqrt(2.0)), years, 2 * per_year)
        matched = (rng.random((n_paths, n_fills)) < MATCH_RATE).astype(np.float64)
        log_levels[MATCHING] = _levels(_bernoulli(matched, MATCH_RATE), years, 2 * per_year)
    return AlarmLevels(log_levels, volatility)


def levels_of_budget(log_levels: FloatArray, budget: FloatArray) -> FloatArray:
    """Return the level of each detector that together keep within a budget.

    Parameters
    ----------
    log_levels : ndarray of shape (n_strategies, n_detectors, n_rates)
        As in `AlarmLevels`.
    budget : ndarray of shape (n_strategies,)
        False alarms per year and strategy that its owner accepts.

    Returns
    -------
    ndarray of shape (n_strategies, n_detectors)
        Natural logarithms for "watch"; "degraded" needs twice the level. The detectors share
        half of the budget equally.
    """
    has_level = ~np.isnan(log_levels[:, :, 0])
    n_detectors = np.maximum(has_level.sum(axis=1), 1)
    rate = np.log(DETECTOR_SHARE * budget / n_detectors)
    return _interpolated(log_levels, rate[:, None])


def volatility_limit(limits: FloatArray, budget: FloatArray) -> FloatArray:
    """Return the limit of the variance CUSUM for a budget, shape (n_strategies,).

    Parameters
    ----------
    limits : ndarray of shape (n_strategies, n_rates)
        As in `AlarmLevels`.
    budget : ndarray of shape (n_strategies,)
        False alarms per year and strategy.

    Returns
    -------
    ndarray of shape (n_strategies,)
        In reference variances.
    """
    return _interpolated(limits[:, None, :], np.log(VOLATILITY_SHARE * budget)[:, None])[:, 0]


def band_coverage(budget: FloatArray) -> FloatArray:
    """Return the share of healthy paths that the band for "watch" must hold for a year.

    Parameters
    ----------
    budget : ndarray of shape (n_strategies,)
        False alarms per year and strategy.

    Returns
    -------
    ndarray of shape (n_strategies,)
        0.8 at half a false alarm per year; in [0.5, 0.99].
    """
    return np.clip(1.0 - BAND_SHARE * np.asarray(budget, np.float64), 0.5, 0.99)


def detection_delay(
    returns: FloatArray,
    *,
    loss: float,
    mean_floor: float,
    log_level: float,
    rng: np.random.Generator,
    n_paths: int = 400,
    n_bars: int = 2_520,
) -> tuple[float, float]:
    """Return after how many bars a loss of edge is found by the detector of the mean.

    Parameters
    ----------
    returns : ndarray of shape (n_observed,)
        Returns of the reference, resampled in blocks.
    loss : float
        Share of the mean return that is lost: 0.5 for a halved edge, 1 for all of it.
    mean_floor : float
        Mean per bar that the strategy is held to.
    log_level : float
        Natural logarithm of the level of R.
    rng : numpy.random.Generator
        Source of randomness.
    n_paths, n_bars : int
        Paths drawn and their length.

    Returns
    -------
    tuple of float
        Bars by which half, and nine tenths, of the losses are found; infinite beyond `n_bars`.
    """
    values = np.asarray(returns, np.float64)
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if not (deviation > 0 and math.isfinite(log_level) and math.isfinite(mean_floor)):
        return math.inf, math.inf
    paths = bootstrap_paths(values, n_paths=n_paths, rng=rng, n_bars=n_bars).T
    shifted = paths - loss * mean - mean_floor
    delays = first_alarm(_standard(shifted, deviation), math.exp(log_level))
    half, most = np.quantile(delays, [0.5, 0.9], method="higher")
    return float(half), float(most)


def _levels(factors: FloatArray, years: float, observations_per_year: float) -> FloatArray:
    path_years = len(factors) * years
    counts = alarm_counts(factors, _LEVELS).astype(np.float64)
    rates = counts / path_years
    reliable = counts >= _LEAST_ALARMS
    guaranteed = np.log(np.maximum(observations_per_year / np.asarray(RATES), 2.0))
    if not reliable.any():
        return guaranteed
    # Fewer alarms at higher levels, whatever the noise of the count.
    falling = np.minimum.accumulate(rates[reliable])
    log_rates, log_levels = np.log(falling)[::-1], np.log(_LEVELS[reliable])[::-1]
    wanted = np.log(RATES)
    # Beyond what was simulated the run length grows in proportion to the level.
    beyond = log_levels[0] + np.maximum(log_rates[0] - wanted, 0.0)
    found = np.where(wanted < log_rates[0], beyond, np.interp(wanted, log_rates, log_levels))
    return np.minimum(found, guaranteed)


def _standard(paths: FloatArray, deviation: float) -> FloatArray:
    observed = Observations.of_matrix(paths)
    n_paths = len(paths)
    standardised = detectors.standardise(
        observed, centre=np.zeros(n_paths), scale=np.full(n_paths, deviation)
    )
    return np.exp(detectors.catoni_log_factors(standardised.reshape(paths.shape)))


def _bernoulli(success: FloatArray, rate: float) -> FloatArray:
    flat = success.ravel()
    factors = detectors.bernoulli_log_factors(flat, np.full(flat.shape, rate))
    return np.exp(factors).reshape(*success.shape, -1)


def _poisson(counts: FloatArray, rates: tuple[float, float]) -> FloatArray:
    flat = counts.ravel()
    low, high = (np.full(flat.shape, rate) for rate in rates)
    return np.exp(detectors.poisson_log_factors(flat, low, high)).reshape(*counts.shape, -1)


def _volatility_limits(standardised: FloatArray, years: float) -> FloatArray:
    peaks = detectors.variance_cusum(standardised).max(axis=1)
    # The chance of at least one in the time of a path, from the rate per year.
    chance = 1.0 - np.exp(-np.asarray(RATES) * years)
    return np.quantile(peaks, 1.0 - chance)


def _interpolated(levels: FloatArray, log_rate: FloatArray) -> FloatArray:
    grid = np.log(RATES)
    place = np.interp(log_rate, grid, np.arange(len(grid)))
    below = np.minimum(place.astype(np.int64), len(grid) - 2)
    share = (place - below)[..., None]
    index = np.broadcast_to(below[..., None], (*levels.shape[:2], 1))
    low = np.take_along_axis(levels, index, axis=2)
    high = np.take_along_axis(levels, index + 1, axis=2)
    return np.asarray((low + share * (high - low))[..., 0])
