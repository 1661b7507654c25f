"""Allocation problems given to solvers directly: many small ones, without a modelling layer.

Quadratic ones go to an active set, which is quickest where most limits do not bind or the
problem is small; those with turnover or no quadratic part go to Clarabel.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import brentq

from alphastrat.quant.types import FloatArray
from portfolio.quant.active_set import Rows, Undecided, least_quadratic
from portfolio.quant.constraints import Region
from portfolio.quant.covariances import portfolio_volatility

Matrix = Any
# Logarithms of the appetite for return between which a volatility is looked for.
_WIDEST = 14.0
# A volatility is reached as exactly as the solvers find weights.
_REACHED = 1e-7


def minimum_variance(
    covariance: FloatArray,
    region: Region,
    *,
    expected: FloatArray | None = None,
    min_return: float | None = None,
) -> FloatArray | None:
    """Return the weights of least variance in a region.

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    region : Region
        Weights that are allowed.
    expected : ndarray of shape (n_strategies,), optional
        Expected returns per year, as fractions.
    min_return : float, optional
        Least expected return per year.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.

    References
    ----------
    .. [1] Markowitz (1952), "Portfolio selection", Journal of Finance 7(1).
    """
    unit, linear = scaled_to_one(covariance), np.zeros(len(covariance))
    if expected is None or min_return is None:
        return least_in(unit, linear, region)
    if region.turnover is None:
        rows = _rows(region).and_more(expected[None], np.array([min_return]), np.array([np.inf]))
        with suppress(Undecided):
            found = least_quadratic(unit, linear, region.lower, region.upper, rows)
            return _summing(found, region.total)
    program = _Program(region)
    program.at_most(-expected, -min_return)
    return program.solve(unit, linear)


def maximum_return(
    expected: FloatArray,
    region: Region,
    *,
    at_least: FloatArray | None = None,
    least: float | None = None,
) -> FloatArray | None:
    """Return the weights of largest expected return in a region.

    Parameters
    ----------
    expected : ndarray of shape (n_strategies,)
        Expected returns per year, as fractions.
    region : Region
        Weights that are allowed.
    at_least : ndarray of shape (n_strategies,), optional
        Another gain, of which the weights must have `least`.
    least : float, optional
        In the unit of `at_least`.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.
    """
    program = _Program(region)
    if at_least is not None and least is not None:
        program.at_most(-at_least, -least)
    return program.solve(None, -expected)


def maximum_return_within(
    expected: FloatArray, covariance: FloatArray, region: Region, max_volatility: float
) -> FloatArray | None:
    r"""Return the weights of largest expected return whose volatility is bounded.

    .. math:: \max_w \mu'w - \tfrac{\gamma}{2} w'\Sigma w

    with the risk aversion :math:`\gamma` at which the volatility is the largest allowed.

    Parameters
    ----------
    expected : ndarray of shape (n_strategies,)
        Expected returns per year, as fractions.
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    region : Region
        Weights that are allowed.
    max_volatility : float
        Largest volatility per year.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.

    References
    ----------
    .. [1] Markowitz (1959), "Portfolio Selection", ch. 8: the critical line.
    """
    best = maximum_return(expected, region)
    if best is None or portfolio_volatility(best, covariance) <= max_volatility:
        return best
    unit, gains = scaled_to_one(covariance), expected / (float(np.abs(expected).max()) or 1.0)
    found = minimum_variance(covariance, region)

    def excess(appetite: float) -> float:
        nonlocal found
        found = least_in(unit, -gains * np.exp(appetite), region)
        return np.inf if found is None else portfolio_volatility(found, covariance) - max_volatility

    if found is None or portfolio_volatility(found, covariance) > max_volatility * (1.0 + _REACHED):
        return None
    if excess(-_WIDEST) >= 0.0:
        return minimum_variance(covariance, region)
    if excess(_WIDEST) > 0.0:
        excess(brentq(excess, -_WIDEST, _WIDEST, xtol=1e-10, rtol=1e-12))
    return found


def maximum_ratio(
    numerators: FloatArray, covariance: FloatArray, region: Region
) -> FloatArray | None:
    r"""Return the weights with the largest linear gain per volatility.

    .. math:: \max_w \frac{a'w}{\sqrt{w'\Sigma w}}

    Solved in :math:`y = w k` with :math:`a'y = 1`, in which the problem is quadratic.

    Parameters
    ----------
    numerators : ndarray of shape (n_strategies,)
        Excess returns for the Sharpe ratio, volatilities for the diversification ratio.
    covariance : ndarray of shape (n_strategies, n_strategies)
        Covariances of returns per year.
    region : Region
        Weights that are allowed.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no allowed weights have a positive gain.

    References
    ----------
    .. [1] Cornuejols & Tutuncu (2006), "Optimization Methods in Finance", section 8.2.
    """
    scale = float(np.abs(numerators).max())
    if scale == 0.0:
        return None
    gains, unit = numerators / scale, scaled_to_one(covariance)
    linear = np.zeros(len(unit))
    if region.turnover is None:
        rows = _homogeneous_rows(region)
        rows = rows.and_more(gains[None], np.ones(1), np.ones(1))
        free = np.full(len(unit), np.inf)
        with suppress(Undecided):
            return _summing(least_quadratic(unit, linear, linear, free, rows), region.total)
    program = _Program(region, homogeneous=True)
    program.equal(gains, 1.0)
    return program.solve(unit, linear)


def nearest_allowed(weights: FloatArray, region: Region) -> FloatArray | None:
    """Return the allowed weights with the least squared difference from wanted ones.

    Parameters
    ----------
    weights : ndarray of shape (n_strategies,)
        Wanted, fractions of equity.
    region : Region
        Weights that are allowed.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.
    """
    return least_in(np.eye(len(weights)), -weights, region)


def least_in(
    quadratic: FloatArray, linear: FloatArray, region: Region, *, has_total: bool = True
) -> FloatArray | None:
    r"""Return the weights of a region where :math:`\tfrac12 w'Qw + c'w` is least.

    Parameters
    ----------
    quadratic : ndarray of shape (n_strategies, n_strategies)
        Q, positive semi-definite; entries in the order of one.
    linear : ndarray of shape (n_strategies,)
        c.
    region : Region
        Weights that are allowed.
    has_total : bool
        Whether the weights must have the region's sum.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.
    """
    if region.turnover is None:
        rows = _rows(region, has_total=has_total)
        with suppress(Undecided):
            found = least_quadratic(quadratic, linear, region.lower, region.upper, rows)
            return _summing(found, region.total) if has_total else found
    return _Program(region, has_total=has_total).solve(quadratic, linear)


def scaled_to_one(covariance: FloatArray) -> FloatArray:
    """Return the matrix with a mean variance of one, which the solvers' tolerances suit.

    Parameters
    ----------
    covariance : ndarray of shape (n_strategies, n_strategies)
        With positive variances.

    Returns
    -------
    ndarray of shape (n_strategies, n_strategies)
        A multiple of it.
    """
    return covariance / float(np.diag(covariance).mean())


def _rows(region: Region, *, has_total: bool = True) -> Rows:
    """Return the limits of a region without turnover, but for the bounds of each weight."""
    no_end = np.full(len(region.ceilings), -np.inf)
    rows = Rows(region.groups, no_end, region.ceilings)
    if not has_total:
        return rows
    total = np.array([region.total])
    return rows.and_more(np.ones((1, len(region.upper))), total, total)


def _homogeneous_rows(region: Region) -> Rows:
    """Return what any multiple of allowed weights keeps: every limit as a share of the sum."""
    n, total = len(region.upper), region.total
    capped, floored = region.upper < total, region.lower > 0.0
    eye = np.eye(n)
    matrix = np.vstack(
        [
            eye[capped] - region.upper[capped, None] / total,
            region.lower[floored, None] / total - eye[floored],
            region.groups - region.ceilings[:, None] / total,
        ]
    )
    return Rows(matrix, np.full(len(matrix), -np.inf), np.zeros(len(matrix)))


def _summing(weights: FloatArray | None, total: float) -> FloatArray | None:
    """Return weights with a sum; None where there are none, or nothing to share out."""
    if weights is None:
        return None
    positive = np.maximum(weights, 0.0)
    sum_now = float(positive.sum())
    # A scale of nothing is the answer only where no allowed weights reach the gain.
    if sum_now <= 1e-12:
        return None
    return np.asarray(positive * (total / sum_now), dtype=np.float64)


class _Program:
    """Rows of one problem over weights, their turnover, a scale and extra columns."""

    def __init__(
        self,
        region: Region,
        *,
        homogeneous: bool = False,
        has_total: bool = True,
    ) -> None:
        self.has_total = has_total
        self.n = len(region.upper)
        n_moves = 0 if region.turnover is None else self.n
        self.scale_column = self.n + n_moves if homogeneous else None
        self.columns = self.n + n_moves + int(homogeneous)
        self.total = region.total
        self._equalities: list[tuple[Matrix, FloatArray]] = []
        self._inequalities: list[tuple[Matrix, FloatArray]] = []
        self._add_region(region)

    def equal(self, row: FloatArray, value: float) -> None:
        self._equalities.append((self._widen(sparse.csr_matrix(row)), np.array([value])))

    def at_most(self, row: FloatArray, value: float) -> None:
        self._bound(sparse.csr_matrix(row), np.array([value]))

    def solve(self, quadratic: FloatArray | None, linear: FloatArray) -> FloatArray | None:
        import clarabel

        cost = np.zeros(self.columns)
        cost[: len(linear)] = linear
        rows = [*self._equalities, *self._inequalities]
        cones: list[Any] = [clarabel.ZeroConeT(sum(len(b) for _, b in self._equalities))]
        cones.append(clarabel.NonnegativeConeT(sum(len(b) for _, b in self._inequalities)))
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.max_threads = 1
        solver = clarabel.DefaultSolver(
            self._quadratic(quadratic),
            cost,
            sparse.csc_matrix(sparse.vstack([matrix for matrix, _ in rows], format="csc")),
            np.concatenate([values for _, values in rows]),
            cones,
            settings,
        )
        found = solver.solve()
        if str(found.status) not in {"Solved", "AlmostSolved"}:
            return None
        weights = np.asarray(found.x[: self.n], dtype=np.float64)
        return _summing(weights, self.total) if self.has_total else np.maximum(weights, 0.0)

    def _quadratic(self, quadratic: FloatArray | None) -> Matrix:
        if quadratic is None:
            return sparse.csc_matrix((self.columns, self.columns))
        upper: Matrix = sparse.csc_matrix(np.triu(quadratic))
        upper.resize((self.columns, self.columns))
        return upper

    def _widen(self, matrix: Matrix) -> Matrix:
        wide: Matrix = sparse.csr_matrix(matrix, copy=True)
        wide.resize((wide.shape[0], self.columns))
        return wide

    def _bound(self, matrix: Matrix, values: FloatArray) -> None:
        wide = self._widen(matrix)
        if self.scale_column is not None:
            wide = self._scaled(wide, values)
            values = np.zeros(len(values))
        self._inequalities.append((wide, values))

    def _scaled(self, wide: Matrix, values: FloatArray) -> Matrix:
        n_rows = len(values)
        columns = np.full(n_rows, self.scale_column)
        return wide - sparse.csr_matrix(
            (values, (np.arange(n_rows), columns)), shape=(n_rows, self.columns)
        )

    def _add_region(self, region: Region) -> None:
        ones = sparse.csr_matrix(np.ones((1, self.n)))
        total = np.array([region.total])
        wide = self._widen(ones)
        if self.scale_column is not None:
            wide, total = self._scaled(wide, total), np.zeros(1)
        if self.has_total:
            self._equalities.append((wide, total))
        identity = sparse.identity(self.n, format="csr")
        self._bound(-identity, -region.lower)
        self._bound(identity, region.upper)
        if len(region.ceilings):
            self._bound(sparse.csr_matrix(region.groups), region.ceilings)
        if region.turnover is not None:
            current = region.turnover.current
            self._bound(sparse.hstack([identity, -identity]), current)
            self._bound(sparse.hstack([-identity, -identity]), -current)
            moves = sparse.hstack([sparse.csr_matrix((1, self.n)), ones])
            self._bound(moves, np.array([region.turnover.most]))
