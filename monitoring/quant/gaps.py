r"""Where the difference between live trading and its shadow comes from, fill by fill.

The P&L of fills marked at a common price M is linear in the fills,
:math:`\sum q (M - p) - fee` with q signed. So the difference between live and shadow is a sum over
pairs of fills, and each term of a pair has one cause:

.. math:: q_l (M - p_l) - q_s (M - p_s) = \underbrace{(q_l - q_s)(M - p_s)}_{size}
          \underbrace{- q_l (o_l - o_s)}_{late}
          \underbrace{- q_l ((p_l - o_l) - (p_s - o_s))}_{price}

where o is the price before slippage of the bar that the fill happened in.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray

WITHIN_BARS = 1
LATEST_BARS = 5
BPS = 1e4


class Cause(StrEnum):
    """Why live trading earned something else than its shadow."""

    MISSED = "missed"
    EXTRA = "extra"
    LATE = "late"
    PRICE = "price"
    SIZE = "size"
    FEE = "fee"
    RESTATED = "restated"
    RESIDUAL = "residual"


@dataclass(frozen=True, slots=True, eq=False)
class FillColumns:
    """Fills as columns of shape (n_fills,), in order of time.

    Attributes
    ----------
    asset : ndarray of int
        Instrument, as a code.
    bar : ndarray of int
        Bar that the fill happened in.
    quantity : ndarray
        Units, positive for a buy.
    price : ndarray
        Price paid or received.
    fee : ndarray
        Positive for an amount paid.
    reference : ndarray
        Price before slippage, such as the open of the bar; NaN where unknown.
    """

    asset: IntArray
    bar: IntArray
    quantity: FloatArray
    price: FloatArray
    fee: FloatArray
    reference: FloatArray

    def __len__(self) -> int:
        return len(self.asset)

    def scaled(self, factor: float) -> FillColumns:
        """Return the fills of an account `factor` times as large."""
        return FillColumns(
            self.asset,
            self.bar,
            self.quantity * factor,
            self.price,
            self.fee * factor,
            self.reference,
        )


@dataclass(frozen=True, slots=True)
class GapRow:
    """One fill, or pair of fills, and what it contributed.

    Attributes
    ----------
    live, shadow : int or None
        Positions among the combined live fills and the shadow's; None where there is none.
    bps : dict of Cause to float
        Basis points of the account's capital; a loss against the shadow is negative.
    late_bars : int
        Bars between the shadow's fill and the live one.
    """

    live: int | None
    shadow: int | None
    bps: dict[Cause, float]
    late_bars: int = 0

    @property
    def total_bps(self) -> float:
        """Sum over the causes."""
        return sum(self.bps.values())

    @property
    def main_cause(self) -> Cause:
        """The cause of the largest part, whatever its sign."""
        return max(self.bps, key=lambda cause: abs(self.bps[cause]))


@dataclass(frozen=True, slots=True, eq=False)
class GapLedger:
    """The difference between live and shadow returns, by cause.

    Attributes
    ----------
    live_bps, shadow_bps : float
        Return of each over the window, in basis points of its capital.
    bps : dict of Cause to float
        By cause, the residual last; sums to the difference exactly.
    rows : tuple of GapRow
        Fill by fill, in order of time.
    live : FillColumns
        Live fills, those of one instrument, side and bar combined.
    """

    live_bps: float
    shadow_bps: float
    bps: dict[Cause, float]
    rows: tuple[GapRow, ...]
    live: FillColumns

    @property
    def gap_bps(self) -> float:
        """Live less shadow."""
        return self.live_bps - self.shadow_bps


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which live fill belongs to which shadow fill.

    Attributes
    ----------
    live, shadow : ndarray of int, shape (n_pairs,)
        Positions of the two.
    missed, extra : ndarray of int
        Shadow fills without a live one, and live fills without a shadow one.
    late_bars : ndarray of int, shape (n_pairs,)
        Bars that the live fill came later.
    """

    live: IntArray
    shadow: IntArray
    missed: IntArray
    extra: IntArray
    late_bars: IntArray


