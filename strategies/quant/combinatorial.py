"""Combinatorial purged cross-validation: many out-of-sample paths instead of one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphastrat.quant.types import FloatArray
from strategies.quant.walk_forward import combinatorial_paths, combinatorial_splits


@dataclass(frozen=True, slots=True, eq=False)
class CombinatorialResult:
    """How the choice of parameters does on every path through time.

    Attributes
    ----------
    sharpes : ndarray of shape (n_paths,)
        Annualised Sharpe ratio of each out-of-sample path; NaN where nothing moved.
    n_splits : int
        Choices of test blocks, each with its own choice of parameters.
    n_choices : int
        Different parameter sets that were chosen.
    """

    sharpes: FloatArray
    n_splits: int
    n_choices: int


def combinatorial_sharpes(
    returns: npt.NDArray[np.floating],
    *,
    n_folds: int,
    n_test_folds: int = 2,
    purge: int = 0,
    embargo: int = 0,
    periods_per_year: float,
) -> CombinatorialResult:
    """Choose parameters on the train bars of every split and follow them on its test blocks.

    Parameters
    ----------
    returns : ndarray of shape (n_sets, n_bars)
        Returns per bar as fractions of every parameter set over the whole span.
    n_folds, n_test_folds, purge, embargo
        As in `walk_forward.combinatorial_splits`.
    periods_per_year : float
        Bars per year.

    Returns
    -------
    CombinatorialResult
        One Sharpe ratio per path.

    Raises
    ------
    ValueError
        If the counts contradict each other.

    References
    ----------
    .. [1] López de Prado (2018), "Advances in Financial Machine Learning", ch. 12.
    """
    n_bars = returns.shape[1]
    splits = combinatorial_splits(
        n_bars, n_folds=n_folds, n_test_folds=n_test_folds, purge=purge, embargo=embargo
    )
    member = np.zeros((len(splits), n_bars))
    for row, split in zip(member, splits, strict=True):
        row[split.train] = 1.0
    chosen = np.nan_to_num(_sharpes(member, returns), nan=-np.inf).argmax(axis=1)
    blocks = np.array_split(np.arange(n_bars), n_folds)
    paths = combinatorial_paths(n_folds, n_test_folds)
    sharpes = [
        _sharpe(
            np.concatenate(
                [
                    returns[chosen[split], block]
                    for split, block in zip(path.tolist(), blocks, strict=True)
                ]
            )
        )
        for path in paths
    ]
    annual = math.sqrt(periods_per_year)
    return CombinatorialResult(
        np.asarray(sharpes, np.float64) * annual, len(splits), len(set(chosen.tolist()))
    )


def _sharpes(member: FloatArray, returns: npt.NDArray[np.floating]) -> FloatArray:
    """Return the Sharpe ratio per bar of every set on every split, shape (n_splits, n_sets)."""
    sizes = member.sum(axis=1)[:, None]
    sums = member @ returns.T
    squares = member @ np.square(returns, dtype=np.float64).T
    variance = (squares - sums**2 / sizes) / np.maximum(sizes - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = sums / sizes / np.sqrt(variance)
    return np.where(variance > 1e-20, sharpe, np.nan)


def _sharpe(returns: npt.NDArray[np.floating]) -> float:
    values = returns.astype(np.float64)
    deviation = values.std(ddof=1)
    return float(values.mean() / deviation) if deviation > 1e-10 else math.nan
