"""From evidence to a verdict: decided bar by bar, improved only after clean bars."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from strategies.quant.compiled import compiled

LEAST_TRIPS, LEAST_BARS = 20, 60
LEAST_REFERENCE_BARS, LEAST_REFERENCE_TRIPS = 250, 30
DEGRADED_E, FAILED_E = 20.0, 1000.0
DISCOVERY_RATE, LEAST_FLEET = 0.1, 20
LEAST_MATCH_RATE, LEAST_CORRELATION = 0.95, 0.9
WATCH_SCORE = 70.0
CLEAN_BARS = 10


class Standing(IntEnum):
    """The verdict, from best to worst; INSUFFICIENT is none."""

    INSUFFICIENT = -1
    VERIFIED = 0
    MONITORING = 1
    WATCH = 2
    DEGRADED = 3
    FAILED = 4

    @property
    def key(self) -> str:
        """Return the word that is stored."""
        return self.name.lower()


_DEGRADED = int(Standing.DEGRADED)


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What the verdict is decided by, each of shape (n_strategies, n_bars).

    Attributes
    ----------
    is_sufficient : ndarray of bool
        Whether there is enough live trading and a valid reference.
    is_failed, is_degraded, is_watched, is_verified : ndarray of bool
        Whether a reason for that verdict holds at the bar.
    """

    is_sufficient: BoolArray
    is_failed: BoolArray
    is_degraded: BoolArray
    is_watched: BoolArray
    is_verified: BoolArray


def decide(findings: Findings, *, is_beyond_limit: BoolArray) -> IntArray:
    """Return the verdict that the evidence at each bar calls for, without memory.

    Parameters
    ----------
    findings : Findings
        Reasons at each bar.
    is_beyond_limit : ndarray of bool, shape (n_strategies, n_bars)
        Whether the owner's own drawdown limit is broken; that is a rule, not a statistic, and
        needs no minimum of observations.

    Returns
    -------
    ndarray of int, shape (n_strategies, n_bars)
        `Standing` values.
    """
    judged = np.select(
        [findings.is_failed, findings.is_degraded, findings.is_watched, findings.is_verified],
        [Standing.FAILED, Standing.DEGRADED, Standing.WATCH, Standing.VERIFIED],
        Standing.MONITORING,
    )
    judged = np.where(findings.is_sufficient, judged, Standing.INSUFFICIENT)
    return np.where(is_beyond_limit, Standing.FAILED, judged).astype(np.int64)


def advance(
    standing: IntArray,
    clean_bars: IntArray,
    called_for: IntArray,
    *,
    first_new: IntArray,
    may_recover: BoolArray,
) -> tuple[IntArray, IntArray]:
    """Carry verdicts over the bars that are new, worse ones at once, better ones slowly.

    Parameters
    ----------
    standing : ndarray of int, shape (n_strategies,)
        Verdict so far.
    clean_bars : ndarray of int, shape (n_strategies,)
        Consecutive bars so far that called for a better one.
    called_for : ndarray of int, shape (n_strategies, n_bars)
        As `decide` gives it.
    first_new : ndarray of int, shape (n_strategies,)
        Column of the first bar that was not considered before; n_bars if there is none.
    may_recover : ndarray of bool, shape (n_strategies,)
        Whether a degraded or failed verdict was acknowledged and its evidence reset since.

    Returns
    -------
    standing, clean_bars : ndarray of int, shape (n_strategies,)
        After the last bar. Without new bars a verdict can only get worse, so that looking more
        often never improves it.
    """
    new_standing = np.array(standing, np.int64)
    new_clean = np.array(clean_bars, np.int64)
    if called_for.shape[1]:
        _advance(
            np.ascontiguousarray(called_for, np.int64),
            np.asarray(first_new, np.int64),
            np.asarray(may_recover, np.bool_),
            new_standing,
            new_clean,
        )
    return new_standing, new_clean


WEIGHTS = {
    "execution": 25.0,
    "return": 25.0,
    "drawdown": 20.0,
    "win_rate": 10.0,
    "frequency": 10.0,
    "volatility": 10.0,
}


def health_score(log_e: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    r"""Return a score that summarises evidence, and how much of it there is.

    .. math:: \sum_i w_i s_i \Big/ \sum_i w_i, \qquad
              s_i = 100 \left(1 - \operatorname{clip}(\tfrac{1}{2} \log_{10} E_i, 0, 1)\right)

    Parameters
    ----------
    log_e : dict of str to ndarray of shape (n_strategies, n_bars)
        Natural logarithm of the evidence of each of `WEIGHTS`; NaN where a component has nothing
        to go by.

    Returns
    -------
    score : ndarray of shape (n_strategies, n_bars)
        In [0, 100]; NaN without any component. Evidence of 10 gives 50, of 100 gives 0.
    coverage : ndarray of the same shape
        Share of the weight that has data, in [0, 1].
    """
    total = coverage = np.zeros(())
    for name, weight in WEIGHTS.items():
        evidence = log_e[name]
        part = 100.0 * (1.0 - np.clip(evidence / np.log(10.0) / 2.0, 0.0, 1.0))
        has_evidence = ~np.isnan(evidence)
        total = total + np.where(has_evidence, weight * part, 0.0)
        coverage = coverage + weight * has_evidence
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(coverage > 0, total / coverage, np.nan)
    return score, np.asarray(coverage / sum(WEIGHTS.values()))


@compiled
def _advance(
    called_for: IntArray,
    first_new: IntArray,
    may_recover: BoolArray,
    standing: IntArray,
    clean: IntArray,
) -> None:
    n_strategies, n_bars = called_for.shape
    for i in range(n_strategies):
        for t in range(max(first_new[i], 0), n_bars):
            wanted = called_for[i, t]
            if standing[i] < 0 or wanted < 0 or wanted > standing[i]:
                clean[i] = 0
                standing[i] = wanted
            elif wanted == standing[i]:
                clean[i] = 0
            else:
                clean[i] += 1
                if clean[i] >= CLEAN_BARS and (standing[i] < _DEGRADED or may_recover[i]):
                    standing[i] = wanted
                    clean[i] = 0
        newest = called_for[i, n_bars - 1]
        if first_new[i] >= n_bars and newest > standing[i]:
            standing[i] = newest
            clean[i] = 0
