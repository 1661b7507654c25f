"""Live strategies made by hand or by chance, for tests of verification."""

from __future__ import annotations

from uuid import UUID

import numpy as np

from monitoring.quant.budget import DETECTORS, RATES
from monitoring.quant.cone import BANDS, LEVELS
from monitoring.quant.degradation import Terms
from monitoring.quant.evidence import Observations
from monitoring.quant.expectations import PROMISES, Expected, ReferenceTrips, expected_of
from monitoring.quant.observations import LiveObservations, LiveTrips, stack_envelopes
from monitoring.quant.signal_tally import SignalTally

MEAN, DEVIATION, TRIPS_PER_BAR, WIN_RATE = 0.0008, 0.01, 0.2, 0.55


def make_expected(*, seed=0, n_bars=1250, mean=MEAN, deviation=DEVIATION) -> Expected:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(n_bars)
    returns = mean + deviation * (noise - noise.mean()) / noise.std()
    n_trips = int(TRIPS_PER_BAR * n_bars)
    won = np.arange(n_trips) < WIN_RATE * n_trips
    trips = ReferenceTrips(
        returns=np.where(won, 0.02, -0.015),
        bars_held=np.full(n_trips, 3.0),
        commission_bps=np.full(n_trips, 2.0),
        slippage_bps=np.full(n_trips, 4.0),
    )
    return expected_of(returns, trips, periods_per_year=252, rng=rng)


def make_trips(rng, n_strategies, n_bars, *, rate=TRIPS_PER_BAR, win_rate=WIN_RATE) -> LiveTrips:
    row, entered = np.nonzero(rng.random((n_strategies, n_bars)) < rate)
    exited = np.where(entered + 3 < n_bars, entered + 3, -1)
    won = rng.random(len(row)) < win_rate
    returns = np.where(exited >= 0, np.where(won, 0.02, -0.015), np.nan)
    return LiveTrips(row, entered, exited, returns, 1_000.0 * returns)


def make_live(
    expected: Expected | None,
    returns,
    *,
    trips: LiveTrips | None = None,
    shadow=None,
    matches: Observations | None = None,
    gaps_bps: Observations | None = None,
    signals: SignalTally | None = None,
    present_us: int = 0,
) -> LiveObservations:
    n_strategies, n_bars = returns.shape
    none = Observations.none()
    gaps = gaps_bps or none
    has_promise = expected is not None
    promise = {
        name: np.full(n_strategies, getattr(expected.promise, name) if has_promise else np.nan)
        for name in PROMISES
    }
    levels = (
        np.repeat(expected.levels.log_levels[None], n_strategies, axis=0)
        if has_promise
        else np.full((n_strategies, len(DETECTORS), len(RATES)), np.nan)
    )
    cones = [expected.cone if has_promise else None] * n_strategies
    return LiveObservations(
        strategies=tuple(UUID(int=i) for i in range(n_strategies)),
        names=tuple(f"Strategy {i}" for i in range(n_strategies)),
        owners=(1,) * n_strategies,
        accounts=(None,) * n_strategies,
        timeframes=("1d",) * n_strategies,
        present=np.full(n_strategies, present_us),
        times=np.tile(np.arange(1, n_bars + 1) * 86_400_000_000, (n_strategies, 1)),
        returns=returns,
        equity=np.cumprod(1.0 + np.nan_to_num(returns), axis=1) * 100_000.0,
        exposure=np.ones(returns.shape),
        shadow=np.full(returns.shape, np.nan) if shadow is None else shadow,
        trips=trips or LiveTrips.none(),
        matches=matches or none,
        fill_gaps_bps=gaps,
        trip_gaps=Observations(gaps.row, gaps.column, -gaps.value / 1e4),
        signals=signals or SignalTally.none(returns.shape),
        promise=promise,
        envelopes=stack_envelopes(cones, n_levels=len(LEVELS), n_bands=len(BANDS)),
        levels=levels,
        has_shadow=np.full(n_strategies, shadow is not None),
    )


def make_terms(expected: Expected | None, n_strategies: int, **changes) -> Terms:
    limits = np.full(len(RATES), np.nan) if expected is None else expected.levels.volatility
    terms = {
        "budget": np.full(n_strategies, 0.5),
        "tolerance": np.full(n_strategies, 0.1),
        "hard_drawdown": np.full(n_strategies, np.nan),
        "first": np.zeros(n_strategies, np.int64),
        "volatility_limits": np.repeat(limits[None], n_strategies, axis=0),
    }
    return Terms(**(terms | changes))
