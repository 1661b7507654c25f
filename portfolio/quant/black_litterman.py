"""Equilibrium returns, bent by views as far as these are believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alphastrat.quant.types import FloatArray

TAU = 0.05
RISK_AVERSION = 2.5


@dataclass(frozen=True, slots=True)
class View:
    """What somebody believes about returns.

    Attributes
    ----------
    strategy : int
        Position of the strategy it is about.
    excess : float
        Its return per year; over that of `against` where there is one.
    against : tuple of (int, float)
        Positions and shares of what it is compared with; empty for an absolute view.
    confidence : float
        How far it is believed, in (0, 1).
    """

    strategy: int
    excess: float
    against: tuple[tuple[int, float], ...] = ()
    confidence: float = 0.5


def equilibrium_returns(
    covariance: FloatArray,
    weights: FloatArray,
    *,
    risk_aversion: float = RISK_AVERSION,
    risk_free: float = 0.0,
) -> FloatArray:
    r"""Return the returns for which given weights would be the best.

    .. math:: \pi = r_f + \delta \Sigma w

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    weights : ndarray of shape (n_strategies,)
        Reference portfolio.
    risk_aversion : float
        Delta.
    risk_free : float
        Per year.

    Returns
    -------
    ndarray of shape (n_strategies,)
        Fractions per year.

    References
    ----------
    .. [1] He & Litterman (1999), "The intuition behind Black-Litterman model portfolios",
       Goldman Sachs, eq. (1).
    """
    return np.asarray(risk_free + risk_aversion * covariance @ weights, dtype=np.float64)


def black_litterman(
    covariance: FloatArray,
    prior: FloatArray,
    views: Sequence[View],
    *,
    tau: float = TAU,
    uncertainty: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    r"""Return expected returns and covariances after views.

    .. math:: \mu = \pi + \tau\Sigma P' (P \tau\Sigma P' + \Omega)^{-1} (q - P\pi)

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    prior : ndarray of shape (n_strategies,)
        Returns per year before views.
    views : sequence of View
        None leaves the prior.
    tau : float
        Uncertainty of the prior, as a share of the covariance.
    uncertainty : ndarray of shape (n_views,), optional
        Variance of each view; by default from its confidence c as
        :math:`\tau\, p'\Sigma p\, (1 - c) / c`.

    Returns
    -------
    tuple of ndarray
        Returns of shape (n_strategies,) and covariances of shape (n_strategies, n_strategies)
        per year, the latter with the uncertainty of the former.

    Raises
    ------
    ValueError
        If a confidence does not lie in (0, 1).

    References
    ----------
    .. [1] He & Litterman (1999), eq. (8) to (10).
    .. [2] Idzorek (2005), "A step-by-step guide to the Black-Litterman model": confidences;
       Walters (2014), "The Black-Litterman model in detail", section 4.4, for the closed form.
    """
    if not views:
        return prior, (1.0 + tau) * covariance
    n = len(prior)
    picks = np.zeros((len(views), n))
    for row, view in zip(picks, views, strict=True):
        row[view.strategy] = 1.0
        for i, share in view.against:
            row[i] -= share
    said = np.array([view.excess for view in views])
    spread = picks @ covariance @ picks.T * tau
    omega = _omega(views, spread) if uncertainty is None else uncertainty
    gain = np.linalg.solve(spread + np.diag(omega), picks @ covariance * tau).T
    mean = prior + gain @ (said - picks @ prior)
    error = tau * covariance - gain @ picks @ covariance * tau
    return mean, covariance + (error + error.T) / 2.0


def _omega(views: Sequence[View], spread: FloatArray) -> FloatArray:
    confidence = np.array([view.confidence for view in views])
    if not ((confidence > 0) & (confidence < 1)).all():
        raise ValueError(f"a confidence lies in (0, 1), was {confidence.tolist()}")
    return np.asarray(np.diag(spread) * (1.0 - confidence) / confidence, dtype=np.float64)
