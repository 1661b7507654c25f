"""The second engine: the only door to vectorbt, and what it can check.

Every bar becomes three rows for vectorbt: one on which orders fill at the open, one on which
only the open is checked against stops (gaps), and the bar itself. So a stop can be hit on the
bar of its entry, and a gap over the target comes before a fall to the stop, as in the kernel.

vectorbt folds the wishes, times and prices the fills, applies stops, percentage fees and
slippage, and keeps cash and positions. It is told how many units each entry may buy, because
its sizing knows neither equity of a shared account at the open nor volatility targets.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alphastrat.quant.bars import COLUMNS
from alphastrat.quant.execution import BPS
from alphastrat.quant.types import BoolArray, FloatArray, IntArray
from strategies.quant.panel import Panel, as_panel
from strategies.quant.signals import (
    LONG_ENTRY,
    LONG_EXIT,
    SHORT_ENTRY,
    SHORT_EXIT,
    PanelSignals,
    Signals,
    WishArray,
)
from strategies.quant.simulator import Bars, SimulationConfig, SimulationResult, simulate
from strategies.quant.sizing import ewma_volatility

ROWS_PER_BAR = 3
# Bars times instruments that go through vectorbt together: each takes about 400 bytes.
MAX_CELLS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class EngineResult:
    """What the second engine found.

    Attributes
    ----------
    equity, cash : ndarray of shape (n_bars,)
        At each close, account currency.
    positions : ndarray of shape (n_bars, n_assets)
        Units.
    fill_bar, fill_asset : ndarray of int, shape (n_fills,)
        A reversal is one fill here and two in the kernel.
    fill_quantity, fill_price, fill_fee : ndarray of shape (n_fills,)
        Units (positive for a buy), price, and commission.
    not_expressible : tuple of str
        What the configuration asks for that vectorbt cannot do; empty for a full check.
    n_blocks : int
        Parts that the instruments went through in; with more than one, cash was added up
        afterwards.
    """

    equity: FloatArray
    cash: FloatArray
    positions: FloatArray
    fill_bar: IntArray
    fill_asset: IntArray
    fill_quantity: FloatArray
    fill_price: FloatArray
    fill_fee: FloatArray
    not_expressible: tuple[str, ...]
    n_blocks: int = 1


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well two engines agree.

    Attributes
    ----------
    agrees : bool
        Whether equity differs by less than one part in a million everywhere and all positions
        match.
    max_equity_difference : float
        Largest difference as a fraction of the initial cash, >= 0.
    n_fills, n_matched : int
        Net fills per bar and instrument of the first engine, and how many the second has with
        the same quantity and price.
    first_bar : int or None
        Position of the first bar whose equity or position differs.
    explanation : str
        Where and why, in plain words.
    not_expressible : tuple of str
        What the second engine could not be asked for.
    """

    agrees: bool
    max_equity_difference: float
    n_fills: int
    n_matched: int
    first_bar: int | None
    explanation: str
    not_expressible: tuple[str, ...]


def not_expressible(config: SimulationConfig) -> tuple[str, ...]:
    """Return what a configuration asks for that vectorbt cannot do, in plain words.

    Parameters
    ----------
    config : SimulationConfig
        Account, costs and rules.

    Returns
    -------
    tuple of str
        Empty if the run can be checked in full.
    """
    costs, exits = config.costs, config.exits
    has_slippage = costs.slippage_bps > 0 or costs.slippage_volatility > 0
    reasons = {
        "commission per share": costs.commission_per_share > 0,
        "minimum commission": costs.commission_minimum > 0,
        "borrow cost": costs.borrow_bps_per_year > 0,
        "time stop": exits.max_bars is not None,
        "cool-down after a stop": exits.cooldown_bars > 0,
        "stop-loss and trailing stop together": bool(exits.stop_loss and exits.trailing_stop),
        "take-profit without slippage beside orders with it": bool(exits.take_profit)
        and has_slippage,
        "leverage": config.max_leverage > 1.0,
    }
    return tuple(reason for reason, applies in reasons.items() if applies)


