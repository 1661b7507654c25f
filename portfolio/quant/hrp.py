"""Hierarchical risk parity: as published, and as most libraries compute it."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from portfolio.quant.covariances import check_covariance
from strategies.quant.compiled import compiled


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
    volatility = np.sqrt(np.diag(covariance))
    clustered = (
        covariance / np.outer(volatility, volatility) if correlation is None else correlation
    )
    order = hrp_order(clustered, variant=variant)
    weights = np.empty(len(covariance))
    weights[order] = _bisected(np.ascontiguousarray(covariance[np.ix_(order, order)]))
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


@compiled
def _bisected(covariance: FloatArray) -> FloatArray:
    """Return the weights of strategies in their order, halved from the whole down to each."""
    weights = np.ones(len(covariance))
    pending = [(0, len(covariance))]
    while pending:
        start, end = pending.pop()
        if end - start < 2:
            continue
        middle = start + (end - start) // 2
        left = _cluster_variance(covariance, start, middle)
        right = _cluster_variance(covariance, middle, end)
        share = 1.0 - left / (left + right)
        weights[start:middle] *= share
        weights[middle:end] *= 1.0 - share
        pending.append((start, middle))
        pending.append((middle, end))
    return weights


@compiled
def _cluster_variance(covariance: FloatArray, start: int, end: int) -> float:
    """Return the variance of the inverse-variance portfolio of neighbours."""
    scale, variance = 0.0, 0.0
    for i in range(start, end):
        scale += 1.0 / covariance[i, i]
        for j in range(start, end):
            variance += covariance[i, j] / (covariance[i, i] * covariance[j, j])
    return variance / (scale * scale)
