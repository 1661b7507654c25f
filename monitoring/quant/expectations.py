"""What a validated backtest promises, in numbers that live trading can be held against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import NormalDist
from typing import Any

import numpy as np
import scipy

from alphastrat.quant.bootstrap import block_length
from alphastrat.quant.statistics import sharpe_floor
from alphastrat.quant.types import FloatArray
from monitoring.quant.budget import AlarmLevels, alarm_levels
from monitoring.quant.cone import Cone, performance_cone
from monitoring.quant.regimes import Regime, volatility_regimes

_LIMIT = NormalDist().inv_cdf(0.9)
_NO_TRIPS = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTrips:
    """Closed round trips of the reference, as columns of shape (n_trips,).

    Attributes
    ----------
    returns : ndarray
        P&L after costs over the value at entry, fraction.
    bars_held : ndarray
        Bars from entry to exit.
    commission_bps, slippage_bps : ndarray
        Costs of the whole trip in basis points of the value at entry, positive.
    """

    returns: FloatArray = field(default_factory=_NO_TRIPS.copy)
    bars_held: FloatArray = field(default_factory=_NO_TRIPS.copy)
    commission_bps: FloatArray = field(default_factory=_NO_TRIPS.copy)
    slippage_bps: FloatArray = field(default_factory=_NO_TRIPS.copy)


@dataclass(frozen=True, slots=True)
class Promise:
    """The scalars of an expectation. Returns are fractions per bar; undefined values are NaN.

    Attributes
    ----------
    n_bars, n_trips : float
        Length of the reference.
    periods_per_year : float
        Bars per year, also the horizon of the envelope.
    mean, deviation : float
        Of the returns of the reference, per bar.
    sharpe, sharpe_floor : float
        Sharpe ratio per bar, and what is left of it after paying for the choice among trials.
    mean_floor : float
        Mean return per bar below which the promise is broken: floor times deviation.
    n_trials : float
        Recorded trials on the hypothesis.
    win_rate, win_rate_limit : float
        Share of winning round trips, and its Wilson lower limit at 10 %.
    trips_per_bar, trips_per_bar_low, trips_per_bar_high : float
        Rate of round trips, and its 10 and 90 % limits.
    bars_held, commission_bps, slippage_bps : float
        Means over round trips.
    exposure : float
        Share of bars with a position.
    trip_size : float
        Mean absolute return of a round trip, fraction.
    drawdown_50, drawdown_95, drawdown_99 : float
        Maximum drawdown of a year that 50, 5 and 1 % of paths exceed, fractions <= 0.
    block : float
        Mean block length of the bootstrap in bars.
    fill_deviation_bps : float
        Deviation of the difference between a live and a shadow fill that is imagined at first.
    """

    n_bars: float
    n_trips: float
    periods_per_year: float
    mean: float
    deviation: float
    sharpe: float
    sharpe_floor: float
    mean_floor: float
    n_trials: float
    win_rate: float
    win_rate_limit: float
    trips_per_bar: float
    trips_per_bar_low: float
    trips_per_bar_high: float
    bars_held: float
    commission_bps: float
    slippage_bps: float
    exposure: float
    trip_size: float
    drawdown_50: float
    drawdown_95: float
    drawdown_99: float
    block: float
    fill_deviation_bps: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Everything that is frozen when a strategy is validated."""

    promise: Promise
    cone: Cone
    levels: AlarmLevels
    regimes: tuple[Regime, ...]

    def summary(self) -> dict[str, Any]:
        """Return what goes into a JSON document; undefined values are still NaN."""
        return {
            "scalars": asdict(self.promise),
            "levels": self.levels.as_lists(),
            "regimes": [asdict(regime) for regime in self.regimes],
            "bands": self.cone.simultaneous.tolist(),
            "is_analytic": self.cone.is_analytic,
        }


PROMISES = tuple(entry.name for entry in fields(Promise))


