"""The weights whose worst scenarios cost least on average."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from alphastrat.quant.types import FloatArray
from portfolio.quant.constraints import Region

_ROUNDS = 60
# Scenarios looked at first, as a multiple of those in the tail.
_START = 3.0


def minimum_cvar(
    scenarios: FloatArray, region: Region, *, confidence: float = 0.95
) -> FloatArray | None:
    r"""Return the weights of least conditional value at risk in a region.

    .. math:: \min_{w, a, u \ge 0} a + \frac{1}{(1 - \beta) T} \sum_t u_t,
              \qquad u_t \ge -r_t'w - a

    Only scenarios beyond the value at risk have a row that matters: those are added until none
    is missing, which gives the same answer from a tenth of the rows.

    Parameters
    ----------
    scenarios : ndarray of shape (n_scenarios, n_strategies)
        Returns as fractions, finite.
    region : Region
        Weights that are allowed.
    confidence : float
        Beta, in (0, 1).

    Returns
    -------
    ndarray of shape (n_strategies,) or None
        None where no weights are allowed.

    References
    ----------
    .. [1] Rockafellar & Uryasev (2000), "Optimization of conditional value-at-risk", Journal of
       Risk 2(3), eq. (17).
    .. [2] Künzi-Bay & Mayer (2006), "Computational aspects of minimizing conditional
       value-at-risk", Computational Management Science 3: the rows that matter.
    """
    n_scenarios = len(scenarios)
    # In units of the scenarios' own size, which the solver's tolerances suit.
    losses = -scenarios / (float(np.abs(scenarios).mean()) or 1.0)
    tail = (1.0 - confidence) * n_scenarios
    n_start = min(n_scenarios, int(_START * tail) + 1)
    rows = np.sort(np.argsort(losses.mean(axis=1))[-n_start:])
    for _ in range(_ROUNDS):
        found = _solve(losses[rows], region, tail)
        if found is None:
            return None
        weights, threshold = found
        beyond = np.flatnonzero(losses @ weights > threshold + 1e-9)
        missing = np.setdiff1d(beyond, rows)
        if not missing.size:
            break
        rows = np.union1d(rows, missing)
    weights = np.maximum(weights, 0.0)
    return np.asarray(weights * (region.total / weights.sum()), dtype=np.float64)


def _solve(losses: FloatArray, region: Region, tail: float) -> tuple[FloatArray, float] | None:
    from scipy.optimize import linprog

    n_rows, n = losses.shape
    n_moves = 0 if region.turnover is None else n
    n_columns = n + n_moves + 1 + n_rows
    matrix, ceilings = _region_rows(region, n_moves)
    beyond: list[Any] = [sparse.csr_matrix(losses), sparse.csr_matrix((n_rows, n_moves))]
    beyond += [sparse.csr_matrix(-np.ones((n_rows, 1))), -sparse.identity(n_rows)]
    limits: Any = sparse.hstack(
        [matrix, sparse.csr_matrix((matrix.shape[0], 1 + n_rows))], format="csr"
    )
    cost = np.zeros(n_columns)
    cost[n + n_moves] = 1.0
    cost[n + n_moves + 1 :] = 1.0 / tail
    total = np.zeros((1, n_columns))
    total[0, :n] = 1.0
    low = np.zeros(n_columns)
    low[:n] = region.lower
    low[n + n_moves] = -np.inf
    high = np.full(n_columns, np.inf)
    high[:n] = region.upper
    # Its types know neither sparse rows nor this method.
    solve: Any = linprog
    found = solve(
        cost,
        A_ub=sparse.vstack([limits, sparse.hstack(beyond)], format="csr"),
        b_ub=np.concatenate([ceilings, np.zeros(n_rows)]),
        A_eq=sparse.csr_matrix(total),
        b_eq=[region.total],
        bounds=np.column_stack([low, high]),
        method="highs-ds",
    )
    if found.status != 0:
        return None
    return np.asarray(found.x[:n]), float(found.x[n + n_moves])


def _region_rows(region: Region, n_moves: int) -> tuple[Any, FloatArray]:
    """Return group limits and turnover over weights and moves."""
    n = len(region.upper)
    groups: Any = sparse.hstack(
        [sparse.csr_matrix(region.groups), sparse.csr_matrix((len(region.ceilings), n_moves))]
    )
    if region.turnover is None:
        return groups, region.ceilings
    eye: Any = sparse.identity(n)
    current = region.turnover.current
    moves = sparse.hstack([sparse.csr_matrix((1, n)), sparse.csr_matrix(np.ones((1, n)))])
    matrix = sparse.vstack([groups, sparse.hstack([eye, -eye]), sparse.hstack([-eye, -eye]), moves])
    return matrix, np.concatenate([region.ceilings, current, -current, [region.turnover.most]])


def tail_loss(returns: FloatArray, confidence: float) -> float:
    r"""Return the mean loss in the worst share of scenarios.

    .. math:: a + \frac{1}{(1 - \beta) T} \sum_t \max(0, -r_t - a)

    at its minimum over a, which is the value at risk.

    Parameters
    ----------
    returns : ndarray of shape (n_scenarios,)
        Fractions.
    confidence : float
        Beta, in (0, 1).

    Returns
    -------
    float
        A loss as a positive fraction, the objective of the minimum CVaR.

    References
    ----------
    .. [1] Rockafellar & Uryasev (2002), "Conditional value-at-risk for general loss
       distributions", Journal of Banking & Finance 26, proposition 8.
    """
    losses = np.sort(-returns)[::-1]
    in_tail = (1.0 - confidence) * len(losses)
    whole = int(in_tail)
    total = float(losses[:whole].sum())
    if whole < len(losses):
        total += (in_tail - whole) * float(losses[whole])
    return total / in_tail
