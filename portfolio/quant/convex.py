"""Allocation problems given to Clarabel directly: many small ones, without a modelling layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from alphastrat.quant.types import FloatArray
from portfolio.quant.constraints import Region

Matrix = Any
# Powers of ten between which the strength of risk budgets is looked for.
_WIDEST = 8.0
_HALVINGS = 40
_SUM_TOLERANCE = 1e-8
_SUM_LIMIT = 1e-4


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
    program = _Program(region)
    if expected is not None and min_return is not None:
        program.at_most(-expected, -min_return)
    return program.solve(_scaled_to_one(covariance), np.zeros(len(covariance)))


def maximum_return(
    expected: FloatArray,
    region: Region,
    *,
    covariance: FloatArray | None = None,
    max_volatility: float | None = None,
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
    covariance : ndarray of shape (n_strategies, n_strategies), optional
        Covariances of returns per year.
    max_volatility : float, optional
        Largest volatility per year.
    at_least : ndarray of shape (n_strategies,), optional
        Another gain, of which the weights must have `least`.
    least : float, optional
        In the unit of `at_least`.

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.

    References
    ----------
    .. [1] Lobo, Vandenberghe, Boyd & Lebret (1998), "Applications of second-order cone
       programming", Linear Algebra and its Applications 284, section 3.
    """
    program = _Program(region)
    if covariance is not None and max_volatility is not None:
        program.within(_root(covariance), max_volatility)
    if at_least is not None and least is not None:
        program.at_most(-at_least, -least)
    return program.solve(None, -expected)


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
    program = _Program(region, homogeneous=True)
    program.equal(numerators / scale, 1.0)
    return program.solve(_scaled_to_one(covariance), np.zeros(len(covariance)))


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
    return _Program(region).solve(np.eye(len(weights)), -weights)


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
       section 3: the Lagrange multiplier found by bisection.
    """
    unit = _scaled_to_one(covariance)
    low, high = -_WIDEST, _WIDEST
    found = None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        weights = _budgeted(unit, region, budgets * 10.0**middle)
        if weights is None:
            return None
        total = float(weights.sum())
        if abs(total - region.total) < _SUM_TOLERANCE:
            found = weights
            break
        low, high = (middle, high) if total < region.total else (low, middle)
        found = weights
    if found is None or abs(float(found.sum()) - region.total) > _SUM_LIMIT:
        return None
    return np.asarray(found * (region.total / found.sum()), dtype=np.float64)


def _budgeted(covariance: FloatArray, region: Region, budgets: FloatArray) -> FloatArray | None:
    n_strategies = len(covariance)
    program = _Program(region, has_total=False, n_extra=n_strategies)
    first = program.columns - n_strategies
    program.logarithms(first)
    cost = np.zeros(program.columns)
    cost[first:] = -budgets
    return program.solve(covariance, cost)


class _Program:
    """Rows of one problem over weights, their turnover, a scale and extra columns."""

    def __init__(
        self,
        region: Region,
        *,
        homogeneous: bool = False,
        has_total: bool = True,
        n_extra: int = 0,
    ) -> None:
        self.has_total = has_total
        self.n = len(region.upper)
        n_moves = 0 if region.turnover is None else self.n
        self.scale_column = self.n + n_moves if homogeneous else None
        self.columns = self.n + n_moves + int(homogeneous) + n_extra
        self.total = region.total
        self._equalities: list[tuple[Matrix, FloatArray]] = []
        self._inequalities: list[tuple[Matrix, FloatArray]] = []
        self._cones: list[tuple[Matrix, FloatArray, str]] = []
        self._add_region(region)

    def equal(self, row: FloatArray, value: float) -> None:
        self._equalities.append((self._widen(sparse.csr_matrix(row)), np.array([value])))

    def at_most(self, row: FloatArray, value: float) -> None:
        self._bound(sparse.csr_matrix(row), np.array([value]))

    def within(self, root: FloatArray, radius: float) -> None:
        """Keep the norm of `root @ weights` within a radius."""
        matrix = sparse.vstack([sparse.csr_matrix((1, self.n)), sparse.csr_matrix(-root)])
        values = np.concatenate([[radius], np.zeros(len(root))])
        self._cones.append((self._widen(matrix), values, "second"))

    def logarithms(self, first: int) -> None:
        """Keep each extra column from `first` below the logarithm of its weight."""
        for i in range(self.n):
            matrix = sparse.csr_matrix(
                (np.array([-1.0, -1.0]), ([0, 2], [first + i, i])), shape=(3, self.columns)
            )
            self._cones.append((matrix, np.array([0.0, 1.0, 0.0]), "exponential"))

    def solve(self, quadratic: FloatArray | None, linear: FloatArray) -> FloatArray | None:
        import clarabel

        cost = np.zeros(self.columns)
        cost[: len(linear)] = linear
        rows = [*self._equalities, *self._inequalities]
        cones: list[Any] = [clarabel.ZeroConeT(sum(len(b) for _, b in self._equalities))]
        cones.append(clarabel.NonnegativeConeT(sum(len(b) for _, b in self._inequalities)))
        for matrix, values, kind in self._cones:
            rows.append((matrix, values))
            second = kind == "second"
            cones.append(clarabel.SecondOrderConeT(len(values)) if second else _exponential())
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
        return self._weights(np.asarray(found.x))

    def _weights(self, x: FloatArray) -> FloatArray | None:
        weights = np.maximum(x[: self.n], 0.0)
        if not self.has_total:
            return weights
        total = float(weights.sum())
        # A scale of nothing is the answer only where no allowed weights reach the gain.
        if total <= 1e-12:
            return None
        return np.asarray(weights * (self.total / total), dtype=np.float64)

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


def _exponential() -> Any:
    import clarabel

    return clarabel.ExponentialConeT()


def _scaled_to_one(covariance: FloatArray) -> FloatArray:
    """Return the matrix with a mean variance of one, which the solver's tolerances suit."""
    return covariance / float(np.diag(covariance).mean())


def _root(covariance: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(covariance)
    root: FloatArray = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return root