def run(
    bars: Bars,
    signals: Signals | PanelSignals,
    *,
    config: SimulationConfig,
    result: SimulationResult | None = None,
) -> EngineResult:
    """Run a backtest through vectorbt.

    Parameters
    ----------
    bars, signals, config
        As in `simulator.simulate`.
    result : SimulationResult, optional
        The kernel's result, whose entry sizes are used; computed if absent.

    Returns
    -------
    EngineResult
        On the same bars.

    Notes
    -----
    The first call in a process imports vectorbt, which takes seconds.
    """
    panel = as_panel(bars)
    result = result or simulate(panel, signals, config=config)
    vectorbt: Any = importlib.import_module("vectorbt")
    width = max(1, MAX_CELLS // panel.n_bars)
    starts = range(0, panel.n_assets, width)
    whole = arguments(panel, signals, config=config, result=result) if len(starts) == 1 else None
    records = []
    for first in starts:
        given = whole or _block(panel, signals, config, result, first=first, width=width)
        orders = vectorbt.Portfolio.from_signals(**given).order_records.copy()
        orders["col"] += first
        records.append(orders)
    return _engine_result(panel, config, np.concatenate(records), n_blocks=len(starts))


def compare(result: SimulationResult, other: EngineResult) -> Agreement:
    """Compare the kernel's result with the second engine's.

    Parameters
    ----------
    result : SimulationResult
        From `simulator.simulate`.
    other : EngineResult
        From `run` on the same bars, signals and configuration.

    Returns
    -------
    Agreement
        With the first difference and the likely reason.
    """
    difference = np.abs(result.equity - other.equity) / result.config.initial_cash
    scale = np.maximum(np.abs(result.positions), 1.0)
    is_apart = (np.abs(result.positions - other.positions) > 1e-6 * scale).any(axis=1)
    bad = np.flatnonzero((difference > 1e-6) | is_apart | ~np.isfinite(difference))
    n_fills, n_matched = _matched(result, other)
    first = int(bad[0]) if len(bad) else None
    return Agreement(
        agrees=first is None,
        max_equity_difference=float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0)),
        n_fills=n_fills,
        n_matched=n_matched,
        first_bar=first,
        explanation=_explain(result, other, first),
        not_expressible=other.not_expressible,
    )


def arguments(
    panel: Panel,
    signals: Signals | PanelSignals,
    *,
    config: SimulationConfig,
    result: SimulationResult,
) -> dict[str, Any]:
    """Return what `vectorbt.Portfolio.from_signals` is called with.

    Parameters
    ----------
    panel, signals, config
        As in `simulator.simulate`.
    result : SimulationResult
        The kernel's result, whose entry sizes are used.

    Returns
    -------
    dict of str to Any
        Arrays of shape (ROWS_PER_BAR * n_bars, n_assets), and scalars.
    """
    wishes, sizes = _wishes_at_open(panel, signals), _entry_sizes(panel, result)
    return _arguments(panel, wishes, sizes, config)


def _block(
    panel: Panel,
    signals: Signals | PanelSignals,
    config: SimulationConfig,
    result: SimulationResult,
    *,
    first: int,
    width: int,
) -> dict[str, Any]:
    """Return the arguments for some of the instruments.

    They share cash with others that are not there, so that it is taken as unlimited; each entry
    has the size that the account could pay for.
    """
    columns = slice(first, first + width)
    prices = (getattr(panel, name)[:, columns] for name in COLUMNS)
    part = Panel(panel.index, panel.symbols[columns], *prices)
    wishes = _wishes_at_open(panel, signals)[:, columns]
    sizes = _entry_sizes(panel, result)[:, columns]
    return _arguments(part, wishes, sizes, config) | {"init_cash": np.inf}


def _arguments(
    panel: Panel, wishes: WishArray, sizes: FloatArray, config: SimulationConfig
) -> dict[str, Any]:
    stop = config.exits.trailing_stop or config.exits.stop_loss or np.nan
    return {
        **_prices(panel),
        **_entries(wishes),
        "price": _on_rows(panel.open, 0, np.nan),
        "size": _on_rows(sizes, 0, np.nan),
        "fees": config.costs.commission_bps * BPS,
        "slippage": np.repeat(_slippage(panel, config), ROWS_PER_BAR, axis=0),
        "init_cash": config.initial_cash,
        "sl_stop": stop,
        "sl_trail": config.exits.trailing_stop is not None,
        "tp_stop": config.exits.take_profit or np.nan,
        "stop_entry_price": "fillprice",
        "stop_exit_price": "stopmarket",
        "upon_opposite_entry": "reverse",
        "upon_long_conflict": "ignore",
        "upon_short_conflict": "ignore",
        "upon_dir_conflict": "ignore",
        "cash_sharing": True,
        "group_by": True,
        "call_seq": "auto",
        "use_stops": config.exits.acts_within_bars,
        "freq": "1D",
    }


def _prices(panel: Panel) -> dict[str, pd.DataFrame]:
    blank = np.full(panel.open.shape, np.nan)
    columns = {
        "open": (blank, panel.open, panel.open),
        "high": (blank, panel.open, panel.high),
        "low": (blank, panel.open, panel.low),
        "close": (blank, panel.open, panel.close),
    }
    return {name: pd.DataFrame(_interleave(*rows)) for name, rows in columns.items()}


def _entries(wishes: WishArray) -> dict[str, BoolArray]:
    names = {
        "entries": LONG_ENTRY,
        "exits": LONG_EXIT,
        "short_entries": SHORT_ENTRY,
        "short_exits": SHORT_EXIT,
    }
    return {name: _on_rows((wishes & bit) > 0, 0, False) for name, bit in names.items()}  # noqa: FBT003


