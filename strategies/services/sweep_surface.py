"""A finished sweep as a surface: its sets, the slice through a chosen one, what matters most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.core.jsonable import jsonable
from alphastrat.quant.types import FloatArray, IntArray
from strategies.models import Sweep
from strategies.models.sweep import Method
from strategies.quant.grid import Grid
from strategies.services.search_space import check_space
from strategies.services.searching import specification_of
from strategies.services.specification import Specification
from strategies.services.sweep_archive import results_frame

METRIC_LABELS = {
    "sharpe": ("Sharpe ratio", "ratio"),
    "smoothed": ("Smoothed", "ratio"),
    "total_return": ("Total return", "percent"),
    "max_drawdown": ("Max drawdown", "percent"),
    "n_trips": ("Round trips", "count"),
    "win_rate": ("Win rate", "percent"),
    "profit_factor": ("Profit factor", "ratio"),
    "exposure": ("Time in market", "percent"),
    "turnover": ("Turnover", "ratio"),
}


@dataclass(frozen=True)
class Surface:
    """The sets of a sweep that has succeeded."""

    sweep: Sweep

    @cached_property
    def grid(self) -> Grid:
        return check_space(self.sweep.plugin, self.sweep.space, limit=None)

    @cached_property
    def frame(self) -> pd.DataFrame:
        return results_frame(self.sweep)

    @cached_property
    def numbers(self) -> IntArray:
        return self.frame["number"].to_numpy(np.int64)

    @cached_property
    def positions(self) -> IntArray:
        return self.grid.positions(self.numbers)

    @property
    def names(self) -> list[str]:
        return [axis.name for axis in self.grid.axes]

    def has(self, number: int) -> bool:
        """Say whether a set was tried and accepted."""
        return bool((self.numbers == number).any())

    def by_sensitivity(self) -> list[str]:
        """Return the axes, the one whose levels differ most in the objective first."""
        values = pd.Series(self.frame[self.sweep.objective].to_numpy()).fillna(0.0)
        spread = {
            axis.name: float(values.groupby(self.positions[:, k]).mean().std(ddof=0))
            for k, axis in enumerate(self.grid.axes)
        }
        return sorted(spread, key=lambda name: -spread[name])

    def slice(self, x: str, y: str, metric: str, *, at: int) -> FloatArray:
        """Return a metric over two axes, shape (levels of y, levels of x), the rest as in `at`.

        A Bayesian sweep has gaps in any slice: there each cell averages the sets that were tried.
        """
        columns = {name: k for k, name in enumerate(self.names)}
        rows = np.ones(len(self.frame), np.bool_)
        if self.sweep.method == Method.GRID:
            centre = self.grid.positions(np.array([at]))[0]
            for name, k in columns.items():
                if name not in (x, y):
                    rows &= self.positions[:, k] == centre[k]
        cells = pd.DataFrame(
            {
                "x": self.positions[rows, columns[x]],
                "y": self.positions[rows, columns[y]],
                "value": self.frame.loc[rows, metric].to_numpy(np.float64),
            }
        )
        mean = cells.groupby(["y", "x"])["value"].mean()
        shape = (len(self.grid.axes[columns[y]].values), len(self.grid.axes[columns[x]].values))
        values = np.full(shape, np.nan)
        where = np.array(list(mean.index), np.int64).reshape(-1, 2)
        values[where[:, 0], where[:, 1]] = mean.to_numpy()
        return values

    def levels(self, name: str) -> tuple[Any, ...]:
        return next(axis.values for axis in self.grid.axes if axis.name == name)


def set_specification(sweep: Sweep, number: str) -> Specification:
    """Return the backtest of one set of a sweep, by its number; the sweep's own without one."""
    grid = Surface(sweep).grid
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return specification_of(sweep)
    if int(number) >= grid.n_sets:
        return specification_of(sweep)
    (varied,) = grid.sets(np.array([int(number)]))
    return specification_of(sweep, varied)


class SetRows(Sequence[dict[str, Any]]):
    """The sets in an order, each made into a row only when it is looked at."""

    def __init__(self, surface: Surface, order: IntArray, *, url: str = "") -> None:
        self.surface, self.order, self.url = surface, order, url

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._rows(self.order[key])
        return self._rows(self.order[[key]])[0]

    def _rows(self, places: IntArray) -> list[dict[str, Any]]:
        frame = self.surface.frame.iloc[places]
        records = frame.to_dict("records")
        sets = self.surface.grid.sets(frame["number"].to_numpy(np.int64))
        return [
            {
                **jsonable(record),
                "set": own,
                "backtest": "Backtest",
                "url": f"{self.url}{record['number']}",
            }
            for record, own in zip(records, sets, strict=True)
        ]
