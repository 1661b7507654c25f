"""Bayesian search over a grid; the only module that imports optuna."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant.grid import Grid


class BayesianSearch:
    """Proposes the sets of a grid that are worth trying next, from what was tried.

    Parameters
    ----------
    grid : Grid
        Sets are only proposed on it, so that they can be compared with their neighbours.
    seed : int
        The same seed and the same answers give the same proposals: a search that was stopped
        is continued by asking and telling again.

    References
    ----------
    .. [1] Bergstra et al. (2011), "Algorithms for Hyper-Parameter Optimization" (TPE); Akiba
       et al. (2019), "Optuna".
    """

    def __init__(self, grid: Grid, *, seed: int) -> None:
        # Imported here: optuna takes a second that no other part of a worker needs.
        optuna: Any = importlib.import_module("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._failed = optuna.trial.TrialState.FAIL
        self._grid = grid
        self._spaces = {
            axis.name: optuna.distributions.IntDistribution(0, len(axis.values) - 1)
            if axis.is_ordered
            else optuna.distributions.CategoricalDistribution(range(len(axis.values)))
            for axis in grid.axes
        }
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: list[Any] = []

    def ask(self, count: int) -> IntArray:
        """Return the numbers of `count` sets to try; some may have been tried before."""
        self._asked = [self._study.ask(self._spaces) for _ in range(count)]
        positions = [[trial.params[axis.name] for axis in self._grid.axes] for trial in self._asked]
        return self._grid.numbers(np.array(positions, np.int64))

    def tell(self, values: FloatArray) -> None:
        """Say how the sets asked for did, in their order; NaN for one without an answer."""
        for trial, value in zip(self._asked, values.tolist(), strict=True):
            if np.isfinite(value):
                self._study.tell(trial, value)
            else:
                self._study.tell(trial, state=self._failed)