def _wishes_at_open(panel: Panel, signals: Signals | PanelSignals) -> WishArray:
    """Return the wishes that fill at each open: those of the instrument's bar before it."""
    wishes = signals.wishes.reshape(panel.n_bars, panel.n_assets)
    at_open = np.zeros_like(wishes)
    has_bar = panel.has_bar
    for j in range(panel.n_assets):
        own = np.flatnonzero(has_bar[:, j])
        at_open[own[1:], j] = wishes[own[:-1], j]
    return at_open


def _entry_sizes(panel: Panel, result: SimulationResult) -> FloatArray:
    sizes = np.full(panel.open.shape, np.nan)
    fills = result.fills
    is_entry = fills.reason == 0
    sizes[fills.bar[is_entry], fills.asset[is_entry]] = np.abs(fills.quantity[is_entry])
    return sizes


def _slippage(panel: Panel, config: SimulationConfig) -> FloatArray:
    costs = config.costs
    known = np.full(panel.open.shape, np.nan)
    known[1:] = ewma_volatility(panel.close)[:-1]
    return costs.slippage_bps * BPS + costs.slippage_volatility * np.nan_to_num(known)


def _interleave(*rows: FloatArray) -> FloatArray:
    return np.stack(rows, axis=1).reshape(-1, rows[0].shape[1])


def _on_rows(values: Any, row: int, blank: Any) -> Any:
    spread = np.full((len(values) * ROWS_PER_BAR, values.shape[1]), blank, values.dtype)
    spread[row::ROWS_PER_BAR] = values
    return spread


def _engine_result(
    panel: Panel, config: SimulationConfig, records: Any, *, n_blocks: int
) -> EngineResult:
    side = np.where(records["side"] == 0, 1.0, -1.0)
    quantity = side * records["size"]
    bar, asset = records["idx"] // ROWS_PER_BAR, records["col"]
    positions = np.zeros((panel.n_bars, panel.n_assets))
    np.add.at(positions, (bar, asset), quantity)
    positions = positions.cumsum(axis=0)
    flows = np.zeros(panel.n_bars)
    np.add.at(flows, bar, -quantity * records["price"] - records["fees"])
    cash = config.initial_cash + flows.cumsum()
    marks = pd.DataFrame(panel.close).ffill().to_numpy()
    equity = cash + np.nansum(positions * marks, axis=1)
    return EngineResult(
        equity=equity,
        cash=cash,
        positions=positions,
        fill_bar=bar.astype(np.int64),
        fill_asset=asset.astype(np.int64),
        fill_quantity=quantity,
        fill_price=records["price"],
        fill_fee=records["fees"],
        not_expressible=not_expressible(config),
        n_blocks=n_blocks,
    )


def _net(n_assets: int, *fills: Any) -> tuple[Any, Any]:
    """Return what identifies each net fill, shape (n, 2), in order, and its units."""
    bar, asset, quantity, price = fills
    keys = np.column_stack([bar * float(n_assets) + asset, np.round(price, 6)])
    distinct, place = np.unique(keys, axis=0, return_inverse=True)
    units = np.bincount(place.ravel(), weights=quantity, minlength=len(distinct))
    is_left = np.abs(units) > 1e-9
    return distinct[is_left], units[is_left]


def _matched(result: SimulationResult, other: EngineResult) -> tuple[int, int]:
    fills, n_assets = result.fills, len(result.symbols)
    keys, units = _net(n_assets, fills.bar, fills.asset, fills.quantity, fills.price)
    found, others = _net(
        n_assets, other.fill_bar, other.fill_asset, other.fill_quantity, other.fill_price
    )
    both, place = np.unique(np.concatenate([keys, found]), axis=0, return_inverse=True)
    second = np.full(len(both), np.nan)
    second[place.ravel()[len(keys) :]] = others
    return len(keys), int(np.isclose(second[place.ravel()[: len(keys)]], units, rtol=1e-6).sum())


def _explain(result: SimulationResult, other: EngineResult, first: int | None) -> str:
    if first is None:
        text = "Both engines give the same equity and positions at every bar."
        if other.n_blocks > 1:
            text += f" The instruments were checked in {other.n_blocks} parts, each with its own"
            text += " fills, and the cash they share was added up afterwards."
        return text
    at = f"{result.index[first]:%Y-%m-%d %H:%M} UTC"
    text = (
        f"First difference at {at}: equity {result.equity[first]:.2f} here and "
        f"{other.equity[first]:.2f} in vectorbt."
    )
    if other.not_expressible:
        return f"{text} vectorbt cannot express: {', '.join(other.not_expressible)}."
    if result.is_ruined:
        return f"{text} The account was ruined, after which only this engine stops trading."
    if result.n_partial:
        return f"{text} An entry was filled in part, and the engines share cash in another order."
    return text
