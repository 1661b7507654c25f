"""Equal risk contribution and risk budgets: an allocation that needs no forecast of returns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from alphastrat.quant.types import FloatArray
from portfolio.quant import convex
from portfolio.quant.constraints import Region
from portfolio.quant.covariances import check_covariance
from strategies.quant.compiled import compiled

_TOLERANCE = 1e-12
_MAX_SWEEPS = 10_000
# How far the strength of constrained budgets may be from that of unlimited ones, as logarithms.
_WIDEST = 20.0
_SUM_TOLERANCE = 1e-9
# A logarithm needs some weight; as a share of the mean one.
_LEAST_SHARE = 1e-4
_MAX_STEPS = 100
_STILL = 1e-9
_SHORTEST = 1e-6


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
    exposures, is_at_rest = _descend(np.ascontiguousarray(correlation), shares / shares.sum())
    if not is_at_rest:
        raise ArithmeticError(f"risk budgets did not converge in {_MAX_SWEEPS} sweeps")
    weights = exposures / volatility
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def budgeted_weights(
    covariance: FloatArray, region: Region, budgets: FloatArray
) -> FloatArray | None:
    r"""Return the weights nearest to risk budgets inside a region.

    .. math:: \min_{x} \tfrac12 x'\Sigma x - \lambda \sum_i b_i \ln x_i

    over the limits without the sum, with the :math:`\lambda` at which the sum is right. Weights
    that no limit holds keep risk contributions in proportion to their budgets.

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    region : Region
        Weights that are allowed; every strategy must be open.
    budgets : ndarray of shape (n_strategies,)
        Positive shares of risk that sum to one.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.

    References
    ----------
    .. [1] Richard & Roncalli (2019), "Constrained risk budgeting portfolios", arXiv:1902.05710,
       section 3: the multiplier of the logarithms found by bisection.
    """
    unit = convex.scaled_to_one(covariance)
    free = risk_budget_weights(covariance, budgets) * region.total
    least = _LEAST_SHARE * region.total / len(free)
    floor = np.minimum(np.maximum(region.lower, least), region.upper)
    inside = region.bounded(floor, region.upper)
    start = convex.least_in(np.eye(len(free)), -free, inside, has_total=False)
    if start is None:
        return None
    weights = start
    # Unlimited, every weight times its marginal risk is lambda times its budget.
    usual = float(np.log(free @ unit @ free))

    def excess(strength: float) -> float:
        nonlocal weights
        weights = _newton(unit, inside, budgets * np.exp(strength), weights)
        return float(weights.sum()) - region.total

    strength = _root(excess, usual)
    if strength is None:
        return None
    missing = excess(strength)
    return None if abs(missing) > 1e-6 else weights * (region.total / (region.total + missing))


def _root(excess: Callable[[float], float], start: float) -> float | None:
    """Return where a function that never falls is zero; None where it has no zero."""
    value, step = excess(start), 0.5
    near = start
    while abs(value) > _SUM_TOLERANCE:
        far = near - step if value > 0.0 else near + step
        if abs(far - start) > _WIDEST:
            return None
        beyond = excess(far)
        if beyond * value < 0.0:
            return float(brentq(excess, min(near, far), max(near, far), xtol=1e-9))
        near, value, step = far, beyond, 2.0 * step
    return near


def _newton(
    covariance: FloatArray, region: Region, strengths: FloatArray, start: FloatArray
) -> FloatArray:
    """Return the weights of a region, without its sum, that logarithms and variance agree on."""

    def cost(x: FloatArray) -> float:
        return float(x @ covariance @ x / 2.0 - strengths @ np.log(x))

    x = start
    for _ in range(_MAX_STEPS):
        curved = covariance + np.diag(strengths / x**2)
        size = float(np.diag(curved).mean())
        aim = convex.least_in(curved / size, -2.0 * strengths / x / size, region, has_total=False)
        if aim is None:
            break
        way = np.maximum(aim, region.lower) - x
        slope = float((covariance @ x - strengths / x) @ way)
        if slope > -_TOLERANCE * abs(cost(x)) and np.abs(way).max() < _STILL:
            break
        length, before = 1.0, cost(x)
        while cost(x + length * way) > before + 1e-4 * length * slope and length > _SHORTEST:
            length /= 2.0
        x = x + length * way
    return x


@compiled
def _descend(correlation: FloatArray, shares: FloatArray) -> tuple[FloatArray, bool]:
    """Return exposures, and whether the descent has come to rest."""
    y = np.sqrt(shares)
    for _ in range(_MAX_SWEEPS):
        largest = 0.0
        for i in range(y.size):
            others = (correlation[i] * y).sum() - y[i]
            updated = (-others + np.sqrt(others * others + 4.0 * shares[i])) / 2.0
            largest = max(largest, abs(updated - y[i]) / updated)
            y[i] = updated
        if largest < _TOLERANCE:
            return y, True
    return y, False
