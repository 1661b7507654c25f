r"""Live signals against those that the same version gives on the same bars afterwards.

A version is a function of its bars: on bars that have not changed the number of differences
expected is exactly zero, so that a single one refutes it, with no error of the first kind. What
was restated, came late or was never asked for is not the version's fault and is told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from strategies.quant.signals import PositionArray, WishArray, fold_wishes

# Warm-up leaves up to 0.01 % of an indicator's seed, and a strength divides by a small scale.
STRENGTH_TOLERANCE = 1e-3
PRICE_TOLERANCE = 1e-6
# The signal of the newest bar may still be on its way.
UNSETTLED_BARS = 1


class Kind(IntEnum):
    """What a live signal and its counterpart differ in."""

    TYPE = 0
    STRENGTH = 1
    MISSING = 2
    EXTRA = 3


class Reason(IntEnum):
    """Why they differ."""

    REPAINT = 0
    EARLIER = 1
    RESTATED = 2
    LATE = 3
    OUTAGE = 4


KIND_WORDS = {
    Kind.TYPE: "Of another type",
    Kind.STRENGTH: "Of another strength",
    Kind.MISSING: "Missing live",
    Kind.EXTRA: "Extra live",
}
REASON_WORDS = {
    Reason.REPAINT: "Repaint",
    Reason.EARLIER: "Follows from an earlier difference",
    Reason.RESTATED: "Bars were restated",
    Reason.LATE: "A bar came late",
    Reason.OUTAGE: "Outage or suspension",
}

# Types are +1 buy, -1 sell, 0 hold; a strength is NaN where there is no signal.
DIVERGENCE = np.dtype(
    [
        ("time", "<i8"),
        ("given_at", "<i8"),
        ("asset", "<u2"),
        ("kind", "u1"),
        ("reason", "u1"),
        ("live", "i1"),
        ("again", "i1"),
        ("live_strength", "<f4"),
        ("again_strength", "<f4"),
    ]
)
DivergenceArray = npt.NDArray[np.void]
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class GivenSignals:
    """Signals that were stored at their bar closes, as columns of shape (n_signals,).

    Attributes
    ----------
    asset : ndarray of int
        Column of the re-run.
    time : ndarray of int
        Close of the bar in microseconds since 1970 UTC.
    given_at : ndarray of int
        When the signal was stored, in the same unit.
    type : ndarray of int
        +1 buy, -1 sell, 0 hold.
    side : ndarray of int
        Side held before, +1, 0 or -1.
    wish : ndarray of int
        Bit field of the plug-in; -1 where it was not kept.
    strength, price : ndarray
        In [0, 1]; close of the bar.
    """

    asset: IntArray
    time: IntArray
    given_at: IntArray
    type: IntArray
    side: IntArray
    wish: IntArray
    strength: FloatArray
    price: FloatArray

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True, eq=False)
class Rerun:
    """What the version says of the same bars now.

    Attributes
    ----------
    times : ndarray of int, shape (n_bars,)
        Closes in microseconds since 1970 UTC.
    wishes : ndarray of uint8, shape (n_bars, n_assets)
        Bit fields of the plug-in.
    strength, close : ndarray of shape (n_bars, n_assets)
        In [0, 1]; NaN where an instrument has no bar.
    """

    times: IntArray
    wishes: WishArray
    strength: FloatArray
    close: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class SignalComparison:
    """Live signals beside those of the re-run.

    Attributes
    ----------
    compared : ndarray of int, shape (n_bars,)
        Pairs at each bar, those with only one side among them.
    found : ndarray of DIVERGENCE
        Pairs that differ, in order of time.
    sides : ndarray of int8, shape (n_bars, n_assets)
        Side that the re-run wants after each bar.
    """

    compared: IntArray
    found: DivergenceArray
    sides: PositionArray


def compare_signals(
    given: GivenSignals, again: Rerun, *, sides: PositionArray | None = None
) -> SignalComparison:
    """Hold every live signal against the one of the re-run on its bar and instrument.

    The types of the re-run follow its own sides, so that a difference can bring about later ones:
    those of an unchanged wish are put down to the earlier difference.

    Parameters
    ----------
    given : GivenSignals
        Of one version, from the first bar of the re-run on.
    again : Rerun
        Bars of the live period.
    sides : ndarray of int8, shape (n_assets,), optional
        Sides before the first bar. Without them the comparison begins with the first live signal,
        and each instrument at the side that its own first signal came from.

    Returns
    -------
    SignalComparison
        With reasons as far as signals and prices tell; see `give_reasons`.
    """
    n_bars, n_assets = again.wishes.shape
    if (not len(given) and sides is None) or not n_bars:
        return SignalComparison(
            np.zeros(n_bars, np.int64),
            np.empty(0, DIVERGENCE),
            np.zeros((n_bars, n_assets), np.int8),
        )
    place = np.searchsorted(again.times, given.time)
    has_bar = np.isfinite(again.close)
    known = _on_a_bar(given, again, place, has_bar)
    first = 0 if sides is not None else int(place[known].min(initial=n_bars))
    row, asset = place[known], given.asset[known]
    held = _first_sides(row, asset, given.side[known], n_assets) if sides is None else sides
    after = _folded(again.wishes, held, first)
    before = np.vstack([held[None], after[:-1]])
    types = np.sign(after - before).astype(np.int8)
    expected = has_bar & (np.arange(n_bars) >= first)[:, None]
    answered = np.zeros((n_bars, n_assets), np.bool_)
    answered[row, asset] = True
    missing = expected & ~answered
    missing[n_bars - UNSETTLED_BARS :] = False
    extra = ~known & (place >= first) & (place < n_bars)
    if sides is None:
        # The signal that the account began on is that of the bar before.
        extra &= given.time > again.times[0]
    compared = (answered | missing).sum(axis=1) + np.bincount(place[extra], minlength=n_bars)
    parts = [
        _differing(_taken(given, known), again, row, before, types),
        _missing(given, again, missing, types),
        _extra(_taken(given, extra)),
    ]
    found = np.concatenate(parts)
    order = np.lexsort((found["asset"], found["time"]))
    return SignalComparison(compared.astype(np.int64), found[order], after)


def give_reasons(
    found: DivergenceArray,
    *,
    reach: IntArray,
    stored: tuple[IntArray, IntArray, IntArray, BoolArray],
) -> None:
    """Tell what was stored after a signal had been given, in place.

    Parameters
    ----------
    found : ndarray of DIVERGENCE
        As `compare_signals` gives them.
    reach : ndarray of int, shape (n_found,)
        Close of the oldest bar that each signal rests on, in microseconds since 1970 UTC.
    stored : tuple of ndarray, each of shape (n_stored,)
        Instrument, close and time of storage of bars that came after the first of these signals,
        and whether they were restated; times as above.
    """
    asset, close, stored_at, is_restated = stored
    for k in np.flatnonzero(np.isin(found["reason"], (Reason.REPAINT, Reason.OUTAGE))):
        one = found[k]
        after = stored_at > one["given_at"]
        if one["kind"] == Kind.MISSING:
            came = after & (asset == one["asset"]) & (close == one["time"])
            found["reason"][k] = Reason.LATE if came.any() else Reason.OUTAGE
            continue
        came = after & (close <= one["time"]) & (close >= reach[k])
        if (came & is_restated).any():
            found["reason"][k] = Reason.RESTATED
        elif came.any():
            found["reason"][k] = Reason.LATE


def _on_a_bar(given: GivenSignals, again: Rerun, place: IntArray, has_bar: BoolArray) -> BoolArray:
    inside = np.minimum(place, len(again.times) - 1)
    return (again.times[inside] == given.time) & has_bar[inside, given.asset]


def _first_sides(row: IntArray, asset: IntArray, side: IntArray, n_assets: int) -> PositionArray:
    held = np.zeros(n_assets, np.int8)
    # Backwards, so that the first of each instrument is written last.
    order = np.argsort(row, kind="stable")[::-1]
    held[asset[order]] = side[order]
    return held


def _folded(wishes: WishArray, held: PositionArray, first: int) -> PositionArray:
    after = np.empty(wishes.shape, np.int8)
    after[:first] = held
    for j in range(wishes.shape[1]):
        after[first:, j] = fold_wishes(wishes[first:, j], position=int(held[j]))
    return after


def _taken(given: GivenSignals, chosen: BoolArray) -> GivenSignals:
    columns = (getattr(given, name)[chosen] for name in GivenSignals.__slots__)
    return GivenSignals(*columns)


def _differing(
    given: GivenSignals,
    again: Rerun,
    row: IntArray,
    before: PositionArray,
    types: PositionArray,
) -> DivergenceArray:
    cell = (row, given.asset)
    other_type = types[cell] != given.type
    strength = again.strength[cell]
    other_strength = np.abs(strength - given.strength) > STRENGTH_TOLERANCE
    chosen = other_type | other_strength
    is_carried = (given.wish == again.wishes[cell]) & (given.side != before[cell]) & ~other_strength
    restated = np.abs(again.close[cell] - given.price) > PRICE_TOLERANCE * given.price
    reasons = np.select([is_carried, restated], [Reason.EARLIER, Reason.RESTATED], Reason.REPAINT)
    found = _records(_taken(given, chosen), np.where(other_type, Kind.TYPE, Kind.STRENGTH)[chosen])
    found["reason"] = reasons[chosen]
    found["again"] = types[cell][chosen]
    found["again_strength"] = strength[chosen]
    return found


def _missing(
    given: GivenSignals, again: Rerun, missing: BoolArray, types: PositionArray
) -> DivergenceArray:
    row, asset = np.nonzero(missing)
    found = np.zeros(len(row), DIVERGENCE)
    found["time"], found["asset"] = again.times[row], asset
    found["kind"], found["reason"] = Kind.MISSING, Reason.OUTAGE
    found["again"], found["again_strength"] = types[row, asset], again.strength[row, asset]
    found["live_strength"] = np.nan
    # A bar that came only when later signals had been given was passed over.
    order = np.argsort(given.time, kind="stable")
    earliest = np.minimum.accumulate(given.given_at[order][::-1])[::-1]
    later = np.searchsorted(given.time[order], found["time"], side="left")
    found["given_at"] = np.append(earliest, NEVER)[later]
    return found


def _extra(given: GivenSignals) -> DivergenceArray:
    found = _records(given, np.full(len(given), Kind.EXTRA))
    # Its bar was there when it was given.
    found["reason"], found["again_strength"] = Reason.RESTATED, np.nan
    return found


def _records(given: GivenSignals, kinds: IntArray) -> DivergenceArray:
    found = np.zeros(len(given), DIVERGENCE)
    for name in ("time", "given_at", "asset"):
        found[name] = getattr(given, name)
    found["kind"], found["live"], found["live_strength"] = kinds, given.type, given.strength
    return found
