"""A stored result, unpacked once for a page, a chart or an export."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant import returns as quant_returns
from alphastrat.quant.drawdown import drawdown
from alphastrat.quant.rolling import rolling_sharpe
from alphastrat.quant.types import FloatArray, IntArray
from strategies.models import BacktestRun
from strategies.services import measuring, run_archive


@dataclass(frozen=True)
class Results:
    """The arrays and numbers of a run that has succeeded."""

    run: BacktestRun

    @cached_property
    def curves(self) -> run_archive.Curves:
        return run_archive.unpack_curves(self.run.curves or b"")

    @cached_property
    def trips(self) -> pd.DataFrame:
        """Return the round trips in order of exit, those still open last."""
        return run_archive.unpack_trips(self.run.trades or b"")

    @cached_property
    def closed(self) -> pd.DataFrame:
        return self.trips[self.trips["exit_reason"] != "open"]

    @property
    def numbers(self) -> dict[str, Any]:
        numbers: dict[str, Any] = self.run.metrics.get("strategy", {})
        return numbers

    @property
    def benchmark_numbers(self) -> dict[str, Any]:
        numbers: dict[str, Any] = self.run.metrics.get("benchmark", {})
        return numbers

    @property
    def times(self) -> pd.DatetimeIndex:
        return self.curves.times

    @cached_property
    def drawdowns(self) -> FloatArray:
        """Return the drawdown at each close; -1 after ruin."""
        equity = measuring.with_capital(self.curves)
        depth = np.full(len(self.curves.equity), -1.0)
        depth[: len(equity) - 1] = drawdown(equity)[1:]
        return depth

    @cached_property
    def benchmark_drawdowns(self) -> FloatArray | None:
        if self.curves.benchmark_returns is None:
            return None
        return drawdown(np.concatenate(([self.curves.capital], self.curves.benchmark)))[1:]

    def monthly_returns(self) -> tuple[IntArray, FloatArray]:
        """Return years of shape (n,) and returns of shape (n, 13); the last column is the year."""
        times = self.times
        months, compounded = quant_returns.compound_by(
            np.nan_to_num(self.curves.returns), np.asarray(times.year * 12 + times.month - 1)
        )
        years = np.unique(months // 12)
        table = np.full((years.size, 13), np.nan)
        table[np.searchsorted(years, months // 12), months % 12] = compounded
        table[:, 12] = np.prod(1 + np.nan_to_num(table[:, :12]), axis=1) - 1
        return years, table

    def rolling_sharpe(self, n_bars: int) -> FloatArray:
        """Return the annualised Sharpe ratio of the last `n_bars` bars at each close."""
        year = self.run.periods_per_year or 252.0
        return rolling_sharpe(self.curves.returns, periods_per_year=year, window=n_bars)

    def by(self, key: str) -> list[dict[str, Any]]:
        """Return round trips, win rate and P&L by `symbol`, `exit_reason`, `year` or `side`."""
        trips = self.closed
        if trips.empty:
            return []
        keys = trips["exit_time"].dt.year if key == "year" else trips[key]
        grouped = trips.groupby(keys)
        frame = pd.DataFrame(
            {
                "n_trades": grouped.size(),
                "pnl": grouped["pnl"].sum(),
                "win_rate": grouped["pnl"].agg(lambda pnl: float((pnl > 0).mean())),
                "average_return": grouped["return"].mean(),
                "commission": grouped["commission"].sum(),
            }
        )
        return frame.rename_axis(key).reset_index().to_dict("records")  # type: ignore[return-value]


def records(trips: pd.DataFrame) -> list[dict[str, Any]]:
    """Return round trips as rows; an open one has no exit time."""
    rows: list[dict[str, Any]] = trips.to_dict("records")  # type: ignore[assignment]
    for row in rows:
        row["exit_time"] = None if pd.isna(row["exit_time"]) else row["exit_time"]
    return rows
