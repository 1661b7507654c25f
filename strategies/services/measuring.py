"""From a simulation to its curves, round trips and numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant import drawdown
from alphastrat.quant.measures import measure_all
from alphastrat.quant.trade_statistics import exposure, trade_statistics, turnover
from alphastrat.quant.types import FloatArray
from strategies.quant.panel import Panel
from strategies.quant.simulator import SimulationResult
from strategies.services.run_archive import Curves

N_WORST_DRAWDOWNS = 10
# Columns of BacktestRun, by the name of the metric that fills them.
HEADLINES = {
    "total_return": "total_return",
    "annual_return": "annual_return",
    "annual_volatility": "volatility",
    "sharpe_ratio": "sharpe_ratio",
    "sortino_ratio": "sortino_ratio",
    "calmar_ratio": "calmar_ratio",
    "max_drawdown": "max_drawdown",
    "win_rate": "win_rate",
    "profit_factor": "profit_factor",
    "time_in_market": "exposure",
    "n_round_trips": "n_trades",
}


def buy_and_hold(panel: Panel, *, capital: float) -> FloatArray:
    """Return the account that splits `capital` equally and buys each instrument at its first open.

    An instrument that is listed later stays in cash until then; nothing is charged.
    """
    present = panel.has_bar
    first = present.argmax(axis=0)
    bought = panel.open[first, np.arange(panel.n_assets)]
    held = pd.DataFrame(panel.close).ffill().to_numpy()
    # An instrument without any bar is never bought: its closes stay NaN.
    growth = np.where(np.isnan(held), 1.0, held / bought)
    account: FloatArray = capital * growth.mean(axis=1)
    return account


def curves_of(result: SimulationResult, panel: Panel, *, benchmark: FloatArray | None) -> Curves:
    """Return what a simulation did at every bar close."""
    values = result.positions * pd.DataFrame(panel.close).ffill().fillna(0.0).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        gross = np.abs(values).sum(axis=1) / result.equity
        net = values.sum(axis=1) / result.equity
    return Curves(
        times=result.index,
        symbols=result.symbols,
        capital=result.config.initial_cash,
        equity=result.equity,
        benchmark=np.full(len(result.index), np.nan) if benchmark is None else benchmark,
        gross=gross,
        net=net,
        positions=result.positions.astype(np.float32),
    )


def measure(result: SimulationResult, curves: Curves, panel: Panel) -> dict[str, Any]:
    """Return every number of a run: measures of its returns, its round trips and its costs."""
    periods = result.config.periods_per_year
    measured = measure_all(
        curves.returns, periods_per_year=periods, benchmark=curves.benchmark_returns
    )
    numbers: dict[str, Any] = {name: float(value) for name, value in measured.items()}
    return numbers | _of_round_trips(result) | _of_positions(result, panel) | _of_costs(result)


def measure_benchmark(curves: Curves, *, periods_per_year: float) -> dict[str, float]:
    """Return the measures of the benchmark alone; empty without one."""
    returns = curves.benchmark_returns
    if returns is None:
        return {}
    measured = measure_all(returns, periods_per_year=periods_per_year)
    return {name: float(value) for name, value in measured.items()}


def worst_drawdowns(curves: Curves, *, count: int = N_WORST_DRAWDOWNS) -> list[dict[str, Any]]:
    """Return the deepest stays below a peak with their dates, the deepest first."""
    times = curves.times
    return [
        {
            "peak_at": times[max(episode.peak - 1, 0)] if episode.peak else times[0],
            "trough_at": times[max(episode.trough - 1, 0)],
            "recovered_at": None
            if episode.recovery is None
            else times[max(episode.recovery - 1, 0)],
            "depth": episode.depth,
            "bars": episode.duration,
            "bars_to_trough": episode.bars_to_trough,
            "bars_to_recovery": episode.bars_to_recovery,
        }
        for episode in drawdown.worst_drawdowns(with_capital(curves), count=count)
    ]


def with_capital(curves: Curves) -> FloatArray:
    """Return the equity with the capital before it, cut where the account was ruined."""
    equity = np.concatenate(([curves.capital], curves.equity))
    ruined = np.flatnonzero(~(equity > 0))
    return equity[: ruined[0]] if ruined.size else equity


def headlines(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a run's metric columns; None where undefined or out of their range."""
    columns: dict[str, Any] = {}
    for metric, column in HEADLINES.items():
        value = numbers.get(metric)
        known = value is not None and np.isfinite(value) and abs(value) < 1e9
        columns[column] = (
            (value if metric == "n_round_trips" else f"{value:.6f}") if known else None
        )
    return columns


def _of_round_trips(result: SimulationResult) -> dict[str, Any]:
    trips = result.round_trips
    held = (trips.exit_bar - trips.entry_bar).astype(np.float64)
    numbers = asdict(trade_statistics(trips.pnl, trips.returns, held))
    numbers["n_long"] = int((trips.side > 0).sum())
    numbers["n_short"] = int((trips.side < 0).sum())
    numbers["n_open"] = len(result.open_trips)
    return numbers


def _of_positions(result: SimulationResult, panel: Panel) -> dict[str, Any]:
    if not (result.equity > 0).all():
        return {"time_in_market": None, "gross_exposure": None, "turnover": None}
    values = result.positions * pd.DataFrame(panel.close).ffill().fillna(0.0).to_numpy()
    in_market, gross = exposure(values, result.equity)
    traded = np.zeros(len(result.equity))
    np.add.at(traded, result.fills.bar, np.abs(result.fills.quantity * result.fills.price))
    periods = result.config.periods_per_year
    return {
        "time_in_market": in_market,
        "gross_exposure": gross,
        "turnover": turnover(traded, result.equity, periods_per_year=periods),
    }


def _of_costs(result: SimulationResult) -> dict[str, Any]:
    borrow = float(result.round_trips.borrow.sum() + result.open_trips.borrow.sum())
    commission, slippage = float(result.fills.commission.sum()), float(result.fills.slippage.sum())
    return {
        "commission_paid": commission,
        "slippage_paid": slippage,
        "borrow_paid": borrow,
        "costs_paid": commission + slippage + borrow,
        "n_fills": len(result.fills),
        "n_denied": result.n_denied,
        "n_partial": result.n_partial,
        "is_ruined": result.is_ruined,
        "final_equity": float(result.equity[-1]),
        "net_profit": float(result.equity[-1] - result.config.initial_cash),
    }