def expected_of(
    returns: FloatArray,
    trips: ReferenceTrips,
    *,
    periods_per_year: float,
    rng: np.random.Generator,
    exposure: float = math.nan,
    n_trials: int = 1,
    sharpe_variance: float = 0.0,
) -> Expected:
    """Return what a reference series promises for the coming year.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Returns of the reference per bar as fractions, out of sample where there is such a record.
    trips : ReferenceTrips
        Its closed round trips.
    periods_per_year : float
        Bars per year.
    rng : numpy.random.Generator
        Source of randomness; the same state gives the same expectation.
    exposure : float
        Share of bars with a position.
    n_trials : int
        Recorded trials on the hypothesis.
    sharpe_variance : float
        Variance of their Sharpe ratios per bar.

    Returns
    -------
    Expected
        Frozen numbers, envelope and alarm levels.

    Raises
    ------
    ValueError
        If there are fewer than two returns, or one is not finite.

    References
    ----------
    .. [1] Bailey & López de Prado (2014), "The Deflated Sharpe Ratio", Journal of Portfolio
       Management 40(5), eq. 1, for what a choice among trials costs.
    """
    values = np.asarray(returns, np.float64)
    horizon = max(round(periods_per_year), 1)
    cone = performance_cone(values, n_bars=horizon, rng=rng)
    promise = Promise(
        n_bars=len(values),
        periods_per_year=periods_per_year,
        n_trials=n_trials,
        exposure=exposure,
        drawdown_50=float(cone.drawdowns[0]),
        drawdown_95=float(cone.drawdowns[1]),
        drawdown_99=float(cone.drawdowns[2]),
        block=block_length(values),
        **_promised_return(values, n_trials=n_trials, sharpe_variance=sharpe_variance),
        **_promised_trips(trips, n_bars=len(values)),
    )
    levels = alarm_levels(
        values,
        win_rate=promise.win_rate_limit,
        trips_per_bar=promise.trips_per_bar,
        rates=(promise.trips_per_bar_low, promise.trips_per_bar_high),
        periods_per_year=periods_per_year,
        rng=rng,
    )
    return Expected(promise, cone, levels, volatility_regimes(values))


def _promised_return(
    values: FloatArray, *, n_trials: int, sharpe_variance: float
) -> dict[str, float]:
    """Return what returns promise, per bar; without a deviation there is no Sharpe ratio."""
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    sharpe = floor = math.nan
    if deviation > 0:
        sharpe = mean / deviation
        floor = sharpe_floor(sharpe, n_trials=max(n_trials, 1), sharpe_variance=sharpe_variance)
    return {
        "mean": mean,
        "deviation": deviation if deviation > 0 else math.nan,
        "sharpe": sharpe,
        "sharpe_floor": floor,
        "mean_floor": floor * deviation,
    }


def _promised_trips(trips: ReferenceTrips, *, n_bars: int) -> dict[str, Any]:
    """Return what round trips promise: how many, how good, how long, at what cost."""
    n_trips = len(trips.returns)
    low, high = rate_limits(n_trips, n_bars)
    wins = float((trips.returns > 0).mean()) if n_trips else math.nan
    return {
        "n_trips": n_trips,
        "win_rate": wins,
        "win_rate_limit": wilson_lower(wins, n_trips),
        "trips_per_bar": n_trips / n_bars,
        "trips_per_bar_low": low,
        "trips_per_bar_high": high,
        "bars_held": _mean(trips.bars_held),
        "commission_bps": _mean(trips.commission_bps),
        "slippage_bps": _mean(trips.slippage_bps),
        "trip_size": _mean(np.abs(trips.returns)),
    }


def wilson_lower(share: float, n_observations: int, *, z: float = _LIMIT) -> float:
    r"""Return the Wilson lower limit of a share.

    .. math:: \frac{p + z^2/2n - z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}

    Parameters
    ----------
    share : float
        Observed share p in [0, 1].
    n_observations : int
        Number n.
    z : float
        Normal quantile; 1.2816 by default, one-sided 10 %.

    Returns
    -------
    float
        In [0, 1]; NaN without observations.

    References
    ----------
    .. [1] Wilson (1927), "Probable inference, the law of succession, and statistical inference",
       JASA 22(158).
    """
    if n_observations < 1:
        return math.nan
    n = float(n_observations)
    middle = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n)


def rate_limits(count: int, n_bars: int, *, tail: float = 0.1) -> tuple[float, float]:
    r"""Return limits of a Poisson rate per bar.

    .. math:: \chi^2_{2n,\, \alpha} / 2T, \qquad \chi^2_{2n + 2,\, 1 - \alpha} / 2T

    Parameters
    ----------
    count : int
        Observed n.
    n_bars : int
        Bars T, positive.
    tail : float
        Probability outside on each side.

    Returns
    -------
    tuple of float
        Per bar; NaN where nothing was observed.

    References
    ----------
    .. [1] Garwood (1936), "Fiducial limits for the Poisson distribution", Biometrika 28.
    """
    if count < 1:
        return math.nan, math.nan
    low = scipy.stats.chi2.ppf(tail, 2 * count) / (2 * n_bars)
    high = scipy.stats.chi2.ppf(1 - tail, 2 * count + 2) / (2 * n_bars)
    return float(low), float(high)


def promise_columns(documents: Sequence[Mapping[str, Any] | None]) -> dict[str, FloatArray]:
    """Return the scalars of many expectations as one array each.

    Parameters
    ----------
    documents : sequence of mapping or None
        Scalars by name; None where a strategy has no expectation.

    Returns
    -------
    dict of str to ndarray of shape (n_strategies,)
        NaN for what is missing.
    """
    rows = [
        [math.nan if document is None else _number(document.get(name)) for name in PROMISES]
        for document in documents
    ]
    matrix = np.array(rows, np.float64).reshape(len(documents), len(PROMISES))
    return {name: matrix[:, k] for k, name in enumerate(PROMISES)}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else math.nan
