"""Equal risk contribution and risk budgets: an allocation that needs no forecast of returns."""

from __future__ import annotations

import numpy as np

from alphastrat.quant.types import FloatArray
from portfolio.quant.covariances import check_covariance

_TOLERANCE = 1e-12
_MAX_SWEEPS = 10_000


def risk_budget_weights(covariance: FloatArray, budgets: FloatArray | None = None) -> FloatArray:
    r"""Return long-only weights whose risk contributions are proportional to budgets.

    Cyclical coordinate descent on the convex problem
    :math:`\min_y \tfrac12 y'\Sigma y - \sum_i b_i \ln y_i`; its solution, scaled to sum to one,
    has :math:`w_i (\Sigma w)_i \propto b_i`. One coordinate has the closed form

    .. math:: y_i = \frac{-c_i + \sqrt{c_i^2 + 4 \Sigma_{ii} b_i}}{2 \Sigma_{ii}},
              \qquad c_i = (\Sigma y)_i - \Sigma_{ii} y_i.

    Parameters
    ----------
    covariance : ndarray of shape (n_assets, n_assets)
        Covariances of returns per period.
    budgets : ndarray of shape (n_assets,), optional
        Positive shares of the total risk; scaled to sum to one. Equal by default.

    Returns
    -------
    ndarray of shape (n_assets,)
        Positive weights that sum to one.

    Raises
    ------
    ValueError
        If the matrix cannot be used, or a budget is missing or not positive.
    ArithmeticError
        If the descent does not converge, which a positive definite matrix rules out.

    References
    ----------
    .. [1] Griveau-Billion, Richard & Roncalli (2013), "A fast algorithm for computing
       high-dimensional risk parity portfolios", arXiv:1311.4057, section 2.
    """
    check_covariance(covariance)
    n_assets = len(covariance)
    shares = np.full(n_assets, 1.0 / n_assets) if budgets is None else budgets
    if shares.shape != (n_assets,) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f"every one of the {n_assets} assets needs a positive risk budget")
    # Descend in units of volatility: the answer does not depend on the scale of the matrix.
    volatility = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(volatility, volatility)
    exposures = _descend(correlation, shares / shares.sum())
    weights = exposures / volatility
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _descend(correlation: FloatArray, shares: FloatArray) -> FloatArray:
    y = np.sqrt(shares)
    product = correlation @ y
    for _ in range(_MAX_SWEEPS):
        largest = 0.0
        for i, share in enumerate(shares):
            others = product[i] - y[i]
            updated = (-others + np.sqrt(others * others + 4.0 * share)) / 2.0
            change = updated - y[i]
            product += correlation[:, i] * change
            y[i] = updated
            largest = max(largest, abs(change) / updated)
        if largest < _TOLERANCE:
            return y
    raise ArithmeticError(f"risk budgets did not converge in {_MAX_SWEEPS} sweeps")
