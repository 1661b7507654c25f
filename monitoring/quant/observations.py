"""What is known about many live strategies at one moment, as arrays.

Bars are aligned to the right: the last column is the newest closed bar of every strategy, and
earlier columns are NaN for one that has fewer bars. A window of the last k bars is `[:, -k:]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from monitoring.quant.cone import Cone
from monitoring.quant.evidence import Observations
from monitoring.quant.signal_tally import SignalTally


@dataclass(frozen=True, slots=True, eq=False)
class LiveTrips:
    """Round trips of many strategies, in order of strategy and exit, as columns.

    Attributes
    ----------
    row : ndarray of int, shape (n_trips,)
        Strategy.
    entered, exited : ndarray of int, shape (n_trips,)
        Columns of the bars of entry and exit; exit is -1 while the position is open.
    returns : ndarray of shape (n_trips,)
        P&L after commission over the value at entry, fraction; NaN while open.
    pnl : ndarray of shape (n_trips,)
        The same P&L in the currency of the account, a loss negative; NaN while open.
    """

    row: IntArray
    entered: IntArray
    exited: IntArray
    returns: FloatArray
    pnl: FloatArray

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def none(cls) -> LiveTrips:
        """Return no round trips."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True, eq=False)
class Envelopes:
    """Cones of many strategies, padded with NaN to the longest horizon.

    Attributes
    ----------
    centre, spread : ndarray of shape (n_strategies, n_horizon)
        As in `Cone`.
    quantiles : ndarray of shape (n_strategies, n_horizon, n_levels)
        As in `Cone`.
    simultaneous : ndarray of shape (n_strategies, n_bands)
        As in `Cone`.
    horizon : ndarray of int, shape (n_strategies,)
        Bars of each; 0 without an envelope.
    """

    centre: FloatArray
    spread: FloatArray
    quantiles: FloatArray
    simultaneous: FloatArray
    horizon: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class LiveObservations:
    """Live trading, shadow and expectation of n strategies over up to T bars.

    Attributes
    ----------
    strategies : tuple of UUID
        One per row.
    names : tuple of str
        For people.
    owners : tuple of int
        Users.
    accounts : tuple of UUID or None
        The open account of each.
    timeframes : tuple of str
        Length of a bar.
    present : ndarray of int, shape (n,)
        The time that the market of each had come to, in microseconds since 1970 UTC, when its bars
        began to be read; never later, or reading slowly would look like missing bars.
    times : ndarray of int, shape (n, T)
        Close of each bar in microseconds since 1970 UTC; 0 where there is none.
    returns : ndarray of shape (n, T)
        Live return per bar without capital flows, fraction; NaN where there is none, which
        includes the bar an account opened at.
    equity, exposure : ndarray of shape (n, T)
        Account value, and gross positions over it.
    shadow : ndarray of shape (n, T)
        Return of the shadow at the same bars.
    trips : LiveTrips
        Live round trips.
    matches : Observations
        1 for a shadow fill that has its live fill within one bar, or a live fill that has its
        shadow fill; 0 for a missed or extra one.
    fill_gaps_bps : Observations
        Per matched fill: how much worse the live price and fee were, in basis points.
    trip_gaps : Observations
        Per matched fill: live less shadow as a fraction of its value, so that a loss is negative.
    signals : SignalTally
        Live signals held against those of the shadow.
    promise : dict of str to ndarray of shape (n,)
        Scalars of the expectations by name, NaN without one; see `expectations.Promise`.
    envelopes : Envelopes
        Their cones.
    levels : ndarray of shape (n, n_detectors, n_rates)
        Alarm levels, see `budget.AlarmLevels`.
    has_shadow : ndarray of bool, shape (n,)
        Whether there is a shadow at all.
    """

    strategies: tuple[UUID, ...]
    names: tuple[str, ...]
    owners: tuple[int, ...]
    accounts: tuple[UUID | None, ...]
    timeframes: tuple[str, ...]
    present: IntArray
    times: IntArray
    returns: FloatArray
    equity: FloatArray
    exposure: FloatArray
    shadow: FloatArray
    trips: LiveTrips
    matches: Observations
    fill_gaps_bps: Observations
    trip_gaps: Observations
    signals: SignalTally
    promise: dict[str, FloatArray]
    envelopes: Envelopes
    levels: FloatArray
    has_shadow: BoolArray

    @property
    def shape(self) -> tuple[int, int]:
        """Strategies and bars."""
        return self.returns.shape[0], self.returns.shape[1]

    @property
    def n_bars(self) -> IntArray:
        """Live returns of each strategy, shape (n,)."""
        return np.asarray((~np.isnan(self.returns)).sum(axis=1), np.int64)

    @property
    def newest(self) -> IntArray:
        """Close of the newest bar in microseconds since 1970 UTC, shape (n,); 0 for none."""
        if self.times.shape[1] == 0:
            return np.zeros(len(self.strategies), np.int64)
        return self.times[:, -1]


def stack_envelopes(cones: Sequence[Cone | None], *, n_levels: int, n_bands: int) -> Envelopes:
    """Return the cones of many strategies as arrays.

    Parameters
    ----------
    cones : sequence of Cone or None
        None where a strategy has no expectation.
    n_levels, n_bands : int
        Widths of the answer.

    Returns
    -------
    Envelopes
        Padded with NaN.
    """
    horizon = np.array([0 if cone is None else cone.n_bars for cone in cones], np.int64)
    longest = int(horizon.max()) if len(horizon) else 0
    centre = np.full((len(cones), longest), np.nan)
    spread, quantiles = centre.copy(), np.full((len(cones), longest, n_levels), np.nan)
    simultaneous = np.full((len(cones), n_bands), np.nan)
    for i, cone in enumerate(cones):
        if cone is not None:
            centre[i, : cone.n_bars] = cone.centre
            spread[i, : cone.n_bars] = cone.spread
            quantiles[i, : cone.n_bars] = cone.quantiles
            simultaneous[i] = cone.simultaneous
    return Envelopes(centre, spread, quantiles, simultaneous, horizon)
