"""Backtests by the kernel: one run, many accounts, or thousands of parameter sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from alphastrat.quant.execution import CostModel
from alphastrat.quant.types import FloatArray, IntArray
from strategies.quant import kernel
from strategies.quant.exits import ExitRules
from strategies.quant.kernel import FILL_COLUMNS, TRIP_COLUMNS, Reason
from strategies.quant.panel import Panel, as_panel
from strategies.quant.signals import LONG_ENTRY, SHORT_ENTRY, PanelSignals, Signals
from strategies.quant.sizing import FixedFraction, SizeMode, Sizing, ewma_volatility

Bars = pd.DataFrame | Mapping[str, pd.DataFrame] | Panel


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """The account, its costs, and the rules that do not come from the plug-in.

    Attributes
    ----------
    periods_per_year : float
        Bars per year, for borrow costs and volatility targets.
    initial_cash : float
        Account currency, > 0.
    costs : CostModel
        Commission, slippage and borrow cost.
    exits : ExitRules
        Stops.
    sizing : Sizing
        Size of a position.
    granularity : float
        Smallest unit of a position (1 for whole shares); 0 allows any fraction.
    max_leverage : float
        Largest gross exposure at an entry as a multiple of equity, > 0. Short positions tie up
        their whole value.

    Raises
    ------
    ValueError
        If a value is out of range, or a fixed risk is asked for without a stop-loss.
    """

    periods_per_year: float
    initial_cash: float = 100_000.0
    costs: CostModel = field(default_factory=CostModel)
    exits: ExitRules = field(default_factory=ExitRules)
    sizing: Sizing = field(default_factory=FixedFraction)
    granularity: float = 0.0
    max_leverage: float = 1.0

    def __post_init__(self) -> None:
        for name in ("periods_per_year", "initial_cash", "max_leverage"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, was {value}")
        if not (np.isfinite(self.granularity) and self.granularity >= 0):
            raise ValueError(f"granularity must not be negative, was {self.granularity}")
        if self.sizing.mode == SizeMode.RISK and self.exits.stop_loss is None:
            raise ValueError("sizing by risk needs a stop_loss to measure the risk to")


@dataclass(frozen=True, slots=True, eq=False)
class Fills:
    """Every fill in time order, as columns of shape (n_fills,).

    Attributes
    ----------
    bar, asset : ndarray of int
        Row of the index and column of the symbols.
    quantity : ndarray
        Units, positive for a buy.
    price, commission, slippage : ndarray
        Fill price; costs as positive amounts, slippage already being in the price.
    reason : ndarray of int
        A `Reason`.
    """

    bar: IntArray
    asset: IntArray
    quantity: FloatArray
    price: FloatArray
    commission: FloatArray
    slippage: FloatArray
    reason: IntArray

    def __len__(self) -> int:
        return len(self.bar)


@dataclass(frozen=True, slots=True, eq=False)
class RoundTrips:
    """Positions from entry to exit, in order of exit, as columns of shape (n_trips,).

    Attributes
    ----------
    asset : ndarray of int
        Column of the symbols.
    side : ndarray of int
        +1 long, -1 short.
    entry_bar, exit_bar : ndarray of int
        Rows of the index; exit -1 while the position is open.
    quantity : ndarray
        Units, positive.
    entry_price, exit_price : ndarray
        Fill prices; the last close while the position is open.
    commission, slippage, borrow : ndarray
        Costs as positive amounts; slippage is already in the prices.
    pnl : ndarray
        Account currency after all costs, a loss is negative.
    mae, mfe : ndarray
        Maximum adverse (<= 0) and favourable (>= 0) excursion as fractions of the entry price,
        from bars' lows and highs. Of the exit bar only what surely came before the exit counts.
    exit_reason : ndarray of int
        A `Reason`, -1 while the position is open.
    """

    asset: IntArray
    side: IntArray
    entry_bar: IntArray
    exit_bar: IntArray
    quantity: FloatArray
    entry_price: FloatArray
    exit_price: FloatArray
    commission: FloatArray
    slippage: FloatArray
    borrow: FloatArray
    pnl: FloatArray
    mae: FloatArray
    mfe: FloatArray
    exit_reason: IntArray

    def __len__(self) -> int:
        return len(self.asset)

    @property
    def returns(self) -> FloatArray:
        """P&L after costs as a fraction of the value at entry, shape (n_trips,)."""
        return self.pnl / (self.quantity * self.entry_price)


@dataclass(frozen=True, slots=True, eq=False)
class SimulationResult:
    """What one account did.

    Attributes
    ----------
    index, symbols
        Of the panel.
    config : SimulationConfig
        As given.
    equity, cash : ndarray of shape (n_bars,)
        Account value and cash at each close, in account currency.
    positions : ndarray of shape (n_bars, n_assets)
        Units held at each close, negative for a short.
    fills : Fills
        In time order.
    round_trips, open_trips : RoundTrips
        Closed positions, and those still open at the last close (marked there, exit costs not
        yet paid).
    n_denied, n_partial : int
        Entries that could not be filled at all (no cash, no size), or only in part.
    is_ruined : bool
        Whether equity fell to 0 or below, after which nothing was entered.
    """

    index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    config: SimulationConfig
    equity: FloatArray
    cash: FloatArray
    positions: FloatArray
    fills: Fills
    round_trips: RoundTrips
    open_trips: RoundTrips
    n_denied: int
    n_partial: int
    is_ruined: bool

    @property
    def returns(self) -> FloatArray:
        """Fractional change of equity per bar, shape (n_bars,); the first from the cash."""
        before = np.concatenate([[self.config.initial_cash], self.equity[:-1]])
        return self.equity / before - 1.0


def reason_words(reasons: IntArray) -> list[str]:
    """Return the lower-case name of each reason, "open" for -1."""
    return ["open" if code < 0 else Reason(code).name.lower() for code in reasons]


def simulate(
    bars: Bars, signals: Signals | PanelSignals, *, config: SimulationConfig
) -> SimulationResult:
    """Simulate one account that trades every instrument of `bars` from shared cash.

    Parameters
    ----------
    bars : DataFrame, mapping of symbol to DataFrame, or Panel
        OHLCV bars.
    signals : Signals or PanelSignals
        Wishes at each close, on the same index. A wish of bar t fills at the open of the next
        bar that the instrument has.
    config : SimulationConfig
        Account, costs and rules.

    Returns
    -------
    SimulationResult
        Equity marked at each close.

    Raises
    ------
    ValueError
        If bars and signals do not belong together.
    """
    panel = as_panel(bars)
    wanted = _wanted(panel, signals, config)
    market = market_arrays(panel)
    # Each entry was wished for at one close and is left at most once; what stays empty of the
    # arrays is never touched.
    n_entries = int(np.count_nonzero(wanted.wishes & (LONG_ENTRY | SHORT_ENTRY)))
    out = outcome_arrays(panel.n_bars, panel.n_assets, 2 * n_entries)
    kernel.run(market, wanted, terms(config), config.exits.as_array(), out)
    return _result(panel, config, out)


def simulate_each(
    bars: Bars, signals: Signals | PanelSignals, *, config: SimulationConfig
) -> dict[str, SimulationResult]:
    """Simulate every instrument in an account of its own.

    Parameters
    ----------
    bars, signals, config
        As in `simulate`; every account starts with the full `initial_cash`.

    Returns
    -------
    dict of symbol to SimulationResult
        On the panel's time axis.
    """
    panel = as_panel(bars)
    wanted = _wanted(panel, signals, config)
    whole = market_arrays(panel)
    rules, exits = terms(config), config.exits.as_array()
    results = {}
    for j, symbol in enumerate(panel.symbols):
        market = kernel.Market(*(_column(array, j) for array in whole))
        own = kernel.Wanted(
            np.ascontiguousarray(wanted.wishes[:, j : j + 1]),
            _column(wanted.weights, j),
            _column(wanted.priority, j),
        )
        out = outcome_arrays(panel.n_bars, 1, 2 * panel.n_bars)
        kernel.run(market, own, rules, exits, out)
        volume = _column(panel.volume, j)
        one = Panel(
            panel.index, (symbol,), market.open, market.high, market.low, market.close, volume
        )
        results[symbol] = _result(one, config, out)
    return results


def market_arrays(panel: Panel) -> kernel.Market:
    """Return the panel as the kernel reads it, with the volatility known at each close."""
    arrays = (panel.open, panel.high, panel.low, panel.close)
    opening, high, low, close = (np.ascontiguousarray(array) for array in arrays)
    return kernel.Market(opening, high, low, close, ewma_volatility(close))


def terms(config: SimulationConfig) -> kernel.Terms:
    """Return the scalars of a configuration as the kernel reads them."""
    costs = config.costs
    return kernel.Terms(
        cash=float(config.initial_cash),
        mode=int(config.sizing.mode),
        granularity=float(config.granularity),
        leverage=float(config.max_leverage),
        slippage_bps=float(costs.slippage_bps),
        slippage_volatility=float(costs.slippage_volatility),
        per_share=float(costs.commission_per_share),
        commission_bps=float(costs.commission_bps),
        minimum=float(costs.commission_minimum),
        borrow_bps=float(costs.borrow_bps_per_year),
        years_per_bar=1.0 / config.periods_per_year,
    )


def sizing_weights(panel: Panel, config: SimulationConfig) -> FloatArray:
    """Return the sizing rule's weights, shape (n_bars, n_assets)."""
    weights = config.sizing.weights(panel, periods_per_year=config.periods_per_year)
    return np.ascontiguousarray(weights, np.float64)


