"""Which strategies outside a portfolio would make it less alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray
from portfolio.quant.correlation import MIN_COMMON, correlation_matrix
from portfolio.quant.diversification import weighted_mean_correlation

WEIGHT = 0.10


@dataclass(frozen=True, slots=True)
class Candidate:
    """What adding one strategy would do.

    Attributes
    ----------
    position : int
        Column of the candidate.
    with_portfolio : float
        Correlation with the portfolio's own returns; NaN where too few bars are shared.
    mean_after, change : float
        Weighted mean correlation with the candidate in, and how much it moves; negative lowers.
    n_common : int
        Bars shared with the portfolio.
    """

    position: int
    with_portfolio: float
    mean_after: float
    change: float
    n_common: int

    @property
    def is_sufficient(self) -> bool:
        """Whether enough bars are shared to say anything."""
        return bool(np.isfinite(self.with_portfolio))


def rank_candidates(
    members: FloatArray,
    weights: FloatArray,
    candidates: FloatArray,
    *,
    weight: float = WEIGHT,
    min_common: int = MIN_COMMON,
) -> list[Candidate]:
    """Return candidates by how much they lower the portfolio's mean correlation.

    Each is thought to come in with the same weight, for which all members give way in
    proportion.

    Parameters
    ----------
    members : ndarray of shape (n_bars, n_members)
        Returns of what the portfolio holds, fractions per bar; NaN where there is none.
    weights : ndarray of shape (n_members,)
        Non-negative fractions of equity.
    candidates : ndarray of shape (n_bars, n_candidates)
        Returns of the candidates over the same bars.
    weight : float
        Of the candidate, in (0, 1).
    min_common : int
        Fewest bars to share.

    Returns
    -------
    list of Candidate
        The one that lowers most first; those with too few bars last.
    """
    n_members, n_candidates = members.shape[1], candidates.shape[1]
    total = float(weights.sum())
    if n_members == 0 or total <= 0.0:
        return []
    shares = weights / total
    held = np.isfinite(members) @ np.where(shares > 0, shares, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # On a bar that some members lack, the others stand for the portfolio.
        portfolio = np.where(held > 0.5, np.nan_to_num(members) @ shares / held, np.nan)
    matrix = correlation_matrix(
        np.column_stack([members, candidates, portfolio]), min_common=min_common
    )
    before = weighted_mean_correlation(shares, matrix[:n_members, :n_members])
    found = []
    for k in range(n_candidates):
        with_all = np.append(np.arange(n_members), n_members + k)
        after = weighted_mean_correlation(
            np.append(shares * (1.0 - weight), weight), matrix[np.ix_(with_all, with_all)]
        )
        n_common = int((np.isfinite(candidates[:, k]) & np.isfinite(portfolio)).sum())
        # A portfolio of one strategy has no pairs yet: the candidate makes the first.
        change = after - (before if np.isfinite(before) else 1.0)
        found.append(Candidate(k, float(matrix[n_members + k, -1]), after, change, n_common))
    return sorted(found, key=lambda one: (not one.is_sufficient, np.nan_to_num(one.change)))
