"""Small dense quadratic programs by DAQP's active set: exact, and thousands in a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphastrat.quant.types import BoolArray, FloatArray

_SOLVED, _INFEASIBLE = 1, -1
# More variables than these are taken in as they are needed: most stay at their lower bounds.
_FEW = 80
_HELPS = 1e-9
_EQUALITY = 5
_TOLERANCE = 1e-9
# What an answer may miss its limits by, which are in the order of one.
_ACCEPTED = 1e-7


class Undecided(ArithmeticError):
    """The active set neither ended nor proved that there is no answer."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Linear limits ``low <= matrix @ x <= high``; equal ends make an equation.

    Attributes
    ----------
    matrix : ndarray of shape (n_rows, n)
        One limit per row.
    low, high : ndarray of shape (n_rows,)
        Infinite where there is no end.
    """

    matrix: FloatArray
    low: FloatArray
    high: FloatArray

    def and_more(self, matrix: FloatArray, low: FloatArray, high: FloatArray) -> Rows:
        """Return these rows and others."""
        return Rows(
            np.vstack([self.matrix, matrix]),
            np.concatenate([self.low, low]),
            np.concatenate([self.high, high]),
        )


def least_quadratic(
    quadratic: FloatArray,
    linear: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    rows: Rows,
) -> FloatArray | None:
    r"""Return where :math:`\tfrac12 x'Qx + c'x` is least within linear limits.

    Parameters
    ----------
    quadratic : ndarray of shape (n, n)
        Q, positive semi-definite; entries in the order of one.
    linear : ndarray of shape (n,)
        c.
    lower, upper : ndarray of shape (n,)
        Bounds of each variable, not negative.
    rows : Rows
        Other limits.

    Returns
    -------
    ndarray of shape (n,) or None
        None where the limits leave nothing.

    Raises
    ------
    Undecided
        If the method gives up, or its answer misses the limits.

    References
    ----------
    .. [1] Arnström, Bemporad & Axehill (2022), "A dual active-set solver for embedded quadratic
       programming using recursive LDL' updates", IEEE Trans. on Automatic Control 67(8).
    """
    problem = _Problem(quadratic, linear, lower, upper, rows)
    promise = problem.promise()
    inside = lower > 0.0
    inside[np.argsort(-promise, kind="stable")[:_FEW]] = True
    while True:
        found = _solve(problem, inside)
        if inside.all():
            return None if found is None else found[0]
        gain = promise if found is None else problem.gain(*found)
        helpful = np.flatnonzero(~inside & ((gain > _HELPS) | (found is None)))
        if found is not None and not helpful.size:
            return found[0]
        # Twice as many where those inside are too few to meet the limits.
        most = int(inside.sum()) if found is None else _FEW
        inside[helpful[np.argsort(-gain[helpful], kind="stable")[:most]]] = True


@dataclass(frozen=True, slots=True)
class _Problem:
    quadratic: FloatArray
    linear: FloatArray
    lower: FloatArray
    upper: FloatArray
    rows: Rows

    def promise(self) -> FloatArray:
        """Return how much the equations would take of each variable if there were no others."""
        wanted = self.rows.matrix[self.rows.low == self.rows.high].sum(axis=0) - self.linear
        return np.asarray(wanted / np.diag(self.quadratic))

    def gain(self, x: FloatArray, prices: FloatArray) -> FloatArray:
        """Return how fast the objective falls with each variable, the rows at their prices."""
        return -(self.quadratic @ x + self.linear + prices @ self.rows.matrix)


def _solve(problem: _Problem, inside: BoolArray) -> tuple[FloatArray, FloatArray] | None:
    """Return the best values with all others at their lower bounds, and the prices of the rows."""
    import daqp

    rows = problem.rows
    lower, upper = problem.lower[inside], problem.upper[inside]
    low, high = np.concatenate([lower, rows.low]), np.concatenate([upper, rows.high])
    kinds = np.zeros(len(low), dtype=np.int32)
    kinds[len(lower) :][rows.low == rows.high] = _EQUALITY
    # Its stub knows neither arrays nor keywords.
    solve: Any = daqp.solve
    found, _, status, details = solve(
        np.ascontiguousarray(problem.quadratic[np.ix_(inside, inside)]),
        np.ascontiguousarray(problem.linear[inside]),
        np.ascontiguousarray(rows.matrix[:, inside]),
        np.clip(high, -1e30, 1e30),
        np.clip(low, -1e30, 1e30),
        kinds,
        primal_tol=_TOLERANCE,
    )
    if status == _INFEASIBLE:
        return None
    values = np.concatenate([found, rows.matrix[:, inside] @ found])
    if status != _SOLVED or not (
        (values >= low - _ACCEPTED).all() and (values <= high + _ACCEPTED).all()
    ):
        raise Undecided(f"the active set ended with {status}")
    x = np.zeros(len(inside))
    x[inside] = found
    return x, np.asarray(details["lam"][len(lower) :])
