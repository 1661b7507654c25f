"""Portfolio heat: what the portfolio loses if every position is stopped out at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray

OVERNIGHT_GAP = 1.25


class HeatBasis(StrEnum):
    """Where the distance to the stop is measured from."""

    MARK = "mark"
    ENTRY = "entry"


@dataclass(frozen=True, slots=True)
class OpenRisk:
    """Positions and their stops, one element per position.

    Attributes
    ----------
    quantity : ndarray of shape (n_positions,)
        Units; negative for a short position.
    mark, entry : ndarray of shape (n_positions,)
        Present and average entry price, account currency per unit.
    stop : ndarray of shape (n_positions,)
        Price of the protective stop; NaN without one. A stop below 0 counts as 0.
    expected_shortfall : ndarray of shape (n_positions,)
        Expected shortfall of one session at 97.5 % of the *position* as a fraction of its value,
        not positive; used where there is no stop.
    multiplier : ndarray of shape (n_positions,)
        Account currency per point of price and unit.
    """

    quantity: FloatArray
    mark: FloatArray
    entry: FloatArray
    stop: FloatArray
    expected_shortfall: FloatArray
    multiplier: FloatArray

    @property
    def has_stop(self) -> BoolArray:
        """Which positions a stop protects."""
        return np.isfinite(self.stop)


@dataclass(frozen=True, slots=True)
class Heat:
    """Open risk over equity.

    Attributes
    ----------
    by_position : ndarray of shape (n_positions,)
        Fractions of equity, >= 0: an amount at risk, not a return.
    total : float
        Their sum: what is lost if all are stopped out together.
    correlated : float
        sqrt(h' rho h) with h signed by the direction of the position: what is lost if they move as
        they used to; the total where no correlations were given.
    """

    by_position: FloatArray
    total: float
    correlated: float


def portfolio_heat(
    positions: OpenRisk,
    equity: float,
    *,
    is_overnight: bool,
    correlation: FloatArray | None = None,
    basis: HeatBasis = HeatBasis.MARK,
) -> Heat:
    r"""Return the heat of open positions.

    .. math:: h_i = g \frac{\max(0, (p_i - s_i^+)\, \mathrm{side}_i |q_i| m_i)}{E}, \qquad
              \bar h = \sqrt{(d \circ h)' \rho (d \circ h)}

    with :math:`g` = 1.25 overnight, when a stop may be jumped, and 1 within the session. A
    position without a stop risks its expected shortfall of a session, :math:`-ES |q_i| p_i m_i`.
    A stop already behind the price in the direction of profit carries no risk.

    Parameters
    ----------
    positions : OpenRisk
        What is held.
    equity : float
        Account value in account currency, positive.
    is_overnight : bool
        Whether the session is closed, or the position will be held over its close.
    correlation : ndarray of shape (n_positions, n_positions), optional
        Correlations of the instruments' returns in [-1, 1]; an unknown pair (NaN) counts as 1.
    basis : HeatBasis
        Risk from the present price, or from the entry, as some desks display it.

    Returns
    -------
    Heat
        Fractions of equity, >= 0.

    Raises
    ------
    ValueError
        If the equity is not positive, or a position without a stop has no expected shortfall.

    References
    ----------
    .. [1] Tharp (2008), "Van Tharp's Definitive Guide to Position Sizing", ch. 11.
    """
    if not equity > 0:
        raise ValueError(f"heat is a fraction of positive equity, was {equity}")
    stopped = positions.has_stop
    shortfall = positions.expected_shortfall
    if np.isnan(shortfall[~stopped]).any():
        raise ValueError("a position without a stop needs an expected shortfall")
    start = positions.mark if basis is HeatBasis.MARK else positions.entry
    # Nothing trades below 0: a stop of a long position there can lose no more than its price.
    floor = np.maximum(np.where(stopped, positions.stop, 0.0), 0.0)
    to_stop = np.maximum(0.0, (start - floor) * positions.quantity)
    gap = OVERNIGHT_GAP if is_overnight else 1.0
    unprotected = np.maximum(0.0, -np.nan_to_num(shortfall)) * np.abs(positions.quantity)
    at_risk = np.where(stopped, gap * to_stop, unprotected * positions.mark)
    heat = at_risk * positions.multiplier / equity
    total = float(heat.sum())
    return Heat(heat, total, _correlated(heat, np.sign(positions.quantity), correlation, total))


def unit_counts(units: FloatArray, closeness: FloatArray) -> dict[str, float]:
    """Return how many Turtle units are held at each of the four levels of the caps.

    Parameters
    ----------
    units : ndarray of shape (n_markets,)
        Units held, negative for short ones.
    closeness : ndarray of shape (n_markets, n_markets)
        Correlations of the markets; above 0.6 counts as closely, above 0.3 as loosely correlated.

    Returns
    -------
    dict of str to float
        Largest count of `market`, `closely_correlated`, `loosely_correlated` and `direction`, to
        be compared with `TURTLE_CAPS`.

    References
    ----------
    .. [1] Faith (2003), "The Original Turtle Trading Rules", ch. 3.
    """
    if units.size == 0:
        return dict.fromkeys(TURTLE_CAPS, 0.0)
    sides = [np.maximum(units, 0.0), np.maximum(-units, 0.0)]
    return {
        "market": float(np.abs(units).max()),
        "closely_correlated": max(_crowded(side, closeness > 0.6) for side in sides),
        "loosely_correlated": max(_crowded(side, closeness > 0.3) for side in sides),
        "direction": max(float(side.sum()) for side in sides),
    }


TURTLE_CAPS = {
    "market": 4.0,
    "closely_correlated": 6.0,
    "loosely_correlated": 10.0,
    "direction": 12.0,
}


def _crowded(side: FloatArray, near: BoolArray) -> float:
    held: IntArray = np.flatnonzero(side)
    together = near | np.eye(len(side), dtype=bool)
    return float((together[held].astype(np.float64) @ side).max(initial=0.0))


def _correlated(
    heat: FloatArray, direction: FloatArray, correlation: FloatArray | None, total: float
) -> float:
    if correlation is None or heat.size == 0:
        return total
    signed = heat * direction
    # A pair that is not known is taken to fail together, whatever its directions.
    together = np.outer(direction, direction)
    known = np.where(np.isfinite(correlation), correlation, together)
    return float(np.sqrt(max(0.0, float(signed @ known @ signed))))
