"""Which part of live trading moved away from its promise: execution, or the edge itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray


@dataclass(frozen=True, slots=True)
class Parts:
    """Live trading less its promise, as the sum of its two parts.

    Attributes
    ----------
    n_bars : int
        Bars that count.
    live, shadow, promised : float
        Compounded returns over them, fractions; `promised` is the centre of the envelope.
    departure : float
        How far the shadow is from the centre, in spreads of healthy paths.
    """

    n_bars: int
    live: float
    shadow: float
    promised: float
    departure: float

    @property
    def execution(self) -> float:
        """Live less shadow, fraction; negative where trading lost what the model kept."""
        return self.live - self.shadow

    @property
    def edge(self) -> float:
        """Shadow less promise, fraction; negative where the model earns less than it did."""
        return self.shadow - self.promised


def parts_of(
    live: FloatArray, shadow: FloatArray, centre: FloatArray, spread: FloatArray
) -> Parts | None:
    r"""Split live trading less its promise into execution and edge.

    .. math:: L - E[B] = (L - S) + (S - E[B])

    Parameters
    ----------
    live, shadow : ndarray of shape (n_bars,)
        Returns per bar since the evidence began, fractions; NaN where unknown.
    centre, spread : ndarray of shape (n_horizon,)
        Envelope of log growth, as in `Cone`; the last bar stands for what lies beyond.

    Returns
    -------
    Parts or None
        Up to the newest bar that the shadow has come to; None before there is one, or without an
        envelope.
    """
    known = np.flatnonzero(~np.isnan(shadow) & ~np.isnan(live))
    if not len(known) or not len(centre):
        return None
    n_bars = int(known[-1]) + 1
    grown = [float(np.log1p(np.nan_to_num(one[:n_bars])).sum()) for one in (live, shadow)]
    place = min(n_bars, len(centre)) - 1
    return Parts(
        n_bars=n_bars,
        live=float(np.expm1(grown[0])),
        shadow=float(np.expm1(grown[1])),
        promised=float(np.expm1(centre[place])),
        departure=float((grown[1] - centre[place]) / spread[place]),
    )
