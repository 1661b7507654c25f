"""Every kernel that a first minute needs, compiled: `python -m monitoring.quant.warming`.

The processes share what is compiled on disk. Started before it is there, each of them would
compile the same for itself, all at the same time.
"""

from __future__ import annotations

import numpy as np

from monitoring.quant import detectors, evidence, paths, sequential, status, trips
from strategies.quant import simulator, stepping

_N_STRATEGIES, _N_BARS, _N_GRID = 1, 2, 1


def warm() -> None:
    """Compile the kernels of simulation, paper trading and verification, or load them."""
    simulator.warm()
    stepping.warm()
    _warm_verification()


def _warm_verification() -> None:
    shape = (_N_STRATEGIES, _N_BARS)
    returns, one = np.full(shape, 0.01), np.ones(_N_STRATEGIES)
    first = np.zeros(_N_STRATEGIES, np.int64)
    observed = evidence.Observations.of_matrix(returns)
    detectors.standardise(observed, centre=one, scale=one)
    detectors.variance_cusum(returns)
    factors = np.zeros((len(observed), _N_GRID))
    evidence.accumulate(factors, observed, shape=shape, first=first)
    evidence.alarm_counts(np.ones((1, _N_BARS, _N_GRID)), np.ones(1))
    evidence.first_alarm(np.ones((1, _N_BARS, _N_GRID)), 1.0)
    paths.live_paths(returns, horizon=np.full(_N_STRATEGIES, _N_BARS), first=first)
    sequential.confidence_sequence(observed, shape=shape, scale=one)
    may_recover = np.zeros(_N_STRATEGIES, np.bool_)
    status.advance(
        first, first, np.zeros(shape, np.int64), first_new=first, may_recover=may_recover
    )
    trips.round_trips(first, first, first, one, price=one, fee=one)


if __name__ == "__main__":
    warm()
