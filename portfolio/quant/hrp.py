"""Hierarchical risk parity: as published, and as most libraries compute it."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from portfolio.quant.covariances import check_covariance


class HrpVariant(StrEnum):
    """Which distances are clustered; the weights differ materially."""

    PUBLISHED = "published"
    CONDENSED = "condensed"

    @property
    def label(self) -> str:
        """What the variant is, in words."""
        return {
            "published": "as published: clusters by distance between rows of distances",
            "condensed": "as in PyPortfolioOpt: clusters by the distances themselves",
        }[self.value]


def hrp_weights(
    covariance: FloatArray,
    *,
    variant: HrpVariant = HrpVariant.PUBLISHED,
    correlation: FloatArray | None = None,
) -> FloatArray:
    r"""Return hierarchical risk parity weights.

    Strategies are ordered by single-linkage clustering of :math:`d_{ij} = \sqrt{(1-\rho_{ij})/2}`;
    the order is halved again and again, and each half gets weight in inverse proportion to the
    variance of its inverse-variance portfolio.

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per period; need not be invertible.
    variant : HrpVariant
        PUBLISHED clusters the Euclidean distances between rows of d, as the paper does;
        CONDENSED clusters d itself, as PyPortfolioOpt and Riskfolio do.
    correlation : ndarray of shape (n_strategies, n_strategies), optional
        Correlations to cluster by; those of the covariance by default. Histories of different
        length have pairwise ones that differ.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Positive weights that sum to one.

    Raises
    ------
    ValueError
        If the matrix cannot be used.

    References
    ----------
    .. [1] López de Prado (2016), "Building diversified portfolios that outperform out of sample",
       Journal of Portfolio Management 42(4).
    """
    check_covariance(covariance)
    variances = np.diag(covariance)
    weights = np.ones(len(covariance))
    volatility = np.sqrt(variances)
    clustered = (
        covariance / np.outer(volatility, volatility) if correlation is None else correlation
    )
    pending = [hrp_order(clustered, variant=variant)]
    while pending:
        ordered = pending.pop()
        if len(ordered) < 2:
            continue
        left, right = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
        left_variance = _cluster_variance(covariance, variances, left)
        right_variance = _cluster_variance(covariance, variances, right)
        share = 1.0 - left_variance / (left_variance + right_variance)
        weights[left] *= share
        weights[right] *= 1.0 - share
        pending += [left, right]
    return weights


def hrp_order(correlation: FloatArray, *, variant: HrpVariant = HrpVariant.PUBLISHED) -> IntArray:
    """Return the strategies in the order of their dendrogram.

    Parameters
    ----------
    correlation : ndarray of shape (n_strategies, n_strategies)
        In [-1, 1].
    variant : HrpVariant
        Which distances are clustered.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Positions; neighbours are alike.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import pdist, squareform

    if len(correlation) == 1:
        return np.zeros(1, dtype=np.int64)
    distance = np.sqrt((1.0 - np.clip(correlation, -1.0, 1.0)) / 2.0)
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance, checks=False)
    if variant is HrpVariant.PUBLISHED:
        condensed = pdist(distance)
    return np.asarray(leaves_list(linkage(condensed, "single")), dtype=np.int64)


def _cluster_variance(covariance: FloatArray, variances: FloatArray, members: IntArray) -> float:
    inverse = 1.0 / variances[members]
    weights = inverse / inverse.sum()
    return float(weights @ covariance[np.ix_(members, members)] @ weights)
