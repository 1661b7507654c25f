"""How many live signals differ from their re-run, bar by bar, and what that says of a strategy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from monitoring.quant import status
from monitoring.quant.budget import MATCH_RATE
from monitoring.quant.detectors import bernoulli_log_factors
from monitoring.quant.divergence import DivergenceArray, Kind, Reason

Word = TypeVar("Word", bound=IntEnum)
TALLY = np.dtype([("time", "<i8"), ("kind", "u1"), ("reason", "u1"), ("n", "<u2")])


def tally(found: DivergenceArray) -> npt.NDArray[np.void]:
    """Return differences counted by bar, kind and reason.

    Parameters
    ----------
    found : ndarray of DIVERGENCE
        In order of time.

    Returns
    -------
    ndarray of TALLY
        In order of time.
    """
    keys, counts = np.unique(found[["time", "kind", "reason"]], return_counts=True)
    result = np.zeros(len(keys), TALLY)
    for name in ("time", "kind", "reason"):
        result[name] = keys[name]
    result["n"] = np.minimum(counts, np.iinfo(np.uint16).max)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class SignalTally:
    """Compared signals of n strategies over T bars, and those that differ as columns.

    Attributes
    ----------
    compared : ndarray of int, shape (n, T)
        Pairs at each bar.
    row, column : ndarray of int, shape (n_entries,)
        Strategy and bar.
    kind, reason, count : ndarray of int, shape (n_entries,)
        `Kind`, `Reason`, and how many signals of that bar.
    """

    compared: IntArray
    row: IntArray
    column: IntArray
    kind: IntArray
    reason: IntArray
    count: IntArray

    @classmethod
    def none(cls, shape: tuple[int, int]) -> SignalTally:
        """Return no signals at all."""
        empty = np.empty(0, np.int64)
        return cls(np.zeros(shape, np.int64), empty, empty, empty, empty, empty)

    def since(self, first: IntArray) -> SignalTally:
        """Return the part from each strategy's bar `first`, shape (n,), on."""
        counted = np.arange(self.compared.shape[1]) >= first[:, None]
        kept = self.column >= first[self.row]
        columns = (self.row, self.column, self.kind, self.reason, self.count)
        return SignalTally(self.compared * counted, *(column[kept] for column in columns))

    def share_differing(self, *, minimum: int = 1) -> FloatArray:
        """Return the share of signals that differ, shape (n,); NaN for fewer than `minimum`."""
        n_compared = self.compared.sum(axis=1)
        n_differing = np.bincount(self.row, weights=self.count, minlength=len(n_compared))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(n_compared >= max(minimum, 1), n_differing / n_compared, np.nan)


@dataclass(frozen=True, slots=True)
class Differences:
    """The signals of one strategy that differ from the re-run.

    Attributes
    ----------
    n : int
        How many.
    kinds, reasons : dict
        How many by what they differ in, and why; without those that do not occur.
    first_column : int
        Bar of the first.
    first_reason : Reason
        Why that one differs.
    """

    n: int
    kinds: dict[Kind, int]
    reasons: dict[Reason, int]
    first_column: int
    first_reason: Reason


@dataclass(frozen=True, slots=True, eq=False)
class SignalStanding:
    """What the signals of n strategies amount to.

    Attributes
    ----------
    counted : SignalTally
        Since the evidence began.
    e_value : ndarray of shape (n,)
        Evidence against "at least 95 % of bars agree"; NaN without signals.
    is_flagged : ndarray of bool, shape (n, T)
        Whether a repaint was found, or that evidence is strong, up to each bar.
    is_close : ndarray of bool, shape (n, T)
        Whether at least 95 % of the signals up to each bar agree and none was repainted; True
        where there is nothing to compare.
    """

    counted: SignalTally
    e_value: FloatArray
    is_flagged: BoolArray
    is_close: BoolArray

    def differences(self) -> dict[int, Differences]:
        """Return what differs by strategy; those that agree throughout are left out."""
        part = self.counted
        found = {}
        for i in np.unique(part.row).tolist():
            mine = np.flatnonzero(part.row == i)
            found[i] = Differences(
                n=int(part.count[mine].sum()),
                kinds=_counts(Kind, part.kind[mine], part.count[mine]),
                reasons=_counts(Reason, part.reason[mine], part.count[mine]),
                first_column=int(part.column[mine[0]]),
                first_reason=Reason(int(part.reason[mine[0]])),
            )
        return found


