"""How much of the equity is in the market, and how concentrated it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray


@dataclass(frozen=True, slots=True)
class Exposure:
    """Market value of positions over equity.

    Attributes
    ----------
    long, short : float
        Sums of the positive and of the negative weights; `short` is not positive.
    gross, net : float
        long - short, and long + short.
    largest : float
        Largest single absolute weight.
    effective_positions : float
        Number of equal positions as concentrated as these; NaN where nothing is held.
    """

    long: float
    short: float
    gross: float
    net: float
    largest: float
    effective_positions: float


def exposure(values: FloatArray, equity: float) -> Exposure:
    r"""Return the exposure of positions.

    The effective number of positions is the inverse Herfindahl index of the shares of the gross
    exposure, :math:`1 / \sum_i (|v_i| / \sum_j |v_j|)^2`.

    Parameters
    ----------
    values : ndarray of shape (n_positions,)
        Market values in account currency; short positions are negative.
    equity : float
        Account value in account currency, positive.

    Returns
    -------
    Exposure
        Fractions of equity.

    Raises
    ------
    ValueError
        If the equity is not positive.

    References
    ----------
    .. [1] Roncalli (2013), "Introduction to Risk Parity and Budgeting", section 3.1.2.
    """
    if not equity > 0:
        raise ValueError(f"exposure is a fraction of positive equity, was {equity}")
    weights = np.asarray(values, dtype=np.float64) / equity
    sizes = np.abs(weights)
    gross = float(sizes.sum())
    long = float(weights[weights > 0].sum())
    return Exposure(
        long=long,
        short=float(weights[weights < 0].sum()),
        gross=gross,
        net=float(weights.sum()),
        largest=float(sizes.max(initial=0.0)),
        effective_positions=gross**2 / float(sizes @ sizes) if gross > 0 else float("nan"),
    )


def exposure_by(values: FloatArray, labels: Sequence[str], equity: float) -> dict[str, Exposure]:
    """Return the exposure of every group of positions.

    Parameters
    ----------
    values : ndarray of shape (n_positions,)
        Market values in account currency; short positions are negative.
    labels : sequence of str of length n_positions
        Strategy, instrument, sector or asset class of each position.
    equity : float
        Account value of the whole, positive.

    Returns
    -------
    dict of str to Exposure
        In order of gross exposure, largest first.

    Raises
    ------
    ValueError
        If there is not one label per position, or the equity is not positive.
    """
    if len(labels) != len(values):
        raise ValueError(f"{len(values)} positions need as many labels, was {len(labels)}")
    names = np.asarray(labels, dtype=object)
    groups = {name: exposure(values[names == name], equity) for name in dict.fromkeys(labels)}
    return dict(sorted(groups.items(), key=lambda item: -item[1].gross))