def warm() -> None:
    """Compile the kernel, or load it from the cache: called when a worker starts."""
    from strategies.quant import overfitting, wish_rows
    from strategies.quant.sweep import sweep_wishes

    index = pd.date_range("2024-01-01", periods=8, tz="UTC")
    frame = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}, index=index)
    frame["volume"] = 1.0
    wishes = np.array([1, 0, 2, 4, 0, 8, 0, 0], np.uint8)
    config = SimulationConfig(periods_per_year=252, costs=CostModel(1, 1, 1, 1, 1, 1))
    simulate(frame, Signals(index, wishes, np.ones(8)), config=config)
    sweep_wishes(frame, wishes[None], config=config)
    wish_rows.warm()
    overfitting.overfitting_from_blocks(np.zeros((2, 2)), np.ones((2, 2)), np.full(2, 9.0))


def _wanted(
    panel: Panel, signals: Signals | PanelSignals, config: SimulationConfig
) -> kernel.Wanted:
    wishes, priority = signals.wishes, signals.strength
    shape = (panel.n_bars, panel.n_assets)
    if isinstance(signals, PanelSignals):
        if signals.symbols != panel.symbols:
            raise ValueError(f"signals are for {signals.symbols}, bars for {panel.symbols}")
    else:
        wishes, priority = wishes[:, None], priority[:, None]
    if wishes.shape != shape or not signals.index.equals(panel.index):
        raise ValueError(f"signals of shape {wishes.shape} do not belong to bars of shape {shape}")
    return kernel.Wanted(
        np.ascontiguousarray(wishes),
        sizing_weights(panel, config),
        np.ascontiguousarray(priority),
    )