def judge_signals(signals: SignalTally, *, first: IntArray) -> SignalStanding:
    r"""Hold the differences against what is expected: none.

    A repaint has probability zero under the promise, so that one is enough to look. How often live
    and re-run differ for whatever reason is tested like missed fills, with bars as trials,

    .. math:: E_t = \frac{1}{K} \sum_k
              \left(\frac{p_k}{p_0}\right)^{a_t} \left(\frac{1 - p_k}{1 - p_0}\right)^{d_t},
              \qquad p_0 = 0.95

    where a bars agree and d do not. Differences that follow from an earlier one make no trial.

    Parameters
    ----------
    signals : SignalTally
        Of n strategies.
    first : ndarray of int, shape (n,)
        Column from which evidence counts.

    Returns
    -------
    SignalStanding
        At every bar a function of what was known at it.

    References
    ----------
    .. [1] Wald (1947), "Sequential Analysis", section 5.2; Ville (1939) for the mixture.
    """
    counted = signals.since(first)
    n, length = counted.compared.shape
    has_signals = counted.compared.any(axis=1)
    agreeing = (counted.compared > 0).sum(axis=1)
    e_value = np.where(has_signals, _evidence(agreeing, np.zeros(n, np.int64)), np.nan)
    is_flagged = np.zeros((n, length), np.bool_)
    is_close = np.ones((n, length), np.bool_)
    for i in np.unique(counted.row).tolist():
        mine = counted.row == i
        path, is_flagged[i], is_close[i] = _paths(counted, i, mine)
        e_value[i] = path[-1]
    return SignalStanding(counted, e_value, is_flagged, is_close)


def _counts(words: type[Word], codes: IntArray, count: IntArray) -> dict[Word, int]:
    totals = np.bincount(codes, weights=count, minlength=len(words)).astype(int).tolist()
    return {word: n for word, n in zip(words, totals, strict=True) if n}


def _paths(
    counted: SignalTally, i: int, mine: BoolArray
) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Return evidence, flags and closeness of one strategy up to each bar."""
    length = counted.compared.shape[1]
    column, reason, count = counted.column[mine], counted.reason[mine], counted.count[mine]
    own = reason != Reason.EARLIER
    differing = np.bincount(column, weights=count, minlength=length)
    disagrees = np.bincount(column[own], minlength=length) > 0
    repainted = np.bincount(column[reason == Reason.REPAINT], minlength=length) > 0
    agrees = (counted.compared[i] > 0) & (differing == 0)
    path = _evidence(np.cumsum(agrees, dtype=np.int64), np.cumsum(disagrees, dtype=np.int64))
    is_repainted = np.cumsum(repainted) > 0
    least = (1.0 - status.LEAST_MATCH_RATE) * np.cumsum(counted.compared[i])
    is_close = (np.cumsum(differing) <= least) & ~is_repainted
    return path, is_repainted | (path >= status.DEGRADED_E), is_close


def _evidence(agreeing: IntArray, differing: IntArray) -> FloatArray:
    limit = np.full(2, MATCH_RATE)
    missed, hit = bernoulli_log_factors(np.array([0.0, 1.0]), limit)
    logs = np.multiply.outer(agreeing, hit) + np.multiply.outer(differing, missed)
    return np.asarray(np.exp(np.minimum(logs, 700.0)).mean(axis=-1))
