"""Several live accounts as one, inside the envelopes that their backtests promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class LiveMember:
    """One account since its evidence began.

    Attributes
    ----------
    capital : float
        Worth before the first bar, positive.
    times : ndarray of int, shape (n_points,)
        In microseconds since 1970 UTC, increasing.
    growth : ndarray of shape (n_points,)
        Log return since the evidence began.
    position : ndarray of int, shape (n_points,)
        Bar of the horizon that each point is, from 0.
    centre : ndarray of shape (n_horizon,)
        Expected log return, as in `Cone`.
    quantiles : ndarray of shape (n_horizon, n_levels)
        As in `Cone`.
    """

    capital: float
    times: IntArray
    growth: FloatArray
    position: IntArray
    centre: FloatArray
    quantiles: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class JointPath:
    """What the accounts did together, and what had been promised.

    Attributes
    ----------
    times : ndarray of int, shape (n_times,)
        In microseconds since 1970 UTC.
    live, expected : ndarray of shape (n_times,)
        Return of all capital since the first evidence began, fraction.
    quantiles : ndarray of shape (n_times, n_levels)
        Of that return.
    """

    times: IntArray
    live: FloatArray
    expected: FloatArray
    quantiles: FloatArray


def joint_path(members: Sequence[LiveMember]) -> JointPath:
    r"""Add up accounts and their envelopes.

    .. math:: q_t = \frac{\sum_i A_i e^{q_{i,t}}}{\sum_i A_i} - 1

    The quantile of a sum is the sum of the quantiles where all parts move together, which no
    other dependence exceeds in convex order: the bands are those of strategies that have their
    good and bad days at once.

    Parameters
    ----------
    members : sequence of LiveMember
        At least one, each with a point. One that begins later counts with its capital until then.

    Returns
    -------
    JointPath
        At every time at which one of them has a point.

    References
    ----------
    .. [1] Dhaene, Denuit, Goovaerts, Kaas & Vyncke (2002), "The concept of comonotonicity in
       actuarial science and finance: theory", Insurance: Mathematics and Economics 31(1),
       theorems 5 and 7.
    """
    times = np.unique(np.concatenate([one.times for one in members]))
    n_levels = members[0].quantiles.shape[1]
    total = sum(one.capital for one in members)
    live, expected = np.zeros(len(times)), np.zeros(len(times))
    quantiles = np.zeros((len(times), n_levels))
    for one in members:
        place = np.searchsorted(one.times, times, side="right") - 1
        has_begun = place >= 0
        at = np.minimum(one.position[place], len(one.centre) - 1)
        share = one.capital / total
        live += share * np.where(has_begun, np.expm1(one.growth[place]), 0.0)
        expected += share * np.where(has_begun, np.expm1(one.centre[at]), 0.0)
        quantiles += share * np.where(has_begun[:, None], np.expm1(one.quantiles[at]), 0.0)
    return JointPath(times, live, expected, quantiles)