def outcome_arrays(n_bars: int, n_assets: int, capacity: int) -> kernel.Outcome:
    """Return arrays for the kernel to write to, with room for `capacity` fills and trips."""
    return kernel.Outcome(
        equity=np.empty(n_bars),
        cash=np.empty(n_bars),
        positions=np.empty((n_bars, n_assets)),
        fills=np.empty((capacity, len(FILL_COLUMNS))),
        trips=np.empty((capacity, len(TRIP_COLUMNS))),
        open_trips=np.empty((n_assets, len(TRIP_COLUMNS))),
        book=np.empty((n_assets, kernel.N_BOOK)),
        counts=np.empty(kernel.N_COUNTS, np.int64),
    )


def _column(matrix: FloatArray, j: int) -> FloatArray:
    return np.ascontiguousarray(matrix[:, j : j + 1])


_WHOLE = {"bar", "asset", "reason", "side", "entry_bar", "exit_bar", "exit_reason"}


def _columns(names: tuple[str, ...], rows: FloatArray) -> dict[str, FloatArray]:
    return {
        name: rows[:, k].astype(np.int64) if name in _WHOLE else rows[:, k].copy()
        for k, name in enumerate(names)
    }


def _result(panel: Panel, config: SimulationConfig, out: kernel.Outcome) -> SimulationResult:
    fills = out.fills[: out.counts[kernel.N_FILLS]]
    trips = out.trips[: out.counts[kernel.N_TRIPS]]
    still_open = out.open_trips[out.open_trips[:, 4] > 0]
    return SimulationResult(
        index=panel.index,
        symbols=panel.symbols,
        config=config,
        equity=out.equity,
        cash=out.cash,
        positions=out.positions,
        fills=Fills(**_columns(FILL_COLUMNS, fills)),  # type: ignore[arg-type]
        round_trips=RoundTrips(**_columns(TRIP_COLUMNS, trips)),  # type: ignore[arg-type]
        open_trips=RoundTrips(**_columns(TRIP_COLUMNS, still_open)),  # type: ignore[arg-type]
        n_denied=int(out.counts[kernel.N_DENIED]),
        n_partial=int(out.counts[kernel.N_PARTIAL]),
        is_ruined=bool(out.counts[kernel.IS_RUINED]),
    )