def combine_fills(fills: FillColumns) -> FillColumns:
    """Return fills with the parts of one order put together.

    Parameters
    ----------
    fills : FillColumns
        In order of time.

    Returns
    -------
    FillColumns
        One per instrument, side and bar: quantities and fees summed, prices averaged by
        quantity.
    """
    if not len(fills):
        return fills
    keys = np.stack([fills.bar, fills.asset, np.sign(fills.quantity).astype(np.int64)], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    member = inverse.ravel()

    def total(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(member, weights=values, minlength=len(unique)))

    quantity = total(fills.quantity)
    return FillColumns(
        asset=unique[:, 1],
        bar=unique[:, 0],
        quantity=quantity,
        price=total(fills.quantity * fills.price) / quantity,
        fee=total(fills.fee),
        reference=total(fills.quantity * fills.reference) / quantity,
    )


def match_fills(
    live: FillColumns, shadow: FillColumns, *, latest_bars: int = LATEST_BARS
) -> Matches:
    """Pair live fills with the shadow's, in order of time per instrument and side.

    Parameters
    ----------
    live, shadow : FillColumns
        Combined, see `combine_fills`.
    latest_bars : int
        Bars that a live fill may come later and still be the same; a live fill one bar early
        is the same too.

    Returns
    -------
    Matches
        Each fill in at most one pair.
    """
    waiting: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for position in range(len(live)):
        waiting[int(live.asset[position]), bool(live.quantity[position] > 0)].append(position)
    pairs: list[tuple[int, int]] = []
    for position in np.argsort(shadow.bar, kind="stable").tolist():
        queue = waiting[int(shadow.asset[position]), bool(shadow.quantity[position] > 0)]
        bar = int(shadow.bar[position])
        for place, candidate in enumerate(queue):
            if bar - WITHIN_BARS <= live.bar[candidate] <= bar + latest_bars:
                pairs.append((queue.pop(place), position))
                break
    paired = np.array(pairs, np.int64).reshape(-1, 2)
    return Matches(
        live=paired[:, 0],
        shadow=paired[:, 1],
        missed=np.setdiff1d(np.arange(len(shadow)), paired[:, 1]),
        extra=np.setdiff1d(np.arange(len(live)), paired[:, 0]),
        late_bars=live.bar[paired[:, 0]] - shadow.bar[paired[:, 1]],
    )


def fill_gaps_bps(live: FillColumns, shadow: FillColumns, matches: Matches) -> FloatArray:
    """Return how much worse each matched live fill was, in basis points of its value.

    Parameters
    ----------
    live, shadow : FillColumns
        As matched.
    matches : Matches
        Pairs.

    Returns
    -------
    ndarray of shape (n_pairs,)
        Price and fee together; positive is worse than the shadow.
    """
    a, b = matches.live, matches.shadow
    side = np.sign(shadow.quantity[b])
    slipped = side * (live.price[a] / shadow.price[b] - 1.0)
    paid = live.fee[a] / np.abs(live.quantity[a] * live.price[a])
    modelled = shadow.fee[b] / np.abs(shadow.quantity[b] * shadow.price[b])
    return np.asarray((slipped + paid - modelled) * BPS)


@dataclass(frozen=True, slots=True)
class GapWindow:
    """The two accounts over the window whose difference is explained.

    Attributes
    ----------
    live_capital, shadow_capital : float
        Equity at the start of each.
    live_pnl, shadow_pnl : float
        Measured change of equity of each without capital flows, from the accounts themselves.
    marks : dict of int to float
        Price of each instrument at the end.
    """

    live_capital: float
    shadow_capital: float
    live_pnl: float
    shadow_pnl: float
    marks: dict[int, float] = field(default_factory=dict)


def explain_gap(
    live: FillColumns,
    shadow: FillColumns,
    *,
    window: GapWindow,
    known_shadow: FillColumns | None = None,
    latest_bars: int = LATEST_BARS,
) -> GapLedger:
    """Attribute the difference between live and shadow returns to causes.

    Parameters
    ----------
    live : FillColumns
        Live fills of the window; partial fills may be separate.
    shadow : FillColumns
        What the same version fills on the bars as they are known now.
    window : GapWindow
        What both accounts earned, measured independently of the fills.
    known_shadow : FillColumns, optional
        What it filled on the bars as they were known at the time; the difference to `shadow` is
        put down to restated bars.
    latest_bars : int
        See `match_fills`.

    Returns
    -------
    GapLedger
        What no cause explains is the residual, such as dividends or interest.

    References
    ----------
    .. [1] Perold (1988), "The implementation shortfall: paper versus reality", Journal of
       Portfolio Management 14(3).
    """
    ratio = window.live_capital / window.shadow_capital
    unit = BPS / window.live_capital
    current = combine_fills(shadow.scaled(ratio))
    known = current if known_shadow is None else combine_fills(known_shadow.scaled(ratio))
    combined = combine_fills(live)
    matches = match_fills(combined, known, latest_bars=latest_bars)
    rows = _rows(combined, known, matches, window.marks, unit)
    bps = {cause: sum(row.bps.get(cause, 0.0) for row in rows) for cause in Cause}
    restated = _pnl(known, window.marks).sum() - _pnl(current, window.marks).sum()
    bps[Cause.RESTATED] = float(restated) * unit
    live_bps = window.live_pnl / window.live_capital * BPS
    shadow_bps = window.shadow_pnl / window.shadow_capital * BPS
    bps[Cause.RESIDUAL] = live_bps - shadow_bps - sum(bps.values())
    return GapLedger(live_bps, shadow_bps, bps, rows, combined)


def _rows(
    live: FillColumns,
    shadow: FillColumns,
    matches: Matches,
    marks: dict[int, float],
    unit: float,
) -> tuple[GapRow, ...]:
    live_pnl, shadow_pnl = _pnl(live, marks), _pnl(shadow, marks)
    rows = [
        (int(shadow.bar[s]), GapRow(int(a), int(s), _pair(live, shadow, a, s, marks, unit), late))
        for a, s, late in zip(
            matches.live.tolist(), matches.shadow.tolist(), matches.late_bars.tolist(), strict=True
        )
    ]
    rows += [
        (int(shadow.bar[s]), GapRow(None, s, {Cause.MISSED: -float(shadow_pnl[s]) * unit}))
        for s in matches.missed.tolist()
    ]
    rows += [
        (int(live.bar[a]), GapRow(a, None, {Cause.EXTRA: float(live_pnl[a]) * unit}))
        for a in matches.extra.tolist()
    ]
    return tuple(row for _, row in sorted(rows, key=lambda entry: entry[0]))


def _pair(
    live: FillColumns,
    shadow: FillColumns,
    a: int,
    s: int,
    marks: dict[int, float],
    unit: float,
) -> dict[Cause, float]:
    mark = marks[int(shadow.asset[s])]
    quantity = float(live.quantity[a])
    moved = float(live.reference[a] - shadow.reference[s])
    late = 0.0 if np.isnan(moved) or live.bar[a] == shadow.bar[s] else -quantity * moved
    slipped = -quantity * float(live.price[a] - shadow.price[s])
    return {
        Cause.SIZE: (quantity - float(shadow.quantity[s])) * (mark - float(shadow.price[s])) * unit,
        Cause.LATE: late * unit,
        Cause.PRICE: (slipped - late) * unit,
        Cause.FEE: -float(live.fee[a] - shadow.fee[s]) * unit,
    }


def _pnl(fills: FillColumns, marks: dict[int, float]) -> FloatArray:
    mark = np.array([marks[code] for code in fills.asset.tolist()], np.float64)
    return np.asarray(fills.quantity * (mark - fills.price) - fills.fee)
